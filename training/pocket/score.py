"""Which subjects and scenes a model really draws: named by a small network that learned them from the drawn data.

    python -m pocket.score --model ../models/pocket --out out/score [--device cuda] [--rounds 3] [--long 600]

The judge learns subject and scene from rendered clips that went through the model's own autoencoder, so that blur is no
news to it; its accuracy on rendered clips it never saw is the ceiling. Every subject is then generated from a plain prompt
(round 0 in a scene it is at home in, later rounds anywhere) and named at frame 24 and, with `--long`, at that frame again.

`score.json` holds every answer, `score.txt` the figures and misses, `weights.json` how much more often `train_dit --weights`
should draw each subject. `blind_N.webp` are the same pictures in a shuffled order under numbers, `key.json` says what they
are: name them before opening it.
"""

import argparse
import contextlib
import copy
import json
import pathlib
import random
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from . import clips, common, evaluate, render

GROUND = [s for s in clips.SCN if s not in clips.NOG]
HOMES = {
    "swim": ["underwater"],
    "sail": ["ocean"],
    "dance": ["disco", "city", "park"],
    "fly": ["clouds", "space", *GROUND],
    "drive": ["city", "mountains", "farm", "desert", "rain", "citynight", "snow"],
}
SIZE = (72, 128)  # the judge looks at half the resolution of wide frames
SEEN = 4  # frames of a clip it names together: the last latent frame


# ---------------- what is asked for ----------------
def usual_motion(kind, scene):
    """What a subject of this kind mostly does there in the training clips."""
    if scene == "ocean":
        return kind if kind in ("sail", "fly") else "swim"
    by_kind = {"hop": "jump", "swim": "float", "sail": "drive"}
    return {"clouds": "fly", "space": "float", "underwater": "swim"}.get(scene) or by_kind.get(kind, kind)


def text(subject, motion, scene):
    """The plainest wording of the captions: first name, first participle, first phrase."""
    name, place = clips.sub[subject]["names"][0], clips.PHR[clips.SCN[scene]][0]
    if place.startswith("through") and motion != "fly":
        place = "in the clouds"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name} {clips.V3[motion][0][0]} {place}"


def cases(rounds=1):
    """(subject, scene, prompt) for every subject: round 0 where it is at home, later rounds in rotated scenes."""
    out, used = [], {}
    for k in range(rounds):
        for s, q in enumerate(clips.sub):
            homes = HOMES.get(q["kind"], GROUND) if k == 0 else clips.SCN
            i = used.get(q["kind"], 0) if k == 0 else s * 7 + k * 11
            used[q["kind"]] = i + 1
            scene = homes[i % len(homes)]
            at = clips.SCN.index(scene)
            out.append((s, at, text(s, usual_motion(q["kind"], scene), at)))
    return out


# ---------------- the judge ----------------
def conv(a, b, stride=1):
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True))


class Judge(nn.Module):
    """Log probabilities of subject and scene of frames [B,3,72,128] in 0..1."""

    def __init__(self, w=(24, 48, 96, 160)):
        super().__init__()
        self.body = nn.Sequential(
            conv(3, w[0], 2), conv(w[0], w[0]),
            conv(w[0], w[1], 2), conv(w[1], w[1]),
            conv(w[1], w[2], 2), conv(w[2], w[2]),
            conv(w[2], w[3], 2), conv(w[3], w[3]),
        )  # fmt: skip
        self.subject = nn.Linear(2 * w[3], len(clips.sub))
        self.scene = nn.Linear(2 * w[3], len(clips.SCN))

    def forward(self, x):
        y = self.body(x * 2 - 1)
        y = F.dropout(torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1), 0.2, self.training)
        return self.subject(y).float().log_softmax(1), self.scene(y).float().log_softmax(1)


def small(v):
    """Frames [...,3,144,256] -> uint8 [n,3,72,128]."""
    x = F.interpolate(v.flatten(0, -4).float(), SIZE, mode="area")
    return (x.clamp(0, 1) * 255).round().byte()


def jitter(x):
    """uint8 frames -> 0..1, shifted by up to 8 pixels, mirrored, regraded."""
    n, _, h, w = x.shape
    u = lambda *s: torch.rand(*s, device=x.device)
    dx, dy = ((torch.rand(n, device=x.device) * 17 - 8).long() for _ in range(2))
    flip = u(n, 1) < 0.5
    col = (torch.arange(w, device=x.device)[None] + dx[:, None]).clamp(0, w - 1)
    col = torch.where(flip, w - 1 - col, col)
    row = (torch.arange(h, device=x.device)[None] + dy[:, None]).clamp(0, h - 1)
    i = torch.arange(n, device=x.device)[:, None, None]
    x = x.permute(0, 2, 3, 1)[i, row[:, :, None], col[:, None, :]].permute(0, 3, 1, 2).float() / 255
    return ((x - 0.5) * (0.8 + 0.4 * u(n, 1, 1, 1)) + 0.5 + 0.2 * (u(n, 3, 1, 1) - 0.5)).clamp(0, 1)


class Drawn:
    """Labelled clips of one plain subject each, drawn and passed through the autoencoder."""

    def __init__(self, ae, dev):
        self.ae, self.dev, self.dtype = ae, dev, torch.bfloat16
        self.chunk = 384 if dev == "cuda" else 64
        self.R = render.Renderer(dev, compile=True, dtype=torch.float32)

    @torch.no_grad()
    def __call__(self, n, seed):
        """Small frames [n,SEEN,3,72,128] of the last latent frame, subjects [n], scenes [n]."""
        r, frames = random.Random(seed), 8 if self.dev == "cuda" else 4
        par, subject, scene = [], [], []
        for i in range(n):
            p = clips.new_spec(r)
            s = r.randrange(len(clips.sub))
            if r.random() < 0.5:
                p["sc"] = clips.SCN.index(r.choice(HOMES.get(clips.sub[s]["kind"], GROUND)))
            p.update(subs=[s], motion=clips.pick_motion(r, s, p["sc"]), col=None, count=None, sty=None)
            par.append(clips.frames(p, frames, r.randrange(2000)))
            subject.append(s)
            scene.append(p["sc"])
        v = self.R.clips(np.stack(par).astype(np.float32), chunk=self.chunk).to(self.dtype)
        y = torch.cat([self.ae.decode(self.ae.encode(x)) for x in v.split(16)])[:, -SEEN:]
        return small(y).view(n, SEEN, 3, *SIZE), torch.tensor(subject), torch.tensor(scene)


@torch.no_grad()
def name(judge, x, dev, at_once=256):
    """Log probabilities (subject [n,83], scene [n,25]) of frames uint8 [n,SEEN,3,72,128], averaged over the frames."""
    judge.eval()
    out = [judge(y.to(dev).float() / 255) for y in x.flatten(0, 1).split(at_once)]
    mean = lambda i: torch.cat([o[i] for o in out]).view(len(x), -1, out[0][i].shape[1]).mean(1).cpu()
    return mean(0), mean(1)


def learn(ae, dev, seconds, say, held=None, seed=1):
    """Train a judge for so many seconds (of the processor, on a CPU, which others may be using too).

    Returns it and its accuracy (subject, scene) on `held` clips it never saw.
    """
    cuda = dev == "cuda"
    clock = time.time if cuda else time.process_time
    drawn = Drawn(ae, dev)
    held = held or (1660 if cuda else 249)
    xs, ss, cs = zip(*(drawn(min(83, held - i), 10_000_019 + i) for i in range(0, held, 83)))
    test = torch.cat(xs), torch.cat(ss), torch.cat(cs)
    judge = Judge().to(dev)
    if cuda:
        judge = judge.to(memory_format=torch.channels_last)
    adam = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.02)
    cap, group, batch, steps = (200_000, 256, 512, 12) if cuda else (24_000, 24, 64, 12)
    pool = torch.zeros(cap, 3, *SIZE, dtype=torch.uint8, device=dev)
    label = torch.zeros(cap, 2, dtype=torch.long, device=dev)
    total, step, t0, said = 0, 0, clock(), 0.0
    while (done := (clock() - t0) / seconds) < 1 or total == 0:
        if done < 0.85:  # the last part goes over what is there
            x, s, c = drawn(group, seed * 1_000_003 + total)
            keep = x[:, ::2].flatten(0, 1)
            i = torch.arange(total, total + len(keep), device=dev) % cap
            pool[i] = keep.to(dev)
            label[i] = torch.stack([s, c], 1).repeat_interleave(SEEN // 2, 0).to(dev)
            total += len(keep)
        judge.train()
        for _ in range(steps):
            for g in adam.param_groups:
                g["lr"] = 2e-3 * min(1, (step + 1) / 50) * (1 - min(1, done)) ** 0.7 + 1e-5
            i = torch.randint(min(total, cap), (batch,), device=dev)
            with torch.autocast(dev, torch.bfloat16):
                a, b = judge(jitter(pool[i]))
            loss = F.nll_loss(a, label[i, 0]) + 0.3 * F.nll_loss(b, label[i, 1])
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            step += 1
        if clock() - said > seconds / 12:
            said = clock()
            say("judge step", step, "frames", total, "loss %.3f" % loss.item())
    a, b = name(judge, test[0], dev)
    ceiling = (a.argmax(1) == test[1]).float().mean().item(), (b.argmax(1) == test[2]).float().mean().item()
    say("judge on %d clips it never saw: subject %.1f %%, scene %.1f %%" % (held, 100 * ceiling[0], 100 * ceiling[1]))
    return judge, ceiling


# ---------------- the score ----------------
@torch.no_grad()
def make(model, asked, latents, dev, amp, seed, at_once=83):
    """The last five of so many latent frames [n,5,C,h,w], generated for every prompt asked."""
    dit, te, ae, tok, steps = model
    out = []
    for i in range(0, len(asked), at_once):
        prompts = [p for _, _, p in asked[i : i + at_once]]
        with amp():
            z = evaluate.latents(dit, te, tok, prompts, (9, 16), steps, latents, dev, seed + i)
        out.append(z[:, -5:])
    return torch.cat(out)


@torch.no_grad()
def pictures(ae, z, at_once=24):
    """The last latent frame of [n,5,C,h,w] as video [n,SEEN,3,144,256], decoded as a stream."""
    return torch.cat(
        [ae.decode(x.to(next(ae.parameters()))).clamp(0, 1)[:, -SEEN:].float().cpu() for x in z.split(at_once)]
    )


def answers(judge, video, asked, dev):
    a, b = name(judge, small(video).view(len(video), -1, 3, *SIZE), dev)
    rows = []
    for (s, c, prompt), x, y in zip(asked, a.exp(), b.exp()):
        rows.append(dict(prompt=prompt, subject=clips.sub[s]["id"], named=clips.sub[int(x.argmax())]["id"], p=round(x[s].item(), 3),
                         scene=clips.SCN[c], scene_named=clips.SCN[int(y.argmax())], scene_p=round(y[c].item(), 3)))  # fmt: skip
    return rows


def report(rows, title, say):
    n = len(rows)
    right = sum(r["subject"] == r["named"] for r in rows)
    scenes = sum(r["scene"] == r["scene_named"] for r in rows)
    say(f"{title}: subject {right}/{n} ({100 * right / n:.1f} %), scene {scenes}/{n} ({100 * scenes / n:.1f} %)")
    for r in rows:
        if r["subject"] != r["named"] or r["scene"] != r["scene_named"]:
            say(f"  {r['prompt']!r}: {r['named']} ({r['p']:.2f} for {r['subject']}), {r['scene_named']}")
    return dict(subjects=right / n, scenes=scenes / n)


def weights(groups):
    """How often to draw each subject: 1 where every answer is surely right, up to 4 where none is."""
    p = {q["id"]: [] for q in clips.sub}
    for rows in groups:
        for r in rows:
            p[r["subject"]].append(r["p"] * (r["subject"] == r["named"]))
    return {k: round(1 + 3 * (1 - sum(v) / len(v)), 2) if v else 1.0 for k, v in p.items()}


def blind(video, asked, out, columns=5, per_sheet=20):
    """Numbered pictures in a shuffled order, and the key to them."""
    from PIL import Image, ImageDraw

    order = list(range(len(asked)))
    random.Random(time.time_ns()).shuffle(order)
    h, w = 108, 192
    for k in range(0, len(order), per_sheet):
        part = order[k : k + per_sheet]
        page = Image.new("RGB", (columns * w, -(-len(part) // columns) * (h + 14)), "white")
        draw = ImageDraw.Draw(page)
        for j, i in enumerate(part):
            x, y = j % columns * w, j // columns * (h + 14)
            im = (video[i, -1].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
            page.paste(Image.fromarray(im).resize((w, h), Image.LANCZOS), (x, y + 14))
            draw.text((x + 4, y + 1), str(k + j + 1), fill="black")
        page.save(out / f"blind_{k // per_sheet + 1}.webp", quality=90)
    key = {k + 1: dict(subject=clips.sub[asked[i][0]]["id"], scene=clips.SCN[asked[i][1]]) for k, i in enumerate(order)}
    (out / "key.json").write_text(json.dumps(key, indent=0))


def run(model, out, dev, say, rounds=1, long=0, minutes=8.0, amp=contextlib.nullcontext, dry=False, judge_file=None):
    """Judge, generate, score; returns what `score.json` holds."""
    dit, te, ae, tok, steps = model
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    half = copy.deepcopy(ae).bfloat16()  # half the time on either device; the decoded frames differ by .01 dB
    if judge_file and pathlib.Path(judge_file).exists():
        kept = torch.load(judge_file, map_location=dev)
        judge, ceiling = Judge().to(dev), kept.pop("ceiling")
        judge.load_state_dict(kept)
    else:
        judge, ceiling = learn(half, dev, minutes * 60, say, 16 if dry else None)
        torch.save(judge.state_dict() | {"ceiling": ceiling}, out / "judge.tmp")
        (out / "judge.tmp").replace(out / "judge.pt")
    asked = cases(rounds)[: 2 if dry else None]
    video = pictures(half, make(model, asked, 6, dev, amp, 0))
    rows = answers(judge, video, asked, dev)
    blind(video[: len(clips.sub)], asked[: len(clips.sub)], out)
    text_file = open(out / "score.txt", "w")

    def both(*x):
        say(*x)
        print(*x, file=text_file, flush=True)

    both("ceiling on drawn clips: subject %.1f %%, scene %.1f %%" % (100 * ceiling[0], 100 * ceiling[1]))
    result = dict(ceiling=ceiling, frame24=report(rows, "frame 24", both), rows=rows)
    groups = [rows]
    if long:
        asked = asked[: len(clips.sub)]
        far = answers(judge, pictures(half, make(model, asked, long // 4, dev, amp, 7)), asked, dev)
        result |= dict(long=report(far, f"frame {long}", both), long_rows=far)
        groups.append(far)
    (out / "score.json").write_text(json.dumps(result, indent=0))
    (out / "weights.json").write_text(json.dumps(weights(groups)))
    return result


def main():
    ap = argparse.ArgumentParser()
    A = ap.add_argument
    A("--model", required=True)
    A("--out", required=True)
    A("--device", default="cpu")
    A("--rounds", type=int, default=1)
    A("--long", type=int, default=0, help="also name the subjects at this frame of a roll-out")
    A("--minutes", type=float, default=8, help="how long the judge learns; processor time on a CPU")
    A("--dry", action="store_true", help="two prompts and a judge that learned next to nothing")
    A("--judge", help="judge.pt of an earlier score with the same autoencoder, instead of learning again")
    a = ap.parse_args()
    dit, te, ae, c = evaluate.load(a.model, a.device)
    model = dit, te, ae, common.tokenizer(), c["sampling"]["default_steps"]
    amp = (lambda: torch.autocast("cuda", torch.bfloat16)) if a.device == "cuda" else contextlib.nullcontext
    pathlib.Path(a.out).mkdir(parents=True, exist_ok=True)
    say = common.Log(pathlib.Path(a.out) / "score.log")
    if a.dry:
        a.long, a.minutes = 40, 0.05
    run(model, a.out, a.device, say, a.rounds, a.long, a.minutes, amp, a.dry, a.judge)


if __name__ == "__main__":
    main()
