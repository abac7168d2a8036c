"""int8 weights with one f32 scale per output channel, as committed: `name` int8 [o, ...] and `name.scale` f32 [o]."""

import gzip
import json
import pathlib

import safetensors.torch
import torch
from safetensors.torch import load_file, save_file


def pack(state):
    """Quantise matrices and convolutions of more than 4096 elements; everything else stays f32."""
    out = {}
    for k, v in state.items():
        v = v.detach().float().cpu().contiguous()
        if v.ndim >= 2 and v.numel() > 4096:
            s = v.flatten(1).abs().amax(1) / 127 + 1e-12
            out[k] = torch.round(v / s.view(-1, *[1] * (v.ndim - 1))).to(torch.int8).contiguous()
            out[k + ".scale"] = s
        else:
            out[k] = v.contiguous()
    return out


def unpack(packed):
    out = {}
    for k, v in packed.items():
        if k.endswith(".scale"):
            continue
        out[k] = v.float() * packed[k + ".scale"].view(-1, *[1] * (v.ndim - 1)) if v.dtype == torch.int8 else v.float()
    return out


def save(state, path, parts=1):
    """Write packed weights, in several files `name.0.safetensors`… when `parts` > 1; replaced in one move."""
    packed = pack(state)
    keys = sorted(packed)
    path = pathlib.Path(path)
    size = sum(packed[k].nbytes for k in keys) / parts
    groups, filled = [[] for _ in range(parts)], 0
    for k in keys:
        groups[min(parts - 1, int(filled / size))].append(k)
        filled += packed[k].nbytes
    for i, g in enumerate(groups):
        name = path if parts == 1 else path.with_suffix(f".{i}{path.suffix}")
        tmp = name.with_suffix(".tmp")
        save_file({k: packed[k] for k in g}, tmp)
        tmp.replace(name)


def read(path):
    """The tensors as they are stored, of one file, compressed or not, or of its parts."""
    path = pathlib.Path(path)
    packed = path.with_name(path.name + ".gz")
    if packed.exists():
        return safetensors.torch.load(gzip.decompress(packed.read_bytes()))
    files = [path] if path.exists() else sorted(path.parent.glob(f"{path.stem}.[0-9]{path.suffix}"))
    if not files:
        raise FileNotFoundError(path)
    return {k: v for f in files for k, v in load_file(f).items()}


def load(path):
    """Read packed (or plain) weights, whole or in parts, back to f32."""
    return unpack(read(path))


def join(path, to):
    """Write the parts of `path` (or the whole file) as the one file `to` (`.gz`: compressed), unchanged and in one move."""
    tmp = pathlib.Path(to).with_suffix(".tmp")
    if pathlib.Path(to).suffix == ".gz":
        tmp.write_bytes(gzip.compress(safetensors.torch.save(read(path)), 9, mtime=0))
    else:
        save_file(read(path), tmp)
    tmp.chmod(0o644)
    tmp.replace(to)


def config(folder):
    return json.loads((pathlib.Path(folder) / "config.json").read_text())
