"""How long a chunk of four pictures takes in PyTorch and in Scope, in turn, on this machine's processor.

python -m pocket.speed ../models/pocket ../target/release/scope [threads]

Both generate with the default size and steps and decode every chunk. PyTorch runs in f32, as it is and compiled; the
first chunks, in which it compiles and the window of earlier frames fills up, don't count. Medians of all rounds.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import time

import torch

from . import common, evaluate
from .dit import Stream

PROMPT = "a dog walking in grass"
ROUNDS, WARM, CHUNKS = 5, 10, 12


class Torch:
    """One stream in PyTorch."""

    def __init__(self, folder, compiled):
        dit, te, self.ae, c = evaluate.load(folder)
        if compiled:
            dit.denoise, self.ae.decode = torch.compile(dit.denoise), torch.compile(self.ae.decode)
        w, h = (side // c["video"]["spatial_factor"] for side in c["video"]["default_size"])
        self.size, self.memory = (h, w), [None] * 30
        self.steps = c["sampling"]["default_steps"]
        ids = torch.tensor([common.tokenizer().encode(PROMPT).ids])
        self.kv = dit.text_kv(te(ids)[:1])
        self.stream = Stream(dit, self.size)

    def chunk(self):
        """Seconds of the next chunk."""
        h, w = self.size
        begin = time.perf_counter()
        z = self.stream.frame(self.kv, self.steps, lambda i: torch.randn(1, 1, 48, h * w))
        self.ae.decode(z.view(1, 1, 48, h, w), self.memory).clamp(0, 1)
        return time.perf_counter() - begin


def ours(scope, threads):
    """The median milliseconds of Scope's chunks."""
    command = [scope, "bench", "--pipeline", "pocket", "--threads", str(threads), "--prompt", PROMPT]
    command += ["--chunks", str(CHUNKS), "--warmup", str(WARM), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["chunk_ms"]["median"]


@torch.inference_mode()
def main():
    folder, scope = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    torch.set_num_threads(threads)
    streams = {"PyTorch": Torch(folder, False), "PyTorch, compiled": Torch(folder, True)}
    print(f"PyTorch {torch.__version__} {torch.backends.cpu.get_cpu_capability()}, {threads} threads")
    times = {"Scope": [], **{name: [] for name in streams}}
    for stream in streams.values():
        for _ in range(WARM):
            stream.chunk()
    for _ in range(ROUNDS):
        times["Scope"].append(ours(scope, threads))
        for name, stream in streams.items():
            times[name].append(statistics.median(stream.chunk() * 1e3 for _ in range(CHUNKS)))
    best = statistics.median(times["Scope"])
    for name, each in times.items():
        median = statistics.median(each)
        print(f"{name:20} {median:7.1f} ms {4e3 / median:6.1f} pictures/s  {median / best:5.2f} x")


if __name__ == "__main__":
    main()
