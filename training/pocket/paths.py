"""Where things lie. POCKET_DATA moves the data folder (npm archives and what is built from them)."""

import os
import pathlib

TRAINING = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("POCKET_DATA", TRAINING / "data"))
ASSETS = DATA / "assets"
NPM = DATA / "npm"
MODEL = TRAINING.parent / "models" / "pocket"
TOKENIZER = MODEL / "tokenizer.json"
