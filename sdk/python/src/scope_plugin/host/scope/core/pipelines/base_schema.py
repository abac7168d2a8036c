"""Settings of pipeline classes."""

from enum import Enum
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

InputMode = Literal["text", "video"]


class UsageType(str, Enum):
    """Where in a chain a pipeline usually stands."""

    PREPROCESSOR = "preprocessor"
    POSTPROCESSOR = "postprocessor"


class ModeDefaults(BaseModel):
    """Settings that differ in a mode."""

    model_config = ConfigDict(extra="allow")

    default: bool = False
    height: int | None = None
    width: int | None = None
    denoising_steps: list[int] | None = None
    noise_scale: float | None = None
    noise_controller: bool | None = None
    input_size: int | None = None
    default_temporal_interpolation_steps: int | None = None


class CtrlInput(BaseModel):
    """Keys that are held and how the mouse moved."""

    button: set[str] = Field(default_factory=set)
    mouse: tuple[float, float] = (0.0, 0.0)


def ui_field_config(
    *,
    order: int | None = None,
    component: str | None = None,
    modes: list[str] | None = None,
    is_load_param: bool = False,
    label: str | None = None,
    category: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """How a setting is shown, for ``json_schema_extra``."""
    shown = {"category": category or "configuration", "is_load_param": is_load_param}
    given = {"order": order, "component": component, "modes": modes, "label": label, **more}
    shown.update({key: value for key, value in given.items() if value is not None})
    return {"ui": shown}


def height_field(default: int = 512) -> Any:
    """The setting of the height."""
    return Field(default=default, ge=1)


def width_field(default: int = 512) -> Any:
    """The setting of the width."""
    return Field(default=default, ge=1)


class BasePipelineConfig(BaseModel):
    """Base of settings. What describes the pipeline itself is in class variables."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    pipeline_id: ClassVar[str] = ""
    pipeline_name: ClassVar[str] = ""
    pipeline_description: ClassVar[str] = ""
    pipeline_version: ClassVar[str] = "1.0.0"
    docs_url: ClassVar[str | None] = None
    estimated_vram_gb: ClassVar[float | None] = None
    requires_models: ClassVar[bool] = False
    artifacts: ClassVar[list] = []
    supports_lora: ClassVar[bool] = False
    supports_vace: ClassVar[bool] = False
    supports_prompts: ClassVar[bool] = True
    supports_cache_management: ClassVar[bool] = False
    supports_kv_cache_bias: ClassVar[bool] = False
    supports_quantization: ClassVar[bool] = False
    min_dimension: ClassVar[int] = 1
    recommended_quantization_vram_threshold: ClassVar[float | None] = None
    modified: ClassVar[bool] = False
    produces_video: ClassVar[bool] = True
    produces_audio: ClassVar[bool] = False
    usage: ClassVar[list] = []
    inputs: ClassVar[list[str]] = ["video"]
    outputs: ClassVar[list[str]] = ["video"]
    modes: ClassVar[dict[str, ModeDefaults]] = {"video": ModeDefaults(default=True)}
    default_temporal_interpolation_method: ClassVar[str | None] = "slerp"
    default_temporal_interpolation_steps: ClassVar[int | None] = 0
    default_spatial_interpolation_method: ClassVar[str | None] = "linear"

    height: int = height_field()
    width: int = width_field()
    manage_cache: bool = True
    base_seed: int = Field(default=42, ge=0)
    denoising_steps: list[int] | None = None
    lora_merge_strategy: Literal["permanent_merge", "runtime_peft"] | None = None
    noise_scale: float | None = Field(default=None, ge=0.0, le=1.0)
    noise_controller: bool | None = None
    input_size: int | None = Field(default=1, ge=1)
    ref_images: list[str] | None = None
    vace_context_scale: float = Field(default=1.0, ge=0.0, le=2.0)
