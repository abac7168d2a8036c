"""The video transformer: Wan2.1's layers and tensor names (github.com/Wan-Video/Wan2.1, Apache-2.0), causal by latent frame.

Flow matching: x_t = (1 - t) x0 + t eps, v = eps - x0, time input 1000 t. A latent frame attends to itself and to the `past`
latent frames before it. `context` runs clean frames and keeps their keys and values (what a stream does at t = 0);
`denoise` runs noisy frames against those. Frames are token grids: [B, n, C, T] with T = h*w, any h and w.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def rope_table(hd, n, h, w, f0=0, device="cpu", theta=10000.0):
    """cos and sin [n*h*w, hd/2] of the 3-D rotary embedding for latent frames f0..f0+n; dims split as in Wan (t, h, w)."""
    dt, ds = hd - 4 * (hd // 6), 2 * (hd // 6)

    def angles(d, m, o=0):
        freq = 1 / theta ** (torch.arange(0, d, 2, dtype=torch.float64) / d)
        return torch.outer(torch.arange(o, o + m, dtype=torch.float64), freq)

    a, b, c = angles(dt, n, f0), angles(ds, h), angles(ds, w)
    grid = [
        a[:, None, None].expand(n, h, w, -1),
        b[None, :, None].expand(n, h, w, -1),
        c[None, None].expand(n, h, w, -1),
    ]
    t = torch.cat(grid, -1).reshape(n * h * w, hd // 2)
    return t.cos().float().to(device), t.sin().float().to(device)


def rope(x, cs):
    """Rotate [B,H,N,hd] in interleaved pairs."""
    c, s = cs
    x = x.float()
    x1, x2 = x[..., 0::2], x[..., 1::2]
    return torch.stack([x1 * c - x2 * s, x1 * s + x2 * c], -1).flatten(-2)


class RMS(nn.Module):
    def __init__(self, d, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.eps = eps

    def forward(self, x):
        y = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)
        return (y * self.weight.float()).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.norm_q, self.norm_k = RMS(d), RMS(d)

    def split(self, x):
        b, n, d = x.shape
        return x.view(b, n, self.heads, d // self.heads).transpose(1, 2)


class Block(nn.Module):
    def __init__(self, d, heads, ffn):
        super().__init__()
        self.norm1 = nn.LayerNorm(d, eps=1e-6, elementwise_affine=False)
        self.self_attn = Attention(d, heads)
        self.norm3 = nn.LayerNorm(d, eps=1e-6)
        self.cross_attn = Attention(d, heads)
        self.norm2 = nn.LayerNorm(d, eps=1e-6, elementwise_affine=False)
        self.ffn = nn.Sequential(nn.Linear(d, ffn), nn.GELU(approximate="tanh"), nn.Linear(ffn, d))
        self.modulation = nn.Parameter(torch.randn(1, 6, d) / d**0.5)

    def forward(self, x, e, cs, text_kv, attend, past=None):
        """x [B,nf*T,d]; e [B,nf,6,d]; text_kv (k, v) [B*g,H,L,hd], g groups of frames; attend(q,k,v), k and v after `past`.

        Returns x and this call's own keys (after rotation) and values.
        """
        B, N, d = x.shape
        nf = e.shape[1]
        T = N // nf
        e = (e + self.modulation[:, None].to(e.dtype)).unsqueeze(3).to(x.dtype)
        frames = lambda y: y.view(B, nf, T, d)
        y = (frames(self.norm1(x)) * (1 + e[:, :, 1]) + e[:, :, 0]).view(B, N, d)
        a = self.self_attn
        q = rope(a.split(a.norm_q(a.q(y))), cs).to(x.dtype)
        k = rope(a.split(a.norm_k(a.k(y))), cs).to(x.dtype)
        v = a.split(a.v(y)).to(x.dtype)
        o = attend(q, k, v) if past is None else attend(q, torch.cat([past[0], k], 2), torch.cat([past[1], v], 2))
        o = o.transpose(1, 2).reshape(B, N, d)
        x = x + (frames(a.o(o)) * e[:, :, 2]).view(B, N, d)
        c = self.cross_attn
        g = text_kv[0].shape[0] // B
        y = self.norm3(x).view(B * g, N // g, d)
        q = c.split(c.norm_q(c.q(y)))
        o = F.scaled_dot_product_attention(q, text_kv[0].to(q.dtype), text_kv[1].to(q.dtype))
        x = x + c.o(o.transpose(1, 2).reshape(B, N, d))
        y = (frames(self.norm2(x)) * (1 + e[:, :, 4]) + e[:, :, 3]).view(B, N, d)
        x = x + (frames(self.ffn(y)) * e[:, :, 5]).view(B, N, d)
        return x, k, v


class Head(nn.Module):
    def __init__(self, d, out):
        super().__init__()
        self.norm = nn.LayerNorm(d, eps=1e-6, elementwise_affine=False)
        self.head = nn.Linear(d, out)
        self.modulation = nn.Parameter(torch.randn(1, 2, d) / d**0.5)

    def forward(self, x, e):
        B, N, d = x.shape
        nf = e.shape[1]
        m = (e.unsqueeze(2) + self.modulation[:, None].to(e.dtype)).unsqueeze(3).to(x.dtype)
        y = self.norm(x).view(B, nf, N // nf, d) * (1 + m[:, :, 1]) + m[:, :, 0]
        return self.head(y.view(B, N, d))


class DiT(nn.Module):
    def __init__(self, zc=48, d=320, layers=10, heads=5, ffn=1280, text_dim=256, past=5):
        super().__init__()
        self.zc, self.d, self.past, self.hd = zc, d, past, d // heads
        self.patch_embedding = nn.Conv3d(zc, d, 1)
        self.text_embedding = nn.Sequential(nn.Linear(text_dim, d), nn.GELU(approximate="tanh"), nn.Linear(d, d))
        self.time_embedding = nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(d, 6 * d))
        self.blocks = nn.ModuleList([Block(d, heads, ffn) for _ in range(layers)])
        self.head = Head(d, zc)
        self.call = lambda b, *a: b(*a)  # the training script puts a compiled call here
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.xavier_uniform_(m.weight)
                nn.init.zeros_(m.bias)
        nn.init.normal_(self.time_embedding[0].weight, std=0.02)
        nn.init.normal_(self.time_embedding[2].weight, std=0.02)
        nn.init.zeros_(self.head.head.weight)
        for b in self.blocks:
            nn.init.zeros_(b.cross_attn.o.weight)

    def time(self, t):
        """t [B,n] in 0..1 -> (e [B,n,d], e0 [B,n,6,d])."""
        f = torch.exp(-math.log(10000) * torch.arange(128, device=t.device).float() / 128)
        a = (t.float() * 1000)[..., None] * f
        x = torch.cat([a.cos(), a.sin()], -1).to(self.time_embedding[0].weight.dtype)
        with torch.autocast(t.device.type, enabled=False):
            e = self.time_embedding(x)
            return e, self.time_projection(e).view(*t.shape, 6, self.d)

    def tokens(self, z):
        B, n, c, T = z.shape
        w = self.patch_embedding
        return F.linear(z.transpose(2, 3).reshape(B, n * T, c), w.weight.flatten(1), w.bias)

    def text_kv(self, text):
        """text [G,L,text_dim] -> per layer (k, v) [G,H,L,hd]."""
        c = self.text_embedding(text)
        return [(a.split(a.norm_k(a.k(c))), a.split(a.v(c))) for a in (b.cross_attn for b in self.blocks)]

    def context(self, z, t, text_kv, cs, attend):
        """Run frames [B,n,C,T] (nearly clean) and return per layer their keys and values."""
        x = self.tokens(z)
        e, e0 = self.time(t)
        out = []
        for b, kv in zip(self.blocks, text_kv):
            x, k, v = self.call(b, x, e0, cs, kv, attend)
            out.append((k, v))
        return out

    def denoise(self, z, t, text_kv, cs, attend, past=None):
        """Velocity of frames [B,n,C,T] at times t [B,n], attending to `past` (per layer k, v) and to themselves."""
        B, n, _, T = z.shape
        x = self.tokens(z)
        e, e0 = self.time(t)
        for i, (b, kv) in enumerate(zip(self.blocks, text_kv)):
            x, _, _ = self.call(b, x, e0, cs, kv, attend, *(() if past is None else (past[i],)))
        return self.head(x, e).view(B, n, T, self.zc).transpose(2, 3)


def sdpa(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


def context_mask(T, past):
    """Clean frame against clean frames: itself and `past` before it."""

    def mask(b, h, q, k):
        qf, kf = q // T, k // T
        return (kf <= qf) & (kf >= qf - past)

    return mask


def denoise_mask(T, n, past):
    """Noisy frame against [clean frames | noisy frames]: `past` clean ones before it, and itself."""

    def mask(b, h, q, k):
        qf, kf = q // T, k // T
        return ((kf < n) & (kf < qf) & (kf >= qf - past)) | (kf - n == qf)

    return mask


class Stream:
    """Generation one latent frame at a time with a window of keys and values, as the product does it."""

    def __init__(self, dit, hw, batch=1, device="cpu"):
        self.dit, self.hw, self.batch, self.device = dit, hw, batch, device
        self.cache = [[] for _ in dit.blocks]
        self.position = 0

    def velocity(self, x, t, text_kv, store=False):
        d = self.dit
        cs = rope_table(d.hd, 1, *self.hw, f0=self.position, device=self.device)
        tt = torch.full((self.batch, 1), float(t), device=self.device)
        past = None
        if self.cache[0]:
            past = [(torch.cat([c[0] for c in layer], 2), torch.cat([c[1] for c in layer], 2)) for layer in self.cache]
        if not store:
            return d.denoise(x, tt, text_kv, cs, sdpa, past)
        x = d.tokens(x)
        e, e0 = d.time(tt)
        for i, (b, kv) in enumerate(zip(d.blocks, text_kv)):
            x, k, v = b(x, e0, cs, kv, sdpa, *(() if past is None else (past[i],)))
            self.cache[i].append((k, v))
            del self.cache[i][: -d.past]
        self.position += 1

    def frame(self, text_kv, steps, noise, source=None):
        """One latent frame [B,1,C,T]. `noise(i)` gives the i-th noise; with `source`, start from it at t = steps[0]."""
        x = noise(0)
        if source is not None:
            x = (1 - steps[0]) * source + steps[0] * x
        for i, t in enumerate(steps):
            x0 = x - t * self.velocity(x, t, text_kv)
            if i + 1 < len(steps):
                u = steps[i + 1]
                x = (1 - u) * x0 + u * noise(i + 1)
        self.velocity(x0, 0.0, text_kv, store=True)
        return x0


def grow_depth(state, layers):
    """State dict with fewer blocks -> `layers` blocks: copies spread over the depth that start as the identity."""
    have = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("blocks."))
    if have == layers:
        return state
    extra = layers - have
    after = [round((i + 1) * have / extra) - 1 for i in range(extra)]  # old blocks that get a copy behind them
    out = {k: v for k, v in state.items() if not k.startswith("blocks.")}
    new = 0
    for old in range(have):
        for copy in range(1 + after.count(old)):
            for k, v in state.items():
                if k.startswith(f"blocks.{old}."):
                    name = k.split(".", 2)[2]
                    zero = copy and name.startswith(("self_attn.o.", "cross_attn.o.", "ffn.2."))
                    out[f"blocks.{new}.{name}"] = torch.zeros_like(v) if zero else v.clone()
            new += 1
    return out
