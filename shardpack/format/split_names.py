"""Names of splits: which are allowed, since they begin the names of shards, and their order (SPEC 5.4)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

MAX_SPLIT_NAME_LENGTH = 64
MAX_SPLITS = 1024
UNSPLIT = "shard"  # begins the names of shards whose samples are in no split

EDIT_TAG = r"g[0-9]{6,}-[0-9a-f]{8}"  # generation and digest, in the names of shards that an edit added

# "train-000012-00.tar" and "train-g000002-5f3a9c01-000000.tar" must say of which split they are, so no name ends like
# the number of a shard, or like the tag of an edit or the first part of one.
_NAME = re.compile(rf"(?!.*-[0-9]+\Z)(?!.*-(?:{EDIT_TAG}|g[0-9]{{6,}})\Z)[0-9A-Za-z_]+(?:-[0-9A-Za-z_]+)*", re.ASCII)
_RANK = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}


def is_split_name(name: str) -> bool:
    """Return whether a split may have this name."""
    return len(name) <= MAX_SPLIT_NAME_LENGTH and _NAME.fullmatch(name) is not None and name.lower() != UNSPLIT


def split_names_problem(names: Collection[str]) -> str | None:
    """Return why splits may not have these names together, and what to do; None if they may."""
    if len(names) > MAX_SPLITS:
        return f"there are {len(names):,} splits, expected at most {MAX_SPLITS:,}; pack them as classes"
    first: dict[str, str] = {}
    for name in names:
        if not is_split_name(name):
            return (
                f"a split cannot be called {name!r}, as the names of its shards begin with that: expected at most "
                f"{MAX_SPLIT_NAME_LENGTH} letters, digits, '_' and '-', not ending like '-12' or '-g000012', "
                f"and not {UNSPLIT!r}; rename it"
            )
        if (other := first.setdefault(name.lower(), name)) != name:
            return f"the names of splits {other!r} and {name!r} differ in case only; rename one"
    return None


def in_split_order(names: Iterable[str]) -> list[str]:
    """Return names of splits in the order in which they are packed and shown: train, val, test, the others by name."""
    return sorted(names, key=lambda name: (_RANK.get(name.lower(), len(_RANK)), name))
