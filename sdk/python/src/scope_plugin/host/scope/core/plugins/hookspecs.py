"""The marker under its other name."""

from scope.core import hookimpl

__all__ = ["hookimpl"]
