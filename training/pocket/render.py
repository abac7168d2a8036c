"""The GPU compositor: rows of numbers from `clips.frames` -> RGB frames.

Only per-pixel arithmetic on coordinate grids, so wide (256x144) and square (192x192) frames share one compiled graph:
both have 36 864 pixels, and a square frame is drawn as 144x256 pixels of square coordinates and then reshaped.
"""

import os

import numpy as np
import torch
from PIL import Image, ImageFilter

from .clips import AS, H, ND, NG, NP, NSP, NT, P, S, SCN, SP, T_DEC, W, sub, tid

GROUND_CONTRAST = 0.55  # ground textures are softened: grain costs the autoencoder bits that the subject needs


def build_atlas(dev="cpu"):
    chunks = []
    off = np.zeros(NT, np.int64)
    pos = 0

    def add(t, a):
        nonlocal pos
        a = a.astype(np.float32)
        a[..., :3] *= a[..., 3:] / 255
        a = np.round(a).astype(np.uint32)
        p = (
            (a[..., 0] | (a[..., 1] << 8) | (a[..., 2] << 16) | (a[..., 3] << 24))
            .astype(np.uint32)
            .view(np.int32)
            .ravel()
        )
        off[t] = pos
        chunks.append(p)
        pos += p.size

    A = np.asarray(Image.open(AS + "sprites.webp").convert("RGBA"))
    for r in range(len(sub)):
        for c in range(P):
            add(r * P + c, A[r * S : r * S + S, c * S : c * S + S])
    D = Image.open(AS + "decor.webp").convert("RGBA")
    for i in range(ND):
        d = D.crop(((i % 8) * 96, (i // 8) * 96, (i % 8) * 96 + 96, (i // 8) * 96 + 96))
        for l in range(3):
            n = 96 >> l
            add(T_DEC + i * 3 + l, np.asarray(d.resize((n, n), Image.LANCZOS)))
    zero = {}
    for s, n in enumerate(SCN):
        for v in range(3):
            for k, (nm, w) in enumerate((("sky", 512), ("far", 768), ("mid", 768), ("front", 768), ("ov", 256))):
                f = f"{AS}scenes/{n}_{v}_{nm}.webp"
                if os.path.exists(f):
                    add(tid(s, v, k), np.asarray(Image.open(f).convert("RGBA")))
                else:
                    if w not in zero:
                        add(tid(s, v, k), np.zeros((H, w, 4), np.uint8))
                        zero[w] = off[tid(s, v, k)]
                    off[tid(s, v, k)] = zero[w]
            f = f"{AS}scenes/{n}_{v}_ground.webp"
            if os.path.exists(f):
                g = np.asarray(Image.open(f).convert("RGBA"))
                b = Image.fromarray(np.tile(g, (3, 3, 1))[128:640, 128:640])
                b = Image.blend(b.filter(ImageFilter.GaussianBlur(3)), b, GROUND_CONTRAST)
                for m, sg in enumerate((0, 1.1, 2.4)):
                    x = np.asarray(b.filter(ImageFilter.GaussianBlur(sg)) if sg else b)[128:384, 128:384]
                    x = np.roll(x, (128, 128), (0, 1))
                    add(tid(s, v, 5 + m), x)
    return torch.from_numpy(np.concatenate(chunks)).to(dev), torch.from_numpy(off).to(dev)


def unpack(p):
    return torch.stack([(p & 255), ((p >> 8) & 255), ((p >> 16) & 255), ((p >> 24) & 255)], 1).float() * (1 / 255.0)


def base_xy(g, px, gr):
    """Scene coordinates of every pixel: `gr` [2,1,H,W] holds x and y; `px` > 1 makes large pixels; `g` is the camera."""
    n = g.shape[0]
    k = px.view(n, 1, 1)
    x = (torch.floor(gr[0] / k) + 0.5) * k
    y = (torch.floor(gr[1] / k) + 0.5) * k
    zoom = g[:, 0].view(n, 1, 1)
    X = (x - 128) / zoom + 128 + g[:, 1].view(n, 1, 1)
    Y = (y - 88) / zoom + 88 + g[:, 2].view(n, 1, 1)
    return X, Y


def taps(atlas, off, u, v, tw, th, wx, wy):
    u = u - 0.5
    v = v - 0.5
    u0 = torch.floor(u)
    v0 = torch.floor(v)
    fu = (u - u0).unsqueeze(1)
    fv = (v - v0).unsqueeze(1)
    u0 = u0.long()
    v0 = v0.long()

    def f(a, n, w):
        if torch.is_tensor(w):
            return torch.where(w, torch.remainder(a, n), a.clamp(0, n - 1))
        return (
            torch.remainder(a, n)
            if w
            else (torch.minimum(a.clamp(min=0), n - 1) if torch.is_tensor(n) else a.clamp(0, n - 1))
        )

    ua, ub = f(u0, tw, wx), f(u0 + 1, tw, wx)
    va, vb = f(v0, th, wy), f(v0 + 1, th, wy)
    g = lambda vv, uu: unpack(atlas[off + vv * tw + uu])
    return (g(va, ua) * (1 - fu) + g(va, ub) * fu) * (1 - fv) + (g(vb, ua) * (1 - fu) + g(vb, ub) * fu) * fv


def k_wrap(cv, gr, atlas, off, g, pr, tw, wy):
    n = g.shape[0]
    X, Y = base_xy(g, g[:, 7], gr)
    o = off[pr[:, 0].long()].view(n, 1, 1)
    r = taps(atlas, o, X + pr[:, 1].view(n, 1, 1), Y + pr[:, 2].view(n, 1, 1) + 0 * X, tw, H, True, wy)
    return (cv.float() * (1 - r[:, 3:]) + r[:, :3]).to(cv.dtype)


def k_ground(cv, gr, atlas, off, g, pr):
    n = g.shape[0]
    X, Y = base_xy(g, g[:, 7], gr)
    z = 74 / (Y - 70).clamp(min=4.0)
    u = (X - 128) * z + pr[:, 1].view(n, 1, 1)
    v = z * 74 + 0 * X
    m = (z > 1.45).long() + (z > 2.7).long() + 0 * X.long()
    o = off[pr[:, 0].long().clamp(min=0).view(n, 1, 1) + m]
    r = taps(atlas, o, u, v, 256, 256, True, True)
    a = ((Y - 86.5).clamp(0, 1) * (pr[:, 0] >= 0).float().view(n, 1, 1) + 0 * X).unsqueeze(1)
    shade = (1.06 - 0.10 * ((Y - 86) / 58)).unsqueeze(1)
    return (cv.float() * (1 - a) + r[:, :3] * shade.clamp(0.8, 1.1) * a).to(cv.dtype)


def k_shadow(cv, gr, g, pr):
    n = g.shape[0]
    X, Y = base_xy(g, g[:, 7], gr)
    w = pr[:, 14].view(n, 1, 1)
    dd = ((X - pr[:, 1].view(n, 1, 1)) / w.clamp(min=1)) ** 2 + (
        (Y - pr[:, 13].view(n, 1, 1)) / (w * 0.24).clamp(min=1)
    ) ** 2
    a = (1 - dd).clamp(0, 1).sqrt() * pr[:, 15].view(n, 1, 1) * (w > 0).float()
    return (cv.float() * (1 - a.unsqueeze(1))).to(cv.dtype)


def k_sprite(cv, gr, atlas, off, g, pr):
    n = g.shape[0]
    X, Y = base_xy(g, g[:, 7], gr)
    q = lambda i: pr[:, i].view(n, 1, 1)
    dx = X - q(1)
    dy = Y - q(2)
    s = q(3).clamp(min=1e-3)
    N = q(7)
    u = (dx * q(4) + dy * q(5)) / s * q(8) + N * 0.5
    v = (-dx * q(5) + dy * q(4)) / s + N * 0.5
    ins = ((u > -1) & (u < N + 1) & (v > -1) & (v < N + 1)).float()
    tw = N.long().clamp(min=1)
    r = taps(atlas, off[pr[:, 0].long()].view(n, 1, 1), u, v, tw, tw, False, False)
    e = (
        (u + 0.5).clamp(0, 1)
        * (N - u + 0.5).clamp(0, 1)
        * (v + 0.5).clamp(0, 1)
        * (N - v + 0.5).clamp(0, 1)
        * ins
        * q(6)
    ).unsqueeze(1)
    r = r * e
    lum = r[:, :1] * 0.3 + r[:, 1:2] * 0.59 + r[:, 2:3] * 0.11
    c = pr[:, 9:12].view(n, 3, 1, 1)
    mx = q(12).unsqueeze(1)
    tint = torch.minimum(c * lum * 1.5 + 0.12 * lum * lum, r[:, 3:])
    rgb = r[:, :3] * (1 - mx) + tint * mx
    return (cv.float() * (1 - r[:, 3:]) + rgb).to(cv.dtype)


def k_grade(cv, g):
    n = g.shape[0]
    c = cv.float()
    l = c[:, :1] * 0.3 + c[:, 1:2] * 0.59 + c[:, 2:3] * 0.11
    c = l + (c - l) * g[:, 6].view(n, 1, 1, 1)
    c = c * g[:, 3:6].view(n, 3, 1, 1) + g[:, 8].view(n, 1, 1, 1)
    return c.clamp(0, 1).to(cv.dtype)


def grids(dev):
    """Scene coordinates of the pixels of a wide and of a square frame, both laid out as [2,1,144,256]."""
    y, x = torch.meshgrid(torch.arange(H) + 0.5, torch.arange(W) + 0.5, indexing="ij")
    wide = torch.stack([x, y])
    y, x = torch.meshgrid(torch.arange(192) + 0.5, torch.arange(192) + 0.5, indexing="ij")
    square = torch.stack([x * 0.75 + 56, y * 0.75]).view(2, H, W)
    return [g.float()[:, None].contiguous().to(dev) for g in (wide, square)]


class Renderer:
    def __init__(s, dev, compile=False, dtype=torch.float16):
        s.atlas, s.off = build_atlas(dev)
        s.dev = dev
        s.dt = dtype
        s.grid = grids(dev)
        s.I = {k: torch.tensor(k, device=dev) for k in (256, 512, 768)}
        s.no, s.yes = torch.tensor(False, device=dev), torch.tensor(True, device=dev)
        c = (lambda f: torch.compile(f, dynamic=False)) if compile else (lambda f: f)
        s.kw, s.kg, s.ks, s.kp, s.kc = c(k_wrap), c(k_ground), c(k_shadow), c(k_sprite), c(k_grade)

    @torch.no_grad()
    def __call__(s, par, square=False):  # par [N,NP] float -> [N,3,H,W] in 0..1 (square: the 192x192 pixels in order)
        g = par[:, :9].contiguous()
        n = par.shape[0]
        cv = torch.zeros(n, 3, H, W, device=s.dev, dtype=s.dt)
        w = lambda k: par[:, 9 + 3 * k : 12 + 3 * k].contiguous()
        gr, at, off, I = s.grid[int(square)], s.atlas, s.off, s.I
        cv = s.kw(cv, gr, at, off, g, w(0), I[512], s.no)
        cv = s.kw(cv, gr, at, off, g, w(1), I[768], s.no)
        cv = s.kw(cv, gr, at, off, g, w(2), I[768], s.no)
        cv = s.kg(cv, gr, at, off, g, par[:, 24:26].contiguous())
        sp = [par[:, NG + SP * i : NG + SP * i + SP].contiguous() for i in range(NSP)]
        for i in (0, 1, 2, 3, 4):
            cv = s.ks(cv, gr, g, sp[i])
        for i in (0, 1, 3, 2, 4):
            cv = s.kp(cv, gr, at, off, g, sp[i])
        cv = s.ks(cv, gr, g, sp[5])
        cv = s.kp(cv, gr, at, off, g, sp[5])
        cv = s.kw(cv, gr, at, off, g, w(3), I[768], s.no)
        cv = s.kw(cv, gr, at, off, g, w(4), I[256], s.yes)
        return s.kc(cv, g)

    def clips(s, par, square=False, chunk=None):
        """[B,F,NP] numpy -> [B,F,3,h,w]; `chunk` frames at a time, padded, so that a compiled graph sees one size."""
        B, F = par.shape[:2]
        q = torch.from_numpy(np.ascontiguousarray(par.reshape(-1, NP))).to(s.dev)
        n = q.shape[0]
        if chunk:
            pad = (-n) % chunk
            q = torch.cat([q, q[-1:].expand(pad, -1)])
            v = torch.cat([s(q[i : i + chunk], square) for i in range(0, n + pad, chunk)])[:n]
        else:
            v = s(q, square)
        return v.view(B, F, 3, *((192, 192) if square else (H, W)))


def render_batch(R, s, chunk=None):
    """Draw what `clips.sample_clips` described: (video [B,F,3,h,w], twins [m,F,3,h,w])."""
    B, F = s["a"].shape[:2]
    v = R.clips(np.concatenate([s["a"], s["b"], s["twin"]]), s["square"], chunk)
    n = len(s["bi"])
    a, b, twin = v[:B], v[B : B + n], v[B + n :]
    if n:
        w = torch.from_numpy(s["ramp"]).to(R.dev).view(n, F, 1, 1, 1).to(v.dtype)
        i = torch.from_numpy(s["bi"]).to(R.dev)
        a[i] = a[i] * (1 - w) + b * w
    return a, twin


def subject_mask(par, h, w, square=False, margin=1.0):
    """Where the subjects are: [B,F,NP] tensor -> [B,F,h,w] of 0 and 1, on an h x w grid over the frame."""
    B, F = par.shape[:2]
    y, x = torch.meshgrid((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij")
    x = (x * 144 + 56 if square else x * W).to(par.device)
    y = (y * H).to(par.device)
    m = torch.zeros(B, F, h, w, device=par.device, dtype=torch.bool)
    cam = par[..., :3]
    for i in (2, 3, 4):
        sp = par[..., NG + SP * i : NG + SP * i + SP]
        q = lambda k: sp[..., k].view(B, F, 1, 1)
        zoom = cam[..., 0].view(B, F, 1, 1)
        cx = (q(1) - cam[..., 1].view(B, F, 1, 1) - 128) * zoom + 128
        cy = (q(2) - cam[..., 2].view(B, F, 1, 1) - 88) * zoom + 88
        half = q(3) * q(7) * 0.5 * margin * zoom
        m |= ((x - cx).abs() < half) & ((y - cy).abs() < half) & (q(6) > 0) & (q(3) > 0)
    return m
