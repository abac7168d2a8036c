"""Drawing primitives: float RGBA images (colour not premultiplied, 0-255; alpha 0-1), noise, warps."""

import numpy as np
from PIL import Image, ImageDraw


def rgb(*values):
    return np.array(values, np.float32)


def from_pillow(image):
    a = np.asarray(image.convert("RGBA")).astype(np.float32)
    a[..., 3] /= 255
    return a


def over(base, top, x, y):
    """Composites `top` (RGBA) onto `base` (RGB) with its corner at the whole pixel (x, y), clipped."""
    height, width = base.shape[:2]
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + top.shape[1], width), min(y + top.shape[0], height)
    if x1 <= x0 or y1 <= y0:
        return
    part = top[y0 - y : y1 - y, x0 - x : x1 - x]
    alpha = part[..., 3:]
    region = base[y0:y1, x0:x1]
    region += (part[..., :3] - region) * alpha


def halve(a):
    """Box filter to half size; RGBA is averaged premultiplied."""
    if a.shape[2] == 4:
        a = a.copy()
        a[..., :3] *= a[..., 3:]
    h, w = a.shape[0] // 2, a.shape[1] // 2
    out = a[: 2 * h, : 2 * w].reshape(h, 2, w, 2, -1).mean((1, 3))
    if a.shape[2] == 4:
        out[..., :3] /= np.maximum(out[..., 3:], 1e-4)
    return out


def sample(a, x, y):
    """Bilinear look-up in an RGBA image at float coordinates; transparent outside."""
    h, w = a.shape[:2]
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]

    def at(yy, xx):
        inside = (xx >= 0) & (xx < w) & (yy >= 0) & (yy < h)
        p = a[np.clip(yy, 0, h - 1), np.clip(xx, 0, w - 1)].copy()
        p[..., 3] *= inside
        p[..., :3] *= p[..., 3:]
        return p

    top = at(y0, x0) * (1 - fx) + at(y0, x0 + 1) * fx
    low = at(y0 + 1, x0) * (1 - fx) + at(y0 + 1, x0 + 1) * fx
    out = top * (1 - fy) + low * fy
    out[..., :3] /= np.maximum(out[..., 3:], 1e-4)
    return out


def blur(a, radius):
    """Gaussian blur of one plane, periodic at the edges."""
    h, w = a.shape
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]
    gain = np.exp(-2 * (np.pi * radius) ** 2 * (fy**2 + fx**2))
    return np.fft.irfft2(np.fft.rfft2(a) * gain, s=(h, w)).astype(np.float32)


def noise(rng, height, width, power, low=0):
    """Periodic coloured noise (both axes), zero mean, unit variance; spectrum f**-power above `low`."""
    fy = np.fft.fftfreq(height)[:, None] * height
    fx = np.fft.rfftfreq(width)[None] * width
    f = np.hypot(fy * width / height, fx)
    f[0, 0] = 1
    spectrum = np.where(f < low, 0, f**-power)
    spectrum[0, 0] = 0
    n = np.fft.irfft2(spectrum * np.exp(2j * np.pi * rng.random(spectrum.shape)), s=(height, width))
    return ((n - n.mean()) / n.std()).astype(np.float32)


def ridge(rng, width, power, low, high):
    """A periodic line, within -1..1."""
    f = np.arange(width // 2 + 1)
    spectrum = np.where((f < low) | (f > high), 0, np.maximum(f, 1.0) ** -power)
    n = np.fft.irfft(spectrum * np.exp(2j * np.pi * rng.random(f.size)), n=width)
    return (n / np.abs(n).max()).astype(np.float32)


class Strip:
    """A layer that repeats every `width` pixels; scrolling it by whole periods is seamless."""

    def __init__(self, width, height):
        self.width, self.height = width, height
        self.image = Image.new("RGBA", (width, height))

    def paint(self, colour, alpha):
        top = np.concatenate(
            [np.broadcast_to(colour, (self.height, self.width, 3)), alpha[..., None] * 255], -1
        )
        layer = Image.fromarray(np.clip(top, 0, 255).astype(np.uint8), "RGBA")
        self.image.alpha_composite(layer)

    def put(self, sprite, x, foot):
        """Pastes a sprite with its bottom edge at `foot`, wrapped around the right edge."""
        x = int(x) % self.width
        for dx in (0, -self.width):
            box = Image.new("RGBA", self.image.size)
            box.paste(sprite, (x + dx, int(foot) - sprite.height))
            self.image.alpha_composite(box)

    def polygon(self, points, colour):
        draw = ImageDraw.Draw(self.image)
        for dx in (0, -self.width, self.width):
            draw.polygon([(x + dx, y) for x, y in points], fill=colour)

    def array(self):
        return from_pillow(self.image)


def shade(sprite, tint=None, mix=0.0, gain=1.0):
    """A tinted copy of a Pillow sprite, for distance haze."""
    a = np.asarray(sprite.convert("RGBA")).astype(np.float32)
    a[..., :3] *= gain
    if tint is not None:
        a[..., :3] += (tint - a[..., :3]) * mix
    return Image.fromarray(np.clip(a, 0, 255).astype(np.uint8), "RGBA")
