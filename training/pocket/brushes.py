"""What scenery is painted with: layers that wrap around, skies, hills, ground textures, particles in front of the lens."""

import json
import math

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


def thinclouds(l, rs, col=c(255, 255, 255), y0=10, y1=60, cover=0.3, al=0.8):
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
    thinclouds(s, rs, cover=0.22 + 0.1 * rs.rand())
    softclouds(s, rs, 3 + var, 40, 70, 34, 60, al=0.95)
    return s
