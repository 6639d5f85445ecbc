"""Print what Hugging Face's `load_dataset` makes of folders: a line of JSON for each row. Run by test_judges.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import datasets


def as_stored(image: dict) -> str:
    data = image["bytes"] or Path(image["path"]).read_bytes()
    return data.hex()


def main(scratch: str, *folders: str) -> None:
    for folder in folders:
        for split, rows in datasets.load_dataset(folder, cache_dir=scratch).items():
            images = [name for name, kind in rows.features.items() if isinstance(kind, datasets.Image)]
            names = getattr(rows.features.get("label"), "names", None)
            stored = rows
            for name in images:
                stored = stored.cast_column(name, datasets.Image(decode=False))
            for row in stored:
                shown = {name: as_stored(value) if name in images else value for name, value in row.items()}
                line = {"folder": folder, "split": split, "names": names, "row": shown}
                sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
