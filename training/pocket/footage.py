"""Footage for the autoencoder that is not ours to draw: freely licensed photographs under a moving camera, and moving noise.

The photographs come with the scikit-image package; each was put in the public domain or under CC0 by its author:
astronaut (NASA), camera (CC0, Lav Varshney), chelsea (CC0, Stefan van der Walt), coffee (CC0, Rachel Michetti),
hubble_deep_field (NASA), rocket (public domain, SpaceX), motorcycle (CC0, Middlebury Stereo 2014), and the textures
brick, grass, gravel (CC0). `coffee` and `camera` are held out of training, for measuring.
"""

import importlib.util
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

TRAIN = [
    "astronaut.png",
    "chelsea.png",
    "hubble_deep_field.jpg",
    "rocket.jpg",
    "motorcycle_left.png",
    "brick.png",
    "grass.png",
    "gravel.png",
]
HELD_OUT = ["coffee.png", "camera.png"]


def photographs(names, size=512):
    """uint8 [n,3,size,size]: two crops of each photograph."""
    folder = pathlib.Path(importlib.util.find_spec("skimage").submodule_search_locations[0]) / "data"
    out = []
    for name in names:
        if not (folder / name).exists():
            continue
        im = Image.open(folder / name).convert("RGB")
        k = size / min(im.size)
        im = im.resize((max(size, round(im.width * k)), max(size, round(im.height * k))), Image.LANCZOS)
        for x in (0, im.width - size):
            out.append(np.asarray(im.crop((x, (im.height - size) // 2, x + size, (im.height + size) // 2))))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).contiguous()


def pan(photos, n, T, h, w):
    """n clips [n,T,3,h,w]: a camera that pans, turns and zooms over random photographs, with a random colour gain."""
    dev = photos.device
    x = photos[torch.randint(len(photos), (n,), device=dev)].float() / 255
    t = torch.linspace(0, 1, T, device=dev)
    u = lambda *s: torch.rand(*s, device=dev)
    c = lambda *s: torch.rand(*s, device=dev) - 0.5
    zoom = (0.35 + 0.45 * u(n, 1) + c(n, 1) * 0.25 * t).clamp(0.28, 0.9)
    angle = c(n, 1) * 0.6 + c(n, 1) * 0.5 * t
    cx = c(n, 1) * 0.5 + c(n, 1) * 0.5 * t
    cy = c(n, 1) * 0.5 + c(n, 1) * 0.4 * t
    flip = torch.where(u(n, 1) < 0.5, 1.0, -1.0)
    k = h / w
    row0 = torch.stack([zoom * angle.cos() * flip, -zoom * angle.sin() * k, cx], -1)
    row1 = torch.stack([zoom * angle.sin() * flip, zoom * angle.cos() * k, cy], -1)
    g = F.affine_grid(torch.stack([row0, row1], -2).flatten(0, 1), (n * T, 3, h, w), align_corners=False)
    o = F.grid_sample(
        x[:, None].expand(-1, T, -1, -1, -1).flatten(0, 1), g, padding_mode="reflection", align_corners=False
    )
    return (o.view(n, T, 3, h, w) * (0.8 + 0.4 * u(n, 1, 3, 1, 1))).clamp(0, 1)


def noise(n, T, h, w, device):
    """n clips of coloured noise at four scales, moving by up to a pixel a frame."""
    o = 0
    for s, amp in ((3, 0.5), (9, 0.35), (27, 0.22), (72, 0.1)):
        x = torch.randn(n, 3, max(2, h * s // 72 + 2), max(2, w * s // 72 + 2), device=device)
        o = o + amp * F.interpolate(x, (h + 2 * T, w + 2 * T), mode="bilinear")
    dx, dy = np.random.randint(-1, 2, 2)
    at = lambda t: o[:, :, T + dy * t : T + dy * t + h, T + dx * t : T + dx * t + w]
    return (torch.stack([at(t) for t in range(T)], 1) * 0.35 + 0.5).clamp(0, 1)
