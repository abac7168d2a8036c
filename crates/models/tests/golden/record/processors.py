"""Records the cases of kinds `raft` and `video_depth`: the published networks at their published sizes, with made-up weights.

python processors.py ../data                       # RAFT, with torch 2.5.1 and torchvision 0.20.1
python processors.py ../data VIDEO_DEPTH_ANYTHING  # the depth network too, from a checkout of its repository

Weights and pictures come from formulas that `made.rs` has as well, so that only results are recorded. All is computed in f64.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file


def uniform(name, count):
    """Numbers from 0 to 1: FNV-1a of the name, then SplitMix64."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float64) / 2**24


def weight(name, shape):
    count = math.prod(shape)
    u = uniform(name, count)
    if name.endswith("num_batches_tracked"):
        values = np.zeros(count)
    elif name.endswith("running_var"):
        values = 0.5 + u
    elif name.endswith((".weight", ".gamma")) and len(shape) < 2:
        values = 0.75 + 0.5 * u
    elif name.endswith(".weight"):
        values = (2 * u - 1) * math.sqrt(3 / (count / shape[0]))
    else:
        values = (2 * u - 1) * 0.2
    # As a file would have them.
    return torch.from_numpy(values.astype(np.float32).astype(np.float64).reshape(shape))


def with_made_up_weights(net):
    net.load_state_dict({name: weight(name, tuple(tensor.shape)) for name, tensor in net.state_dict().items()})
    return net.double().eval()


def picture(time, height, width):
    """[1, 3, height, width] from 0 to 1: waves that move."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    waves = np.sin(0.21 * (x - 2.5 * time) + 0.9 * c) * np.cos(0.17 * (y + 1.5 * time)) + np.sin(0.05 * x * (c + 1) + 0.11 * y)
    values = (0.5 + 0.25 * waves).astype(np.float32).astype(np.float64)
    return torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()


def save(folder, name, case, tensors):
    (folder / f"{name}.json").write_text(json.dumps(case, indent=1) + "\n")
    save_file({key: value.float().contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors")


@torch.no_grad()
def record_raft(folder):
    from torchvision.models.optical_flow import raft
    from torchvision.utils import flow_to_image

    single = raft.make_coords_grid
    raft.make_coords_grid = lambda *size: single(*size).double()

    # Both sides divide by 8, and one of them no further.
    height, width, every = 128, 136, 8
    for name, build in [("raft_small", raft.raft_small), ("raft_large", raft.raft_large)]:
        net = with_made_up_weights(build())
        flow = net(*(2 * picture(time, height, width) - 1 for time in range(2)))[-1]
        print(name, "flow up to", flow.abs().max().item())
        colours = flow_to_image(flow.float())[:, :, ::every, ::every]
        case = {"kind": "raft", "network": name, "height": height, "width": width, "every": every}
        # One pixel more than a multiple, so that all places within a coarse pixel occur.
        part = flow[0, :, :: every - 1, :: every - 1].permute(1, 2, 0)
        save(folder, name, case, {"flow": part, "colours": colours[0].permute(1, 2, 0)})


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.set_default_dtype(torch.float64)
    record_raft(folder)


main()
