"""Scenes that people built, other worlds and made-up ones.

Each paints one of three variants with `rs` into the layers `far` and `mid` and returns what else it has: `sky`, and maybe
`ground`, `front` and `ov`, the name of an overlay.
"""

import numpy as np

from .brushes import (
    HOR,
    WP,
    WS,
    H,
    c,
    d_chk,
    d_craters,
    d_grass,
    d_many,
    d_road,
    d_spots,
    d_tiles,
    dayscene,
    ground,
    noise,
    rep,
    scatter,
    sky,
    softclouds,
    stars,
)


def city(rs, var, far, mid, scene):
    ov = None
    nt = scene == "citynight"
    rn = scene == "rain"
    s = (
        sky(rs, c(12, 14, 44), c(70, 40, 110), horizon=HOR)
        if nt
        else (sky(rs, c(95, 110, 130), c(150, 165, 180), n=6) if rn else dayscene(rs, var))
    )
    if nt:
        stars(s, rs, 90, 60)
        s.put("crescent", [80, 250, 400][var], 52, 34)
    tint = c(30, 24, 70) if nt else (c(110, 125, 145) if rn else c(190, 215, 240))
    yb = HOR + 3
    xs = 0
    while xs < WP - 20:
        w = rs.randint(26, 48)
        h = rs.randint(30, 70)
        col = (c(40, 36, 84) if nt else c(150, 165, 195) if not rn else c(104, 116, 134)) * rs.uniform(0.8, 1.15)
        yy, xx = np.mgrid[0:H, 0:WP]
        m = (xx >= xs) & (xx < xs + w) & (yy >= yb - h) & (yy < yb + 2)
        far.over(col, m * 1.0)
        win = m & ((xx - xs) % 8 > 2) & ((xx - xs) % 8 < 6) & ((yy) % 9 > 3) & ((yy) % 9 < 7) & (xx < xs + w - 2)
        lit = rs.rand(H // 9 + 1, WP // 8 + 1)[yy // 9, (xx - xs) // 8 % (WP // 8)]
        far.over(
            c(255, 215, 110) if nt else c(205, 225, 240) * (0.8 if rn else 1),
            win * (lit < (0.55 if nt else 0.9)) * 1.0,
        )
        xs += w + rs.randint(-2, 5)
    scatter(
        mid,
        rs,
        ["office", "shop", "hotel", "school", "house", "office"],
        11,
        HOR + 7,
        46,
        72,
        tint=tint,
        mix=0.42 if nt else 0.3 if rn else 0.08,
    )
    scatter(mid, rs, ["tree", "light"], 5, HOR + 8, 22, 34, tint=tint, mix=0.4 if nt else 0.15)
    if nt:
        for i in range(14):
            mid.blob(
                rs.randint(WP),
                rs.uniform(40, 80),
                rs.uniform(2, 9),
                rs.uniform(1.5, 4),
                [c(255, 60, 180), c(60, 230, 255), c(255, 200, 60), c(130, 255, 120)][rs.randint(4)],
                0.85,
                3,
            )
    g = ground(
        rs,
        c(52, 50, 74) if nt else c(90, 98, 108) if rn else c(120, 122, 130),
        0.07,
        d_road((235, 220, 140) if nt else (225, 225, 225)),
    )
    if rn:
        ov = "rain"
    return dict(sky=s, ground=g, ov=ov)


def space(rs, var, far, mid):
    s = sky(rs, [c(8, 6, 26), c(14, 8, 36), c(4, 12, 30)][var], [c(26, 14, 60), c(44, 14, 60), c(8, 30, 60)][var])
    for k, col in enumerate([c(150, 50, 170), c(40, 90, 200), c(200, 80, 110)]):
        n = noise(rs, H, WS, 2.0, 1)
        s.over(col, np.clip(n * 0.35 - 0.05, 0, 0.45))
    stars(s, rs, 300)
    stars(far, rs, 90)
    for nm, sz in (("planet", 70), ("earth", 44), ("moon", 36)):
        far.put(nm, rs.randint(WP), rs.uniform(60, 140), sz * rs.uniform(0.8, 1.3))
    scatter(mid, rs, ["rock", "star"], 7, 80, 10, 24)
    scatter(mid, rs, ["rock"], 4, 135, 12, 30)
    return dict(sky=s)


def mars(rs, var, far, mid):
    s = sky(
        rs,
        [c(150, 80, 60), c(190, 120, 80), c(110, 60, 70)][var % 3],
        [c(240, 180, 130), c(250, 200, 150), c(220, 140, 110)][var % 3],
        n=4,
        horizon=HOR + 6,
    )
    s.blob(rs.randint(WS), 24, 7, 7, c(255, 235, 220), 0.95)
    far.hills(rs, HOR - 10, 22, c(176, 84, 56), c(150, 66, 46), beta=1.2)
    mid.hills(rs, HOR + 2, 9, c(196, 98, 60), c(172, 78, 50), beta=1.3)
    scatter(mid, rs, ["rock"], 8, HOR + 8, 14, 34, tint=c(170, 70, 45), mix=0.55)
    if var == 1:
        mid.put("satdish", 200, HOR + 8, 34, c(170, 80, 50), 0.2)
    g = ground(
        rs,
        c(194, 92, 54),
        0.16,
        d_many(
            d_craters(c(160, 70, 42), c(220, 122, 80), 9, 6, 22),
            d_spots([c(140, 60, 38), c(225, 130, 85)], 50, 1.5, 5),
        ),
        col2=c(170, 74, 46),
    )
    ov = "dust"
    return dict(sky=s, ground=g, ov=ov)


def moon(rs, var, far, mid):
    s = sky(rs, c(6, 8, 20), c(20, 22, 44))
    stars(s, rs, 220, 100)
    s.put("earth", [120, 300, 420][var % 3], 62, 46)
    far.hills(rs, HOR - 6, 12, c(150, 150, 160), c(110, 110, 122), beta=1.3)
    mid.hills(rs, HOR + 3, 5, c(180, 180, 190), c(150, 150, 160), beta=1.5)
    scatter(mid, rs, ["rock"], 6, HOR + 8, 12, 26)
    g = ground(
        rs, c(168, 168, 178), 0.12, d_craters(c(128, 128, 140), c(205, 205, 214), 14, 5, 26), col2=c(148, 148, 160)
    )
    return dict(sky=s, ground=g)


def candy(rs, var, far, mid):
    s = sky(rs, [c(255, 170, 215), c(190, 190, 255), c(255, 190, 180)][var], c(255, 235, 245), horizon=HOR + 6)
    softclouds(s, rs, 7, 36, 80, 40, 64, tint=c(255, 200, 230), mix=0.4)
    s.put("rainbow", 150, HOR + 4, 90, al=0.8)
    far.hills(rs, HOR - 6, 12, c(255, 160, 200), c(240, 130, 185), beta=2, hi=10)
    far.hills(rs, HOR + 1, 7, c(170, 230, 205), c(140, 215, 190), beta=2, hi=10)
    scatter(mid, rs, ["lollipop", "icecream", "cupcake", "donut", "candy", "lollipop"], 11, HOR + 8, 28, 54)
    g = ground(
        rs,
        c(255, 190, 220),
        0.05,
        d_spots([c(255, 120, 180), c(120, 220, 240), c(255, 235, 120), c(255, 255, 255)], 60, 2, 4),
        col2=c(250, 205, 235),
    )
    return dict(sky=s, ground=g)


def disco(rs, var, far, mid):
    s = sky(rs, c(30, 8, 60), c(90, 20, 120))
    yy, xx = np.mgrid[0:H, 0:WS]
    for k in range(8):
        x0 = rs.randint(WS)
        sl = rs.uniform(-0.8, 0.8)
        d = (xx - x0 - yy * sl + WS / 2) % WS - WS / 2
        s.over(
            [c(255, 60, 160), c(60, 220, 255), c(255, 230, 80), c(140, 90, 255)][k % 4],
            np.clip(1 - np.abs(d) / (4 + yy * 0.12), 0, 1) * 0.4,
        )
    for x in range(40, WP, 190):
        far.put("mirrorball", x, 46, 38)
    scatter(mid, rs, ["speaker", "balloon", "balloon"], 8, HOR + 4, 30, 46)
    g = ground(rs, c(120, 40, 160), 0.05, d_many(d_chk((60, 200, 235), 64), d_tiles((30, 10, 60), 64)))
    ov = "confetti"
    return dict(sky=s, ground=g, ov=ov)


def castle(rs, var, far, mid):
    s = dayscene(rs, var)
    s.put("rainbow", 300, HOR, 100, al=0.6)
    far.hills(rs, HOR - 8, 16, c(150, 190, 200), c(120, 175, 150))
    for k in range(4):  # a frame shows a third of the layer: none may be without a castle
        x = 60 + 64 * var + WP // 4 * k
        far.put("castle", x, HOR + 2, 64 if k % 2 else 82, c(200, 220, 240), 0.25 if k % 2 else 0.12)
    scatter(mid, rs, ["pine", "tree", "tulip", "blossom"], 10, HOR + 8, 22, 46)
    g = ground(
        rs,
        c(112, 184, 92),
        0.12,
        d_many(
            d_grass([c(80, 155, 65), c(150, 215, 110)], 240),
            lambda d, r, n: [d.rectangle([ox, oy + 90, ox + n, oy + 160], fill=(200, 190, 180)) for ox, oy in rep(n)],
            d_spots([c(170, 160, 150)], 24, 3, 6),
        ),
    )
    return dict(sky=s, ground=g)


def graveyard(rs, var, far, mid):
    s = sky(rs, c(14, 14, 40), c(70, 60, 110), n=4, horizon=HOR)
    stars(s, rs, 80, 70)
    s.put("moon", [100, 260, 380][var], 66, 50)
    far.hills(rs, HOR - 4, 9, c(40, 40, 74), c(30, 30, 60))
    scatter(far, rs, ["church", "pine", "pine"], 8, HOR + 2, 32, 52, tint=c(28, 26, 60), mix=0.75)
    scatter(mid, rs, ["headstone", "pumpkin", "headstone", "tree"], 11, HOR + 8, 22, 46, tint=c(40, 36, 80), mix=0.42)
    g = ground(rs, c(54, 66, 66), 0.2, d_grass([c(36, 50, 52), c(74, 92, 80)], 300), col2=c(60, 56, 74))
    ov = "fireflies"
    return dict(sky=s, ground=g, ov=ov)
