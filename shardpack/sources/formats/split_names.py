"""Named splits by the names of files: train-00000-of-00128, val.rec, train/index.json."""

from __future__ import annotations

import re
from collections.abc import Sequence

KNOWN = frozenset(("train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"))
_WORDS = re.compile(r"[A-Za-z]+")


def splits_of(names: Sequence[str]) -> list[str | None]:
    """Return the split of each file: the last folder or part of its name that is a usual name of a split, or None."""
    return [_split_of(name) for name in names]


def _split_of(name: str) -> str | None:
    *folders, base = name.split("/")
    words: list[str] = [word for word in _WORDS.findall(base) if word.lower() in KNOWN]
    if len(set(words)) == 1:
        return words[0]
    return next((folder for folder in reversed(folders) if folder.lower() in KNOWN), None)
