"""Procedural scenes -> assets/scenes: for each three variants of five layers, a ground texture and an overlay, as WebP."""

import functools
import json
import os
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from PIL import Image

from . import nature, places
from .brushes import H, OUT, WP, L, load, overlay

PAINT = {
    n: getattr(nature if hasattr(nature, n) else places, n)
    for n in (
        "grass",
        "park",
        "forest",
        "farm",
        "desert",
        "mars",
        "moon",
        "snow",
        "beach",
        "space",
        "clouds",
        "sunset",
        "ocean",
        "underwater",
        "jungle",
        "volcano",
        "candy",
        "autumn",
        "disco",
        "castle",
        "mountains",
        "graveyard",
    )
}
PAINT |= {n: functools.partial(places.city, scene=n) for n in ("city", "rain", "citynight")}


def make(scene, var):
    """The layers of one variant of a scene, and which of the optional ones it has."""
    rs = np.random.RandomState(sum(ord(ch) * (i + 7) * 131 for i, ch in enumerate(scene)) * 17 + var * 9973)
    far, mid = L(WP), L(WP)
    made = PAINT[scene](rs, var, far, mid)
    front, ground, ov = (made.get(k) for k in ("front", "ground", "ov"))
    has = dict(ground=ground is not None, front=front is not None, ov=ov)
    return dict(
        sky=made["sky"].im().convert("RGB"),
        far=far.im(),
        mid=mid.im(),
        front=front.im() if front is not None else Image.new("RGBA", (WP, H)),
        ground=ground if ground is not None else Image.new("RGB", (256, 256)),
        ov=overlay(ov, rs) if ov else Image.new("RGBA", (256, H)),
    ), has


SC = {  # the phrases of the captions, the plainest first
    "grass": [
        "in grass",
        "in the grass",
        "on green grass",
        "in a meadow",
        "in a grassy field",
        "through tall grass",
        "in a green field",
    ],
    "park": ["in a park", "in the park", "along a path in a park", "in a park on a spring day", "in a garden"],
    "forest": ["in a forest", "in the woods", "through the forest", "between pine trees"],
    "farm": ["on a farm", "in a farm field", "in the countryside", "in a wheat field"],
    "desert": ["in the desert", "on sand dunes", "in a hot desert", "past cactuses"],
    "mars": ["on mars", "on the red planet", "on planet mars", "on the surface of mars"],
    "moon": ["on the moon", "on the lunar surface", "on the surface of the moon"],
    "snow": ["in the snow", "in a snowy landscape", "in winter", "through falling snow"],
    "beach": ["on the beach", "on a sandy beach", "by the sea", "on a tropical beach"],
    "city": ["in the city", "on a city street", "downtown", "in a town", "on the road"],
    "rain": ["in the rain", "on a rainy street", "on a rainy day", "in a storm"],
    "citynight": ["in the city at night", "in a neon city", "on a street at night", "in a cyberpunk city"],
    "space": ["in space", "in outer space", "among the stars", "through the galaxy"],
    "clouds": ["through clouds", "in the clouds", "in the sky", "above the clouds", "through the blue sky"],
    "sunset": ["at sunset", "at dusk", "in the sunset", "at golden hour"],
    "ocean": ["on the ocean", "on the sea", "over the waves", "across the ocean"],
    "underwater": ["underwater", "under the sea", "in a coral reef", "deep in the ocean", "in an aquarium"],
    "jungle": ["in the jungle", "in a rainforest", "through the tropical jungle"],
    "volcano": ["near a volcano", "on lava", "by an erupting volcano", "in hell"],
    "candy": ["in candy land", "in a candy world", "in a land of sweets"],
    "autumn": ["in an autumn forest", "in autumn", "among falling leaves", "in the fall"],
    "disco": ["at a disco", "on a dance floor", "at a party", "in a night club"],
    "castle": ["near a castle", "in a fairy tale kingdom", "in front of a castle"],
    "mountains": ["in the mountains", "on a mountain trail", "in the alps"],
    "graveyard": ["in a graveyard", "in a spooky cemetery", "on halloween night"],
}


def job(key):
    scene, variant = key
    layers, has = make(scene, variant)
    for name, im in layers.items():
        if name in has and not has[name]:
            continue
        im.save(f"{OUT}scenes/{scene}_{variant}_{name}.webp", quality=92, method=3)


def main():
    load()
    os.makedirs(OUT + "scenes", exist_ok=True)
    with ProcessPoolExecutor(2) as ex:
        list(ex.map(job, [(s, v) for s in SC for v in range(3)]))
    json.dump(dict(scenes=list(SC), phrases=SC), open(OUT + "scenes.json", "w"))


if __name__ == "__main__":
    main()
