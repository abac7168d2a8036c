"""Train the autoencoder: encoder and decoder together (small crops, then whole frames), then the decoder alone.

    python -m pocket.train_ae --plan plan.json --out out/ae [--init folder with ae.safetensors]

The plan's phases: `ae_joint` and `ae_decoder` (see common.Clock). After the first one the encoder never changes again:
`ae_latent.safetensors` is written, and the transformer trains on its latents while the decoder goes on with a texture term
and a small patch discriminator. Ends with `ae.safetensors` (plain f32) and the figures of held-out frames in the log.
"""

import argparse
import math
import pathlib
import random
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

from . import batchnorm, common, footage, pack, render
from .autoencoder import TAE, from_state

ENC, DEC = (32, 64, 96, 128), (144, 96, 64, 48)
CROP = (96, 144)


def sobel(x):
    """Gradient magnitude, pooled over 8x8: how much texture is where."""
    g = (x[..., 1:, :-1] - x[..., :-1, :-1]).abs() + (x[..., :-1, 1:] - x[..., :-1, :-1]).abs()
    return F.avg_pool2d(g.flatten(0, 1), 8, 4)


def reconstruction(y, v, w, texture):
    """L1 and squared error, their spatial and temporal differences; `w` [B,T,1,h,w] weighs the subjects."""
    d = y - v
    l1 = (d.abs() * w).mean()
    edge = ((d[..., 1:] - d[..., :-1]).abs() * w[..., 1:]).mean() + (
        (d[..., 1:, :] - d[..., :-1, :]).abs() * w[..., 1:, :]
    ).mean()
    time_ = ((d[:, 1:] - d[:, :-1]).abs() * w[:, 1:]).mean()
    loss = l1 + 0.6 * edge + 0.2 * time_ + 3 * (d * d * w).mean()
    return loss + texture * (sobel(y) - sobel(v)).abs().mean() if texture else loss


class Discriminator(nn.Sequential):
    """Patches of single frames, hinge loss."""

    def __init__(self):
        c = lambda a, b: [nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2)]
        super().__init__(*c(3, 48), *c(48, 96), *c(96, 160), nn.Conv2d(160, 1, 3, padding=1))


class Trainer:
    def __init__(self, a, dev):
        self.dev, self.cuda, self.dry = dev, dev == "cuda", a.dry
        self.ae = None
        self.rate = torch.tensor(1e-3, device=dev)
        self.muon_rate = torch.tensor(0.01, device=dev)
        self.adversarial = torch.tensor(0.0, device=dev)

    def optimise(self, params):
        self.small = [p for p in params if p.ndim != 4]
        groups = {}
        for p in params:
            if p.ndim == 4:
                groups.setdefault((p.shape[0], p[0].numel()), []).append(p)
        self.groups = groups
        self.momentum = {k: torch.zeros(len(v), *k, device=self.dev) for k, v in groups.items()}
        lr = self.rate if self.cuda else 1e-3
        self.adam = torch.optim.AdamW(self.small, lr=lr, betas=(0.9, 0.97), weight_decay=0.0, capturable=self.cuda)

    @torch.no_grad()
    def muon(self):
        for k, ps in self.groups.items():
            g = torch.stack([p.grad.reshape(k) for p in ps])
            m = self.momentum[k]
            m.mul_(0.9).add_(g)
            u = common.newton_schulz(g + 0.9 * m) * (-self.muon_rate * max(1, k[0] / k[1]) ** 0.5)
            for p, x in zip(ps, u.unbind(0)):
                p.data.add_(x.reshape(p.shape))

    def clear(self):
        for p in self.ae.parameters():
            p.grad = None

    def forward(self, v, sigma):
        with torch.autocast(self.dev, torch.bfloat16, cache_enabled=False):
            z = self.ae.encode_raw(v)
            zn = self.ae.zbn(z.float().flatten(0, 1)).view_as(z)
        return zn, sigma * torch.rand(z.shape[0], 1, 1, 1, 1, device=self.dev) * torch.randn_like(zn)

    def decode(self, z):
        with torch.autocast(self.dev, torch.bfloat16, cache_enabled=False):
            return self.ae.decode(z).float()

    def joint(self, v, w):
        zn, n = self.forward(v, 0.2)
        y = self.decode(zn + n)
        loss = reconstruction(y, v, w, 0.0)
        loss.backward()
        nn.utils.clip_grad_norm_(self.small, 1.0)
        self.adam.step()
        self.muon()
        return loss.detach(), ((y - v) ** 2).mean().detach()

    def start_decoder(self):
        for p in self.ae.encoder.parameters():
            p.requires_grad_(False)
        self.optimise([p for p in self.ae.decoder.parameters() if p.requires_grad])
        self.disc = Discriminator().to(self.dev)
        self.disc_adam = torch.optim.AdamW(
            self.disc.parameters(), lr=3e-4, betas=(0.5, 0.9), weight_decay=0.0, capturable=self.cuda
        )

    def decoder(self, v, w):
        with torch.no_grad():
            zn, n = self.forward(v, 0.25)
        y = self.decode(zn + n)
        yd = y.detach().requires_grad_()
        loss = reconstruction(yd, v, w, 0.3)
        (g,) = torch.autograd.grad(loss, yd)
        pick = lambda x: x[:, 1::4].flatten(0, 1) * 2 - 1
        with torch.autocast(self.dev, torch.bfloat16, cache_enabled=False):
            adv = -self.disc(pick(yd)).float().mean()
        (ga,) = torch.autograd.grad(adv, yd)
        y.backward(g + ga * (self.adversarial * g.norm() / (ga.norm() + 1e-12)))
        nn.utils.clip_grad_norm_(self.small, 1.0)
        self.adam.step()
        self.muon()
        for p in self.disc.parameters():
            p.grad = None
        with torch.autocast(self.dev, torch.bfloat16, cache_enabled=False):
            real, fake = self.disc(pick(v)).float(), self.disc(pick(yd.detach())).float()
        (F.relu(1 - real).mean() + F.relu(1 + fake).mean()).backward()
        self.disc_adam.step()
        return loss.detach(), ((y - v) ** 2).mean().detach()

    def graph(self, step, v, w):
        """Capture one training step as a CUDA graph (four times faster than eager at this size); eager on a CPU."""
        if not self.cuda:

            def eager(v, w):
                self.clear()
                return step(v, w)

            return eager
        sv, sw = v.clone(), w.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.clear()
                step(sv, sw)
        torch.cuda.current_stream().wait_stream(side)
        self.clear()
        g = torch.cuda.CUDAGraph()
        with torch.cuda.graph(g):
            out = step(sv, sw)

        def replay(v, w):
            sv.copy_(v)
            sw.copy_(w)
            g.replay()
            return out

        return replay


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--plan", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument(
        "--init", help="folder with packed or plain ae.safetensors; the encoder is taken, the decoder if it fits"
    )
    ap.add_argument("--workers", type=int, default=8)
    ap.add_argument("--dry", action="store_true", help="a few tiny steps on the CPU")
    a = ap.parse_args()
    dev = "cpu" if a.dry else "cuda"
    frames = 8 if a.dry else 24
    items = 1 if a.dry else 13
    q = common.start_workers(1 if a.dry else a.workers, int(time.time()) % 100000 * 31, items, frames, ptrans=0.2)
    out = pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    say, clock = common.Log(out / "ae.log"), common.Clock(a.plan)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    R = render.Renderer(dev, dtype=torch.float32 if a.dry else torch.float16)
    chunk = None if a.dry else 156
    dec = DEC
    plain = None
    if a.init:
        plain = from_state(pack.load(pathlib.Path(a.init) / "ae.safetensors"))
        plain = plain.to(dev).eval()
    mk = lambda: TAE(enc=ENC, dec=dec)

    def draw(square=False):
        s = q.get()
        v, _ = render.render_batch(R, s, chunk)
        par = torch.from_numpy(s["a"]).to(dev)
        return v.float(), render.subject_mask(par, 18, 32)

    v0, _ = draw()
    tr = Trainer(a, dev)
    tr.ae = batchnorm.attach(mk()).to(dev)
    if plain is not None:
        parts = ("encoder", "decoder") if plain.decoder[1].out_channels == dec[0] else ("encoder",)
        batchnorm.resume(tr.ae, plain, v0[:4, :12], parts)
        say("resumed", parts)
    if tr.cuda:
        tr.ae = tr.ae.to(memory_format=torch.channels_last)
    tr.optimise(list(tr.ae.parameters()))
    say("parameters", sum(p.numel() for p in tr.ae.parameters()) / 1e6, "M")
    photos = footage.photographs(footage.TRAIN).to(dev)
    held = footage.photographs(footage.HELD_OUT).to(dev)
    H, W = render.H, render.W
    cap = 4 if a.dry else 2080
    pool = torch.zeros(cap, frames, 3, H, W, dtype=torch.uint8, device=dev)
    masks = torch.zeros(cap, frames, 18, 32, dtype=torch.bool, device=dev)
    filled = total = 0

    @torch.no_grad()
    def fill():
        nonlocal filled, total
        v, m = draw()
        i = torch.arange(total, total + len(v), device=dev) % cap
        pool[i], masks[i] = (v * 255).round().byte(), m
        total += len(v)
        filled = min(cap, total)

    for _ in range(1 if a.dry else 24):
        fill()

    @torch.no_grad()
    def batch(crop):
        """Video [B,T,3,h,w] and its weights: short crops with photographs and noise, or whole longer frames."""
        n, p, k, T = (20, 3, 2, 12) if crop else (5, 1, 1, frames)
        if a.dry:
            n, p, k, T = 1, 1, 1, 8
        i = torch.randint(filled, (n,), device=dev)
        t = random.randrange(0, frames - T + 1)
        x = pool[i, t : t + T].float() / 255
        m = F.interpolate(masks[i, t : t + T].float(), (H, W))[:, :, None]
        x = torch.cat([x, footage.pan(photos, p, T, H, W), footage.noise(k, T, H, W, dev)])
        w = torch.cat([1 + 2 * m, torch.ones(p + k, *m.shape[1:], device=dev)])
        if crop:
            y0, x0 = random.randrange(0, H - CROP[0] + 1), random.randrange(0, W - CROP[1] + 1)
            x, w = (u[..., y0 : y0 + CROP[0], x0 : x0 + CROP[1]].contiguous() for u in (x, w))
        return x, w

    @torch.no_grad()
    def measure(ae, name):
        """PSNR of fresh synthetic frames, held-out photographs and noise, with a sheet of both."""
        synth = [draw() for _ in range(1 if a.dry else 4)]
        v, m = torch.cat([x for x, _ in synth]), torch.cat([y for _, y in synth])
        ps, subj = [], []
        psnr = lambda e: -10 * math.log10(max(e.item(), 1e-9))
        rec = []
        for i in range(0, len(v), 4):
            x = v[i : i + 4]
            y = ae.decode(ae.encode(x)).clamp(0, 1).float()
            e = (y - x) ** 2
            w = F.interpolate(m[i : i + 4].float(), (H, W))[:, :, None]
            ps += [psnr(f) for f in e.mean((1, 2, 3, 4))]
            if w.sum() > 0:
                subj.append(((e * w).sum() / (w.sum() * 3)).item())
            rec.append(y)
        ph = footage.pan(held, 4, frames, H, W)
        yp = ae.decode(ae.encode(ph)).clamp(0, 1).float()
        pp = [psnr(f) for f in ((yp - ph) ** 2).mean((1, 2, 3, 4))]
        say(name, "psnr synthetic %.2f" % (sum(ps) / len(ps)), "subjects %.2f" % (-10 * math.log10(sum(subj) / max(1, len(subj)) + 1e-9)),
            "held-out photographs %.2f" % (sum(pp) / len(pp)))  # fmt: skip
        rows = [torch.stack([v[i], rec[i // 4][i % 4]]) for i in range(min(len(v), 6))] + [
            torch.stack([ph[i], yp[i]]) for i in range(2)
        ]
        common.sheet(torch.cat(rows)[:, 2:], out / f"{name}.webp", 3)

    def folded():
        f = batchnorm.fold(tr.ae, mk).to(dev)
        return f.to(memory_format=torch.channels_last) if tr.cuda else f

    def write(ae, name):
        save_file({k: x.detach().float().cpu().contiguous() for k, x in ae.state_dict().items()}, out / (name + ".tmp"))
        (out / (name + ".tmp")).rename(out / name)

    step, T0 = 0, clock.now()
    tr.rate.fill_(2e-4)
    tr.muon_rate.fill_(0.004)
    run, crop, stage, last = tr.graph(tr.joint, *batch(True)), True, "joint", time.time()
    say("graph ready, pool", filled)
    while True:
        end = clock.end("ae_" + stage)
        pr = min(1.0, (clock.now() - T0) / max(1e-6, end - T0))
        if a.dry:
            pr = min(1.0, (step % 3) / 2 + (0.01 if step % 3 else 0))
        if stage == "joint" and crop and pr > 0.7:
            crop = False  # whole frames; the batch statistics are frozen
            for m in tr.ae.modules():
                if isinstance(m, nn.BatchNorm2d):
                    m.eval()
            tr.clear()
            run = None
            run = tr.graph(tr.joint, *batch(False))
            say("whole frames")
        if pr >= 1:
            if stage == "joint":
                f = folded()
                write(f, "ae_latent.safetensors")
                say("encoder done at step", step)
                if clock.end("ae_decoder") <= clock.now() and not a.dry:
                    break
                with torch.no_grad():
                    measure(f, "ae_latent")
                tr.clear()
                run = None
                tr.start_decoder()
                stage, T0, step = "decoder", clock.now(), 0
                tr.rate.fill_(1e-4)
                tr.muon_rate.fill_(0.001)
                run = tr.graph(tr.decoder, *batch(False))
                say("decoder alone")
                continue
            break
        if stage == "joint":
            f = min(1, (step + 1) / 60) * (1 - pr) ** 1.1 + 0.02
            tr.muon_rate.fill_(0.05 * f)
        else:
            f = min(1, (step + 1) / 60) * (1 - pr) + 0.01
            tr.muon_rate.fill_(0.015 * f)
            tr.adversarial.fill_(0.2 * min(1.0, max(0.0, (pr - 0.25) * 4)))
        tr.rate.fill_(2.5e-3 * f)
        if step % 40 == 0:
            fill()
        loss, mse = run(*batch(crop))
        step += 1
        if step % 250 == 1 or a.dry:
            ms = (time.time() - last) * 1000 / (250 if step > 1 else 1)
            say(
                stage,
                "step",
                step,
                "loss %.4f" % loss.item(),
                "psnr %.2f" % (-10 * math.log10(mse.item())),
                "ms %.0f" % ms,
                "pool",
                filled,
                total,
            )
            last = time.time()
    f = folded()
    write(f, "ae.safetensors")
    pack.save(f.state_dict(), out / "ae.q8.safetensors")
    with torch.no_grad():
        measure(f, "ae")
    (out / "AE_DONE").write_text("ok")
    say("done")


if __name__ == "__main__":
    main()
