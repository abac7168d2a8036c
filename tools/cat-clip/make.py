"""Draws web/public/cat.mp4: a cat that walks through a meadow, 10 s, 24 fps, 512x512, without a seam."""

import argparse
import math
import subprocess
import tarfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from cat import Cat
from draw import from_pillow, halve, over, sample
from scenery import FRAMES, SIZE, Meadow

ART = "@lobehub/fluent-emoji-3d@1.1.0"
FPS = 24
CAT_SIZE = 300  # pixels of the 1024-unit art; stride 230 units in 0.62 s = 108 px/s, the ground's speed
CYCLE = 24  # frames of one walk cycle; FRAMES is a multiple of it
CAT_X, GROUND_Y = 100, 442

HERE = Path(__file__).resolve().parent


def download(cache):
    """The emoji package from the npm registry, unpacked once."""
    folder = cache / "fluent-emoji-3d-1.1.0"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        name = subprocess.run(
            ["npm", "pack", ART], cwd=cache, check=True, capture_output=True, text=True
        ).stdout.split()[-1]
        with tarfile.open(cache / name) as tar:
            tar.extractall(folder, filter="data")
    return folder / "package" / "assets"


def right_path(t):
    return 414 + 46 * math.sin(t) + 14 * math.sin(3 * t), 206 + 30 * math.sin(2 * t + 1) + 10 * math.cos(
        5 * t
    )


def left_path(t):
    return 92 + 52 * math.sin(t + 2), 176 + 26 * math.sin(3 * t) + 8 * math.cos(4 * t)


class Film:
    def __init__(self, assets):
        def emoji(code):
            return Image.open(assets / f"{code}.webp").convert("RGBA")

        self.meadow = Meadow(emoji)
        self.cat = Cat(emoji("1f408"), CAT_SIZE * 2)
        self.butterfly = from_pillow(emoji("1f98b"))

    def _butterfly(self, out, frame, turn, size, path, flaps):
        """A sprite whose wings close by squeezing its width; `path(t)` gives the place for t in 0..2 pi."""
        t = 2 * math.pi * frame / FRAMES + turn
        x, y = path(t)
        x1, y1 = path(t + 0.02)
        angle = math.radians(24) + 0.105 * math.atan2(y1 - y, x1 - x)
        squeeze = 0.22 + 0.78 * abs(math.cos(math.pi * flaps * frame / FRAMES + turn))
        yy, xx = np.mgrid[0:size, 0:size].astype(np.float32) - size / 2 + 0.5
        u = (xx * math.cos(angle) + yy * math.sin(angle)) / squeeze
        v = -xx * math.sin(angle) + yy * math.cos(angle)
        k = 256 / (size * 0.8)
        total = np.zeros((size, size, 4), np.float32)
        for du in (-0.25, 0.25):
            for dv in (-0.25, 0.25):
                s = sample(self.butterfly, 128 + (u + du) * k, 128 + (v + dv) * k)
                s[..., :3] *= s[..., 3:]
                total += s / 4
        total[..., :3] /= np.maximum(total[..., 3:], 1e-4)
        over(out, total, round(x - size / 2), round(y - size / 2))

    def frame(self, n):
        out = self.meadow.behind(n)
        cycle = (n % CYCLE) / CYCLE
        loop = n / FRAMES
        blink = max((1 - abs(n - at) / 3 for at in (58, 66, 170)), default=0)
        cat = self.cat.frame(cycle, loop, max(0.0, blink))[:, ::-1]
        cat = halve(cat)
        pad = self.cat.pad // 2
        # contact shadow, then the cat
        yy, xx = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
        d = np.sqrt(((xx - CAT_X - 158) / 128) ** 2 + ((yy - GROUND_Y + 6) / 15) ** 2)
        shadow = np.clip(1.25 - d, 0, 1)[..., None] ** 1.5 * 0.42
        out += (np.array([26, 66, 30], np.float32) - out) * shadow
        top = round(GROUND_Y - 0.94 * CAT_SIZE) - pad
        over(out, cat, CAT_X - pad, top)
        self._butterfly(out, n, 0.0, 46, right_path, 44)
        self._butterfly(out, n, 2.0, 32, left_path, 50)
        self.meadow.front(out, n)
        return np.clip(out + 0.5, 0, 255).astype(np.uint8)


_film = None


def _render(job):
    global _film
    assets, n, folder = job
    if _film is None:
        _film = Film(assets)
    Image.fromarray(_film.frame(n)).save(folder / f"{n:04}.png", compress_level=1)
    return n


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "web/public/cat.mp4")
    parser.add_argument("--build", type=Path, default=HERE.parents[1] / "target/cat-clip")
    parser.add_argument("--frames", help="only these frames, as PNG: 0,1,239")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--encode-only", action="store_true", help="the frames are there already")
    parser.add_argument("--crf", default="29")
    args = parser.parse_args()
    assets = download(args.build)
    folder = args.build / "frames"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (
        [int(n) for n in args.frames.split(",")] if args.frames else range(0 if args.encode_only else FRAMES)
    )
    with ProcessPoolExecutor(args.jobs) as pool:
        for n in pool.map(_render, [(assets, n, folder) for n in wanted]):
            print(f"\rframe {n}", end="", flush=True)
    print()
    if args.frames:
        return
    encode = [
        "ffmpeg",
        "-y",
        "-loglevel",
        "error",
        "-framerate",
        str(FPS),
        "-i",
        str(folder / "%04d.png"),
        "-an",
        "-c:v",
        "libx264",
        "-profile:v",
        "high",
        "-preset",
        "veryslow",
        "-tune",
        "animation",
        "-crf",
        args.crf,
        "-g",
        "120",
        "-pix_fmt",
        "yuv420p",
        "-colorspace",
        "bt709",
        "-color_primaries",
        "bt709",
        "-color_trc",
        "bt709",
        "-vf",
        "scale=out_color_matrix=bt709:out_range=tv",
        "-bitexact",
        "-movflags",
        "+faststart",
        str(args.out),
    ]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(encode, check=True)
    print(args.out, args.out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
