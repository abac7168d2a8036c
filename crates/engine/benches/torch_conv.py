"""The shapes of `conv.rs` on PyTorch's CPU kernels (oneDNN): `python torch_conv.py [threads]`.

Prints the faster of the two memory formats for each shape, as the best of several runs.
"""

import sys
import time

import torch
import torch.nn.functional as F

# frames, height, width, inputs, outputs, kernel, stride
SHAPES = [
    (1, 18, 32, 256, 256, 3, 1),
    (1, 36, 64, 256, 256, 3, 1),
    (1, 36, 64, 512, 256, 3, 1),
    (1, 72, 128, 128, 128, 3, 1),
    (1, 144, 256, 64, 64, 3, 1),
    (1, 288, 512, 64, 64, 3, 1),
    (1, 288, 512, 64, 3, 3, 1),
    (1, 288, 512, 3, 64, 3, 1),
    (1, 288, 512, 64, 64, 3, 2),
    (1, 144, 256, 64, 128, 1, 1),
    (1, 144, 256, 24, 24, 3, 1),
    (1, 144, 256, 96, 96, 3, 1),
]
# frames, height, width, inputs, outputs of causal 3×3×3 convolutions
SHAPES_3D = [
    (4, 72, 128, 96, 96),
    (4, 72, 128, 24, 24),
    (1, 18, 32, 384, 384),
]


def best(run):
    run()
    least, until = float("inf"), time.perf_counter() + 0.6
    while time.perf_counter() < until:
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
    return least


def report(name, flops, times):
    print(f"{name:<36} {min(times) * 1e3:9.3f} ms {flops / min(times) / 1e9:8.1f} GFLOP/s", flush=True)


def main():
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    torch.set_grad_enabled(False)
    print(torch.__version__, torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), "threads")
    for t, h, w, cin, cout, k, s in SHAPES:
        times = []
        for fmt in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(t, cin, h, w).contiguous(memory_format=fmt)
            weight = torch.randn(cout, cin, k, k).contiguous(memory_format=fmt)
            bias = torch.randn(cout)
            times.append(best(lambda: F.conv2d(x, weight, bias, stride=s, padding=k // 2)))
        flops = 2 * t * (h // s) * (w // s) * cin * cout * k * k
        report(f"{k}x{k}/{s} {cin}->{cout} at {h}x{w}", flops, times)
    for t, h, w, cin, cout in SHAPES_3D:
        times = []
        for fmt in (torch.contiguous_format, torch.channels_last_3d):
            x = torch.randn(1, cin, t + 2, h, w).contiguous(memory_format=fmt)
            weight = torch.randn(cout, cin, 3, 3, 3).contiguous(memory_format=fmt)
            bias = torch.randn(cout)
            times.append(best(lambda: F.conv3d(x, weight, bias, padding=(0, 1, 1))))
        report(f"3x3x3 {cin}->{cout} at {t}x{h}x{w}", 2 * t * h * w * cin * cout * 27, times)


main()
