"""The meadow: layers that scroll a whole number of their own widths in one loop, so that the loop has no seam."""

import math

import numpy as np
from PIL import Image

from draw import Strip, from_pillow, halve, noise, over, rgb, ridge, sample, shade

SIZE = 512
FRAMES = 240
HORIZON = 268
GRASS_TOP = 276
SS = 2  # supersampling of everything that is drawn

# Centre and width of each cloud.
CLOUDS = [
    (60, 120, 150),
    (300, 70, 120),
    (470, 150, 140),
    (190, 190, 110),
    (420, 214, 84),
    (150, 60, 96),
    (330, 160, 104),
    (30, 214, 90),
    (250, 226, 70),
]

# Pixels a frame. A layer's width is its speed times FRAMES.
FAR, MIDDLE, TREES, CAT = 1.0, 2.5, 3.0, 4.5


def speed_at(y):
    """Scroll speed of the ground plane at screen row `y`: the cat's paws stand at 438."""
    return TREES + (CAT - TREES) * (y - GRASS_TOP) / (438 - GRASS_TOP)


class Meadow:
    def __init__(self, emoji):
        """`emoji(code)` returns a 256-pixel sprite."""
        self.emoji = emoji
        self.rng = np.random.default_rng(7)
        self.sky = self._sky()
        self.clouds = self._clouds()
        self.layers = [(self._mountains(), FAR), (self._hills(), MIDDLE), (self._trees(), TREES)]
        self.ground = self._ground()
        self.rows = self._rows()

    def sprite(self, code, size):
        return self.emoji(code).resize((round(size), round(size)), Image.Resampling.LANCZOS)

    def _sky(self):
        t = np.clip(np.arange(SIZE) / HORIZON, 0, 1)[:, None, None]
        sky = rgb(70, 150, 236) * (1 - t) ** 1.2 + rgb(206, 236, 250) * (1 - (1 - t) ** 1.2)
        sky = np.broadcast_to(sky, (SIZE, SIZE, 3)).copy()
        yy, xx = np.mgrid[0:SIZE, 0:SIZE]
        d = np.hypot(xx - 404, yy - 84)
        for radius, strength in ((150, 0.35), (74, 0.5)):
            glow = np.exp(-((d / radius) ** 2))[..., None] * strength
            sky += (rgb(255, 246, 206) - sky) * glow
        disc = np.clip(33.5 - d, 0, 1)[..., None]
        sky += (rgb(255, 244, 190) - sky) * disc
        return sky

    def _clouds(self):
        """Sprites with their place and phase. A cloud drifts, grows a little, and is gone when it jumps back."""
        clouds = []
        for i, (x, y, size) in enumerate(CLOUDS):
            distance = (y - 60) / 166
            sprite = shade(self.emoji("2601-fe0f"), rgb(196, 226, 250), 0.06 + 0.35 * distance, gain=1.06)
            if i % 2:
                sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            sprite = sprite.resize((size * 2, round(size * 1.7)), Image.Resampling.LANCZOS)
            clouds.append((from_pillow(sprite), x, y, size, (i * 0.382) % 1))
        return clouds

    def _draw_clouds(self, out, phase):
        for sprite, x, y, size, shift in self.clouds:
            p = (phase + shift) % 1
            strength = min(1.0, 2.2 * math.sin(math.pi * p)) ** 2 * 0.94
            zoom = 0.92 + 0.12 * p
            half = size / 2 * zoom
            left, top = x - 34 * p - half, y - half * 0.85
            x0, y0 = math.floor(left), math.floor(top)
            w, h = math.ceil(2 * half) + 2, math.ceil(1.7 * half) + 2
            k = 2 / zoom
            yy, xx = np.mgrid[0 : 2 * h, 0 : 2 * w].astype(np.float32) / 2 + 0.25
            part = halve(sample(sprite, (xx - (left - x0)) * k, (yy - (top - y0)) * k))
            part[..., 3] *= strength
            over(out, part, x0, y0)

    def _hill_line(self, strip, base, height, power, low, high, top, bottom, grain):
        y = base - height * ridge(self.rng, strip.width, power, low, high)
        yy = np.arange(strip.height)[:, None]
        alpha = np.clip(yy - y[None] + 0.5, 0, 1)
        t = np.clip((yy - y[None]) / (height * 2 + 40), 0, 1)[..., None]
        colour = top * (1 - t) + bottom * t
        light = np.clip(np.roll(y, 3) - np.roll(y, -3), -6, 6)[None, :, None]
        texture = noise(self.rng, strip.height, strip.width, 1.2, 6)[..., None]
        strip.paint(colour * (1 + light * 0.012) + texture * grain, alpha)
        return y

    def _strip(self, speed, height):
        return Strip(round(speed * FRAMES) * SS, height * SS)

    def _mountains(self):
        strip = self._strip(FAR, SIZE)
        self._hill_line(strip, 436, 60, 1.5, 1, 9, rgb(150, 184, 224), rgb(186, 214, 232), 2)
        self._hill_line(strip, 492, 26, 1.6, 2, 9, rgb(134, 188, 190), rgb(160, 208, 178), 3)
        return halve(strip.array())

    def _hills(self):
        strip = self._strip(MIDDLE, SIZE)
        y = self._hill_line(strip, 506, 44, 1.9, 1, 8, rgb(126, 196, 118), rgb(104, 176, 92), 6)
        haze = rgb(150, 205, 170)
        for _ in range(34):
            x = self.rng.integers(strip.width)
            size = self.rng.uniform(34, 62)
            code = ("1f333", "1f332", "1f333")[self.rng.integers(3)]
            strip.put(
                shade(self.sprite(code, size), haze, 0.34),
                x,
                y[int(x + size / 2) % strip.width] + self.rng.uniform(2, 30),
            )
        x = 700
        strip.put(shade(self.sprite("1f3e1", 84), haze, 0.18), x, y[x + 42] + 14)
        return halve(strip.array())

    def _trees(self):
        strip = self._strip(TREES, SIZE)
        self._hill_line(strip, 556, 14, 1.8, 1, 10, rgb(112, 184, 84), rgb(96, 166, 70), 7)
        spots = np.linspace(0, strip.width, 10)[:-1] + self.rng.uniform(-40, 40, 9)
        for i, x in enumerate(spots):
            size = self.rng.uniform(150, 250)
            code = ("1f333", "1f332", "1f333")[i % 3]
            strip.put(shade(self.sprite(code, size), rgb(150, 205, 150), 0.10), x, 572)
        for _ in range(60):
            size = self.rng.uniform(18, 34)
            code = ("1f33c", "1f337", "1f33b", "1f33f")[self.rng.integers(4)]
            strip.put(
                shade(self.sprite(code, size), rgb(150, 205, 130), 0.15),
                self.rng.integers(strip.width),
                self.rng.uniform(566, 584),
            )
        return halve(strip.array())

    def _ground(self):
        """A texture of the plane: rows are depths, columns one period whatever the depth."""
        width, height = 1536, SIZE - GRASS_TOP
        base = noise(self.rng, height, width, 1.3, 5)[..., None]
        fine = noise(self.rng, height, width, 0.55, 40)[..., None]
        t = np.linspace(0, 1, height)[:, None, None]
        colour = rgb(122, 184, 84) * (1 - t) + rgb(84, 146, 58) * t
        mix = 1 / (1 + np.exp(-2 * base))
        colour = colour * (1 - 0.35 * mix) + rgb(150, 206, 84) * 0.35 * mix
        return np.clip(colour * (1 + 0.045 * base + (0.03 + 0.05 * t) * fine), 0, 255).astype(np.float32)

    def _tuft(self, strip, x, foot, height, dark):
        """A few blades of grass, curved, lighter at their tips."""
        hue = self.rng.uniform(0, 1)
        base = rgb(58, 128, 44) * (1 - hue) + rgb(84, 156, 50) * hue
        tip = rgb(126, 200, 74) * (1 - hue) + rgb(176, 220, 92) * hue
        for _ in range(self.rng.integers(3, 6)):
            h = height * self.rng.uniform(0.55, 1.1)
            lean = self.rng.uniform(-0.5, 0.5) * h
            w = max(2.5, 0.10 * height) * self.rng.uniform(0.8, 1.3)
            x0 = x + self.rng.uniform(-0.4, 0.4) * height
            steps = 5
            for i in range(steps):
                a, b = i / steps, (i + 1) / steps
                ya, yb = foot - h * a, foot - h * b
                xa, xb = x0 + lean * a * a, x0 + lean * b * b
                wa, wb = w * (1 - a * 0.9) / 2, w * (1 - b * 0.95) / 2
                colour = (base + (tip - base) * (a * 0.85)) * dark
                strip.polygon(
                    [(xa - wa, ya + 1), (xa + wa, ya + 1), (xb + wb, yb), (xb - wb, yb)],
                    tuple(int(c) for c in colour) + (255,),
                )

    def _flowers(self, strip, foot, near):
        for _ in range(round(strip.width / SS / (60 + 70 * near))):
            size = (20 + 62 * near) * self.rng.uniform(0.8, 1.2) * SS * 0.62
            if 400 < foot < 440:
                size *= 0.7  # do not hide the paws
            code = ("1f33c", "1f337", "1f33c", "1f33b", "1f33c", "1fabb")[self.rng.integers(6)]
            if foot > 440 and code == "1f33b":
                code = "1f33c"
            strip.put(self.sprite(code, size), self.rng.integers(strip.width), strip.height - 2 - 4 * SS)

    def _rows(self):
        """Rows of grass and flowers from far to near: (strip, speed, top row on screen, depth row, sway)."""
        rows = []
        feet = [286, 298, 312, 328, 346, 366, 388, 410, 430, 446, 464, 488, 520]
        for foot in feet:
            speed = round(speed_at(foot) * 2) / 2
            near = (foot - GRASS_TOP) / (SIZE - GRASS_TOP)
            height = 12 + 34 * near if foot <= 500 else 46
            extra = 34 + 90 * near
            strip = self._strip(speed, round(height + extra))
            bottom = strip.height - 2
            period = strip.width
            tufts = round(period / SS / height * (4.3 if foot < 440 else 3.0))
            # what stands higher in a row is farther, so it is drawn first; flowers come amid the grass
            rises = np.sort(self.rng.uniform(0, 1, tufts) ** 1.3)[::-1] * (15 + 12 * near) * SS
            amid = round(tufts * 0.75)
            for i, rise in enumerate(rises):
                if i == amid:
                    self._flowers(strip, foot, near)
                low = 0.6 if i > amid else 1.0
                tall = height * SS * low * self.rng.uniform(0.55, 1.0)
                self._tuft(strip, self.rng.uniform(0, period), bottom - rise, tall, 1.03 - 0.10 * near)
            rows.append((halve(strip.array()), speed, foot, near))
        return rows

    def behind(self, frame):
        """Everything farther than the cat, as float RGB."""
        out = self.sky.copy()
        phase = frame / FRAMES
        self._draw_clouds(out, phase)
        for strip, speed in self.layers:
            over(out, self._window(strip, speed, frame), 0, 0)
        out[GRASS_TOP:] = self._plane(phase)
        for row in self.rows:
            if row[2] < 437:
                self._row(out, row, frame)
        return out

    def front(self, out, frame):
        """The grass and flowers nearer than the cat."""
        for row in self.rows:
            if row[2] >= 437:
                self._row(out, row, frame)

    @staticmethod
    def _window(strip, speed, frame):
        """The visible part of a strip; half pixels are interpolated."""
        offset = speed * frame
        x = int(offset)
        cols = (np.arange(SIZE + 1) + x) % strip.shape[1]
        part = strip[:, cols]
        f = offset - x
        if f == 0:
            return part[:, :SIZE]
        a, b = part[:, :SIZE], part[:, 1:]
        alpha = a[..., 3:] * (1 - f) + b[..., 3:] * f
        colour = a[..., :3] * a[..., 3:] * (1 - f) + b[..., :3] * b[..., 3:] * f
        return np.concatenate([colour / np.maximum(alpha, 1e-4), alpha], -1)

    def _plane(self, phase):
        height, width = self.ground.shape[:2]
        y = np.arange(height)[:, None]
        x = np.arange(SIZE)[None]
        period = speed_at(GRASS_TOP + y) * FRAMES
        u = (x / period + phase) % 1 * width
        i = np.floor(u).astype(int)
        f = (u - i)[..., None]
        return self.ground[y, i % width] * (1 - f) + self.ground[y, (i + 1) % width] * f

    def _row(self, out, row, frame):
        strip, speed, foot, near = row
        part = self._window(strip, speed, frame)
        height = part.shape[0]
        # wind: the tips lean to and fro, a wave that runs along the row and closes with the loop
        t = 2 * math.pi * frame / FRAMES
        lean = (0.6 + 2.6 * near) * (math.sin(5 * t + foot * 0.13) + 0.5 * math.sin(8 * t + foot * 0.31))
        rise = ((height - np.arange(height)) / (14 + 40 * near)).clip(0, 1.6) ** 1.5
        shift = np.round(lean * rise).astype(int)
        cols = (np.arange(SIZE)[None] - shift[:, None]).clip(0, SIZE - 1)
        part = np.take_along_axis(part, cols[..., None], 1)
        over(out, part, 0, foot - height)
