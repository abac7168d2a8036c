"""The text encoder: UMT5's layers under the names of Wan2.1's `t5.py` (relative bias per layer, gated GELU, no softmax scale)."""

import math

import torch
import torch.nn as nn


class RMS(nn.Module):
    def __init__(s, d, eps=1e-6):
        super().__init__()
        s.weight = nn.Parameter(torch.ones(d))
        s.eps = eps

    def forward(s, x):
        return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + s.eps)).to(x.dtype) * s.weight


class T5Attn(nn.Module):
    def __init__(s, d, h):
        super().__init__()
        s.h = h
        s.q = nn.Linear(d, d, bias=False)
        s.k = nn.Linear(d, d, bias=False)
        s.v = nn.Linear(d, d, bias=False)
        s.o = nn.Linear(d, d, bias=False)

    def forward(s, x, bias):
        b, n, d = x.shape
        f = lambda l: l(x).view(b, n, s.h, -1).transpose(1, 2)
        q, k, v = f(s.q), f(s.k), f(s.v)
        a = (q @ k.transpose(-1, -2)).float() + bias
        a = a.softmax(-1).to(v.dtype)
        return s.o((a @ v).transpose(1, 2).reshape(b, n, d))


class T5FFN(nn.Module):
    def __init__(s, d, f):
        super().__init__()
        s.gate = nn.Sequential(nn.Linear(d, f, bias=False), nn.GELU(approximate="tanh"))
        s.fc1 = nn.Linear(d, f, bias=False)
        s.fc2 = nn.Linear(f, d, bias=False)

    def forward(s, x):
        return s.fc2(s.fc1(x) * s.gate(x))


class RelPos(nn.Module):
    def __init__(s, nb, h, md=128):
        super().__init__()
        s.nb = nb
        s.md = md
        s.embedding = nn.Embedding(nb, h)

    def forward(s, n):
        p = torch.arange(n, device=s.embedding.weight.device)
        r = p[None] - p[:, None]
        nb = s.nb // 2
        out = (r > 0).long() * nb
        r = r.abs()
        me = nb // 2
        big = me + (torch.log(r.float().clamp(min=1) / me) / math.log(s.md / me) * (nb - me)).long()
        big = big.clamp(max=nb - 1)
        return s.embedding(out + torch.where(r < me, r, big)).permute(2, 0, 1)[None]


class T5Block(nn.Module):
    def __init__(s, d, h, f, nb):
        super().__init__()
        s.norm1 = RMS(d)
        s.attn = T5Attn(d, h)
        s.norm2 = RMS(d)
        s.ffn = T5FFN(d, f)
        s.pos_embedding = RelPos(nb, h)

    def forward(s, x, mask):
        x = x + s.attn(s.norm1(x), s.pos_embedding(x.shape[1]).float() + mask)
        return x + s.ffn(s.norm2(x))


class TextEnc(nn.Module):
    def __init__(s, vocab, d=256, h=4, f=512, layers=4, nb=32):
        super().__init__()
        s.token_embedding = nn.Embedding(vocab, d)
        s.blocks = nn.ModuleList([T5Block(d, h, f, nb) for _ in range(layers)])
        s.norm = RMS(d)
        for n, p in s.named_parameters():
            if "attn.q" in n:
                nn.init.normal_(p, std=(d * d / h) ** -0.5)
            elif "token_emb" in n:
                nn.init.normal_(p, std=0.5)
            elif "pos_emb" in n:
                nn.init.normal_(p, std=0.1)
            elif p.ndim == 2:
                nn.init.normal_(p, std=p.shape[1] ** -0.5)

    def forward(s, ids):  # pad id 0 ; rows after the end are zeroed, as Wan pads its context with zeros
        m = ids != 0
        x = s.token_embedding(ids)
        mask = torch.where(m, 0.0, -1e9)[:, None, None].float()
        for b in s.blocks:
            x = b(x, mask)
        return s.norm(x) * m[..., None].to(x.dtype)
