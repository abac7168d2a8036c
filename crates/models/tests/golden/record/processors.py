"""Records the cases of kinds `raft` and `video_depth`: the published networks at their published sizes, with made-up weights.

pip install numpy safetensors opencv-python-headless torch==2.5.1 torchvision==0.20.1
pip install --no-deps --ignore-requires-python depth-anything-v2==0.1.0
python processors.py ../data

Weights and pictures come from formulas that `made.rs` has as well, so that only results are recorded. All is computed in f64.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F


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
    moving = np.sin(0.21 * (x - 2.5 * time) + 0.9 * c) * np.cos(0.17 * (y + 1.5 * time))
    values = (0.5 + 0.25 * (moving + np.sin(0.05 * x * (c + 1) + 0.11 * y))).astype(np.float32).astype(np.float64)
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


class OverTime(nn.Module):
    """A layer of attention of AnimateDiff's temporal module, for one new frame after those whose states are given."""

    def __init__(self, width, moments):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.pos_encoder = nn.Module()
        self.pos_encoder.register_buffer("pe", torch.zeros(1, moments, width))

    def forward(self, new, past):  # [tokens, width], [tokens, times, width]
        states = torch.cat([*past, new[:, None]], 1)
        placed = states + self.pos_encoder.pe[:, : states.shape[1]]
        heads = lambda x: x.unflatten(-1, (8, -1)).transpose(1, 2)
        q, k, v = heads(self.to_q(placed[:, -1:])), heads(self.to_k(placed)), heads(self.to_v(placed))
        x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.to_out[0](x[:, 0])


class GatedGelu(nn.Module):
    def __init__(self, width, wide):
        super().__init__()
        self.proj = nn.Linear(width, 2 * wide)

    def forward(self, x):
        value, gate = self.proj(x).chunk(2, -1)
        return value * F.gelu(gate)


class Temporal(nn.Module):
    def __init__(self, width, moments):
        super().__init__()
        self.temporal_transformer = t = nn.Module()
        t.norm = nn.GroupNorm(32, width, eps=1e-6)
        t.proj_in, t.proj_out = nn.Linear(width, width), nn.Linear(width, width)
        block = nn.Module()
        block.attention_blocks = nn.ModuleList([OverTime(width, moments) for _ in range(2)])
        block.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        block.ff = nn.Module()
        block.ff.net = nn.ModuleList([GatedGelu(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])
        block.ff_norm = nn.LayerNorm(width)
        t.transformer_blocks = nn.ModuleList([block])

    def forward(self, x, past):  # [1, width, h, w], a list of states for each layer
        t, size = self.temporal_transformer, x.shape[-2:]
        block, states = t.transformer_blocks[0], []
        y = t.proj_in(t.norm(x).flatten(2)[0].T)
        for norm, attention, before in zip(block.norms, block.attention_blocks, past):
            states.append(norm(y)[:, None])
            y = y + attention(states[-1][:, 0], before)
        z = block.ff_norm(y)
        for layer in block.ff.net:
            z = layer(z)
        return x + t.proj_out(y + z).T.unflatten(1, size)[None], states


class VideoDepth(nn.Module):
    """The encoder and the head of Depth Anything V2 with temporal modules in between, as Video Depth Anything has them."""

    def __init__(self, moments=32):
        from depth_anything_v2.dpt import DINOv2, DPTHead

        super().__init__()
        self.pretrained = DINOv2("vits")
        self.head = DPTHead(384, 64, False, [48, 96, 192, 384], False)
        self.head.motion_modules = nn.ModuleList([Temporal(width, moments) for width in [192, 384, 64, 64]])
        self.frames = []

    def forward(self, x):
        rows, columns = (side // 14 for side in x.shape[-2:])
        mean, deviation = ([[[[v]] for v in values]] for values in [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
        x = (x - torch.tensor(mean)) / torch.tensor(deviation)
        seen = self.pretrained.get_intermediate_layers(x, [2, 5, 8, 11])
        # The oldest two and the newest 29, of at most 42: streaming as published.
        window = self.frames[:2] + self.frames[-29:] if self.frames else []
        states = []

        def remember(module, x):
            past = [[frame[2 * module + layer] for frame in window] for layer in range(2)]
            x, left = self.head.motion_modules[module](x, past)
            states.extend(left)
            return x

        head, s = self.head, self.head.scratch
        layers = []
        for i, tokens in enumerate(seen):
            x = tokens.transpose(1, 2).unflatten(2, (rows, columns))
            x = head.resize_layers[i](head.projects[i](x))
            x = remember(i - 2, x) if i > 1 else x
            layers.append(getattr(s, f"layer{i + 1}_rn")(x))
        size = [layer.shape[2:] for layer in layers]
        x = remember(2, s.refinenet4(layers[3], size=size[2]))
        x = remember(3, s.refinenet3(x, layers[2], size=size[1]))
        x = s.refinenet1(s.refinenet2(x, layers[1], size=size[0]), layers[0])
        x = F.interpolate(s.output_conv1(x), (rows * 14, columns * 14), mode="bilinear", align_corners=True)
        x = F.relu(s.output_conv2(x))
        self.frames += [states] if self.frames else [states] * 32
        if len(self.frames) > 42:
            del self.frames[1]
        return x


@torch.no_grad()
def record_depth(folder):
    # Other numbers of patches than positions were learned for, and odd ones; frames enough to move the window.
    height, width, frames, every = 70, 42, 46, 9
    net = with_made_up_weights(VideoDepth())
    depth = torch.stack([net(picture(time, height, width))[0, 0] for time in range(frames)])
    print("depth from", depth.min().item(), "to", depth.max().item())
    case = {"kind": "video_depth", "height": height, "width": width, "frames": frames, "every": every}
    shown = F.interpolate(depth[:2, None], (50, 61), mode="bilinear", align_corners=True)
    tensors = {"depth": depth[:, ::every, ::every], "resized": shown[:, 0, ::every, ::every]}
    save(folder, "video_depth", case, tensors)


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.set_default_dtype(torch.float64)
    record_raft(folder)
    record_depth(folder)


main()
