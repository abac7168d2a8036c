"""Train the transformer and the text encoder on the autoencoder's latents.

    python -m pocket.train_dit --plan plan.json --ae out/ae --out out/dit [--init folder] [--first-ae folder]

Phases (the plan says when each ends):
    I  single latent frames without context: text alone decides, so subjects bind to words
    A  video by teacher forcing: every latent frame denoised against clean (slightly noisy) past frames
    B  the same against the model's own samples as past frames, so that endless roll-outs hold
    C  distillation to few steps: the student jumps to where a guided multi-step teacher ends, own samples as past
Video-to-video pairs run through all phases: noise over a *twin* clip (same layout, other subject, scene or colours), the
captioned clip as target. With `--rank/--world` a second process joins, at phase A or (with `--at`) before the first step, and
gradients are averaged.
"""

import argparse
import copy
import datetime
import json
import pathlib
import random
import shutil
import time

import numpy as np
import torch
import torch.nn.functional as F

from . import clips, common, evaluate, pack, render
from .autoencoder import from_state
from .dit import DiT, context_mask, denoise_mask, grow_depth, rope_table, sdpa
from .text import TextEnc

CONFIG = dict(d=320, layers=10, heads=5, ffn=1280, past=5)
T = 144  # tokens of a latent frame: 9x16 (wide) or 12x12 (square)
STEPS = [1.0, 0.857, 0.6]
TIMES = [1.0, 0.857, 0.75, 0.6]  # where the student learns to jump from, besides random times for video-to-video
GUIDANCE = 1.8


def shift(u, s=2.5):
    return s * u / (1 + (s - 1) * u)


def tv(t):
    return t[..., None, None]


class Pool:
    """Latents of rendered clips, overwritten round and round."""

    def __init__(self, cap, n, dev):
        z = lambda *s, dtype=torch.float16: torch.zeros(cap, *s, dtype=dtype, device=dev)
        self.cap, self.n, self.dev, self.filled, self.total = cap, n, dev, 0, 0
        self.z, self.twin = z(n, 48, T), z(n, 48, T)
        self.has_twin = z(dtype=torch.bool)
        self.mask = z(n, T, dtype=torch.bool)
        self.ids = z(2, common.TEXT_LEN, dtype=torch.long)
        self.switch = z(dtype=torch.long)

    def add(self, z, twin, ti, mask, ids, switch):
        i = torch.arange(self.total, self.total + len(z), device=self.dev) % self.cap
        self.z[i], self.mask[i], self.ids[i], self.switch[i] = z.half(), mask, ids, switch
        self.has_twin[i] = False
        if len(ti):
            j = i[ti]
            self.twin[j], self.has_twin[j] = twin.half(), True
        self.total += len(z)
        self.filled = min(self.cap, self.total)

    def reset(self):
        self.filled = self.total = 0


def main():
    ap = argparse.ArgumentParser()
    A = ap.add_argument
    A("--plan", required=True)
    A("--out", required=True)
    A("--ae", required=True, help="folder where train_ae writes; its latents are used once they are final")
    A("--first-ae", help="folder with an older autoencoder to start phase I with, until then")
    A("--init", help="folder with dit.safetensors and text.safetensors, packed or plain, of as many layers or fewer")
    A("--rank", type=int, default=0)
    A("--world", type=int, default=1)
    A("--batch", type=int, default=48)
    A("--images", type=int, default=1024)
    A("--workers", type=int, default=8)
    A("--fresh", type=int, default=16)
    A("--weights", help="weights.json of a score: how often to draw each subject")
    A("--at", type=float, help="how many seconds of the plan are done; its clock starts when the first step is ready")
    A("--distilled", action="store_true", help="with --at in phase C: the weights given come from that phase")
    A("--save-every", type=float, default=90, help="seconds between two checkpoints in the folder `saved`")
    A("--warm", action="store_true", help="one step of every phase first: compiles everything, shows failures early")
    A("--dry", action="store_true")
    a = ap.parse_args()
    dev = "cpu" if a.dry else "cuda"
    NI, NL = (2, 4) if a.dry else (4, 12)  # latent frames of an image-phase clip and of a video clip
    fresh = 2 if a.dry else a.fresh
    BS, BI = (2, 4) if a.dry else (a.batch, a.images)
    seed = int(time.time()) % 100000 * 31 + a.rank * 1234577
    nw = 1 if a.dry else a.workers
    if a.weights:
        clips.weigh(json.loads(pathlib.Path(a.weights).read_text()))
    qi = common.start_workers(nw, seed, fresh * 3, NI * 4, 0.3, True, ptrans=0.0, ptwin=0.25)
    qv = common.start_workers(nw, seed + 5, fresh, NL * 4, 0.3, True, ptrans=0.35, ptwin=0.2)
    out = pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    say, clock = common.Log(out / f"dit{a.rank}.log"), common.Clock(a.plan)
    torch.manual_seed(1 + a.rank)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    R = render.Renderer(dev, compile=not a.dry, dtype=torch.float32 if a.dry else torch.float16)
    chunk = None if a.dry else 384
    amp = lambda: torch.autocast(dev, torch.bfloat16)
    cfg = dict(CONFIG, layers=3, d=320) if a.dry else CONFIG
    dit, te = DiT(**cfg).to(dev), TextEnc(2048).to(dev)
    if a.init:
        state = pack.load(pathlib.Path(a.init) / "dit.safetensors")
        if a.dry:
            state = {k: v for k, v in state.items() if not k.startswith("blocks.") or int(k.split(".")[1]) < 2}
        dit.load_state_dict(grow_depth(state, cfg["layers"]))
        te.load_state_dict(pack.load(pathlib.Path(a.init) / "text.safetensors"))
    say("parameters M", sum(p.numel() for p in dit.parameters()) / 1e6, sum(p.numel() for p in te.parameters()) / 1e6)

    # ---- attention and compilation: three kinds of calls (image, context, denoise), each one graph for all blocks
    if a.dry:
        i, j = torch.arange(NL * T), torch.arange(2 * NL * T)
        mc = context_mask(T, dit.past)(0, 0, i[:, None], i[None])
        md = denoise_mask(T, NL, dit.past)(0, 0, i[:, None], j[None])
        att_c = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mc)
        att_d = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=md)
        text = te
    else:
        import torch._dynamo as dynamo
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        dynamo.config.cache_size_limit = 64
        bc = create_block_mask(context_mask(T, dit.past), None, None, NL * T, NL * T, device=dev)
        bd = create_block_mask(denoise_mask(T, NL, dit.past), None, None, NL * T, 2 * NL * T, device=dev)
        att_c = lambda q, k, v: flex_attention(q, k, v, block_mask=bc)
        att_d = lambda q, k, v: flex_attention(q, k, v, block_mask=bd)
        from .dit import Block

        compiled = torch.compile(Block.forward, dynamic=False)
        dit.call = lambda b, *x: compiled(b, *x)
        ct = torch.compile(TextEnc.forward, dynamic=False)
        text = lambda ids: ct(te, ids)
        common.newton_schulz = torch.compile(common.newton_schulz)
    HW = [(9, 16), (12, 12)]
    cs_video = [rope_table(dit.hd, NL, *hw, device=dev) for hw in HW]
    cs_image = [rope_table(dit.hd, 1, *hw, device=dev) for hw in HW]

    # ---- optimiser: Muon on the blocks' matrices, AdamW on the rest
    hidden = [p for p in dit.blocks.parameters() if p.ndim == 2]
    ids_hidden = {id(p) for p in hidden}
    rest = [p for p in dit.parameters() if id(p) not in ids_hidden]
    groups = {}
    for p in hidden:
        groups.setdefault(tuple(p.shape), []).append(p)
    momentum = {k: torch.zeros(len(v), *k, device=dev) for k, v in groups.items()}
    adam = torch.optim.AdamW(
        [dict(params=rest, lr=1.5e-3, base=1.5e-3), dict(params=list(te.parameters()), lr=1e-3, base=1e-3)],
        betas=(0.9, 0.97), weight_decay=0.0, fused=dev == "cuda",
    )  # fmt: skip
    params = list(dit.parameters()) + list(te.parameters())
    ema = [p.detach().clone() for p in params]

    @torch.no_grad()
    def muon(lr):
        for k, ps in groups.items():
            g = torch.stack([p.grad for p in ps]).float()
            m = momentum[k]
            m.mul_(0.95).add_(g)
            u = common.newton_schulz(g + 0.95 * m) * max(1, k[0] / k[1]) ** 0.5
            torch._foreach_add_([p.data for p in ps], list(u.unbind(0)), alpha=-lr)

    # ---- data
    pools = [Pool(8 if a.dry else c, NI, dev) for c in (32768, 12288)]
    videos = [Pool(8 if a.dry else c, NL, dev) for c in (12288, 6144)]
    ae = None

    def load_ae(path, folder):
        nonlocal ae
        ae = from_state(pack.load(path))
        ae = ae.to(dev).eval().requires_grad_(False)
        if dev == "cuda":
            ae = ae.to(memory_format=torch.channels_last)
        say("autoencoder", path)

    @torch.no_grad()
    def encode(v, n=2 if a.dry else 16):
        """[B,F,3,h,w] -> [B,F/4,C,T], `n` clips at a time, padded: cuDNN tunes itself to each new size."""
        pad = v[-1:].expand((-len(v)) % n, -1, -1, -1, -1)
        with amp():
            return torch.cat([ae.encode(x.float()) for x in torch.cat([v, pad]).split(n)])[: len(v)].flatten(3).float()

    @torch.no_grad()
    def refill(q, to):
        s = q.get()
        v, tw = render.render_batch(R, s, chunk)
        z, t = encode(v), encode(tw) if len(tw) else None
        hw = HW[int(s["square"])]
        par = torch.from_numpy(s["a"][:, 2::4]).to(dev)
        m = render.subject_mask(par, *hw, square=s["square"]).flatten(2)
        n = torch.from_numpy
        ids, sw, ti = n(s["ids"].astype(np.int64)).to(dev), n(s["switch"]).to(dev), n(s["ti"]).to(dev)
        to[int(s["square"])].add(z, t, ti, m, ids, sw)

    final_ae = pathlib.Path(a.ae) / "ae_latent.safetensors"
    using_final = False

    def adopt():
        """Take the final autoencoder's latents as soon as they exist."""
        nonlocal using_final
        if using_final or not final_ae.exists():
            return False
        load_ae(final_ae, a.ae)
        using_final = True
        for p in pools + videos:
            p.reset()
        for _ in range(2 if a.dry else 24):
            refill(qi, pools)
        while not all(p.filled for p in pools):
            refill(qi, pools)
        return True

    def fill_videos():
        for _ in range(2 if a.dry else 80):
            refill(qv, videos)
        while not all(p.filled for p in videos):
            refill(qv, videos)

    def frame_times(shape, top=0.06):
        t = shift(torch.rand(shape, device=dev))
        return torch.where(torch.rand_like(t) < top, torch.ones_like(t), t)

    def weigh(err, mask):
        """err [.., C, T], mask [.., T]: the subject's tokens count more."""
        w = 1 + 1.5 * mask.float()
        return (err.mean(-2) * w).sum((-1,)) / w.sum((-1,))

    def noised(z, twin, use_twin, t, eps):
        """x_t over the clip or over its twin, and the velocity that leads to the clip."""
        src = torch.where(use_twin, twin, z)
        x = (1 - tv(t)) * src + tv(t) * eps
        return x, (x - z) / tv(t).clamp(min=0.05)

    def image_loss():
        sq = int(torch.rand(()) < 0.3)
        p = pools[sq]
        i = torch.randint(p.filled, (BI,), device=dev)
        f = torch.randint(NI, (BI,), device=dev)
        z, tw, m = p.z[i, f].float()[:, None], p.twin[i, f].float()[:, None], p.mask[i, f][:, None]
        t = frame_times((BI, 1), 0.08)
        use = p.has_twin[i] & (torch.rand(BI, device=dev) < 0.5)
        t = torch.where(use[:, None], 0.45 + 0.5 * torch.rand_like(t), t)
        t = t.clamp(min=0.02)
        eps = torch.randn_like(z)
        x, target = noised(z, tw, use[:, None, None, None], t, eps)
        with amp():
            v = dit.denoise(x, t, dit.text_kv(text(p.ids[i, 0])), cs_image[sq], sdpa)
        err = (v.float() - target) ** 2
        return weigh(torch.where(use[:, None, None, None], err * tv(t), err), m).mean()

    def per_frame(kv, sel):
        i = sel.reshape(-1)
        return [(k[i], v[i]) for k, v in kv]

    fr = torch.arange(NL, device=dev)
    step = 0
    depth = random.Random(1)  # the same in every process, so that none waits for another's longer past
    teacher = None
    guidance = GUIDANCE

    def video_batch():
        sq = int(share_square())
        p = videos[sq]
        i = torch.randint(p.filled, (BS,), device=dev)
        sel = torch.arange(BS, device=dev)[:, None] * 2 + (fr[None] >= p.switch[i][:, None]).long()
        use = (p.has_twin[i] & (torch.rand(BS, device=dev) < 0.5))[:, None, None, None]
        return sq, p.z[i].float(), p.twin[i].float(), use, p.mask[i], p.ids[i].flatten(0, 1), sel

    def share_square():
        return torch.rand(()) < 0.3

    def own_samples(z, zc, txt, cs, times, passes):
        """Past frames as the model itself makes them: each pass denoises from noise against the previous pass's samples."""
        B, n = z.shape[:2]
        for k in range(passes):
            past = dit.context(zc, torch.zeros(B, n, device=dev), txt, cs, att_c)
            x0 = z
            for t in times():
                x = (1 - tv(t)) * x0 + tv(t) * torch.randn_like(z)
                x0 = x - tv(t) * dit.denoise(x, t, txt, cs, att_d, past).float()
            use = (torch.rand(B, n, 1, 1, device=dev) < 0.75).float()
            zc = x0 * use + zc * (1 - use)
        return zc, x0

    def video_loss(ph):
        # Separate autocast regions: weights that autocast casts under no_grad must not be reused where gradients are wanted.
        sq, z, tw, use, mask, ids, sel = video_batch()
        B, cs, eps = z.shape[0], cs_video[sq], torch.randn_like(z)
        zero = torch.zeros(B, NL, device=dev)
        cn = 0.15 * torch.rand(B, 1, 1, 1, device=dev) ** 2
        zc = (1 - cn) * z + cn * torch.randn_like(z)
        with amp():
            txt = per_frame(dit.text_kv(text(ids)), sel)
        x0 = z
        if ph in "BC":

            def times():
                if ph == "C":
                    return [torch.full((B, NL), s, device=dev) for s in (STEPS[0], 0.75)]
                t = shift(0.1 + 0.9 * torch.rand(B, NL, device=dev))
                return [t, 0.5 * t]

            with torch.no_grad(), amp():
                # 2 to 4 generations deep: an endless stream sees the copy of a copy
                zc, x0 = own_samples(z, zc, txt, cs, times, depth.choice((2, 2, 3, 4) if ph == "B" else (2, 3)))
        r = lambda: torch.rand(B, NL, device=dev)
        if ph != "C":
            t = frame_times((B, NL))
            t = torch.where(use[:, :, 0, 0], 0.45 + 0.5 * r(), t).clamp(min=0.02)
            x, target = noised(z, tw, use, t, eps)
            with amp():
                past = dit.context(zc, zero, txt, cs, att_c)
                v = dit.denoise(x, t, txt, cs, att_d, past)
            err = (v.float() - target) ** 2
            return weigh(torch.where(use, err * tv(t), err), mask).mean()
        k = torch.where(r() < 0.3, 0, torch.randint(len(TIMES), (B, NL), device=dev))
        t = torch.tensor(TIMES, device=dev)[k]
        t = torch.where(use[:, :, 0, 0] | (r() < 0.15), 0.4 + 0.5 * r(), t)
        src = torch.where(use, tw, torch.where(tv(r()) < 0.5, x0, z))
        zt = (1 - tv(t)) * src + tv(t) * eps
        with torch.no_grad(), amp():
            target = guided_end(zt, t, zc, ids, sel, cs)
        with amp():
            past = dit.context(zc, zero, txt, cs, att_c)
            v = dit.denoise(zt, t, txt, cs, att_d, past)
        y = zt - tv(t) * v.float()
        return (weigh((y - target) ** 2, mask) + 1e-4).sqrt().mean()

    def guided_end(x, t, zc, ids, sel, cs, K=5):
        """Where the teacher's guided Euler steps from x at t end (guidance in x0, its deviation pulled back to the plain one)."""
        tdit, tte = teacher
        B = x.shape[0]
        txt = per_frame(tdit.text_kv(ct(tte, ids) if not a.dry else tte(ids)), sel)
        none = tdit.text_kv(tte(empty_ids))
        none = [(k.expand(B * NL, -1, -1, -1), v.expand(B * NL, -1, -1, -1)) for k, v in none]
        past = tdit.context(zc, torch.zeros(B, NL, device=dev), txt, cs, att_c)
        at = lambda j: t * shift(torch.tensor(1 - j / K), 1.4).item()
        for j in range(K):
            ua, ub = at(j), at(j + 1)
            c = x - tv(ua) * tdit.denoise(x, ua, txt, cs, att_d, past).float()
            if j < K - 1:
                u = x - tv(ua) * tdit.denoise(x, ua, none, cs, att_d, past).float()
                g = u + guidance * (c - u)
                ratio = c.std((-2, -1), keepdim=True) / g.std((-2, -1), keepdim=True).clamp(min=1e-3)
                c = g * (0.3 + 0.7 * ratio)
            x = c + tv(ub / ua.clamp(min=1e-3)) * (x - c)
        return x

    tok = common.tokenizer()
    empty_ids = torch.tensor([tok.encode("").ids], device=dev)

    # ---- one step, several processes
    dist = None

    def join():
        nonlocal dist, step
        import torch.distributed as d

        say("joining")
        d.init_process_group(
            "nccl" if dev == "cuda" else "gloo",
            init_method=f"file://{out.resolve()}/rendezvous",
            rank=a.rank,
            world_size=a.world,
            timeout=datetime.timedelta(seconds=120),  # a process that lost the other one ends instead of waiting
        )
        dist = d
        tensors = [p.data for p in params] + ema + list(momentum.values())
        for p in params:
            st = adam.state[p]
            tensors += [st["exp_avg"], st["exp_avg_sq"]] if "exp_avg" in st else []
        for x in tensors:
            d.broadcast(x, 0)
        at = torch.tensor([step], device=dev)
        d.broadcast(at, 0)
        step = int(at)
        say("joined")

    def meet():
        """Let the other processes in, if they come in time."""
        others = [out / f"ready{r}" for r in range(1, a.world)] + [pathlib.Path(a.ae) / "AE_DONE"]
        wait = time.time()
        while not (met := all(f.exists() for f in others)) and time.time() - wait < 90:
            time.sleep(0.2)
        if not met:
            say("no second process: going on alone")
            return
        (out / "join").write_text("go")
        join()

    def optimise(loss, f, ema_rate):
        adam.zero_grad(set_to_none=True)
        for p in params:
            p.grad = None
        loss.backward()
        if dist:
            flat = torch._utils._flatten_dense_tensors([p.grad for p in params])
            dist.all_reduce(flat)
            flat /= a.world
            for p, g in zip(params, torch._utils._unflatten_dense_tensors(flat, [p.grad for p in params])):
                p.grad.copy_(g)
        gn = torch.nn.utils.clip_grad_norm_(rest + list(te.parameters()), 1.0)
        for g in adam.param_groups:
            g["lr"] = g["base"] * f
        adam.step()
        muon(0.015 * f)
        with torch.no_grad():
            torch._foreach_lerp_(ema, params, ema_rate)
        return gn

    def swap():
        for p, e in zip(params, ema):
            x = p.data.clone()
            p.data.copy_(e)
            e.copy_(x)

    saved, ph = time.time(), "-"

    def save():
        """The averaged weights and how far they are, as a folder that appears in one move."""
        if a.rank:
            return
        nonlocal saved
        new, old, now = out / "saved.new", out / "saved.old", out / "saved"
        for x in (new, old):
            shutil.rmtree(x, ignore_errors=True)
        new.mkdir()
        swap()
        pack.save(dit.state_dict(), new / "dit.safetensors", parts=2)
        pack.save(te.state_dict(), new / "text.safetensors")
        swap()
        (new / "state.json").write_text(json.dumps(dict(seconds=round(clock.now(), 1), phase=ph, step=step)))
        if now.exists():
            now.rename(old)
        new.rename(now)
        saved = time.time()

    def look(name, steps, latents=5):
        """A contact sheet of the averaged weights so far."""
        if a.rank:
            return
        swap()
        call, dit.call = dit.call, lambda b, *x: b(*x)  # sizes that are not worth compiling
        with torch.no_grad(), amp():
            v = evaluate.generate(
                dit, te, ae, tok, evaluate.LOOK[: 2 if a.dry else None], HW[0], steps, 2 if a.dry else latents, dev
            )
        common.sheet(v, out / name, 4, 0.5)
        dit.call = call
        swap()

    def warm_up():
        """One real-sized step of every phase, so that everything is compiled (and any failure is seen) early."""
        nonlocal teacher
        ema_rate = 0.0
        for ph in "IABC":
            t = time.time()
            if ph == "C":
                make_teacher()
            optimise(image_loss() if ph == "I" else video_loss(ph), 1e-6, ema_rate)
            if dev == "cuda":
                torch.cuda.synchronize()
            say(
                "warm",
                ph,
                "%.1f s" % (time.time() - t),
                "memory GB",
                torch.cuda.max_memory_allocated() / 2**30 if dev == "cuda" else 0,
            )
        if dev == "cuda":
            t = time.time()
            for ph in "IABC":
                t = time.time()
                for _ in range(3):
                    optimise(image_loss() if ph == "I" else video_loss(ph), 1e-6, ema_rate)
                torch.cuda.synchronize()
                say("phase", ph, "ms/step %.0f" % ((time.time() - t) / 3 * 1000))
        teacher = None

    def make_teacher():
        nonlocal teacher
        swap()
        call, dit.call = dit.call, None
        teacher = copy.deepcopy(dit), copy.deepcopy(te)
        dit.call = teacher[0].call = call
        swap()

    # ---- go
    if a.first_ae and not final_ae.exists():
        load_ae(pathlib.Path(a.first_ae) / "ae.safetensors", a.first_ae)
        for _ in range(2 if a.dry else 16):
            refill(qi, pools)
        while not all(p.filled for p in pools):
            refill(qi, pools)
    else:
        while not adopt():
            time.sleep(0.3)
    say("pool", [p.filled for p in pools])
    if a.dry or a.warm:
        for _ in range(4):
            refill(qv, videos)
        while not all(p.filled for p in videos):
            refill(qv, videos)
        warm_up()
    if a.rank:
        (out / f"ready{a.rank}").write_text("ok")
        if dev == "cuda":
            torch.cuda.empty_cache()
        while not (out / "join").exists():
            time.sleep(0.1)
        if a.at is None:
            adopt()
            fill_videos()
        join()
    elif a.at is not None:
        if a.world > 1:
            meet()
        clock.start(a.at)
        (out / "started").write_text("ok")
    t_start, acc, last, count = clock.now() if a.at is None else 0.0, 0.0, time.time(), 0
    progress = torch.zeros(2, device=dev)
    history = []
    for ph in "ABC" if a.rank and a.at is None else "IABC":
        if clock.end(ph) <= (a.at if a.at is not None else 0.0 if a.dry else clock.now()):
            continue
        if ph in "BC" and not using_final:
            while not adopt():
                time.sleep(0.3)
        if ph in "ABC" and videos[0].total < 500:
            fill_videos()
        if ph == "A" and a.world > 1 and a.rank == 0 and a.at is None:
            meet()
        p0, s0 = clock.now(), step
        if a.at is not None:  # as if it had never been interrupted
            p0 = max([0.0] + [clock.end(p) for p in "IABC"[: "IABC".index(ph)]])
        if ph == "C":
            make_teacher()
            if a.distilled:  # the teacher is guided already
                guidance = 1.0
            for p, e in zip(params, ema):
                p.data.copy_(e)
            for m in momentum.values():
                m.zero_()
        say("phase", ph)
        looked = False
        while True:
            if step % 4 == 0 or a.dry:  # one process decides, so that all stop at the same step
                now = clock.now()
                progress[0] = (now - p0) / max(1.0, clock.end(ph) - p0)
                progress[1] = (now - t_start) / max(1.0, clock.end("B") - t_start)
                if dist:
                    dist.broadcast(progress, 0)
                pr, whole = progress.tolist()
            if pr >= 1 or (a.dry and step - s0 >= 2):
                break
            if ph == "C":
                f = (0.3 * (1 - pr) + 0.01) * min(1, (step + 1) / 30)
            else:
                f = min(1, (step + 1) / 60) * (1.0 if whole < 0.55 else max(0.0, 1 - whole) / 0.45 * 0.95 + 0.05)
            image = ph == "I" or (ph in "AB" and step % 3 == 0)
            if ph == "I":
                if step % 20 == 0 and adopt():
                    say("new latents at step", step)
                if step % 3 == 0:
                    refill(qi, pools)
            elif ph == "A" and not using_final and step % 20 == 0 and adopt():
                say("new latents at step", step)
                fill_videos()
            elif step % (3 if ph != "C" else 6) == 0:
                refill(qv, videos)
            loss = image_loss() if image else video_loss(ph)
            rate = 1 - min(0.9985, (1 + step) / (10 + step)) if ph != "C" else 0.015
            gn = optimise(loss, f, rate)
            step += 1
            if not image or ph == "I":
                acc, count = acc + loss.detach(), count + 1
            if step % 50 == 0 or a.dry:
                v = (acc / max(1, count)).item() if count else float("nan")
                ms = (time.time() - last) * 1000 / (1 if a.dry else 50)
                say(ph, "step", step, "loss %.4f" % v, "gn %.2f" % gn.item(), "ms %.0f" % ms, "f %.3f" % f, "clips", [p.total for p in pools + videos], "queues", qi.qsize(), qv.qsize())  # fmt: skip
                history.append((step, ph, v))
                acc, count, last = 0.0, 0, time.time()
            if time.time() - saved > a.save_every:
                save()
            if pr > 0.5 and not looked and not a.rank:
                looked = True
                save()
                look(f"look_{ph}.webp", [1.0, 0.9375, 0.833, 0.625] if ph != "C" else STEPS)
                last = time.time()
        save()
        say("end of phase", ph, "step", step)
    if a.rank == 0:
        (out / "history.json").write_text(json.dumps(history))
        best = pathlib.Path(a.ae) / "ae.safetensors"
        if best.exists():
            load_ae(best, a.ae)
        save()
        swap()
        if not a.dry:
            dit.call = lambda b, *x: b(*x)
        evaluate.final(dit, te, ae, tok, STEPS, out, dev, say, amp, small=a.dry)
        (out / "DIT_DONE").write_text("ok")
    say("done", step)
    if dist:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
