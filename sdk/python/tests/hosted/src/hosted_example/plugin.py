"""Hooks and a pipeline class, written against the import paths under ``scope.core``."""

from typing import Literal

import numpy as np
from pydantic import Field
from scope.core import hookimpl
from scope.core.pipelines.base_schema import BasePipelineConfig, ModeDefaults, UsageType, ui_field_config
from scope.core.pipelines.interface import Pipeline, Requirements


class TintConfig(BasePipelineConfig):
    """Settings."""

    pipeline_id = "tint"
    pipeline_name = "Tint"
    pipeline_description = "Leaves one colour."
    supports_prompts = False
    usage = [UsageType.POSTPROCESSOR]
    modes = {"video": ModeDefaults(default=True, input_size=2)}

    strength: float = Field(1.0, ge=0.0, le=1.0, json_schema_extra=ui_field_config(order=1, label="Strength"))
    colour: Literal["red", "green", "blue"] = Field(
        "green", json_schema_extra=ui_field_config(order=2, is_load_param=True)
    )


class TintPipeline(Pipeline):
    """Called once per chunk."""

    @classmethod
    def get_config_class(cls):
        return TintConfig

    def __init__(self, colour, **_settings):
        self.channel = ["red", "green", "blue"].index(colour)

    def prepare(self, **_parameters):
        return Requirements(input_size=2)

    def __call__(self, **parameters):
        frames = np.concatenate([np.asarray(frame) for frame in parameters["video"]]).astype(np.float32) / 255
        strength = parameters.get("strength", 1.0)
        others = [channel for channel in range(3) if channel != self.channel]
        frames[..., others] *= 1 - strength
        return {"video": frames}


@hookimpl
def register_pipelines(register):
    """Names the pipelines."""
    register(TintPipeline)
