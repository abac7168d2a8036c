"""Synthetic captioned clips, described by numbers: what is on screen (spec), how it is worded, where everything is.

`new_spec` draws a clip, `caption` words it, `frames` turns it into one row of `NP` numbers per frame that the GPU
compositor in `render.py` draws, and `sample_clips` does all of that for a batch (with mid-clip prompt switches and
edited twins for video-to-video). Everything is a pure function of a seed.
"""

import bisect
import json
import os
import random

import numpy as np

from . import paths

AS = str(paths.ASSETS) + "/"
H, W, S, P = 144, 256, 96, 16  # scene height and width, sprite size, phases of a sprite's loop
sub = json.load(open(AS + "subjects.json"))
scn = json.load(open(AS + "scenes.json"))
SCN = scn["scenes"]
PHR = scn["phrases"]
decn = json.load(open(AS + "decor.json"))
NAMES = {w for s in sub for n in s["names"] for w in n.split()}
WORDS = [w for w in json.load(open(AS + "words.json")) if w not in NAMES]
SID = {s["id"]: i for i, s in enumerate(sub)}
# ---------------- atlas ----------------
# tex ids: sprites r*P+c ; decor levels ; scene textures
NS = len(sub) * P
ND = len(decn)
T_DEC = NS
T_SC = NS + ND * 3
NT = T_SC + len(SCN) * 3 * 8  # per variant: sky far mid front ov g0 g1 g2


def tid(sc, v, k):
    return T_SC + (sc * 3 + v) * 8 + k


HASG = np.array([[os.path.exists(f"{AS}scenes/{n}_{v}_ground.webp") for v in range(3)] for n in SCN])
# ---------------- spec ----------------
V3 = {
    "walk": (["walking", "strolling", "wandering"], ["walks", "strolls", "wanders"]),
    "run": (["running", "racing", "sprinting"], ["runs", "races", "sprints"]),
    "jump": (["jumping", "hopping", "bouncing"], ["jumps", "hops", "bounces"]),
    "dance": (["dancing", "partying", "grooving"], ["dances", "parties", "grooves"]),
    "stand": (["standing", "resting", "waiting"], ["stands", "rests", "waits"]),
    "spin": (["spinning", "rotating", "rolling"], ["spins", "rotates", "rolls"]),
    "fly": (["flying", "soaring", "gliding"], ["flies", "soars", "glides"]),
    "swim": (["swimming", "diving", "paddling"], ["swims", "dives", "paddles"]),
    "float": (["floating", "drifting", "hovering"], ["floats", "drifts", "hovers"]),
    "drive": (["driving", "riding", "cruising"], ["drives", "rides", "cruises"]),
    "sail": (["sailing", "cruising"], ["sails", "cruises"]),
}
COL = {
    "red": (230, 50, 50),
    "blue": (60, 110, 240),
    "green": (60, 190, 80),
    "pink": (255, 120, 190),
    "golden": (250, 195, 50),
    "purple": (150, 70, 220),
    "black": (50, 50, 60),
    "white": (245, 245, 250),
    "orange": (250, 140, 40),
}
STY = ["pixel art", "black and white", "sepia", "dark night", "neon", "golden hour", "morning", "fog"]
STYW = {
    "pixel art": ["pixel art", "8-bit", "in pixel art style", "retro video game"],
    "black and white": ["black and white", "monochrome", "grayscale"],
    "sepia": ["sepia", "vintage", "old film"],
    "dark night": ["at night", "dark", "in moonlight"],
    "neon": ["neon", "vaporwave", "psychedelic"],
    "golden hour": ["in golden light", "golden hour", "in the evening"],
    "morning": ["in the morning", "early morning", "at dawn"],
    "fog": ["in fog", "foggy", "misty", "in the mist"],
}
FILL = [
    "cinematic",
    "beautiful",
    "high quality",
    "4k",
    "highly detailed",
    "masterpiece",
    "cute",
    "3d animated",
    "cartoon",
    "pixar style",
    "bright colors",
    "a video of",
    "smooth motion",
    "realistic",
    "detailed",
    "fantasy",
    "vivid",
    "sharp focus",
    "soft lighting",
    "dreamy",
    "epic",
    "colorful",
    "digital art",
    "animation",
    "wide shot",
    "side view",
    "trending",
    "a scene of",
    "amazing",
    "stunning",
]
PRE = ["A 3D animated scene.", "A 3D animation of", "A cartoon of", "An animated video of", "A video of", "Footage of"]
PLW = {"two": 2, "three": 3, "a pair of": 2, "a group of": 3}
DECOK = {
    "grass": ["tree", "rock", "blossom", "sunflower", "tulip", "mushroom"],
    "park": ["tree", "blossom", "tulip", "fountain"],
    "forest": ["pine", "mushroom", "rock", "tree", "wood"],
    "farm": ["hay", "sunflower", "wood", "pumpkin"],
    "desert": ["cactus", "rock"],
    "mars": ["rock"],
    "moon": ["rock"],
    "snow": ["pine", "xmas", "ice"],
    "beach": ["shell", "palm", "umbrella"],
    "city": ["tree", "light"],
    "rain": ["light", "tree"],
    "citynight": ["light"],
    "sunset": ["rock", "tree"],
    "jungle": ["palm", "herb", "mushroom"],
    "volcano": ["rock", "fire"],
    "candy": ["lollipop", "candy", "cupcake", "icecream", "donut"],
    "autumn": ["mapleleaf", "tree", "mushroom", "wood"],
    "disco": ["speaker", "balloon"],
    "castle": ["tulip", "tree", "blossom"],
    "mountains": ["pine", "rock", "tent"],
    "graveyard": ["headstone", "pumpkin"],
}
NOG = {"space", "clouds", "ocean", "underwater"}
FOUR = [("dog", "walk", "grass"), ("cow", "walk", "grass"), ("dragon", "fly", "clouds"), ("robot", "walk", "mars")]


def pick_motion(r, s, sc):
    k = sub[s]["kind"]
    n = SCN[sc]
    x = r.random()
    if n == "clouds":
        return "fly" if x < 0.8 else "float" if x < 0.9 else "spin"
    if n == "space":
        return "float" if x < 0.45 else "fly" if x < 0.8 else "spin"
    if n == "underwater":
        return "swim" if x < 0.9 else "float"
    if n == "ocean":
        return "sail" if k == "sail" else "fly" if k == "fly" else "swim" if x < 0.75 else "jump"
    if k == "fly":
        return "fly" if x < 0.72 else "walk" if x < 0.84 else "stand" if x < 0.9 else "float"
    if k == "drive":
        return "drive" if x < 0.9 else "stand"
    if k == "sail":
        return "drive" if x < 0.5 else "stand"
    if k == "dance":
        return "dance" if x < 0.7 else "walk"
    if k == "swim":
        return "float" if x < 0.4 else "jump" if x < 0.6 else "walk"
    if k == "hop":
        return "jump" if x < 0.5 else "walk" if x < 0.8 else "stand"
    if n == "disco" and x < 0.6:
        return "dance"
    return (
        "walk"
        if x < 0.5
        else "run"
        if x < 0.68
        else "jump"
        if x < 0.78
        else "dance"
        if x < 0.86
        else "stand"
        if x < 0.94
        else "spin"
        if x < 0.97
        else "fly"
    )


OFTEN = None  # running sums of the subjects' weights; None: all alike


def weigh(weights):
    """Draw each subject as often as `weights` {id: weight} says; workers forked afterwards do the same."""
    global OFTEN
    OFTEN = np.cumsum([weights.get(s["id"], 1.0) for s in sub]).tolist()


def any_subject(r):
    return r.randrange(len(sub)) if OFTEN is None else bisect.bisect(OFTEN, r.random() * OFTEN[-1])


def new_spec(r):
    p = {}
    if r.random() < 0.06:
        a, m, b = r.choice(FOUR)
        p["subs"] = [SID[a]]
        p["motion"] = m
        p["sc"] = SCN.index(b)
    else:
        p["subs"] = [any_subject(r)]
        p["sc"] = r.randrange(len(SCN))
        k = sub[p["subs"][0]]["kind"]
        if r.random() < 0.5:  # bias to natural pairs
            if k == "swim":
                p["sc"] = SCN.index("underwater")
            elif k == "sail":
                p["sc"] = SCN.index("ocean")
            elif k == "fly" and r.random() < 0.5:
                p["sc"] = SCN.index(r.choice(["clouds", "space", "clouds"]))
            elif k == "walk" and SCN[p["sc"]] in NOG:
                p["sc"] = SCN.index(r.choice(["grass", "park", "forest", "mars", "city", "snow", "beach"]))
        p["motion"] = pick_motion(r, p["subs"][0], p["sc"])
    p["var"] = r.randrange(3)
    p["dir"] = r.choice([-1, 1])
    p["spd"] = r.uniform(0.8, 1.25)
    p["x0"] = r.uniform(100, 156)
    p["y0"] = r.uniform(-1, 1)
    p["ph"] = [r.random() for _ in range(8)]
    p["scale"] = r.uniform(0.9, 1.12)
    p["col"] = r.choice(list(COL)) if r.random() < 0.09 else None
    p["count"] = None
    p["sty"] = r.choice(STY) if r.random() < 0.1 else None
    x = r.random()
    if x < 0.07:
        w = r.choice(list(PLW))
        p["count"] = w
    elif x < 0.19:
        p["subs"].append(any_subject(r))
    elif x < 0.205:
        p["subs"] = []
    p["cam"] = r.choice(["none"] * 5 + ["zoom", "sway", "shake"])
    p["dec"] = [(r.random(), r.uniform(0, 1), r.random()) for _ in range(3)]
    p["seed"] = r.randrange(1 << 30)
    return p


def change(r, a):
    b = dict(a)
    n = new_spec(r)
    x = r.random()
    if x < 0.5:
        b["subs"] = n["subs"] or [0]
        b["col"] = n["col"]
        b["count"] = n["count"]
    elif x < 0.68:
        b["sc"] = n["sc"]
        b["var"] = n["var"]
    elif x < 0.76:
        b["sty"] = r.choice(STY + [None])
    elif x < 0.84:
        b["col"] = r.choice(list(COL))
    else:
        b.update(sc=n["sc"], var=n["var"], subs=n["subs"], col=n["col"], count=n["count"])
    if not b["subs"]:
        b["count"] = None
    if b["subs"]:
        if b["subs"] != a["subs"] or b["sc"] != a["sc"]:
            ok = pick_motion(r, b["subs"][0], b["sc"])
            # keep the old motion when it still is a natural one
            b["motion"] = (
                a["motion"] if any(pick_motion(r, b["subs"][0], b["sc"]) == a["motion"] for _ in range(4)) else ok
            )
            if r.random() < 0.3:
                b["motion"] = ok
    return b


def caption(r, p):
    sc = SCN[p["sc"]]
    ph = r.choice(PHR[sc]) if r.random() < 0.7 else PHR[sc][0]
    if sc == "clouds" and p["motion"] != "fly" and ph.startswith("through"):
        ph = "in the clouds"
    pn = ph.split(" ", 1)[1] if " " in ph else ph

    def art(w):
        return ("an " if w[0] in "aeiou" else "a ") + w

    if not p["subs"]:
        core = r.choice([pn, "empty scene " + ph, pn + " landscape"])
    else:
        nm = []
        for i, s in enumerate(p["subs"]):
            ns = sub[s]["names"]
            w = ns[0] if r.random() < 0.6 else r.choice(ns)
            if i == 0 and p["col"]:
                w = p["col"] + " " + w
            nm.append(w)
        if p["count"]:
            w = nm[0]
            w = w + ("es" if w[-1] in "sxh" else "s")
            su = p["count"] + " " + w
            pl = True
        elif len(nm) > 1:
            su = art(nm[0]) + " and " + art(nm[1])
            pl = True
        else:
            su = art(nm[0])
            pl = False
        ing, pres = V3[p["motion"]]
        j = 0 if r.random() < 0.6 else r.randrange(len(ing))
        x = r.random()
        if x < 0.55:
            core = f"{su} {ing[j]} {ph}"
        elif x < 0.66:
            core = f"{su} {'are' if pl else 'is'} {ing[j]} {ph}"
        elif x < 0.78 and not pl:
            core = f"{su} {pres[j]} {ph}"
        elif x < 0.83:
            core = f"{ph}, {su} {ing[j]}"
        elif x < 0.88:
            core = f"{su} {ph}"
        elif x < 0.92:
            core = f"{nm[0]} {ing[j]} {pn}" if not p["count"] and len(nm) == 1 else f"{su} {ing[j]} {ph}"
        elif x < 0.95 and p["dir"]:
            core = f"{su} {ing[j]} to the {'left' if p['dir'] < 0 else 'right'} {ph}"
        else:
            core = f"the {nm[0]} {ing[j]} {ph}" if not pl else f"{su} {ing[j]} {ph}"
    if p["sty"]:
        w = r.choice(STYW[p["sty"]])
        core = core + ", " + w if r.random() < 0.7 else w + ", " + core
    x = r.random()
    if x < 0.12:
        core = core + ", " + ", ".join(r.sample(FILL, r.randint(1, 3)))
    elif x < 0.18:
        core = r.choice(PRE) + " " + core
    elif x < 0.22:
        core = r.choice(FILL) + " " + core
    elif x < 0.27:  # unknown words must not hurt
        w = core.split(" ")
        for _ in range(r.randint(1, 3)):
            w.insert(r.randrange(len(w) + 1), r.choice(WORDS))
        core = " ".join(w)
    if r.random() < 0.25:
        core = core[0].upper() + core[1:]
    if r.random() < 0.15:
        core += "."
    return core


# ---------------- per-frame params ----------------
# global: 0 zoom,1 cx,2 cy,3 gr,4 gg,5 gb,6 sat,7 pix,8 lift
# wrap layers (sky,far,mid,front,ov): tex,u,v  -> 9..23 ; ground: tex(-1 none),u -> 24,25
# sprites x6 (dec,dec,sub,sub,sub,decfront): tex,cx,cy,scale,cos,sin(mirror via sx sign),alpha,size(texels),sx,  r,g,b,mix, shadow(y, w, a) -> 16 each
NG = 26
SP = 16
NSP = 6
NP = NG + SP * NSP


def frames(p, F, t0=0):
    o = np.zeros((F, NP), np.float32)
    t = np.arange(t0, t0 + F, dtype=np.float64)
    sc = SCN[p["sc"]]
    v = p["var"]
    m = p["motion"]
    d = p["dir"]
    ph = p["ph"]
    tau = 2 * np.pi
    ground = HASG[p["sc"], v]
    sp = {
        "walk": 2.0,
        "run": 4.6,
        "jump": 2.4,
        "dance": 0.0,
        "stand": 0.0,
        "spin": 1.2,
        "fly": 3.6,
        "swim": 2.2,
        "float": 0.8,
        "drive": 4.4,
        "sail": 1.6,
    }[m] * p["spd"]
    if not p["subs"]:
        sp = 1.5 * p["spd"]
    Y = 120 + 6 * p["y0"]
    zs = 74 / (Y - 70)
    world = sp * zs * t * d + ph[0] * 2000  # camera world x at z=1 (moves with the subject)
    zoom = np.ones(F)
    cx = np.zeros(F)
    cyv = np.zeros(F)
    if p["cam"] == "zoom":
        zoom = 1.06 + 0.06 * np.sin(tau * (t / 90 + ph[1]))
    elif p["cam"] == "sway":
        cx = 6 * np.sin(tau * (t / 70 + ph[1]))
        zoom += 0.05
    elif p["cam"] == "shake":
        cx = 1.5 * np.sin(tau * (t / 9 + ph[1]))
        cyv = 1.2 * np.sin(tau * (t / 7 + ph[2]))
        zoom += 0.03
    if not ground and sc != "ocean":
        cyv = cyv + 4 * np.sin(tau * (t / 60 + ph[2]))
        zoom = zoom + 0.06
    gain = np.array([1, 1, 1.0])
    sat = 1.0
    pix = 1.0
    lift = 0.0
    st = p["sty"]
    if st == "black and white":
        sat = 0.0
    elif st == "sepia":
        sat = 0.0
        gain = np.array([1.12, 0.94, 0.68])
    elif st == "dark night":
        gain = np.array([0.38, 0.46, 0.72])
        sat = 0.8
    elif st == "neon":
        gain = np.array([1.25, 0.72, 1.35])
        sat = 1.7
        lift = -0.06
    elif st == "golden hour":
        gain = np.array([1.16, 0.88, 0.62])
    elif st == "morning":
        gain = np.array([1.06, 0.96, 0.86])
        lift = 0.06
        sat = 0.85
    elif st == "fog":
        gain = np.array([0.62, 0.63, 0.65])
        lift = 0.3
        sat = 0.55
    elif st == "pixel art":
        pix = 4.0
    o[:, 0] = zoom
    o[:, 1] = cx
    o[:, 2] = cyv
    o[:, 3:6] = gain
    o[:, 6] = sat
    o[:, 7] = pix
    o[:, 8] = lift
    par = dict(sky=0.015, far=0.10, mid=0.31, front=1.25) if ground else dict(sky=0.03, far=0.22, mid=0.5, front=1.15)
    bob = {"ocean": 1}.get(sc, 0)
    for k, (n, w) in enumerate((("sky", 512), ("far", 768), ("mid", 768), ("front", 768))):
        vv = np.zeros(F)
        if bob and n != "sky":
            vv = 2.2 * np.sin(tau * (t / 34 + k * 0.3 + ph[3]))
        drift = t * [0.12, 0.12, 0, 0][k] if (not ground) else t * [0.1, 0, 0, 0][k]
        o[:, 9 + 3 * k] = tid(p["sc"], v, k)
        o[:, 10 + 3 * k] = np.mod(world * par[n] + drift, w)
        o[:, 11 + 3 * k] = vv
    ov = {
        "snow": (0.5, 1.6),
        "rain": (-1.2, 9.0),
        "bubbles": (0, -1.5),
        "leaves": (0.9, 1.4),
        "embers": (0.3, -1.3),
        "petals": (0.8, 0.9),
        "confetti": (0.1, 1.7),
        "dust": (1.6, 0.1),
        "fireflies": (0.3, 0.2),
    }
    kk = {
        "snow": "snow",
        "rain": "rain",
        "underwater": "bubbles",
        "autumn": "leaves",
        "volcano": "embers",
        "park": "petals",
        "disco": "confetti",
        "mars": "dust",
        "graveyard": "fireflies",
    }.get(sc)
    o[:, 21] = tid(p["sc"], v, 4)
    if kk:
        a, b = ov[kk]
        o[:, 22] = np.mod(world * 0.9 - a * t, 256)
        o[:, 23] = np.mod(-b * t + ph[4] * 144, 144)
    o[:, 24] = tid(p["sc"], v, 5) if ground else -1
    o[:, 25] = np.mod(world, 256)

    def sprite(i, tex, x, y, scale, rot=0.0, alpha=1.0, size=96.0, mir=1.0, col=None, mix=0.0, sh=None, foot=93.0):
        b = NG + SP * i
        o[:, b] = tex
        o[:, b + 1] = x
        o[:, b + 2] = y
        o[:, b + 3] = scale
        o[:, b + 4] = np.cos(rot)
        o[:, b + 5] = np.sin(rot)
        o[:, b + 6] = alpha
        o[:, b + 7] = size
        o[:, b + 8] = mir
        if col is not None:
            o[:, b + 9 : b + 12] = np.array(col) / 255.0
            o[:, b + 12] = mix
        if sh is not None:
            o[:, b + 13], o[:, b + 14], o[:, b + 15] = sh

    # decor on the ground
    if ground and DECOK.get(sc):
        per = 620.0
        rr = random.Random(p["seed"] + p["sc"])
        for i, (a, dp, c) in enumerate(p["dec"]):
            if rr.random() < 0.25:
                continue
            nm = rr.choice(DECOK[sc])
            yb = [98 + 8 * dp, 100 + 10 * dp, 139 + 10 * dp][i]
            z = 74 / (yb - 70)
            wx = np.mod(a * per - world + per * 0.5, per * max(1.0, z * 0.55)) - per * max(1.0, z * 0.55) * 0.5
            x = 128 + wx / z
            h = (
                {
                    "tree": 120,
                    "pine": 120,
                    "palm": 120,
                    "cactus": 80,
                    "fountain": 90,
                    "tent": 90,
                    "xmas": 120,
                    "light": 90,
                    "hay": 60,
                    "headstone": 60,
                    "speaker": 70,
                    "lollipop": 70,
                }.get(nm, 38)
                / z
                * 0.9
            )
            h = max(h, 9.0)
            lv = 0 if h > 56 else 1 if h > 26 else 2
            n = 96 >> lv
            if i == 2 and h > 50:
                continue
            rc = {"mars": ((190, 95, 60), 0.8), "volcano": ((80, 60, 62), 0.8)}.get(sc) if nm == "rock" else None
            slot = [0, 1, 5][i]
            sprite(
                slot,
                T_DEC + decn.index(nm) * 3 + lv,
                x,
                yb - h * 0.5 + h * 0.03,
                h / n,
                size=n,
                sh=(yb, h * 0.3, 0.22),
                col=rc[0] if rc else None,
                mix=rc[1] if rc else 0.0,
            )
    subs = list(p["subs"])
    if p["count"] and subs:
        subs = subs[:1] * PLW[p["count"]]
    n = len(subs)
    for i, s in enumerate(subs[:3]):
        q = sub[s]
        base = 0.97 * q["size"] ** 0.6 * p["scale"] * (1.0 if n == 1 else 0.78 if n == 2 else 0.66)
        k = q["kind"]
        xo = 0 if n == 1 else [-38, 40][i] if n == 2 else [-58, 4, 60][i]
        x = p["x0"] + xo + 8 * np.sin(tau * (t / 110 + ph[5] + i * 0.3))
        rot = np.zeros(F)
        phs = ph[6] + i * 0.37
        yf = Y + [0, 5, -4][i] + np.zeros(F)
        yj = np.zeros(F)
        sca = base + np.zeros(F)
        mir = -d if k != "dance" else d
        rate = {
            "walk": 1 / 14,
            "run": 1 / 9,
            "jump": 1 / 20,  # faster hops smear in the autoencoder's four frames
            "dance": 1 / 14,
            "stand": 1 / 40,
            "spin": 1 / 20,
            "fly": 1 / 14,
            "swim": 1 / 15,
            "float": 1 / 24,
            "drive": 1 / 8,
            "sail": 1 / 30,
        }[m] * p["spd"]
        if q["id"] in ("runner", "cyclist", "bee"):
            rate = 1 / 9
        if q["id"] in ("bat", "eagle"):  # large wings, likewise
            rate = 1 / 26
        if q["id"] in ("man",) and m == "walk":
            rate = 1 / 16
        if q["id"] in ("butterfly", "fairy", "dancer", "disco", "helicopter", "horse", "trex", "mermaid"):
            rate = max(rate, 1 / 18)
        mir = np.full(F, float(mir))
        air = False
        if m in ("walk", "run"):
            yj = np.abs(np.sin(np.pi * (t * rate * 2 + phs))) * (1.5 if m == "walk" else 4)
            rot = 0.03 * np.sin(tau * (t * rate + phs))
        elif m == "jump":
            u = np.mod(t * rate + phs, 1)
            yj = 4 * u * (1 - u) * 22
            rot = 0.14 * np.cos(np.pi * u) * np.where(u > 0, 1, 1) * d * -1
        elif m == "dance":
            rot = 0.2 * np.sin(tau * (t / 16 + phs))
            yj = np.abs(np.sin(tau * (t / 16 + phs))) * 7
            mir = mir * np.sign(np.sin(tau * (t / 64 + phs)) + 1e-9)
        elif m == "stand":
            sca = sca * (1 + 0.012 * np.sin(tau * t / 30))
        elif m == "spin":
            rot = tau * (t / 28 * d + phs)
            air = not ground
            yj = np.full(F, 6.0)
        elif m == "fly":
            air = True
            rot = 0.1 * np.sin(tau * (t / 40 + phs))
        elif m == "float":
            air = True
            rot = 0.3 * np.sin(tau * (t / 60 + phs))
        elif m == "swim":
            air = sc != "ocean"
            rot = 0.1 * np.sin(tau * (t / 26 + phs))
        elif m == "sail":
            rot = 0.06 * np.sin(tau * (t / 34 + phs))
        elif m == "drive":
            yj = np.abs(np.sin(tau * (t / 10 + phs))) * 1.2
        fr = np.mod(np.floor((t * rate + phs) * P), P)
        if air:
            yc = (
                (66 if ground else 76)
                + 10 * np.sin(tau * (t / 46 + phs))
                + 5 * np.sin(tau * (t / 19 + phs))
                + 6 * p["y0"]
                + [0, 8, -8][i]
            )
            x = x + 14 * np.sin(tau * (t / 75 + ph[7]))
            if q["size"] > 1.15 or not ground:
                sca = sca * 1.08
            shd = (Y + 2, q["size"] * 20, 0.16) if ground else None
        else:
            if sc == "ocean":
                yf = yf + 2 + 2.2 * np.sin(tau * (t / 34 + 0.9 + ph[3])) + (10 if m in ("swim", "jump") else 3)
            yc = yf - (q["foot"] - 48) * sca - yj
            shd = (yf + 1, (q["x1"] - q["x0"]) * 0.5 * base * (1 - yj / 60), 0.30) if ground else None
        if q["id"] == "rocket":
            rot = rot + (0.0)
        sprite(
            2 + i,
            s * P + fr,
            x,
            yc,
            sca,
            rot,
            1.0,
            96.0,
            mir,
            COL[p["col"]] if (p["col"] and i == 0 or p["col"] and p["count"]) else None,
            0.78 if p["col"] else 0.0,
            shd,
        )
    return o


# ---------------- batches ----------------
def grade_jitter(r, par):
    """Random colour grading of a clip's parameters: the source of a video-to-video pair need not look like the target."""
    par = par.copy()
    par[:, 3:6] *= np.array([r.uniform(0.75, 1.2) for _ in range(3)])
    par[:, 6] *= r.uniform(0.4, 1.3)
    par[:, 8] += r.uniform(-0.05, 0.12)
    return par


def squeeze(par):
    """Move the subjects towards the middle, for square frames (which show scene x 56..200)."""
    for i in (2, 3, 4):
        c = NG + SP * i + 1
        par[:, c] = 128 + (par[:, c] - 128) * 0.6
    return par


def sample_clips(seed, B, F, ptrans=0.35, ptwin=0.0, square=False, G=4):
    """Parameters of `B` clips of `F` frames, as a dict of arrays (nothing is drawn here).

    a [B,F,NP]        the clips
    b [n,F,NP], bi    the clips that a mid-clip prompt switch fades into, and which clips those are
    ramp [n,F]        their cross-fade, 0 to 1
    twin [m,F,NP], ti the same layout and motion with another subject, scene, style or colours (video-to-video sources)
    captions          B pairs (before, after the switch); switch [B]: latent frame of the switch, F/G if none
    """
    r = random.Random(seed)
    a, b, bi, ramp, twin, ti, captions, switch = [], [], [], [], [], [], [], []
    fit = squeeze if square else (lambda par: par)
    for i in range(B):
        spec = new_spec(r)
        t0 = r.randrange(0, 2000)
        a.append(fit(frames(spec, F, t0)))
        before = after = caption(r, spec)
        k = F // G
        x = r.random()
        if x < ptrans and F // G > 3:
            k = r.randrange(min(2, F // G - 2), F // G - 1)
            other = change(r, spec)
            b.append(fit(frames(other, F, t0)))
            after = caption(r, other)
            bi.append(i)
            ramp.append(np.clip((np.arange(F) - k * G + 1) / r.choice([4, 6, 8]), 0, 1))
        elif x < ptrans + ptwin:
            other = change(r, spec) if r.random() < 0.8 else spec
            other = dict(other, motion=spec["motion"], count=spec["count"] if other["subs"] else None)
            twin.append(grade_jitter(r, fit(frames(other, F, t0))))
            ti.append(i)
        captions.append((before, after))
        switch.append(k)
    stack = lambda x: np.stack(x).astype(np.float32) if x else np.zeros((0, F, NP), np.float32)
    return dict(
        a=stack(a),
        b=stack(b),
        bi=np.array(bi, np.int64),
        ramp=np.stack(ramp).astype(np.float32) if ramp else np.zeros((0, F), np.float32),
        twin=stack(twin),
        ti=np.array(ti, np.int64),
        captions=captions,
        switch=np.array(switch),
        square=square,
    )


def fixed_spec(subj, motion, scene, r, **k):
    p = new_spec(r)
    while not p["subs"]:
        p = new_spec(r)
    p.update(subs=[SID[subj]] if subj else [], motion=motion, sc=SCN.index(scene), col=None, count=None, sty=None)
    p.update(k)
    return p
