"""Fetch the npm packages that the pictures and words come from, and build every asset.

    python -m pocket.fetch          # needs npm; about 700 MB of archives, then some minutes of drawing

All are MIT: @lobehub/fluent-emoji-3d and -anim-1..4 (Microsoft's Fluent emoji, MIT, copyright Microsoft Corporation) and
emojibase-data (words).
"""

import json
import re
import subprocess
import tarfile

from . import paths

PACKAGES = {
    "f3d": "@lobehub/fluent-emoji-3d@1.1.0",
    **{f"an{i}": f"@lobehub/fluent-emoji-anim-{i}@1.0.0" for i in range(1, 5)},
    "eb": "emojibase-data@17.0.0",
}


def fetch():
    for folder, name in PACKAGES.items():
        to = paths.NPM / folder
        if (to / "package").exists():
            continue
        to.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", name], cwd=to, check=True)
        with tarfile.open(next(to.glob("*.tgz"))) as t:
            t.extractall(to, filter="data")


def words():
    """Every plain word among the labels and tags: what captions are salted with, so that unknown words do no harm."""
    data = json.loads((paths.NPM / "eb/package/en/data.json").read_text())
    found = {w for e in data for t in [e["label"], *(e.get("tags") or [])] for w in re.findall(r"[a-z]{3,}", t.lower())}
    (paths.ASSETS / "words.json").write_text(json.dumps(sorted(found)))


def main():
    fetch()
    paths.ASSETS.mkdir(parents=True, exist_ok=True)
    words()
    from . import sprites

    sprites.main()
    from . import scenery

    scenery.main()


if __name__ == "__main__":
    main()
