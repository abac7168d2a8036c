"""The shapes of `conv.rs`, ours and PyTorch's (oneDNN) in turn: `python torch_conv.py [threads] [rounds] [part of a name]`.

In each round every shape runs on Scope, then on PyTorch: other work on the machine then slows both alike. Of each round
the medians are compared; the table has the medians over the rounds and that of the ratios. PyTorch may choose the faster
of its two memory formats. Both end with a ReLU, in place.
"""

import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

SECONDS = 0.3
REPOSITORY = Path(__file__).resolve().parents[3]
NAME = re.compile(r"(3x)?(\d)x\2/(\d) (\d+)->(\d+) at (\d+)x(\d+)x(\d+)( doubled)?")


def build():
    """The benchmark's executable."""
    command = "cargo bench --profile release -p scope-engine --bench conv --no-run --message-format json".split()
    output = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in output.splitlines()]
    return next(m["executable"] for m in messages if m.get("target", {}).get("kind") == ["bench"])


def ours(executable, threads, *arguments):
    """Names and median times in milliseconds."""
    command = [executable, str(threads), *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = re.findall(r"^(.+?) +[\d.]+ ms, median +([\d.]+) ms", output, re.MULTILINE)
    return {name: float(median) for name, median in lines}


def theirs(name):
    """Runs of the shape that a name tells, in both memory formats, and its operations."""
    cubic, k, s, cin, cout, t, h, w, doubled = NAME.fullmatch(name).groups()
    k, s, cin, cout, t, h, w = (int(number) for number in (k, s, cin, cout, t, h, w))
    bias = torch.randn(cout)
    runs = []
    if cubic:
        for layout in (torch.contiguous_format, torch.channels_last_3d):
            x = torch.randn(1, cin, t + k - 1, h, w).contiguous(memory_format=layout)
            weight = torch.randn(cout, cin, k, k, k).contiguous(memory_format=layout)
            runs.append(lambda x=x, weight=weight: F.conv3d(x, weight, bias, padding=(0, k // 2, k // 2)).relu_())
        return runs, 2 * t * h * w * cin * cout * k**3
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(t, cin, h, w).contiguous(memory_format=layout)
        weight = torch.randn(cout, cin, k, k).contiguous(memory_format=layout)
        enlarge = (lambda x: F.interpolate(x, scale_factor=2)) if doubled else (lambda x: x)
        runs.append(lambda x=x, weight=weight, e=enlarge: F.conv2d(e(x), weight, bias, stride=s, padding=k // 2).relu_())
    pixels = t * (h // s) * (w // s) * (4 if doubled else 1)
    return runs, 2 * pixels * cin * cout * k * k


def median(run):
    run()
    times, until = [], time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main():
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    executable = build()
    names = [name for name in ours(executable, threads, "--milliseconds", "0") if NAME.fullmatch(name)]
    names = [name for name in names if len(sys.argv) < 4 or sys.argv[3] in name]
    print(f"PyTorch {torch.__version__} {torch.backends.cpu.get_cpu_capability()}, {threads} threads, {rounds} rounds")
    print(f"{'GFLOP/s':<40} {'ours':>8} {'PyTorch':>8} {'ratio':>6}")
    for name in names:
        runs, operations = theirs(name)
        a, b = [], []
        for _ in range(rounds):
            a.append(ours(executable, threads, "--milliseconds", f"{1000 * SECONDS:.0f}", "--exactly", name)[name])
            b.append(min(median(run) for run in runs))
        ratio = statistics.median(theirs / ours for ours, theirs in zip(a, b))
        rates = [operations / statistics.median(times) / 1e6 for times in (a, b)]
        print(f"{name:<40} {rates[0]:8.1f} {rates[1]:8.1f} {100 * ratio:5.0f}%", flush=True)


main()
