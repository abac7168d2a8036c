"""Film grain that moves: a plugin in Python with numpy."""

import numpy as np
from scope_plugin import Pipeline, Session, serve


class Grain(Pipeline):
    """Loads nothing; every session has its own noise."""

    schema = {
        "id": "grain",
        "name": "Film grain",
        "description": "Grain that moves, over any picture.",
        "supported_modes": ["video"],
        "usage": ["postprocessor"],
        "config_schema": {
            "properties": {
                "amount": {
                    "type": "number",
                    "minimum": 0.0,
                    "maximum": 1.0,
                    "default": 0.3,
                    "title": "Amount",
                    "ui": {"category": "configuration", "is_load_param": False, "order": 1},
                }
            }
        },
    }

    def __init__(self, parameters, progress):
        progress("Choosing a film…")
        self.seed = parameters.get("base_seed", 42)

    def start(self):
        return GrainSession(self.seed)


class GrainSession(Session):
    """One session's noise."""

    frames = 1

    def __init__(self, seed):
        self.noise = np.random.default_rng(seed)

    def generate(self, chunk, output):
        amount = chunk.parameters.get("amount", 0.3)
        for index, picture in enumerate(chunk.pictures("video")):
            height, width, _ = picture.array.shape
            grain = self.noise.normal(0.0, 60.0 * amount, (height, width, 1))
            output.picture("video", picture.array + grain, source=index)


if __name__ == "__main__":
    serve("grain", "0.1.0", [Grain])
