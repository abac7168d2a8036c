"""The video autoencoder, with TAEHV's structure and tensor names (github.com/madebyollin/taehv, MIT).

16x16x4 compression to `zc` channels: pixel-unshuffle by `patch`, three strided convolutions, MemBlocks that see the previous
frame at their own rate. Streaming (`mem` carried from call to call) equals running a whole clip at once.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Clamp(nn.Module):
    def forward(s, x):
        return torch.tanh(x / 3) * 3


class MemBlock(nn.Module):
    def __init__(s, c):
        super().__init__()
        s.conv = nn.Sequential(
            nn.Conv2d(2 * c, c, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c, c, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c, c, 3, padding=1),
        )

    def forward(s, x, past):
        return F.relu(s.conv(torch.cat([x, past], 1)) + x)


class TPool(nn.Module):
    def __init__(s, c, k):
        super().__init__()
        s.stride = k
        s.conv = nn.Conv2d(c * k, c, 1, bias=False)

    def forward(s, x):
        n, c, h, w = x.shape
        return s.conv(x.reshape(n // s.stride, s.stride * c, h, w))


class TGrow(nn.Module):
    def __init__(s, c, k):
        super().__init__()
        s.stride = k
        s.conv = nn.Conv2d(c, c * k, 1, bias=False)

    def forward(s, x):
        n, c, h, w = x.shape
        return s.conv(x).reshape(n * s.stride, c, h, w)


def cv(a, b, **k):
    return nn.Conv2d(a, b, 3, padding=1, **k)


class TAE(nn.Module):
    def __init__(
        s, zc=48, enc=(32, 64, 96, 128), dec=(192, 96, 48, 32), nm=(2, 2, 2), nd=(3, 3, 3), patch=2, sbias=True
    ):
        super().__init__()
        e = enc
        d = dec
        s.patch = patch
        s.zc = zc
        pc = 3 * patch * patch
        s.encoder = nn.Sequential(
            cv(pc, e[0]),
            nn.ReLU(),
            TPool(e[0], 2),
            cv(e[0], e[1], stride=2, bias=sbias),
            *[MemBlock(e[1]) for _ in range(nm[0])],
            TPool(e[1], 2),
            cv(e[1], e[2], stride=2, bias=sbias),
            *[MemBlock(e[2]) for _ in range(nm[1])],
            TPool(e[2], 1),
            cv(e[2], e[3], stride=2, bias=sbias),
            *[MemBlock(e[3]) for _ in range(nm[2])],
            cv(e[3], zc),
        )
        up = lambda: nn.Upsample(scale_factor=2)
        s.decoder = nn.Sequential(
            Clamp(),
            cv(zc, d[0]),
            nn.ReLU(),
            *[MemBlock(d[0]) for _ in range(nd[0])],
            up(),
            TGrow(d[0], 1),
            cv(d[0], d[1], bias=sbias),
            *[MemBlock(d[1]) for _ in range(nd[1])],
            up(),
            TGrow(d[1], 2),
            cv(d[1], d[2], bias=sbias),
            *[MemBlock(d[2]) for _ in range(nd[2])],
            up(),
            TGrow(d[2], 2),
            cv(d[2], d[3], bias=sbias),
            nn.ReLU(),
            cv(d[3], pc),
        )
        s.register_buffer("latents_mean", torch.zeros(zc))
        s.register_buffer("latents_std", torch.ones(zc))

    def run(s, net, x, B, mem=None):
        """x [B*T,C,H,W] time-major inside each B; mem: list of last-frame states (streaming) or None"""
        k = 0
        for m in net:
            if isinstance(m, MemBlock):
                n, c, h, w = x.shape
                v = x.reshape(B, n // B, c, h, w)
                if mem is None:
                    first = torch.zeros_like(v[:, :1])
                else:
                    first = torch.zeros_like(v[:, :1]) if mem[k] is None else mem[k]
                    mem[k] = v[:, -1:].clone()
                    k += 1
                past = torch.cat([first, v[:, :-1]], 1).reshape(n, c, h, w)
                x = m(x, past)
                if x.is_cuda:
                    x = x.contiguous(memory_format=torch.channels_last)
            else:
                x = m(x)
        return x

    def encode_raw(s, v, mem=None):  # v [B,T,3,H,W] in 0..1 -> raw z [B,T/4,zc,h,w]
        B, T = v.shape[:2]
        x = F.pixel_unshuffle(v.flatten(0, 1), s.patch)
        if x.is_cuda:
            x = x.contiguous(memory_format=torch.channels_last)
        z = s.run(s.encoder, x, B, mem)
        return z.reshape(B, -1, *z.shape[1:])

    def encode(s, v, mem=None):
        z = s.encode_raw(v, mem)
        c = (1, 1, -1, 1, 1)
        return (z - s.latents_mean.view(c).to(z.dtype)) / s.latents_std.view(c).to(z.dtype)

    def decode(s, z, mem=None):  # normalised z -> [B,T*4,3,H,W] (unclamped)
        B = z.shape[0]
        x = z.flatten(0, 1)
        if x.is_cuda:
            x = x.contiguous(memory_format=torch.channels_last)
        x = s.run(s.decoder, x, B, mem)
        x = F.pixel_shuffle(x, s.patch)
        return x.reshape(B, -1, *x.shape[1:])

    def nmem(s, net):
        return sum(isinstance(m, MemBlock) for m in net)


def from_state(state):
    """The autoencoder whose weights these are; the widths are read from the shapes (two and three MemBlocks a level)."""
    width = lambda part, at: tuple(state[f"{part}.{i}.weight"].shape[0] for i in at)
    ae = TAE(enc=width("encoder", (0, 3, 7, 11)), dec=width("decoder", (1, 8, 14, 20)))
    ae.load_state_dict(state)
    return ae
