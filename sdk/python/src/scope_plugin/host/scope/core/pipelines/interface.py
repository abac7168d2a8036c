"""What a pipeline class is."""

from dataclasses import dataclass


@dataclass
class Requirements:
    """What the next call needs."""

    #: Pictures.
    input_size: int


class Pipeline:
    """Base of pipeline classes: constructed with the load parameters, called once per chunk with the run-time parameters."""

    @classmethod
    def get_config_class(cls):
        """The class of its settings."""
        from .base_schema import BasePipelineConfig

        return BasePipelineConfig

    def prepare(self, **_parameters):
        """What the next call needs; None is nothing."""
        return None

    def __call__(self, **parameters):
        raise NotImplementedError
