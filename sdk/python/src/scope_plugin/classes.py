"""Runs pipeline classes of an installed package with the entry point group ``scope``: ``python -m scope_plugin.classes``.

Such a package has hooks ``register_pipelines(register)``; a pipeline class is constructed with its load parameters and called once per chunk.
"""

import importlib.metadata
import inspect
import sys
from pathlib import Path

import numpy as np

from ._serve import Failure, Session, serve

#: Paths of the modules that such packages import.
HOST = Path(__file__).parent / "host"


def main():
    """Finds the package's pipelines and serves them."""
    sys.path.insert(0, str(HOST))
    name, version, target = entry_point()
    pipelines = [Hosted(cls) for cls in registered(target)]
    if not pipelines:
        raise SystemExit(f"{name} registers no pipelines")
    serve(name, version, pipelines)


def entry_point():
    """Name and version of the one package with an entry point in our group, and what that points at."""
    found = list(importlib.metadata.entry_points(group="scope"))
    if len(found) != 1:
        names = ", ".join(entry.name for entry in found) or "none"
        raise SystemExit(f"exactly one entry point in the group scope is needed; found: {names}")
    package = found[0].dist
    return package.name, package.version, found[0].load()


def registered(target):
    """The pipeline classes that the hooks of ``target`` register."""
    if inspect.isclass(target):
        target = target()
    hook = getattr(target, "register_pipelines", None)
    if hook is None:
        raise SystemExit("the entry point has no hook register_pipelines")
    classes = []
    hook(classes.append)
    return classes


class Hosted:
    """A pipeline class as one of ours: has a ``schema`` and can be called to load."""

    def __init__(self, cls):
        self._cls = cls
        self._config = cls.get_config_class()
        self.schema = schema_of(self._config)

    def __call__(self, parameters, _progress):
        fields = self._config.model_fields
        defaults = self._config().model_dump()
        known = {key: value for key, value in parameters.items() if key in fields}
        return Loaded(self._cls(**{**defaults, **known}), self._config)


def schema_of(config):
    """The document that clients read, of a class of settings."""
    modes = config.modes
    default = next((mode for mode, defaults in modes.items() if getattr(defaults, "default", False)), next(iter(modes)))
    overrides = {
        mode: {key: value for key, value in defaults.model_dump(exclude={"default"}).items() if value is not None}
        for mode, defaults in modes.items()
    }
    same = (
        "docs_url estimated_vram_gb supports_lora supports_vace supports_prompts supports_cache_management supports_kv_cache_bias "
        "supports_quantization min_dimension recommended_quantization_vram_threshold modified produces_video produces_audio inputs "
        "outputs default_temporal_interpolation_method default_temporal_interpolation_steps default_spatial_interpolation_method"
    ).split()
    return {
        "id": config.pipeline_id,
        "name": config.pipeline_name or config.pipeline_id,
        "description": config.pipeline_description,
        "version": config.pipeline_version,
        "supported_modes": list(modes),
        "default_mode": default,
        "requires_models": bool(config.requires_models or config.artifacts),
        "usage": [getattr(usage, "value", usage) for usage in config.usage],
        "config_schema": config.model_json_schema(),
        "mode_defaults": {mode: values for mode, values in overrides.items() if values},
        **{key: getattr(config, key) for key in same},
    }


class Loaded:
    """A constructed pipeline. Its state is its own, so that sessions share it."""

    def __init__(self, pipeline, config):
        self._pipeline = pipeline
        self._config = config

    def start(self):
        return ClassSession(self._pipeline, self._config)


class ClassSession(Session):
    """One session's calls."""

    def __init__(self, pipeline, config):
        self._pipeline = pipeline
        self._ports = config.outputs
        self._fresh = True
        self.frame_rate = getattr(getattr(pipeline, "config", None), "frame_rate", None)
        self.frames = self._needed({}) or 1 if "video" in config.modes else 0

    def _needed(self, parameters):
        wanted = self._pipeline.prepare(**parameters)
        return None if wanted is None else int(wanted.input_size)

    def generate(self, chunk, output):
        parameters = dict(chunk.parameters)
        if chunk.mode == "video":
            needed = self._needed({**parameters, "video": True})
            if needed:
                self.frames = needed
        for port in chunk.ports:
            parameters[port] = [as_input(picture.array) for picture in chunk.pictures(port)]
        parameters["init_cache"] = chunk.reset or self._fresh
        self._fresh = False
        made = self._pipeline(**parameters)
        if not isinstance(made, dict):
            raise Failure(f"the pipeline returned {type(made).__name__} instead of a dict with its pictures")
        count = len(chunk.pictures(chunk.ports[0])) if chunk.ports else 0
        for port in self._ports:
            if port not in made or made[port] is None:
                continue
            pictures = as_pictures(made[port])
            for index, picture in enumerate(pictures):
                source = index * count // len(pictures) if count else None
                output.picture(port, picture, source)


def as_input(array):
    """A picture as pipeline classes get it: ``(1, H, W, 3)``, 0 to 255; a tensor where there is torch."""
    try:
        import torch
    except ImportError:
        return array[None]
    return torch.from_numpy(array)[None]


def as_pictures(made):
    """What a pipeline class returns, ``(T, H, W, C)`` as 0 to 1 or as bytes, as arrays of 0 to 255."""
    if hasattr(made, "detach"):
        made = made.detach().cpu()
        made = (made if str(made.dtype) == "torch.uint8" else made.float()).numpy()
    made = np.asarray(made)
    if made.ndim != 4:
        raise Failure(f"the pipeline returned pictures of the shape {made.shape} instead of (frames, height, width, 3)")
    return made if made.dtype == np.uint8 else made * 255.0


if __name__ == "__main__":
    main()
