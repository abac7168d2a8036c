"""Continue training on a rented machine that is reached only by calls of a few minutes each and may vanish between them.

    python3 -m pocket.lease --left 1790 --out "$OUT"          # there, the same line in every call
    python3 -m pocket.lease --join FOLDER                     # here, after every call, with what came back

The first call copies what it needs to a folder of its own and starts the training in a session of its own, which runs on
while files travel; every call waits, fits the rest of the plan into the seconds left, and hands out the newest checkpoint.
`--join` puts a checkpoint into `models/pocket` and notes how far it is in `data/lease`; when both travel again, a fresh
machine goes on from there. At the end of the plan the model is scored, and with the same judge the one it began with, and
a last call brings the report. Two GPUs share every step.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import time

from . import common, pack, paths

HOME = pathlib.Path(os.environ.get("POCKET_LEASE", "/tmp/pocket-lease"))
NOTE = paths.DATA / "lease" / "state.json"
ENDS = {"I": 150, "A": 600, "B": 960, "C": 1350}  # seconds of training; stretched to the lease
# seconds: a machine's start, compilation, sheets and score, and what is never used
START, WARM, FINAL, MARGIN = 120, 150, 190, 45
# Clips and images a step, for each attempt and GPU. Less would be no faster: an H200 waits for the processor even so.
BATCHES = [(48, 1024), (48, 1024), (24, 512)]
FILES = ("dit.0.safetensors", "dit.1.safetensors", "text.safetensors", "state.json")


def fit(ends, at, seconds):
    """The plan's ends with everything after `at` stretched so that `seconds` are left of it."""
    left = max(ends.values()) - at
    if left <= 0:
        return ends
    k = max(0.0, seconds) / left
    return {p: round(e if e <= at else at + (e - at) * k, 1) for p, e in ends.items()}


def state(folder):
    f = folder / "state.json"
    return json.loads(f.read_text()) if f.exists() else {}


def running():
    try:
        os.kill(int((HOME / "pid").read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def unpacked(dry):
    """Copy code, pictures and weights out of the working tree, which the next call replaces."""
    shutil.rmtree(HOME, ignore_errors=True)
    shutil.copytree(paths.TRAINING / "pocket", HOME / "training" / "pocket")
    shutil.copytree(paths.ASSETS, HOME / "training" / "data" / "assets")
    model = HOME / "models" / "pocket"
    shutil.copytree(paths.MODEL, model, ignore=shutil.ignore_patterns("parity*", "*.md"))
    if not NOTE.exists():  # after a resumption the model that travelled is a checkpoint
        shutil.copytree(model, HOME / "models" / "before")
    (HOME / "ae").mkdir()
    (HOME / "ae" / "AE_DONE").write_text("ok")
    for name in ("ae_latent", "ae"):
        shutil.copy(model / "ae.safetensors", HOME / "ae" / f"{name}.safetensors")
    if (paths.TRAINING / "weights.json").exists():
        shutil.copy(paths.TRAINING / "weights.json", HOME)
    if dry:  # a network of three layers
        c = pack.config(model)
        c["transformer"]["layers"] = 3
        (model / "config.json").write_text(json.dumps(c))


def begin(dry):
    unpacked(dry)
    note = json.loads(NOTE.read_text()) if NOTE.exists() else dict(seconds=0.0, phase="-")
    at = note["seconds"]
    (HOME / "note.json").write_text(json.dumps(note))
    (HOME / "plan.json").write_text(json.dumps(dict(t0=time.time() - at, ends=ENDS, at=at)))
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "POCKET_LEASE": str(HOME), "OMP_NUM_THREADS": "1" if dry else "4"}
    env.pop("POCKET_DATA", None)
    with open(HOME / "log.txt", "a") as log:
        cmd = [sys.executable, "-m", "pocket.lease", "--daemon"] + ["--dry"] * dry
        p = subprocess.Popen(cmd, cwd=HOME / "training", env=env, stdout=log, stderr=log, start_new_session=True)
    (HOME / "pid").write_text(str(p.pid))
    return at


def gpus(dry):
    """How many processes train together."""
    if dry:
        return 2
    import torch

    return min(2, torch.cuda.device_count())


def start(gpu, *args):
    """A module of this package on the GPU `gpu`; the others stay visible to NCCL."""
    seen = ",".join(str((gpu + i) % 2) for i in range(2))
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": seen} if gpus(False) == 2 else None
    return subprocess.Popen([sys.executable, "-m", *map(str, args)], env=env)


def together(jobs):
    """Wait until the first ends or any fails, end the others, and return the exit code of the one that failed, or 0."""
    while jobs[0].poll() is None and not any(j.poll() for j in jobs):
        time.sleep(0.5)
    code = next((c for c in (j.poll() for j in jobs) if c), 0)
    for j in jobs:
        j.kill()
        j.wait()
    return code


def train(dry, attempt):
    """One attempt from the newest checkpoint: at first on all GPUs, then on one, then with smaller batches."""
    out, saved = HOME / "out", HOME / "out" / "saved"
    note = state(saved) or json.loads((HOME / "note.json").read_text())
    world = gpus(dry) if attempt == 0 else 1
    batch, images = BATCHES[attempt]
    args = ["pocket.train_dit", "--plan", HOME / "plan.json", "--ae", HOME / "ae", "--out", out]
    init = saved if saved.exists() else HOME / "models" / "pocket"
    args += ["--init", init, "--at", note["seconds"], "--world", world]
    args += ["--batch", batch, "--images", images, "--dry" if dry else "--warm"]
    args += ["--weights", HOME / "weights.json"] if (HOME / "weights.json").exists() else []
    args += ["--distilled"] if note["phase"] == "C" else []
    return together([start(rank, *args, "--rank", rank) for rank in range(world)])


def score(dry):
    """Score the model, and with the same judge the one that training began with."""
    model, before, judge = HOME / "models" / "pocket", HOME / "models" / "before", HOME / "score" / "judge.pt"
    more = ["--dry"] if dry else ["--device", "cuda", "--minutes", 0.75, "--rounds", 3, "--long", 600]
    jobs = [start(0, "pocket.score", "--model", model, "--out", HOME / "score", *more)]
    while before.exists() and not judge.exists() and jobs[0].poll() is None:
        time.sleep(0.5)
    if before.exists() and judge.exists():
        jobs.append(start(1, "pocket.score", "--model", before, "--out", HOME / "before", "--judge", judge, *more))
    return [j.wait() for j in jobs]


def daemon(dry):
    """Train, then score, whatever of the training worked."""
    model, saved = HOME / "models" / "pocket", HOME / "out" / "saved"
    for attempt in range(3):
        code = train(dry, attempt)
        print("training ended with", code, flush=True)
        if code == 0 or (HOME / "out" / "DIT_DONE").exists():
            break
    if saved.exists():
        for name in ("dit.safetensors", "dit.safetensors.gz"):
            (model / name).unlink(missing_ok=True)
        for f in FILES:
            shutil.copy(saved / f, model / f)
        print("score ended with", score(dry), flush=True)
    (HOME / "done").write_text("ok")


def refit(left, fresh):
    """Stretch the rest of the plan to what is left of the lease."""
    path = HOME / "plan.json"
    plan = json.loads(path.read_text())
    warming = not (HOME / "out" / "started").exists()
    at = plan["at"] if warming else time.time() - plan["t0"]
    room = left - FINAL - MARGIN - (START + WARM if fresh else 0)
    plan["ends"] = fit(plan["ends"], at, room)
    common.replace(path, json.dumps(plan))
    print("at", round(at), "s, room for", round(room), "s, phases end at", plan["ends"])


def hand_out(to):
    """The newest checkpoint, the log and everything worth a look, as few files."""
    to.mkdir(parents=True, exist_ok=True)
    for attempt in range(5):
        try:
            for f in FILES:
                shutil.copy(HOME / "out" / "saved" / f, to / f)
            break
        except FileNotFoundError:  # none yet, or replaced at this moment
            time.sleep(1)
    if (HOME / "done").exists() and (to / "state.json").exists():
        (to / "state.json").write_text(json.dumps(state(to) | {"done": True}))
    with tarfile.open(to / "report.tar", "w") as tar:
        for pattern in ("log.txt", "plan.json", "out/*.webp", "out/*.json", "out/*.log", "score/*", "before/score.*"):
            for f in sorted(HOME.glob(pattern)):
                tar.add(f, str(f.relative_to(HOME)))
    for f in sorted(to.iterdir()):
        print(f.name, f.stat().st_size)


def call(a):
    t = time.time()
    fresh = not running() and not (HOME / "done").exists()
    if fresh:
        print("starting at", begin(a.dry), "s of the plan")
    if not (HOME / "done").exists():
        refit(a.left, fresh)
    while time.time() - t < a.wait and not (HOME / "done").exists() and running():
        time.sleep(0.5)
    hand_out(pathlib.Path(a.out))
    print("\n".join((HOME / "log.txt").read_text().splitlines()[-25:]))
    print(
        "DONE" if (HOME / "done").exists() else "call again at once" if running() else "the training died: see log.txt"
    )


def join(folder):
    """Put the checkpoint that came back into the model, and note how far it is (or, once done, forget that)."""
    folder = pathlib.Path(folder)
    pack.join(folder / "dit.safetensors", paths.MODEL / "dit.safetensors.gz")
    pack.join(folder / "text.safetensors", paths.MODEL / "text.safetensors")
    s = state(folder)
    if s.get("done"):
        shutil.rmtree(NOTE.parent, ignore_errors=True)
    else:
        NOTE.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "state.json", NOTE)
    print("joined", s)


def main():
    ap = argparse.ArgumentParser()
    A = ap.add_argument
    A("--left", type=float, help="seconds of machine time left, its start included")
    A("--wait", type=float, default=225, help="seconds until the call returns")
    A("--out", help="folder that comes back")
    A("--join", metavar="FOLDER")
    A("--daemon", action="store_true", help=argparse.SUPPRESS)
    A("--dry", action="store_true", help="a few tiny steps of everything on the CPU")
    a = ap.parse_args()
    if a.join:
        join(a.join)
    elif a.daemon:
        daemon(a.dry)
    else:
        call(a)


if __name__ == "__main__":
    main()
