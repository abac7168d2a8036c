"""Builds assets/ (sprites.webp, strips, sky, ground) from MIT-licensed Fluent 3D emoji (npm @lobehub/fluent-emoji-3d, -anim-*)."""

import json
import math
import os

import numpy as np
from PIL import Image, ImageDraw

from . import paths

DL = str(paths.NPM) + "/"
OUT = str(paths.ASSETS) + "/"
A = DL + "f3d/package/assets/"
AN = {}
for i in range(1, 5):
    p = f"{DL}an{i}/package/assets/"
    for f in os.listdir(p):
        AN[f] = p + f
S = 96
P = 16


def emo(h, size=256):
    for c in (h, h + "-fe0f"):
        if os.path.exists(A + c + ".webp"):
            return Image.open(A + c + ".webp").convert("RGBA").resize((size, size), Image.LANCZOS)
    for c in (h, h + "-fe0f"):
        if c + ".webp" in AN:
            return Image.open(AN[c + ".webp"]).convert("RGBA").resize((size, size), Image.LANCZOS)
    return None


# id: (hex, [names], kind, anim, size)   kind: walk/hop/fly/swim/drive/sail/dance ; all fluent animals face left
SUB = [
    ("dog", "1f415", ["dog", "puppy", "hound"], "walk", "legs", 1.0),
    ("cow", "1f404", ["cow", "dairy cow", "cattle"], "walk", "legs", 1.1),
    ("cat", "1f408", ["cat", "kitten", "kitty"], "walk", "legs", 0.95),
    ("tiger", "1f405", ["tiger", "big tiger"], "walk", "legs", 1.05),
    ("leopard", "1f406", ["leopard", "cheetah", "jaguar"], "walk", "legs", 1.05),
    ("horse", "1f40e", ["horse", "stallion", "pony"], "walk", "anim", 1.15),
    ("zebra", "1f993", ["zebra"], "walk", "legs", 1.1),
    ("deer", "1f98c", ["deer", "stag", "reindeer"], "walk", "legs", 1.15),
    ("bull", "1f402", ["bull", "ox", "bison"], "walk", "legs", 1.15),
    ("pig", "1f416", ["pig", "piglet"], "walk", "legs", 1.0),
    ("sheep", "1f411", ["sheep", "lamb"], "walk", "legs", 1.0),
    ("goat", "1f410", ["goat"], "walk", "legs", 1.0),
    ("camel", "1f42a", ["camel", "dromedary"], "walk", "legs", 1.15),
    ("llama", "1f999", ["llama", "alpaca"], "walk", "legs", 1.1),
    ("giraffe", "1f992", ["giraffe"], "walk", "legs", 1.3),
    ("elephant", "1f418", ["elephant"], "walk", "legs", 1.25),
    ("rhino", "1f98f", ["rhino", "rhinoceros"], "walk", "legs", 1.15),
    ("hippo", "1f99b", ["hippo", "hippopotamus"], "walk", "legs", 1.1),
    ("rabbit", "1f407", ["rabbit", "bunny", "hare"], "hop", "squash", 0.9),
    ("kangaroo", "1f998", ["kangaroo", "wallaby"], "hop", "squash", 1.1),
    ("hedgehog", "1f994", ["hedgehog", "porcupine"], "walk", "legs", 0.85),
    ("rooster", "1f413", ["rooster", "chicken", "hen"], "walk", "legs", 0.9),
    ("chick", "1f424", ["chick", "baby chick"], "hop", "squash", 0.75),
    ("duck", "1f986", ["duck", "mallard"], "walk", "waddle", 0.9),
    ("flamingo", "1f9a9", ["flamingo"], "walk", "waddle", 1.1),
    ("penguin", "1f427", ["penguin"], "walk", "waddle", 0.95),
    ("turtle", "1f422", ["turtle", "tortoise"], "walk", "legs", 0.85),
    ("brontosaurus", "1f995", ["long neck dinosaur", "sauropod", "brontosaurus"], "walk", "legs", 1.3),
    ("trex", "1f996", ["t-rex", "dinosaur", "tyrannosaurus"], "walk", "anim", 1.25),
    ("snail", "1f40c", ["snail"], "walk", "squash", 0.8),
    ("crab", "1f980", ["crab"], "walk", "waddle", 0.85),
    ("man", "1f6b6-1f3fb", ["man", "person", "guy"], "walk", "anim", 1.2),
    ("runner", "1f3c3-1f3fb", ["runner", "jogger", "running man"], "walk", "anim", 1.2),
    ("dancer", "1f483-1f3fb", ["dancing woman", "dancer", "flamenco dancer"], "dance", "anim", 1.2),
    ("disco", "1f57a-1f3fb", ["dancing man", "disco dancer"], "dance", "anim", 1.2),
    ("cyclist", "1f6b4-1f3fb", ["cyclist", "biker", "person riding a bike"], "drive", "anim", 1.15),
    ("robot", "1f916", ["robot", "android", "cute robot"], "walk", "chibi:215,205,235:150,140,185", 1.2),
    ("panda", "1f43c", ["panda", "giant panda", "panda bear"], "walk", "chibi:240,240,245:50,45,60", 1.2),
    ("fox", "1f98a", ["fox", "red fox"], "walk", "chibi:245,140,50:120,60,35", 1.15),
    ("bear", "1f43b", ["bear", "grizzly bear", "brown bear"], "walk", "chibi:140,85,70:110,65,55", 1.2),
    ("lion", "1f981", ["lion"], "walk", "chibi:245,180,85:170,105,50", 1.2),
    ("koala", "1f428", ["koala"], "walk", "chibi:165,165,175:130,130,145", 1.15),
    ("monkey", "1f435", ["monkey", "chimp"], "walk", "chibi:130,85,70:110,70,60", 1.15),
    ("frog", "1f438", ["frog", "toad"], "hop", "chibi:95,200,90:60,150,70", 1.05),
    ("alien", "1f47d", ["alien", "extraterrestrial"], "walk", "chibi:120,220,90:80,170,70", 1.15),
    (
        "astronaut",
        "1f9d1-200d-1f680",
        ["astronaut", "spaceman", "cosmonaut"],
        "walk",
        "bust:235,235,245:190,190,210",
        1.2,
    ),
    ("wizard", "1f9d9", ["wizard", "mage", "sorcerer"], "walk", "bust:40,140,220:30,90,160", 1.2),
    ("zombie", "1f9df", ["zombie", "undead"], "walk", "bust:50,60,90:40,45,70", 1.2),
    ("ninja", "1f977", ["ninja"], "walk", "bust:50,50,65:40,40,52", 1.2),
    ("princess", "1f478", ["princess", "queen"], "walk", "bust:250,120,190:220,90,160", 1.2),
    ("santa", "1f385", ["santa", "santa claus"], "walk", "bust:220,40,50:60,50,60", 1.2),
    ("snowman", "26c4", ["snowman"], "hop", "squash", 1.1),
    ("ghost", "1f47b", ["ghost", "spirit"], "fly", "float", 1.0),
    ("dragon", "1f409", ["dragon", "green dragon", "chinese dragon"], "fly", "wave", 1.25),
    ("eagle", "1f985", ["eagle", "hawk"], "fly", "anim", 1.1),
    ("bat", "1f987", ["bat"], "fly", "anim", 1.0),
    ("parrot", "1f99c", ["parrot", "macaw"], "fly", "float", 1.0),
    ("owl", "1f989", ["owl"], "fly", "float", 0.95),
    ("bird", "1f426", ["bird", "red bird"], "fly", "float", 0.9),
    ("butterfly", "1f98b", ["butterfly"], "fly", "anim", 0.9),
    ("bee", "1f41d", ["bee", "honeybee", "bumblebee"], "fly", "anim", 0.9),
    ("fairy", "1f9da", ["fairy", "pixie"], "fly", "anim", 1.1),
    ("rocket", "1f680", ["rocket", "spaceship", "rocket ship"], "fly", "rocket", 1.2),
    ("ufo", "1f6f8", ["ufo", "flying saucer"], "fly", "float", 1.1),
    ("helicopter", "1f681", ["helicopter", "chopper"], "fly", "anim", 1.1),
    ("airplane", "2708", ["airplane", "plane", "jet"], "fly", "float", 1.15),
    ("balloon", "1f388", ["balloon", "red balloon"], "fly", "float", 1.0),
    ("superhero", "1f9b8", ["superhero", "hero"], "walk", "bust:60,90,200:200,50,60", 1.2),
    ("fish", "1f41f", ["fish", "blue fish"], "swim", "fish", 0.95),
    ("tropicalfish", "1f420", ["tropical fish", "clownfish"], "swim", "fish", 0.95),
    ("shark", "1f988", ["shark", "great white shark"], "swim", "fish", 1.25),
    ("dolphin", "1f42c", ["dolphin"], "swim", "fish", 1.15),
    ("whale", "1f433", ["whale", "blue whale"], "swim", "fish", 1.3),
    ("octopus", "1f419", ["octopus"], "swim", "jelly", 1.05),
    ("jellyfish", "1fabc", ["jellyfish"], "swim", "jelly", 1.0),
    ("squid", "1f991", ["squid"], "swim", "jelly", 1.05),
    ("mermaid", "1f9dc", ["mermaid", "merperson"], "swim", "anim", 1.15),
    ("car", "1f697", ["car", "red car", "automobile"], "drive", "shake", 1.2),
    ("bus", "1f68c", ["bus", "school bus"], "drive", "shake", 1.3),
    ("train", "1f682", ["train", "steam train", "locomotive"], "drive", "shake", 1.3),
    ("tractor", "1f69c", ["tractor"], "drive", "shake", 1.15),
    ("sailboat", "26f5", ["sailboat", "boat", "yacht"], "sail", "float", 1.25),
    ("ship", "1f6a2", ["ship", "cruise ship", "ferry"], "sail", "float", 1.3),
    ("unicorn", "1f984", ["unicorn", "magic unicorn"], "walk", "chibi:245,240,250:220,205,240", 1.2),
]


def warp(img, dx, dy):
    """img RGBA uint8 [N,N,4]; sample at x-dx,y-dy bilinear, premultiplied"""
    a = np.asarray(img).astype(np.float32)
    a[..., :3] *= a[..., 3:] / 255
    n = a.shape[0]
    yy, xx = np.mgrid[0:n, 0:n].astype(np.float32)
    sx = xx - dx
    sy = yy - dy
    x0 = np.floor(sx).astype(int)
    y0 = np.floor(sy).astype(int)
    fx = (sx - x0)[..., None]
    fy = (sy - y0)[..., None]

    def g(y, x):
        ok = ((x >= 0) & (x < n) & (y >= 0) & (y < n))[..., None]
        return a[np.clip(y, 0, n - 1), np.clip(x, 0, n - 1)] * ok

    r = (g(y0, x0) * (1 - fx) + g(y0, x0 + 1) * fx) * (1 - fy) + (
        g(y0 + 1, x0) * (1 - fx) + g(y0 + 1, x0 + 1) * fx
    ) * fy
    al = r[..., 3:]
    r[..., :3] = np.where(al > 0, r[..., :3] * 255 / np.maximum(al, 1e-3), 0)
    return Image.fromarray(np.clip(r, 0, 255).astype(np.uint8))


def place(im, scale=0.92):
    """fit the emoji into the SxS cell, feet at the bottom (y=0.97)"""
    n = 256
    c = Image.new("RGBA", (n, n))
    m = int(n * scale)
    e = im.resize((m, m), Image.LANCZOS)
    c.paste(e, ((n - m) // 2, n - m - 3), e)
    return c


def frames_of(sub):
    sid, hx, names, kind, anim, size = sub
    out = []
    if anim == "anim":
        f = None
        for c in (hx, hx + "-fe0f"):
            if c + ".webp" in AN:
                f = Image.open(AN[c + ".webp"])
        if f is not None and getattr(f, "n_frames", 1) > 8:
            n = f.n_frames
            for p in range(P):
                f.seek(int(p * n / P))
                out.append(place(f.convert("RGBA")))
            if sid == "horse":
                pass
            return [o.resize((S, S), Image.LANCZOS) for o in out]
        anim = "float"
    if anim.startswith("chibi") or anim.startswith("bust"):
        t, bc, lc = anim.split(":")
        bc = tuple(map(int, bc.split(",")))
        lc = tuple(map(int, lc.split(",")))
        e = emo(hx)
        N = 384
        for p in range(P):
            ph = 2 * math.pi * p / P
            im = Image.new("RGBA", (N, N))
            d = ImageDraw.Draw(im)
            bob = 6 * abs(math.sin(ph))
            hip = (N / 2, N * 0.735 - bob)
            L = N * 0.19

            def limb(x0, y0, ang, L, w, col, foot=False):
                x1 = x0 + math.sin(ang) * L
                y1 = y0 + math.cos(ang) * L
                dk = tuple(int(v * 0.8) for v in col)
                d.line([(x0, y0), (x1, y1)], fill=col + (255,), width=w)
                for x, y in ((x0, y0), (x1, y1)):
                    d.ellipse([x - w / 2, y - w / 2, x + w / 2, y + w / 2], fill=col + (255,))
                if foot:
                    d.ellipse([x1 - w * 0.95, y1 - w * 0.35, x1 + w * 0.5, y1 + w * 0.55], fill=dk + (255,))
                lt = tuple(min(255, int(v * 1.12 + 10)) for v in col)
                d.line([(x0 - w * 0.15, y0), (x1 - w * 0.15, y1)], fill=lt + (255,), width=max(2, w // 5))

            sw = 0.55 * math.sin(ph)
            dk = tuple(int(v * 0.85) for v in lc)
            sh = (N / 2, N * 0.56 - bob)
            limb(sh[0] + 14, sh[1] + 4, -sw * 1.1 + 0.3, L * 0.85, 24, dk)
            limb(hip[0] + 16, hip[1], -sw, L, 30, dk, True)
            if t == "chibi":
                bx = [N / 2 - 52, N * 0.50 - bob, N / 2 + 52, N * 0.79 - bob]
                d.rounded_rectangle(bx, 42, fill=bc + (255,))
                lt = tuple(min(255, int(v * 1.1 + 12)) for v in bc)
                d.ellipse([bx[0] + 12, bx[1] + 20, bx[0] + 62, bx[3] - 14], fill=lt + (255,))
            else:
                bx = [N / 2 - 46, N * 0.58 - bob, N / 2 + 46, N * 0.79 - bob]
                d.rounded_rectangle(bx, 24, fill=bc + (255,))
            limb(hip[0] - 16, hip[1], sw, L, 30, lc, True)
            if t == "chibi":
                limb(sh[0] - 30, sh[1] + 4, sw * 1.1 - 0.3, L * 0.85, 24, lc)
                h = int(N * 0.56)
            else:
                h = int(N * 0.62)
            hd = e.resize((h, h), Image.LANCZOS).rotate(3 * math.sin(ph), resample=Image.BICUBIC)
            im.paste(hd, (int(N / 2 - h / 2), int(N * 0.03 - bob + 4 if t == "chibi" else N * 0.045 - bob + 4)), hd)
            out.append(im)
        return [o.resize((S, S), Image.LANCZOS) for o in out]
    e = place(emo(hx))
    n = 256
    yy, xx = np.mgrid[0:n, 0:n].astype(np.float32)
    al = np.asarray(e)[..., 3]
    xs = np.where(al.max(0) > 30)[0]
    ys = np.where(al.max(1) > 30)[0]
    xa, xb, ya, yb = xs[0], xs[-1], ys[0], ys[-1]
    w = xb - xa
    h = yb - ya
    u = np.maximum((xx - xa) / w, 0) if anim == "fish" else (xx - xa) / w
    v = (yy - ya) / h
    for p in range(P):
        ph = 2 * math.pi * p / P
        dx = np.zeros_like(xx)
        dy = np.zeros_like(xx)
        if anim == "legs":
            t = np.clip((v - 0.58) / 0.42, 0, 1)
            a = ph + 2 * math.pi * u / 0.5
            dx = 0.085 * w * t * np.sin(a)
            dy = -0.05 * h * t * np.maximum(0, np.cos(a)) + 0.012 * h * np.sin(2 * ph) * (1 - t)
            dy += 0.02 * h * np.sin(ph + 0.5) * np.clip(0.35 - u, 0, 1) / 0.35 * (1 - t)
        elif anim == "waddle":
            ang = 0.10 * math.sin(ph)
            cy = yb
            cx = (xa + xb) / 2
            dx = -(yy - cy) * ang * -1
            dy = -(xx - cx) * ang * 0.6
            t = np.clip((v - 0.8) / 0.2, 0, 1)
            dx = dx * (1 - t * 0.5) + 0.06 * w * t * np.sin(ph + 2 * math.pi * u / 0.7)
            dy = dy - 0.02 * h * abs(math.sin(ph))
        elif anim == "squash":
            s = 0.10 * math.sin(ph)
            dy = (yy - yb) * (s)
            dx = -(xx - (xa + xb) / 2) * s * 0.5
        elif anim == "wave":
            dy = 0.05 * h * np.sin(ph + 2 * math.pi * u) + 0.02 * h * math.sin(ph)
            dx = 0.02 * w * np.sin(ph + 2 * math.pi * v)
        elif anim == "fish":
            a = 0.09 * w * (u**1.5)
            dy = a * np.sin(ph - 2.2 * u) * 0.7
            dx = -0.04 * w * (u**1.5) * np.cos(ph)
        elif anim == "jelly":
            t = np.clip((v - 0.45) / 0.55, 0, 1)
            dx = 0.07 * w * t * np.sin(ph + 5 * v)
            dy = (yy - ya) * 0.06 * math.sin(ph)
        elif anim == "float":
            ang = 0.06 * math.sin(ph)
            dx = (yy - 128) * ang
            dy = -(xx - 128) * ang + 2 * math.sin(2 * ph)
        elif anim == "rocket":
            dx = 1.5 * np.sin(3 * ph) * np.ones_like(xx)
            dy = 1.5 * np.cos(3 * ph) * np.ones_like(xx)
            t = np.clip((v - 0.75) / 0.25, 0, 1) * np.clip((0.4 - u) / 0.4, 0, 1)
            dx = dx - 14 * t * abs(math.sin(2 * ph))
            dy = dy + 14 * t * abs(math.sin(2 * ph))
        elif anim == "shake":
            dy = 2.2 * np.sin(2 * ph) * np.clip((0.85 - v) * 4, 0, 1)
            dx = 1.0 * math.sin(ph) * np.ones_like(xx)
        out.append(warp(e, dx.astype(np.float32), dy.astype(np.float32)))
    return [o.resize((S, S), Image.LANCZOS) for o in out]


DECOR = {
    "tree": "1f333",
    "pine": "1f332",
    "palm": "1f334",
    "cactus": "1f335",
    "rock": "1faa8",
    "mushroom": "1f344",
    "tulip": "1f337",
    "sunflower": "1f33b",
    "blossom": "1f33c",
    "cherry": "1f338",
    "herb": "1f33f",
    "house": "1f3e0",
    "houseg": "1f3e1",
    "office": "1f3e2",
    "shop": "1f3ea",
    "castle": "1f3f0",
    "hotel": "1f3e8",
    "school": "1f3eb",
    "church": "26ea",
    "cloud": "2601",
    "moon": "1f315",
    "crescent": "1f319",
    "sun": "1f31e",
    "star": "2b50",
    "planet": "1fa90",
    "earth": "1f30e",
    "coral": "1fab8",
    "shell": "1f41a",
    "seaweed": "1f33f",
    "pumpkin": "1f383",
    "xmas": "1f384",
    "tent": "26fa",
    "fountain": "26f2",
    "lollipop": "1f36d",
    "candy": "1f36c",
    "icecream": "1f366",
    "donut": "1f369",
    "cupcake": "1f9c1",
    "umbrella": "26f1",
    "hay": "1f33e",
    "wood": "1fab5",
    "headstone": "1faa6",
    "ferris": "1f3a1",
    "light": "1f6a6",
    "fire": "1f525",
    "mapleleaf": "1f341",
    "bubbles": "1fae7",
    "tokyo": "1f5fc",
    "ice": "1f9ca",
    "gem": "1f48e",
    "mirrorball": "1faa9",
    "speaker": "1f50a",
    "fence": "1f33e",
    "rainbow": "1f308",
    "balloon": "1f388",
    "factory": "1f3ed",
    "bamboo": "1f38d",
    "seedling": "1f331",
    "meteor": "1f320",
    "satdish": "1f4e1",
    "tractor": "1f69c",
}


def main():
    atlas = Image.new("RGBA", (P * S, len(SUB) * S))
    meta = []
    for r, s in enumerate(SUB):
        fr = frames_of(s)
        assert len(fr) == P
        al = 0
        for c, f in enumerate(fr):
            atlas.paste(f, (c * S, r * S))
            al = np.maximum(al, np.asarray(f)[..., 3])
        ys = np.where(al.max(1) > 40)[0]
        xs = np.where(al.max(0) > 40)[0]
        meta.append(
            dict(
                id=s[0],
                names=s[2],
                kind=s[3],
                size=s[5],
                foot=int(ys[-1]) + 1,
                top=int(ys[0]),
                x0=int(xs[0]),
                x1=int(xs[-1]) + 1,
            )
        )
    atlas.save(OUT + "sprites.webp", lossless=False, quality=93, method=4, exact=False)
    json.dump(meta, open(OUT + "subjects.json", "w"))
    dn = []
    da = Image.new("RGBA", (8 * S, ((len(DECOR) + 7) // 8) * S))
    for i, (k, h) in enumerate(DECOR.items()):
        e = emo(h)
        if e is None:
            print("no decor", k)
            e = Image.new("RGBA", (256, 256))
        else:
            dn.append(k)
        e = place(e, 0.98).resize((S, S), Image.LANCZOS)
        da.paste(e, ((i % 8) * S, (i // 8) * S))
    da.save(OUT + "decor.webp", quality=93)
    json.dump(list(DECOR), open(OUT + "decor.json", "w"))


if __name__ == "__main__":
    main()
