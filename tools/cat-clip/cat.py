"""The walking cat: the emoji is cut into a body and four legs, and each leg becomes a two-bone chain.

Coordinates are art units: the emoji drawn 1024 units wide. The art faces left; make.py mirrors it.
"""

import math

import numpy as np
from PIL import Image, ImageDraw

from draw import blur, from_pillow, sample

ART = 1024
GROUND = 962.0
STANCE = 0.62  # fraction of a cycle that a paw stays on the ground


class Leg:
    """Joints (hip, knee, paw) and radii in the art's own pose, the part of the art it is cut from, and its gait."""

    def __init__(self, joints, radii, cut, phase, bend, fade, dark):
        self.joints = [np.array(j, np.float32) for j in joints]
        self.radii, self.cut, self.phase, self.bend, self.fade, self.dark = (
            radii,
            cut,
            phase,
            bend,
            fade,
            dark,
        )


# A cat walks in a lateral sequence: hind, front of the same side, then the other side.
LEGS = {
    "front_far": Leg(
        [(470, 640), (487, 790), (500, 912)],
        (50, 46, 44),
        [(412, 742), (512, 742), (556, 962), (455, 962)],
        0.75,
        -1,
        None,
        0.90,
    ),
    "hind_far": Leg(
        [(690, 660), (672, 800), (648, 912)],
        (70, 50, 44),
        [(640, 742), (716, 742), (700, 962), (585, 962)],
        0.50,
        1,
        None,
        0.90,
    ),
    "hind_near": Leg(
        [(785, 650), (800, 800), (762, 912)],
        (104, 60, 46),
        [(640, 560), (900, 560), (900, 760), (810, 962), (712, 962), (752, 835), (716, 790), (690, 740)],
        0.0,
        1,
        (520, 700),
        1.0,
    ),
    "front_near": Leg(
        [(368, 600), (368, 775), (368, 912)],
        (54, 48, 46),
        [(330, 560), (408, 560), (412, 962), (324, 962)],
        0.25,
        -1,
        (560, 680),
        1.0,
    ),
}


def bleed(image, mask):
    """The art inside `mask`, its colours spread outwards so that any point of a posed leg finds one."""
    a = from_pillow(image)
    weight = a[..., 3] * mask
    weight = np.where(weight > 0.98, 1.0, 0.0).astype(np.float32)
    out = a[..., :3] * weight[..., None]
    filled, total = out.copy(), weight.copy()
    for radius in (3, 8, 20, 50, 120):
        w = blur(weight, radius)
        c = np.stack([blur(out[..., k], radius) for k in range(3)], -1)
        need = (total < 0.5) & (w > 1e-3)
        filled[need] = c[need] / w[need][:, None]
        total[need] = 1
    alpha = np.ones_like(total)
    return np.concatenate([filled, alpha[..., None]], -1)


def polygon_mask(points):
    image = Image.new("L", (ART, ART))
    ImageDraw.Draw(image).polygon([tuple(p) for p in points], fill=255)
    return np.asarray(image).astype(np.float32) / 255


class Cat:
    stride = 230.0  # art units that a paw travels on the ground

    def __init__(self, emoji, size):
        """`emoji`: the 256-pixel art; `size`: pixels that 1024 art units become."""
        self.size, self.scale = size, size / ART
        art = emoji.convert("RGBA").resize((ART, ART), Image.Resampling.LANCZOS)
        self.textures = {name: bleed(art, polygon_mask(leg.cut)) for name, leg in LEGS.items()}
        self.body = self._body(art)
        pad = round(0.08 * size)
        self.pad = pad
        grid = (np.mgrid[0 : size + 2 * pad, 0 : size + 2 * pad].astype(np.float32) - pad + 0.5) / self.scale
        self.y, self.x = grid

    def _body(self, art):
        """The art without legs: cut below the belly line, the chest repaired where the front leg crossed it."""
        a = from_pillow(art)
        yy, xx = np.mgrid[0:ART, 0:ART].astype(np.float32)
        for y in range(632, 742):
            left, right = a[y, 306, :3], a[max(y, 656), 432, :3]
            t = np.clip((np.arange(306, 432) - 306) / 126, 0, 1)[:, None]
            row = left * (1 - t) + right * t
            k = np.clip((y - 632) / 14, 0, 1)
            a[y, 306:432, :3] = a[y, 306:432, :3] * (1 - k) + row * k
            a[y, 306:432, 3] = 1
        # the belly line rises into the flank, and the rump is round where the haunch leaves it
        line = 733 - 46 * np.clip((xx - 590) / 130, 0, 1) ** 2
        keep = np.clip(line - yy + 0.5, 0, 1)
        rump = (1 - np.hypot((xx - 770) / 124, (yy - 575) / 128)) * 124
        keep = np.where((xx > 770) & (yy > 575), np.clip(rump + 0.5, 0, 1), keep)
        a[..., 3] *= keep
        return a

    def pose(self, name, cycle):
        """Joint positions (art units) of a leg at `cycle` 0..1 of the walk."""
        leg = LEGS[name]
        hip, knee, paw = leg.joints
        upper, lower = np.linalg.norm(knee - hip), np.linalg.norm(paw - knee)
        p = (cycle + leg.phase) % 1
        reach = self.stride / 2
        if p < STANCE:
            along, lift = -1 + 2 * p / STANCE, 0.0
        else:
            s = (p - STANCE) / (1 - STANCE)
            along = 1 - 2 * (s * s * (3 - 2 * s))
            lift = math.sin(math.pi * s) ** 1.3
        rest_x = hip[0] + (-6 if leg.bend < 0 else -8)
        height = 92 if leg.bend < 0 else 74
        bob = self.bob(cycle)
        base = hip + (0, bob)
        target = np.array([rest_x + reach * along, GROUND - 48 - height * lift], np.float32)
        d = target - base
        dist = min(np.linalg.norm(d), (upper + lower) * 0.999)
        d = d / np.linalg.norm(d)
        cos = (upper**2 + dist**2 - lower**2) / (2 * upper * dist)
        angle = math.acos(max(-1.0, min(1.0, cos)))
        side = leg.bend
        ca, sa = math.cos(angle), math.sin(angle) * -side
        u = np.array([d[0] * ca - d[1] * sa, d[0] * sa + d[1] * ca])
        return base, base + u * upper, base + d * dist, lift

    @staticmethod
    def bob(cycle):
        return 5.0 * math.sin(4 * math.pi * cycle + 0.6) + 4.0

    def draw_leg(self, name, cycle):
        leg, texture = LEGS[name], self.textures[name]
        hip, knee, paw, lift = self.pose(name, cycle)
        best = np.full(self.x.shape, 1e9, np.float32)
        u = np.zeros_like(best)
        v = np.zeros_like(best)
        pairs = [
            (hip, knee, leg.joints[0], leg.joints[1], leg.radii[0], leg.radii[1]),
            (knee, paw, leg.joints[1], leg.joints[2], leg.radii[1], leg.radii[2]),
        ]
        for a, b, ra, rb, r0, r1 in pairs:
            ab = b - a
            length = np.linalg.norm(ab)
            d = ab / length
            px, py = self.x - a[0], self.y - a[1]
            s = (px * d[0] + py * d[1]) / length
            t = px * -d[1] + py * d[0]
            sc = np.clip(s, 0, 1)
            ex, ey = px - sc * ab[0], py - sc * ab[1]
            smooth = sc * sc * (3 - 2 * sc)
            dist = np.hypot(ex, ey) - (r0 + (r1 - r0) * smooth)
            rest = rb - ra
            rl = np.linalg.norm(rest)
            rd = rest / rl
            su, sv = ra[0] + rd[0] * s * rl - rd[1] * t, ra[1] + rd[1] * s * rl + rd[0] * t
            nearer = dist < best
            u, v, best = np.where(nearer, su, u), np.where(nearer, sv, v), np.minimum(dist, best)
        # the paw: a flattened ball, a little ahead of the leg; it hangs while the leg swings
        tilt = 0.7 * lift
        cx, cy = paw[0] - 10 * math.cos(tilt), paw[1] + 16
        px, py = self.x - cx, self.y - cy
        qx, qy = px * math.cos(tilt) - py * math.sin(tilt), px * math.sin(tilt) + py * math.cos(tilt)
        foot = (np.sqrt((qx / 58) ** 2 + (qy / 33) ** 2 + 1e-6) - 1) * 33
        blend = np.clip(0.5 + 0.5 * (foot - best) / 14, 0, 1)
        shape = foot + (best - foot) * blend - 14 * blend * (1 - blend)
        alpha = np.clip(0.5 - shape * self.scale, 0, 1)
        out = sample(texture, np.clip(u, 1, ART - 3), np.clip(v, 1, min(ART - 3, 950)))
        # rounder shading towards the rim, and the pink that the art has at the feet
        rim = np.clip(1 + best / 40, 0, 1) ** 2
        out[..., :3] *= (1 - 0.10 * rim)[..., None]
        toe = np.clip((self.y - (paw[1] - 20)) / 80, 0, 1)[..., None] * 0.45
        out[..., :3] = (out[..., :3] * (1 - toe) + np.array([228, 128, 112], np.float32) * toe) * leg.dark
        if leg.fade:
            alpha *= np.clip((self.y - leg.fade[0]) / (leg.fade[1] - leg.fade[0]), 0, 1)
        out[..., 3] = alpha
        return out

    def draw_body(self, cycle, loop, blink):
        """The body with its bob, the head's nod, the tail's swing; `loop` is 0..1 over the whole clip."""
        x, y = self.x.copy(), self.y - self.bob(cycle)
        # tail: rotate about its root, more towards the tip
        root = (880.0, 470.0)
        w = np.clip((470 - y) / 330, 0, 1) * np.clip((x - 620) / 60, 0, 1)
        swing = 0.16 * math.sin(2 * math.pi * 5 * loop) + 0.05 * math.sin(2 * math.pi * (10 * loop + 0.2))
        ang = swing * w
        dx, dy = x - root[0], y - root[1]
        x, y = root[0] + dx * np.cos(ang) - dy * np.sin(ang), root[1] + dx * np.sin(ang) + dy * np.cos(ang)
        # head: nod about the neck, twice a cycle, and a slow look up
        neck = (400.0, 520.0)
        w = np.clip((440 - x) / 130, 0, 1) * np.clip((600 - y) / 130, 0, 1)
        w = w * w * (3 - 2 * w)
        nod = 0.022 * math.sin(4 * math.pi * cycle + 2.0) + 0.05 * math.sin(2 * math.pi * loop)
        ang = nod * w
        dx, dy = x - neck[0], y - neck[1]
        x, y = neck[0] + dx * np.cos(ang) - dy * np.sin(ang), neck[1] + dx * np.sin(ang) + dy * np.cos(ang)
        if blink > 0:
            inside = ((x - 208) / 34) ** 2 + ((y - 384) / 52) ** 2
            squeeze = np.where(inside < 1, 1 / max(1 - 0.86 * blink, 0.14), 1.0)
            y = np.where(inside < 1, np.clip(384 + (y - 384) * squeeze, 384 - 46, 384 + 46), y)
        return sample(self.body, x - 0.5, y - 0.5)

    def frame(self, cycle, loop, blink=0.0):
        """RGBA of size + 2*pad square."""
        out = np.zeros((*self.x.shape, 4), np.float32)
        for name in ("front_far", "hind_far", None, "hind_near", "front_near"):
            top = self.draw_leg(name, cycle) if name else self.draw_body(cycle, loop, blink)
            a, b = top[..., 3:], out[..., 3:]
            total = a + b * (1 - a)
            out[..., :3] = (top[..., :3] * a + out[..., :3] * b * (1 - a)) / np.maximum(total, 1e-4)
            out[..., 3:] = total
        return out
