"""Which tar is of which split: as files of other tools beside them state it, or their names.

    .nv-meta/split.yaml      Megatron-Energon: split -> names and brace patterns of tars, relative to its root
    train.json, val.json     wids: a list of tars each, where no list holds all of them
    train-000.tar, ...       as readers of WebDataset split tars, if all are named so

Nothing is opened here but these files, and they only name tars that are there.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shardpack.errors import DecodeError, OptionError, SourceError
from shardpack.format.split_names import split_names_problem
from shardpack.runtime.braces import MAX_NAMES, expand_braces
from shardpack.sources.annotations.plain_yaml import parse_yaml
from shardpack.sources.splits import SPLIT_NAMES

MAX_BYTES = 16 << 20  # of one file
ENERGON_FILE = ".nv-meta/split.yaml"
_MAX_LISTS = 64  # JSON files that are opened to see whether they are lists of wids
_WIDS_PREFIX = "shardindex-"
NAMES_OF_TARS = "the name of each tar"
# train-000000.tar, imagenet-val_0012.tar, train-00000-of-00128.tar
_OF = re.compile(r"-of-[0-9]+(?=\.)")
_NUMBERED = re.compile(r"(?:.*[^A-Za-z])?([A-Za-z]+)[-_.][0-9]+\.tar(?:\.[a-z0-9]+)?", re.IGNORECASE)

Read = Callable[[str], bytes | None]  # the bytes of a file that is relative to the tars; None if it is missing


@dataclass(frozen=True, slots=True)
class StatedSplits:
    """What files beside tars state.

    Attributes:
        file: The file that states it, or the first of them, or `NAMES_OF_TARS`; "" if nothing states any.
        of: Tar -> its split; tars of none are missing.
    """

    file: str = ""
    of: Mapping[str, str] = field(default_factory=dict)


def find_stated_splits(tars: Sequence[str], read: Read, beside: Iterable[str] = ()) -> StatedSplits:
    """Return the splits of some tars.

    Args:
        tars: Names of the tars.
        read: Reads a file beside them.
        beside: Names of the other files beside them, if they can be listed.

    Raises:
        SourceError: A file states something impossible: a tar in two splits, or names that splits cannot have.
    """
    text = read(ENERGON_FILE)
    if text is not None:
        return _checked(ENERGON_FILE, _energon(text), tars)
    stems = {tar.rpartition(".")[0] for tar in tars}
    lists = sorted(name for name in beside if name.endswith(".json") and name.removesuffix(".json") not in stems)
    found: dict[str, list[str]] = {}
    for name in lists[:_MAX_LISTS]:
        listed = _wids(name, read(name))
        if listed and not set(tars) <= set(listed):
            found[name] = listed
    splits = {
        posixpath.basename(name).removesuffix(".json").removeprefix(_WIDS_PREFIX): names
        for name, names in found.items()
    }
    return _checked(min(found), splits, tars) if found else StatedSplits()


def splits_by_name(tars: Iterable[str]) -> StatedSplits:
    """Return the splits that tars are named after, if each of them is named after one and there are several."""
    of: dict[str, str] = {}
    for tar in tars:
        named = _NUMBERED.fullmatch(_OF.sub("", posixpath.basename(tar)))
        if named is None or named[1].lower() not in SPLIT_NAMES:
            return StatedSplits()
        of[tar] = named[1]
    found = set(of.values())
    return StatedSplits(NAMES_OF_TARS, of) if len(found) > 1 and split_names_problem(found) is None else StatedSplits()


def is_wids_list(text: bytes) -> bool:
    """Return whether a JSON file is a list of tars for wids."""
    return b'"wids_version"' in text and b'"shardlist"' in text


def _energon(text: bytes) -> dict[str, list[str]]:
    """Return split -> names of tars."""
    try:
        parts = parse_yaml(text).get("split_parts")
    except DecodeError as error:
        raise SourceError(f"{ENERGON_FILE}: {error}") from error
    if not isinstance(parts, dict) or not all(_is_texts(patterns) for patterns in parts.values()):
        raise SourceError(f"{ENERGON_FILE} has no lists of tars below split_parts; correct it, or move it away")
    splits: dict[str, list[str]] = {}
    for split, patterns in parts.items():
        names = splits[split] = []
        for pattern in patterns or ():
            try:
                names += expand_braces(pattern)
            except OptionError as error:
                raise SourceError(f"{ENERGON_FILE}: {error}") from error
            if len(names) > MAX_NAMES:
                raise SourceError(f"{ENERGON_FILE} names more than {MAX_NAMES:,} tars in a split; check its braces")
    return splits


def _is_texts(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _wids(name: str, text: bytes | None) -> list[str]:
    """Return the tars that a list names, relative to its folder; [] if that is not a list of wids."""
    if text is None or not is_wids_list(text):
        return []
    try:
        shards = json.loads(text)["shardlist"]
        urls = [shard["url"] for shard in shards]
    except (ValueError, RecursionError, LookupError, TypeError):
        return []
    folder = posixpath.dirname(name)
    return [
        posixpath.normpath(posixpath.join(folder, posixpath.basename(url) if "://" in url or url[:1] == "/" else url))
        for url in urls
        if isinstance(url, str)
    ]


def _checked(file: str, splits: Mapping[str, Sequence[str]], tars: Sequence[str]) -> StatedSplits:
    there = frozenset(tars)
    of: dict[str, str] = {}
    for split, names in splits.items():
        for name in names:
            if name in there and of.setdefault(name, split) != split:
                raise SourceError(f"{file} states that {name!r} is of {of[name]!r} and of {split!r}; correct it")
    problem = split_names_problem(sorted(set(of.values())))
    if problem is not None:
        raise SourceError(f"{file}: {problem}")
    return StatedSplits(file, of) if of else StatedSplits()
