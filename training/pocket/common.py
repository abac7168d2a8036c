"""What the training scripts share: data workers, the campaign's clock, Muon, logging and contact sheets."""

import json
import multiprocessing as mp
import os
import pathlib
import random
import time

import numpy as np

from . import clips, paths

TEXT_LEN = 48


def tokenizer():
    from tokenizers import Tokenizer

    t = Tokenizer.from_file(str(paths.TOKENIZER))
    t.enable_truncation(TEXT_LEN)
    t.enable_padding(length=TEXT_LEN, pad_id=0, pad_token="<pad>")
    return t


def _worker(queue, seed, clips_per_item, frames, square_share, options, with_text):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tok = tokenizer() if with_text else None
    r = random.Random(seed)
    while True:
        s = clips.sample_clips(
            r.randrange(1 << 60), clips_per_item, frames, square=r.random() < square_share, **options
        )
        if with_text:
            captions = []
            for before, after in s["captions"]:
                drop = r.random() < 0.08  # the unconditional half of guidance
                captions += ["", ""] if drop else [before, after]
            ids = np.array([e.ids for e in tok.encode_batch(captions)], np.int16)
            s["ids"] = ids.reshape(clips_per_item, 2, TEXT_LEN)
        queue.put(s)


def start_workers(count, seed, clips_per_item, frames, square_share=0.0, with_text=False, **options):
    """Daemon processes that put `sample_clips` batches on a bounded queue."""
    ctx = mp.get_context("fork")
    q = ctx.Queue(maxsize=2 * count)
    for i in range(count):
        args = (q, seed + i * 7919, clips_per_item, frames, square_share, options, with_text)
        ctx.Process(target=_worker, args=args, daemon=True).start()
    return q


def replace(path, text):
    """Write a file in one move, so that nobody reads half of it."""
    path = pathlib.Path(path)
    tmp = path.with_suffix(".tmp")
    tmp.write_text(text)
    tmp.replace(path)


class Clock:
    """Phases end at times of the campaign, read from a plan that may be edited while it runs.

    plan.json: {"t0": unix time of the start, "ends": {"phase": seconds after t0}}
    """

    def __init__(self, plan):
        self.path = pathlib.Path(plan)
        self.read = 0.0
        self.now()

    def _load(self):
        if time.time() - self.read > 3:
            self.plan = json.loads(self.path.read_text())
            self.read = time.time()

    def now(self):
        self._load()
        return time.time() - self.plan["t0"]

    def start(self, at):
        """From now on the campaign is `at` seconds old."""
        self.read = 0.0
        self._load()
        self.plan["t0"] = time.time() - at
        replace(self.path, json.dumps(self.plan))

    def end(self, phase):
        self._load()
        return self.plan["ends"].get(phase, 0.0)


class Log:
    def __init__(self, path):
        self.file = open(path, "a")
        self.t0 = time.time()

    def __call__(self, *x):
        line = f"[{time.time() - self.t0:.1f}] " + " ".join(str(y) for y in x)
        print(line, flush=True)
        self.file.write(line + "\n")
        self.file.flush()


def newton_schulz(G):
    """Orthogonalise a batch of matrices (Muon, Jordan et al. 2024: five steps of a quintic iteration)."""
    X = G.bfloat16()
    tall = X.shape[-2] > X.shape[-1]
    if tall:
        X = X.mT
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        A = X @ X.mT
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * (A @ A)) @ X
    return (X.mT if tall else X).float()


def image_grid(video, columns):
    """[R,T,3,h,w] in 0..1 -> uint8 [R*h, columns*w, 3], frames spread over the clip."""
    import torch

    v = video.float().clamp(0, 1).cpu()
    v = v[:, torch.linspace(0, v.shape[1] - 1, columns).long()]
    R, T, _, h, w = v.shape
    return (v.permute(0, 3, 1, 4, 2).reshape(R * h, T * w, 3).numpy() * 255).astype(np.uint8)


def sheet(video, path, columns=6, scale=1.0):
    from PIL import Image

    im = Image.fromarray(image_grid(video, columns))
    if scale != 1.0:
        im = im.resize((int(im.width * scale), int(im.height * scale)), Image.BOX)
    im.save(path, quality=90)
