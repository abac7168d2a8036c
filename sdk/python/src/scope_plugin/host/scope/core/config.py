"""Where weights lie."""

import os
from pathlib import Path


def get_models_dir():
    """The folder of all weights."""
    chosen = os.environ.get("DAYDREAM_SCOPE_MODELS_DIR")
    if chosen:
        return Path(chosen).expanduser()
    data = os.environ.get("DAYDREAM_SCOPE_DIR")
    return (Path(data).expanduser() if data else Path.home() / ".daydream-scope") / "models"


def get_model_file_path(relative_path):
    """The path of a file of weights."""
    return get_models_dir() / relative_path
