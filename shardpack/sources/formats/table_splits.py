"""Named splits of the files of tables, as the Hugging Face Hub has them.

data/train-00000-of-00002.parquet, name-train_small.arrow    the name from its usual word on: train, train_small
default/train/0000.parquet                                   the folder
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from shardpack.errors import SourceError
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.split_names import KNOWN, splits_of

_PART = re.compile(r"(.+?)(?:-\d{5}-of-\d{5})?(?:-[0-9a-f]{16})?\.[a-z]+")
_HUB_PART = re.compile(r"\d{4,5}\.parquet")
_FROM_WORD = re.compile(rf"(?:^|[-_.])((?:{'|'.join(sorted(KNOWN))})(?:[-_].*)?)$", re.IGNORECASE)


def splits_of_tables(found: FoundFiles, names: Sequence[str]) -> list[str | None]:
    """Return the split of each file, or None; none at all if some files have one and others have not.

    Raises:
        SourceError: Several folders have files of one split: configurations of a dataset.
    """
    splits = splits_of(names)
    folders_of: dict[str, set[str]] = {}
    for number, name in enumerate(names):
        *folders, base = name.split("/")
        split, part = splits[number], _PART.fullmatch(base)
        if folders and _HUB_PART.fullmatch(base) and _FROM_WORD.search(folders[-1]):
            splits[number] = split = folders.pop()
        elif split is None:
            continue
        elif part and (word := _FROM_WORD.search(part[1])):
            splits[number] = split = word[1]
        elif split in folders:
            folders = folders[: folders.index(split)]
        folders_of.setdefault(split, set()).add("/".join(folders))
    for split, several in folders_of.items():
        if len(several) > 1:
            shown = ", ".join(map(repr, sorted(several)))
            raise SourceError(
                f"{found.location!r} holds a split {split!r} in each of the folders {shown}; pack one of them"
            )
    return [None] * len(names) if None in splits else splits
