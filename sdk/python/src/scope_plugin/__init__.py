"""Pipelines for Scope in Python, each in a process of its own."""

from ._serve import Chunk, Failure, OutOfMemory, Output, Pipeline, Session, serve
from ._frames import Picture

__all__ = ["Chunk", "Failure", "OutOfMemory", "Output", "Picture", "Pipeline", "Session", "serve"]
__version__ = "0.1.0"
