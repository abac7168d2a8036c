"""Procedural scenes -> assets/scenes.npz-like folder of webp (sky, far, mid, front, ground, overlay)."""

import json
import math
import os
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from PIL import Image, ImageDraw

from . import paths

OUT = str(paths.ASSETS) + "/"
H, WS, WP, HOR = 144, 512, 768, 86
DEC = None


def load():
    global DEC
    names = json.load(open(OUT + "decor.json"))
    a = Image.open(OUT + "decor.webp").convert("RGBA")
    DEC = {}
    for i, k in enumerate(names):
        DEC[k] = a.crop(((i % 8) * 96, (i // 8) * 96, (i % 8) * 96 + 96, (i // 8) * 96 + 96))


def c(*v):
    return np.array(v, np.float32)


def noise(rs, h, w, beta=1.6, lo=0):
    fy = np.fft.fftfreq(h)[:, None] * h
    fx = np.fft.rfftfreq(w)[None] * w
    f = np.sqrt((fy * w / h) ** 2 + fx**2)
    f[0, 0] = 1
    a = np.where(f < lo, 0, f**-beta)
    a[0, 0] = 0
    n = np.fft.irfft2(a * np.exp(2j * np.pi * rs.rand(h, w // 2 + 1)), s=(h, w))
    n = (n - n.mean()) / (n.std() + 1e-6)
    return n.astype(np.float32)


def ridge(rs, w, amp, beta=1.4, lo=1, hi=60):
    f = np.arange(w // 2 + 1)
    a = np.where((f < lo) | (f > hi), 0, np.maximum(f, 1.0) ** -beta)
    n = np.fft.irfft(a * np.exp(2j * np.pi * rs.rand(w // 2 + 1)), n=w)
    n /= np.abs(n).max() + 1e-9
    return (n * amp).astype(np.float32)


class L:
    def __init__(s, w, h=H):
        s.a = np.zeros((h, w, 4), np.float32)
        s.w = w
        s.h = h

    def over(s, rgb, al):
        al = np.broadcast_to(al, (s.h, s.w))
        rgb = np.broadcast_to(rgb, (s.h, s.w, 3))
        A = s.a
        oa = al + A[..., 3] * (1 - al)
        A[..., :3] = np.where(
            oa[..., None] > 1e-6,
            (rgb * al[..., None] + A[..., :3] * (A[..., 3] * (1 - al))[..., None]) / np.maximum(oa, 1e-6)[..., None],
            rgb,
        )
        A[..., 3] = oa

    def hills(s, rs, base, amp, c0, c1, beta=1.4, lo=1, hi=60, tex=0.06, snow=None, fade=None):
        y = base - ridge(rs, s.w, amp, beta, lo, hi)
        yy = np.arange(s.h)[:, None]
        al = np.clip(yy - y[None] + 0.5, 0, 1)
        t = np.clip((yy - y[None]) / (amp * 2 + 14), 0, 1)[..., None]
        rgb = c0 * (1 - t) + c1 * t
        sl = np.roll(y, -2) - np.roll(y, 2)
        rgb = rgb * (1 + np.clip(sl, -3, 3)[None, :, None] * 0.035)
        rgb = rgb + noise(rs, s.h, s.w, 1.3, 4)[..., None] * tex * 90
        if snow is not None:
            m = np.clip((snow - (yy + noise(rs, s.h, s.w, 1.2, 6) * 4)) / 4, 0, 1)[..., None]
            rgb = rgb * (1 - m) + c(245, 248, 255) * m
        s.over(np.clip(rgb, 0, 255), al)

    def put(s, name, x, base, size, tint=None, mix=0.0, mul=1.0, al=1.0, flip=False, rot=0):
        e = DEC[name].resize((int(size), int(size)), Image.LANCZOS)
        if flip:
            e = e.transpose(Image.FLIP_LEFT_RIGHT)
        if rot:
            e = e.rotate(rot, resample=Image.BICUBIC)
        e = np.asarray(e).astype(np.float32)
        n = e.shape[0]
        rgb = e[..., :3] * mul
        if tint is not None:
            rgb = rgb * (1 - mix) + tint * mix
        y0 = int(base - n)
        x0 = int(x)
        ya, yb = max(0, y0), min(s.h, y0 + n)
        if yb <= ya:
            return
        xi = (x0 + np.arange(n)) % s.w
        sub = s.a[ya:yb][:, xi]
        a = e[ya - y0 : yb - y0, :, 3:] / 255 * al
        oa = a + sub[..., 3:] * (1 - a)
        sub[..., :3] = np.where(
            oa > 1e-6,
            (np.clip(rgb[ya - y0 : yb - y0], 0, 255) * a + sub[..., :3] * sub[..., 3:] * (1 - a))
            / np.maximum(oa, 1e-6),
            sub[..., :3],
        )
        sub[..., 3:] = oa
        s.a[ya:yb, xi] = sub

    def blob(s, x, y, rx, ry, rgb, al=1.0, soft=1.0):
        yy, xx = np.mgrid[0 : s.h, 0 : s.w]
        dx = (xx - x + s.w / 2) % s.w - s.w / 2
        d = np.sqrt((dx / rx) ** 2 + ((yy - y) / ry) ** 2)
        s.over(rgb, np.clip((1 - d) * min(rx, ry) / soft, 0, 1) * al)

    def im(s):
        return Image.fromarray(
            np.clip(np.concatenate([s.a[..., :3], s.a[..., 3:] * 255], -1), 0, 255).astype(np.uint8), "RGBA"
        )


def sky(rs, top, bot, mid=None, n=0.0, horizon=H, w=WS):
    l = L(w)
    t = np.clip(np.arange(H) / horizon, 0, 1)[:, None, None]
    rgb = top * (1 - t) + bot * t
    if mid is not None:
        rgb = np.where(t < 0.5, top * (1 - 2 * t) + mid * 2 * t, mid * (2 - 2 * t) + bot * (2 * t - 1))
    rgb = np.broadcast_to(rgb, (H, w, 3)) + (noise(rs, H, w, 1.7)[..., None] * n if n else 0)
    l.over(np.clip(rgb, 0, 255), 1.0)
    return l


def clouds(l, rs, col=c(255, 255, 255), y0=10, y1=60, cover=0.3, al=0.8):
    n = noise(rs, H, l.w, 1.75, 2)
    n = np.clip((n - np.quantile(n, 1 - cover)) / 0.8, 0, 1)
    yy = np.arange(H)[:, None]
    n = n * np.clip((yy - y0) / 12, 0, 1) * np.clip((y1 - yy) / 18, 0, 1)
    sh = np.roll(n, -3, 0)
    rgb = col * (1 - 0.18 * np.clip(sh, 0, 1)[..., None] * (1 - n[..., None]))
    l.over(rgb, n * al)


def softclouds(l, rs, n, y0, y1, s0, s1, mul=1.0, tint=None, mix=0.0, al=1.0):
    for i in range(n):
        l.put(
            "cloud", rs.randint(l.w), rs.uniform(y0, y1), rs.uniform(s0, s1), tint, mix, mul, al, flip=rs.rand() < 0.5
        )


def stars(l, rs, n, y1=H):
    for i in range(n):
        x, y = rs.randint(l.w), rs.randint(y1)
        b = rs.uniform(0.3, 1)
        r = rs.choice([0, 0, 0, 1])
        l.a[y, x, :3] = np.maximum(l.a[y, x, :3], c(255, 250, 230) * b)
        l.a[y, x, 3] = 1
        if r and y > 0 and y < H - 1:
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                l.a[y + dy, (x + dx) % l.w, :3] = np.maximum(
                    l.a[y + dy, (x + dx) % l.w, :3], c(255, 250, 230) * b * 0.5
                )


def ground(rs, col, var=0.12, detail=None, n=256, col2=None):
    g = np.broadcast_to(col, (n, n, 3)).copy()
    a = noise(rs, n, n, 1.4, 2)[..., None]
    b = noise(rs, n, n, 0.7, 10)[..., None]
    if col2 is not None:
        m = 1 / (1 + np.exp(-2.5 * a))
        g = g * (1 - m) + col2 * m
    g = g * (1 + var * 0.6 * a + var * 0.5 * b)
    im = Image.fromarray(np.clip(g, 0, 255).astype(np.uint8))
    if detail:
        big = Image.new("RGB", (n * 3, n * 3))
        for i in range(3):
            for j in range(3):
                big.paste(im, (i * n, j * n))
        d = ImageDraw.Draw(big)
        detail(d, rs, n)
        im = big.crop((n, n, 2 * n, 2 * n))
    return im


def rep(n):  # the 9 tile copies
    return [(i * n, j * n) for i in range(3) for j in range(3)]


def d_grass(cols, k=260):
    def f(d, rs, n):
        for _ in range(k):
            x, y = rs.randint(n), rs.randint(n)
            col = tuple(int(v) for v in cols[rs.randint(len(cols))])
            w = rs.randint(2, 5)
            h = rs.randint(4, 9)
            for ox, oy in rep(n):
                d.polygon([(x + ox, y + oy), (x + ox + w, y + oy), (x + ox + w / 2, y + oy - h)], fill=col)

    return f


def d_spots(cols, k=60, r0=1, r1=4, sq=0.6, flowers=False):
    def f(d, rs, n):
        for _ in range(k):
            x, y = rs.randint(n), rs.randint(n)
            col = tuple(int(v) for v in cols[rs.randint(len(cols))])
            r = rs.uniform(r0, r1)
            for ox, oy in rep(n):
                d.ellipse([x + ox - r, y + oy - r * sq, x + ox + r, y + oy + r * sq], fill=col)

    return f


def d_craters(dark, light, k=10, r0=6, r1=26):
    def f(d, rs, n):
        for _ in range(k):
            x, y = rs.randint(n), rs.randint(n)
            r = rs.uniform(r0, r1)
            for ox, oy in rep(n):
                d.ellipse(
                    [x + ox - r, y + oy - r * 0.9 + 2, x + ox + r, y + oy + r * 0.9 + 2],
                    fill=tuple(int(v) for v in light),
                )
                d.ellipse(
                    [x + ox - r * 0.9, y + oy - r * 0.8, x + ox + r * 0.9, y + oy + r * 0.8],
                    fill=tuple(int(v) for v in dark),
                )

    return f


def d_road(line):
    def f(d, rs, n):
        for ox, oy in rep(n):
            for x in range(0, n, 64):
                d.rectangle([x + ox, oy + 120, x + ox + 34, oy + 132], fill=line)
            d.rectangle([ox, oy + 10, ox + n, oy + 16], fill=line)

    return f


def d_tiles(line, k=32):
    def f(d, rs, n):
        for x in range(0, n * 3, k):
            d.line([(x, 0), (x, 3 * n)], fill=line, width=2)
            d.line([(0, x), (3 * n, x)], fill=line, width=2)

    return f


def d_chk(c1, k=32):
    def f(d, rs, n):
        for i in range(0, n * 3 // k):
            for j in range(0, n * 3 // k):
                if (i + j) % 2:
                    d.rectangle([i * k, j * k, i * k + k - 1, j * k + k - 1], fill=c1)

    return f


def d_lava(d, rs, n):
    for _ in range(14):
        x, y = rs.randint(n), rs.randint(n)
        pts = [(x, y)]
        for k in range(5):
            x += rs.randint(-40, 40)
            y += rs.randint(-30, 30)
            pts.append((x, y))
        for ox, oy in rep(n):
            q = [(a + ox, b + oy) for a, b in pts]
            d.line(q, fill=(255, 110, 20), width=7)
            d.line(q, fill=(255, 220, 90), width=3)


def d_many(*fs):
    def f(d, rs, n):
        for g in fs:
            g(d, rs, n)

    return f


def overlay(kind, rs):
    n = 256
    im = Image.new("RGBA", (n * 2, H * 2 * 1), (0, 0, 0, 0))
    d = ImageDraw.Draw(im)
    W2, H2 = n * 2, H * 2

    def wr(fn, x, y):
        for ox in (0, W2, -W2):
            for oy in (0, H2, -H2):
                fn(x + ox, y + oy)

    if kind == "snow":
        for _ in range(90):
            r = rs.uniform(1.5, 4)
            wr(
                lambda x, y: d.ellipse([x - r, y - r, x + r, y + r], fill=(255, 255, 255, 225)),
                rs.randint(W2),
                rs.randint(H2),
            )
    elif kind == "rain":
        for _ in range(110):
            l = rs.randint(14, 26)
            wr(
                lambda x, y: d.line([(x, y), (x - 4, y + l)], fill=(205, 225, 250, 170), width=2),
                rs.randint(W2),
                rs.randint(H2),
            )
    elif kind == "bubbles":
        for _ in range(26):
            r = rs.uniform(3, 8)
            wr(
                lambda x, y: (
                    d.ellipse([x - r, y - r, x + r, y + r], outline=(220, 245, 255, 190), width=2),
                    d.ellipse([x - r * 0.5, y - r * 0.6, x - r * 0.1, y - r * 0.2], fill=(255, 255, 255, 210)),
                ),
                rs.randint(W2),
                rs.randint(H2),
            )
    elif kind == "leaves":
        for _ in range(26):
            a = rs.uniform(0, 3.14)
            r = rs.uniform(4, 8)
            col = [(235, 120, 30), (220, 70, 40), (245, 180, 50)][rs.randint(3)]
            wr(
                lambda x, y: d.polygon(
                    [
                        (
                            x + r * math.cos(a + t) * (1 if k % 2 else 0.55),
                            y + r * math.sin(a + t) * (1 if k % 2 else 0.55),
                        )
                        for k, t in enumerate(np.linspace(0, 6.28, 7)[:-1])
                    ],
                    fill=col + (240,),
                ),
                rs.randint(W2),
                rs.randint(H2),
            )
    elif kind == "embers":
        for _ in range(50):
            r = rs.uniform(1.2, 3)
            wr(
                lambda x, y: d.ellipse([x - r, y - r, x + r, y + r], fill=(255, rs.randint(120, 210), 40, 230)),
                rs.randint(W2),
                rs.randint(H2),
            )
    elif kind == "petals":
        for _ in range(26):
            r = rs.uniform(2.5, 4.5)
            wr(
                lambda x, y: d.ellipse([x - r, y - r * 0.6, x + r, y + r * 0.6], fill=(255, 185, 210, 235)),
                rs.randint(W2),
                rs.randint(H2),
            )
    elif kind == "confetti":
        for _ in range(50):
            col = [(255, 80, 120), (90, 200, 255), (255, 220, 70), (130, 240, 130), (200, 120, 255)][rs.randint(5)]
            r = rs.uniform(2, 4)
            wr(
                lambda x, y: d.rectangle([x - r, y - r * 0.6, x + r, y + r * 0.6], fill=col + (240,)),
                rs.randint(W2),
                rs.randint(H2),
            )
    elif kind == "dust":
        for _ in range(30):
            r = rs.uniform(1, 2.2)
            wr(
                lambda x, y: d.ellipse([x - r, y - r, x + r, y + r], fill=(255, 190, 140, 120)),
                rs.randint(W2),
                rs.randint(H2),
            )
    elif kind == "fireflies":
        for _ in range(24):
            r = rs.uniform(1.5, 3)
            wr(
                lambda x, y: d.ellipse([x - r, y - r, x + r, y + r], fill=(245, 255, 150, 210)),
                rs.randint(W2),
                rs.randint(H2),
            )
    return im.resize((n, H), Image.LANCZOS)


G = [c(70, 150, 50), c(120, 195, 70), c(95, 175, 60)]


def scatter(l, rs, names, n, base, s0, s1, **k):
    xs = (np.arange(n) + rs.rand(n) * 0.7) * l.w / n
    for x in xs:
        l.put(names[rs.randint(len(names))], x, base + rs.uniform(-2, 3), rs.uniform(s0, s1), flip=rs.rand() < 0.5, **k)


def dayscene(rs, var):
    tops = [c(70, 150, 235), c(95, 175, 245), c(60, 130, 215)]
    bots = [c(190, 228, 250), c(215, 238, 250), c(225, 235, 240)]
    s = sky(rs, tops[var % 3], bots[var % 3], horizon=HOR + 10)
    clouds(s, rs, cover=0.22 + 0.1 * rs.rand())
    softclouds(s, rs, 3 + var, 40, 70, 34, 60, al=0.95)
    return s


def make(scene, var):
    rs = np.random.RandomState(
        hash(scene + str(var)) % 2**31
        if False
        else sum(ord(ch) * (i + 7) * 131 for i, ch in enumerate(scene)) * 17 + var * 9973
    )
    far, mid, front = L(WP), L(WP), None
    ov = None
    g = None
    s = None
    if scene == "grass":
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
    elif scene == "park":
        s = dayscene(rs, var)
        far.hills(rs, HOR - 4, 8, c(150, 205, 140), c(125, 190, 110))
        scatter(
            far, rs, ["tree", "cherry" if 0 else "tree", "houseg"], 9, HOR + 2, 26, 40, tint=c(200, 230, 220), mix=0.25
        )
        scatter(mid, rs, ["tree", "tree", "fountain"], 6, HOR + 8, 40, 62)
        g = ground(
            rs,
            c(110, 188, 80),
            0.12,
            d_many(
                d_grass([c(85, 160, 60), c(140, 210, 95)], 200),
                lambda d, r, n: [
                    d.rectangle([ox, oy + 70, ox + n, oy + 170], fill=(222, 200, 160)) for ox, oy in rep(n)
                ],
                d_spots([c(205, 180, 140), c(232, 212, 178)], 20, 2, 5),
            ),
        )
        ov = "petals"
    elif scene == "forest":
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
    elif scene == "farm":
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
    elif scene == "desert":
        s = sky(rs, c(85, 165, 235), c(250, 225, 175), horizon=HOR + 8)
        clouds(s, rs, cover=0.08)
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
    elif scene == "mars":
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
    elif scene == "moon":
        s = sky(rs, c(6, 8, 20), c(20, 22, 44))
        stars(s, rs, 220, 100)
        s.put("earth", [120, 300, 420][var % 3], 62, 46)
        far.hills(rs, HOR - 6, 12, c(150, 150, 160), c(110, 110, 122), beta=1.3)
        mid.hills(rs, HOR + 3, 5, c(180, 180, 190), c(150, 150, 160), beta=1.5)
        scatter(mid, rs, ["rock"], 6, HOR + 8, 12, 26)
        g = ground(
            rs, c(168, 168, 178), 0.12, d_craters(c(128, 128, 140), c(205, 205, 214), 14, 5, 26), col2=c(148, 148, 160)
        )
    elif scene == "snow":
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
    elif scene == "beach":
        s = sky(rs, c(60, 155, 240), c(200, 235, 250), horizon=60)
        clouds(s, rs, cover=0.18, y1=50)
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
    elif scene in ("city", "rain", "citynight"):
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
    elif scene == "space":
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
    elif scene == "clouds":
        s = sky(
            rs,
            [c(50, 140, 240), c(90, 160, 245), c(240, 150, 130)][var],
            [c(180, 225, 252), c(210, 235, 252), c(255, 222, 170)][var],
        )
        clouds(s, rs, cover=0.3, y0=0, y1=144, al=0.6)
        softclouds(far, rs, 16, 40, 150, 40, 74, mul=0.96, al=0.9)
        softclouds(mid, rs, 9, 40, 165, 70, 120)
        front = L(WP)
        softclouds(front, rs, 5, 150, 185, 90, 140, al=0.95)
    elif scene == "sunset":
        s = sky(
            rs,
            [c(60, 40, 110), c(90, 60, 140), c(150, 60, 90)][var],
            c(255, 200, 100),
            mid=c(250, 110, 80),
            horizon=HOR + 4,
        )
        s.blob(250, HOR - 14, 20, 20, c(255, 240, 180), 1, 1.5)
        clouds(s, rs, c(255, 170, 140), cover=0.25, al=0.6)
        far.hills(rs, HOR - 8, 16, c(150, 70, 90), c(120, 50, 80))
        mid.hills(rs, HOR + 3, 6, c(105, 50, 70), c(80, 40, 55))
        scatter(mid, rs, ["palm", "tree"], 5, HOR + 8, 34, 62, tint=c(60, 25, 50), mix=0.7)
        g = ground(rs, c(150, 90, 70), 0.14, d_grass([c(110, 60, 55), c(190, 120, 80)], 250), col2=c(120, 70, 62))
    elif scene == "ocean":
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
    elif scene == "underwater":
        s = sky(
            rs,
            [c(60, 190, 230), c(40, 160, 220), c(30, 140, 190)][var],
            [c(6, 50, 120), c(4, 40, 100), c(4, 60, 110)][var],
        )
        xx = np.arange(WS)
        for k in range(7):
            x0 = rs.randint(WS)
            yy, xg = np.mgrid[0:H, 0:WS]
            d = (xg - x0 + yy * 0.5 + WS / 2) % WS - WS / 2
            s.over(
                c(200, 245, 255), np.clip(1 - np.abs(d) / rs.uniform(6, 20), 0, 1) * np.clip(1 - yy / 120, 0, 1) * 0.22
            )
        far.hills(rs, 118, 12, c(20, 96, 150), c(10, 66, 120))
        scatter(far, rs, ["coral", "rock", "herb"], 14, 124, 20, 40, tint=c(16, 90, 150), mix=0.5)
        mid.hills(rs, 132, 5, c(225, 205, 150), c(190, 170, 125))
        scatter(mid, rs, ["coral", "coral", "shell", "rock", "herb"], 14, 138, 22, 46, tint=c(30, 120, 170), mix=0.12)
        ov = "bubbles"
    elif scene == "jungle":
        s = sky(rs, c(70, 140, 90), c(180, 215, 130), horizon=HOR)
        scatter(far, rs, ["palm", "tree"], 26, HOR + 4, 44, 76, tint=c(90, 160, 100), mix=0.5)
        scatter(mid, rs, ["palm", "herb", "tree", "palm"], 18, HOR + 10, 46, 90, mul=0.82)
        g = ground(
            rs, c(70, 112, 44), 0.2, d_grass([c(40, 90, 30), c(100, 150, 50), c(60, 120, 40)], 420), col2=c(96, 96, 48)
        )
        front = L(WP)
        for i in range(26):
            front.put("herb", rs.randint(WP), H + rs.randint(4, 14), rs.uniform(26, 44), mul=0.55, flip=rs.rand() < 0.5)
    elif scene == "volcano":
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
    elif scene == "candy":
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
    elif scene == "autumn":
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
    elif scene == "disco":
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
    elif scene == "castle":
        s = dayscene(rs, var)
        s.put("rainbow", 300, HOR, 100, al=0.6)
        far.hills(rs, HOR - 8, 16, c(150, 190, 200), c(120, 175, 150))
        far.put("castle", 100 + 150 * var, HOR + 2, 78, c(200, 220, 240), 0.12)
        far.put("castle", 500 + 60 * var, HOR + 2, 60, c(200, 220, 240), 0.25)
        scatter(mid, rs, ["pine", "tree", "tulip", "blossom"], 10, HOR + 8, 22, 46)
        g = ground(
            rs,
            c(112, 184, 92),
            0.12,
            d_many(
                d_grass([c(80, 155, 65), c(150, 215, 110)], 240),
                lambda d, r, n: [
                    d.rectangle([ox, oy + 90, ox + n, oy + 160], fill=(200, 190, 180)) for ox, oy in rep(n)
                ],
                d_spots([c(170, 160, 150)], 24, 3, 6),
            ),
        )
    elif scene == "mountains":
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
    elif scene == "graveyard":
        s = sky(rs, c(14, 14, 40), c(70, 60, 110), n=4, horizon=HOR)
        stars(s, rs, 80, 70)
        s.put("moon", [100, 260, 380][var], 66, 50)
        far.hills(rs, HOR - 4, 9, c(40, 40, 74), c(30, 30, 60))
        scatter(far, rs, ["church", "pine", "pine"], 8, HOR + 2, 32, 52, tint=c(28, 26, 60), mix=0.75)
        scatter(
            mid, rs, ["headstone", "pumpkin", "headstone", "tree"], 11, HOR + 8, 22, 46, tint=c(40, 36, 80), mix=0.42
        )
        g = ground(rs, c(54, 66, 66), 0.2, d_grass([c(36, 50, 52), c(74, 92, 80)], 300), col2=c(60, 56, 74))
        ov = "fireflies"
    else:
        raise KeyError(scene)

    def tex(l, w):
        return l.im() if l is not None else Image.new("RGBA", (w, H))

    has = dict(ground=g is not None, front=front is not None, ov=ov)
    return dict(
        sky=s.im().convert("RGB"),
        far=tex(far, WP),
        mid=tex(mid, WP),
        front=tex(front, WP),
        ground=g if g is not None else Image.new("RGB", (256, 256)),
        ov=overlay(ov, rs) if ov else Image.new("RGBA", (256, H)),
    ), has


SC = {  # phrases, subject kinds allowed
    "grass": [
        "in grass",
        "in the grass",
        "on green grass",
        "in a meadow",
        "in a grassy field",
        "through tall grass",
        "in a green field",
    ],
    "park": ["in a park", "in the park", "along a path in a park", "in a park on a spring day", "in a garden"],
    "forest": ["in a forest", "in the woods", "through the forest", "between pine trees"],
    "farm": ["on a farm", "in a farm field", "in the countryside", "in a wheat field"],
    "desert": ["in the desert", "on sand dunes", "in a hot desert", "past cactuses"],
    "mars": ["on mars", "on the red planet", "on planet mars", "on the surface of mars"],
    "moon": ["on the moon", "on the lunar surface", "on the surface of the moon"],
    "snow": ["in the snow", "in a snowy landscape", "in winter", "through falling snow"],
    "beach": ["on the beach", "on a sandy beach", "by the sea", "on a tropical beach"],
    "city": ["in the city", "on a city street", "downtown", "in a town", "on the road"],
    "rain": ["in the rain", "on a rainy street", "on a rainy day", "in a storm"],
    "citynight": ["in the city at night", "in a neon city", "on a street at night", "in a cyberpunk city"],
    "space": ["in space", "in outer space", "among the stars", "through the galaxy"],
    "clouds": ["through clouds", "in the clouds", "in the sky", "above the clouds", "through the blue sky"],
    "sunset": ["at sunset", "at dusk", "in the sunset", "at golden hour"],
    "ocean": ["on the ocean", "on the sea", "over the waves", "across the ocean"],
    "underwater": ["underwater", "under the sea", "in a coral reef", "deep in the ocean", "in an aquarium"],
    "jungle": ["in the jungle", "in a rainforest", "through the tropical jungle"],
    "volcano": ["near a volcano", "on lava", "by an erupting volcano", "in hell"],
    "candy": ["in candy land", "in a candy world", "in a land of sweets"],
    "autumn": ["in an autumn forest", "in autumn", "among falling leaves", "in the fall"],
    "disco": ["at a disco", "on a dance floor", "at a party", "in a night club"],
    "castle": ["near a castle", "in a fairy tale kingdom", "in front of a castle"],
    "mountains": ["in the mountains", "on a mountain trail", "in the alps"],
    "graveyard": ["in a graveyard", "in a spooky cemetery", "on halloween night"],
}


def job(key):
    scene, variant = key
    layers, has = make(scene, variant)
    for name, im in layers.items():
        if name in has and not has[name]:
            continue
        im.save(f"{OUT}scenes/{scene}_{variant}_{name}.webp", quality=92, method=3)


def main():
    load()
    os.makedirs(OUT + "scenes", exist_ok=True)
    with ProcessPoolExecutor(2) as ex:
        list(ex.map(job, [(s, v) for s in SC for v in range(3)]))
    json.dump(dict(scenes=list(SC), phrases=SC), open(OUT + "scenes.json", "w"))


if __name__ == "__main__":
    main()
