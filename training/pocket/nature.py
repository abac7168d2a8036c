"""Scenes under an earthly sky or sea.

Each paints one of three variants with `rs` into the layers `far` and `mid` and returns what else it has: `sky`, and maybe
`ground`, `front` and `ov`, the name of an overlay.
"""

import numpy as np

from .brushes import (
    HOR,
    WP,
    WS,
    H,
    L,
    c,
    d_grass,
    d_lava,
    d_many,
    d_spots,
    dayscene,
    ground,
    noise,
    rep,
    scatter,
    sky,
    softclouds,
    thinclouds,
)


def grass(rs, var, far, mid):
    s = dayscene(rs, var)
    far.hills(rs, HOR - 6, 14, c(150, 200, 130), c(120, 185, 100))
    far.hills(rs, HOR + 1, 7, c(110, 185, 80), c(95, 170, 70))
    scatter(mid, rs, ["tree"], 3 + var, HOR + 6, 26, 44, tint=c(190, 225, 190), mix=0.12)
    g = ground(
        rs,
        c(96, 178, 62),
        0.16,
        d_many(
            d_grass([c(70, 150, 45), c(130, 205, 80), c(85, 165, 55)], 420),
            d_spots([c(255, 255, 255), c(255, 220, 80), c(245, 130, 170)], 14, 1.5, 3),
        ),
        col2=c(122, 196, 76),
    )
    front = L(WP)
    for i in range(90):
        front.put("herb", rs.randint(WP), H + rs.randint(2, 8), rs.uniform(14, 24), mul=0.9, flip=rs.rand() < 0.5)
    return dict(sky=s, ground=g, front=front)


def park(rs, var, far, mid):
    s = dayscene(rs, var)
    far.hills(rs, HOR - 4, 8, c(150, 205, 140), c(125, 190, 110))
    scatter(far, rs, ["tree", "cherry" if 0 else "tree", "houseg"], 9, HOR + 2, 26, 40, tint=c(200, 230, 220), mix=0.25)
    scatter(mid, rs, ["tree", "tree", "fountain"], 6, HOR + 8, 40, 62)
    g = ground(
        rs,
        c(110, 188, 80),
        0.12,
        d_many(
            d_grass([c(85, 160, 60), c(140, 210, 95)], 200),
            lambda d, r, n: [d.rectangle([ox, oy + 70, ox + n, oy + 170], fill=(222, 200, 160)) for ox, oy in rep(n)],
            d_spots([c(205, 180, 140), c(232, 212, 178)], 20, 2, 5),
        ),
    )
    ov = "petals"
    return dict(sky=s, ground=g, ov=ov)


def forest(rs, var, far, mid):
    s = sky(rs, c(120, 185, 160), c(205, 230, 185), horizon=HOR)
    scatter(far, rs, ["pine", "tree"], 26, HOR + 4, 44, 72, tint=c(170, 210, 180), mix=0.45)
    scatter(mid, rs, ["pine", "pine", "tree"], 13, HOR + 9, 62, 96, mul=0.85)
    g = ground(
        rs,
        c(92, 128, 58),
        0.18,
        d_many(d_grass([c(60, 110, 40), c(110, 150, 60)], 250), d_spots([c(110, 85, 50), c(80, 65, 40)], 30, 2, 5)),
        col2=c(110, 105, 60),
    )
    return dict(sky=s, ground=g)


def farm(rs, var, far, mid):
    s = dayscene(rs, var)
    far.hills(rs, HOR - 3, 9, c(205, 200, 110), c(170, 190, 90))
    scatter(far, rs, ["tree", "houseg", "house"], 7, HOR + 3, 28, 42, tint=c(220, 230, 220), mix=0.2)
    scatter(mid, rs, ["hay", "house", "hay", "tree", "sunflower"], 8, HOR + 8, 34, 58)
    g = ground(
        rs,
        c(176, 160, 84),
        0.16,
        d_many(
            d_grass([c(200, 180, 90), c(140, 150, 60), c(120, 160, 60)], 300),
            lambda d, r, n: [
                d.rectangle([ox, oy + y, ox + n, oy + y + 6], fill=(140, 110, 64))
                for ox, oy in rep(n)
                for y in range(20, n, 64)
            ],
        ),
        col2=c(150, 170, 80),
    )
    return dict(sky=s, ground=g)


def desert(rs, var, far, mid):
    s = sky(rs, c(85, 165, 235), c(250, 225, 175), horizon=HOR + 8)
    thinclouds(s, rs, cover=0.08)
    far.hills(rs, HOR - 8, 16, c(240, 190, 120), c(225, 165, 95), beta=1.9, hi=12)
    mid.hills(rs, HOR + 2, 8, c(245, 205, 140), c(232, 182, 112), beta=2, hi=8)
    scatter(mid, rs, ["cactus", "cactus", "rock"], 6, HOR + 8, 24, 52)
    g = ground(
        rs,
        c(238, 196, 126),
        0.10,
        d_spots([c(215, 165, 95), c(250, 215, 155)], 40, 2, 6, 0.35),
        col2=c(226, 178, 108),
    )
    return dict(sky=s, ground=g)


def snow(rs, var, far, mid):
    s = sky(rs, [c(130, 175, 220), c(160, 190, 215), c(100, 150, 210)][var % 3], c(235, 242, 250), horizon=HOR + 8)
    far.hills(rs, HOR - 16, 26, c(150, 175, 205), c(190, 210, 230), beta=1.15, snow=HOR - 8)
    scatter(mid, rs, ["pine", "pine", "house"], 9, HOR + 7, 34, 60, tint=c(240, 246, 255), mix=0.42)
    g = ground(
        rs,
        c(236, 242, 252),
        0.05,
        d_spots([c(215, 226, 242), c(250, 252, 255)], 60, 3, 9, 0.4),
        col2=c(222, 232, 246),
    )
    ov = "snow"
    return dict(sky=s, ground=g, ov=ov)


def beach(rs, var, far, mid):
    s = sky(rs, c(60, 155, 240), c(200, 235, 250), horizon=60)
    thinclouds(s, rs, cover=0.18, y1=50)
    yy = np.arange(H)[:, None]
    t = np.clip((yy - 60) / 34, 0, 1)[..., None]
    n = noise(rs, H, WP, 1.0, 3)
    far.over(
        np.clip(c(30, 120, 200) * (1 - t) + c(80, 205, 215) * t + np.roll(n, 3, 1)[..., None] * 7, 0, 255),
        np.clip(yy - 60 + 0.5, 0, 1) * np.ones((1, WP)),
    )
    far.over(c(255, 255, 255), np.clip((noise(rs, H, WP, 1.0, 8) - 1.7) * 2, 0, 1) * (yy > 64) * 0.8)
    mid.hills(rs, HOR + 3, 3, c(255, 255, 255), c(250, 228, 175), beta=1.5, hi=10, tex=0.02)
    scatter(mid, rs, ["palm", "umbrella", "palm"], 5, HOR + 14, 44, 72)
    g = ground(
        rs,
        c(246, 222, 164),
        0.08,
        d_spots([c(228, 200, 140), c(255, 240, 200), c(240, 180, 150)], 40, 1.5, 4),
        col2=c(238, 208, 146),
    )
    return dict(sky=s, ground=g)


def clouds(rs, var, far, mid):
    s = sky(
        rs,
        [c(50, 140, 240), c(90, 160, 245), c(240, 150, 130)][var],
        [c(180, 225, 252), c(210, 235, 252), c(255, 222, 170)][var],
    )
    thinclouds(s, rs, cover=0.3, y0=0, y1=144, al=0.6)
    softclouds(far, rs, 16, 40, 150, 40, 74, mul=0.96, al=0.9)
    softclouds(mid, rs, 9, 40, 165, 70, 120)
    front = L(WP)
    softclouds(front, rs, 5, 150, 185, 90, 140, al=0.95)
    return dict(sky=s, front=front)


def sunset(rs, var, far, mid):
    s = sky(
        rs,
        [c(60, 40, 110), c(90, 60, 140), c(150, 60, 90)][var],
        c(255, 200, 100),
        mid=c(250, 110, 80),
        horizon=HOR + 4,
    )
    s.blob(250, HOR - 14, 20, 20, c(255, 240, 180), 1, 1.5)
    thinclouds(s, rs, c(255, 170, 140), cover=0.25, al=0.6)
    far.hills(rs, HOR - 8, 16, c(150, 70, 90), c(120, 50, 80))
    mid.hills(rs, HOR + 3, 6, c(105, 50, 70), c(80, 40, 55))
    scatter(mid, rs, ["palm", "tree"], 5, HOR + 8, 34, 62, tint=c(60, 25, 50), mix=0.7)
    g = ground(rs, c(150, 90, 70), 0.14, d_grass([c(110, 60, 55), c(190, 120, 80)], 250), col2=c(120, 70, 62))
    return dict(sky=s, ground=g)


def ocean(rs, var, far, mid):
    s = dayscene(rs, var)

    def wv(l, base, amp, c0, c1, per):
        x = np.arange(WP)
        y = (
            base
            + amp * np.sin(2 * np.pi * x * per / WP)
            + amp * 0.4 * np.sin(2 * np.pi * x * per * 2.5 // 1 / WP * 1 + 1)
        )
        yy = np.arange(H)[:, None]
        al = np.clip(yy - y[None] + 0.5, 0, 1)
        t = np.clip((yy - y[None]) / 40, 0, 1)[..., None]
        rgb = c0 * (1 - t) + c1 * t + noise(rs, H, WP, 1.1, 4)[..., None] * 5
        l.over(np.clip(rgb, 0, 255), al)
        l.over(c(255, 255, 255), np.clip(1.6 - np.abs(yy - y[None] - 1.2), 0, 1) * 0.75)

    wv(far, HOR - 14, 2.0, c(60, 150, 220), c(30, 110, 190), 14)
    wv(far, HOR - 2, 2.5, c(50, 140, 215), c(26, 100, 180), 11)
    wv(mid, HOR + 12, 4, c(44, 132, 210), c(20, 86, 165), 8)
    front = L(WP)
    wv(front, HOR + 38, 5, c(40, 125, 205), c(14, 70, 145), 6)
    if var == 1:
        far.put("palm", 500, HOR - 10, 30)
    return dict(sky=s, front=front)


def underwater(rs, var, far, mid):
    s = sky(
        rs,
        [c(60, 190, 230), c(40, 160, 220), c(30, 140, 190)][var],
        [c(6, 50, 120), c(4, 40, 100), c(4, 60, 110)][var],
    )
    for k in range(7):
        x0 = rs.randint(WS)
        yy, xg = np.mgrid[0:H, 0:WS]
        d = (xg - x0 + yy * 0.5 + WS / 2) % WS - WS / 2
        s.over(c(200, 245, 255), np.clip(1 - np.abs(d) / rs.uniform(6, 20), 0, 1) * np.clip(1 - yy / 120, 0, 1) * 0.22)
    far.hills(rs, 118, 12, c(20, 96, 150), c(10, 66, 120))
    scatter(far, rs, ["coral", "rock", "herb"], 14, 124, 20, 40, tint=c(16, 90, 150), mix=0.5)
    mid.hills(rs, 132, 5, c(225, 205, 150), c(190, 170, 125))
    scatter(mid, rs, ["coral", "coral", "shell", "rock", "herb"], 14, 138, 22, 46, tint=c(30, 120, 170), mix=0.12)
    ov = "bubbles"
    return dict(sky=s, ov=ov)


def jungle(rs, var, far, mid):
    s = sky(rs, c(70, 140, 90), c(180, 215, 130), horizon=HOR)
    scatter(far, rs, ["palm", "tree"], 26, HOR + 4, 44, 76, tint=c(90, 160, 100), mix=0.5)
    scatter(mid, rs, ["palm", "herb", "tree", "palm"], 18, HOR + 10, 46, 90, mul=0.82)
    g = ground(
        rs, c(70, 112, 44), 0.2, d_grass([c(40, 90, 30), c(100, 150, 50), c(60, 120, 40)], 420), col2=c(96, 96, 48)
    )
    front = L(WP)
    for i in range(26):
        front.put("herb", rs.randint(WP), H + rs.randint(4, 14), rs.uniform(26, 44), mul=0.55, flip=rs.rand() < 0.5)
    return dict(sky=s, ground=g, front=front)


def volcano(rs, var, far, mid):
    s = sky(rs, c(40, 20, 30), c(200, 80, 40), mid=c(110, 40, 40), n=8, horizon=HOR + 6)
    far.hills(rs, HOR - 10, 26, c(70, 46, 50), c(50, 34, 40), beta=1.25)
    x0 = [180, 420, 600][var]
    yy, xx = np.mgrid[0:H, 0:WP]
    h = HOR - yy
    w = 24 + np.clip(66 - h, 0, 80) * 1.1
    m = (np.abs(xx - x0) < w) & (h < 62) & (h > -4)
    far.over(c(64, 42, 46), m * 1.0)
    far.over(
        c(255, 120, 30), ((np.abs(xx - x0 - 3 * np.sin(yy / 5)) < 5 + (62 - h) * 0.06) & (h < 62) & (h > 8)) * 0.95
    )
    far.blob(x0, HOR - 64, 26, 16, c(255, 150, 50), 0.6, 12)
    far.over(c(90, 70, 75), np.clip(1 - np.hypot((xx - x0 - 10) / 34, (yy - 8) / 14), 0, 1) * 0.8)
    scatter(mid, rs, ["rock", "fire", "rock"], 8, HOR + 8, 16, 36, tint=c(60, 30, 30), mix=0.3)
    g = ground(rs, c(62, 44, 46), 0.16, d_lava, col2=c(46, 34, 40))
    ov = "embers"
    return dict(sky=s, ground=g, ov=ov)


def autumn(rs, var, far, mid):
    s = sky(rs, c(150, 190, 220), c(250, 225, 180), horizon=HOR)
    scatter(far, rs, ["tree"], 22, HOR + 4, 40, 66, tint=c(235, 150, 60), mix=0.6)
    for i in range(12):
        mid.put(
            "tree",
            rs.randint(WP),
            HOR + 9,
            rs.uniform(56, 86),
            [c(240, 120, 30), c(225, 70, 40), c(245, 185, 50)][rs.randint(3)],
            0.62,
        )
    g = ground(
        rs,
        c(196, 130, 60),
        0.18,
        d_spots([c(230, 110, 30), c(210, 70, 40), c(245, 180, 60), c(150, 90, 40)], 240, 2, 5, 0.6),
        col2=c(170, 120, 60),
    )
    ov = "leaves"
    return dict(sky=s, ground=g, ov=ov)


def mountains(rs, var, far, mid):
    s = dayscene(rs, var)
    far.hills(rs, HOR - 26, 34, c(150, 170, 205), c(120, 150, 180), beta=1.1, snow=HOR - 34)
    mid.hills(rs, HOR - 2, 12, c(110, 150, 120), c(90, 140, 90), beta=1.3)
    scatter(mid, rs, ["pine"], 12, HOR + 7, 26, 46)
    g = ground(
        rs,
        c(128, 150, 98),
        0.16,
        d_many(
            d_grass([c(100, 130, 70), c(160, 180, 110)], 200),
            d_spots([c(150, 150, 150), c(120, 120, 125)], 30, 2, 5),
        ),
        col2=c(150, 146, 120),
    )
    return dict(sky=s, ground=g)
