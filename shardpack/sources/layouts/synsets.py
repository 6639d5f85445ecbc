"""The classes of ImageNet: names of folders like n01440764 (wnids), and the files that say what they mean.

LOC_synset_mapping.txt        n01440764 tench, Tinca tinca            all classes, in the order of their labels
imagenet_class_index.json     {"0": ["n01440764", "tench"], ...}      the same
words.txt                     n01440764<TAB>tench, Tinca tinca        names of many more synsets
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shardpack.codecs.field_types import parse_json
from shardpack.errors import DecodeError, SourceError
from shardpack.sources.tree import Tree

WNID = re.compile(r"n[0-9]{8}")
_MAPPINGS = ("LOC_synset_mapping.txt", "synset_words.txt", "imagenet_class_index.json", "words.txt")
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Synsets:
    """What wnids mean.

    Attributes:
        path: The file that says it.
        names: wnid -> name, in the order of the file.
        whole: Whether these are the classes of the dataset, in the order of labels; otherwise only names.
    """

    path: str
    names: Mapping[str, str]
    whole: bool

    def classes(self, wnids: Iterable[str]) -> dict[str, str]:
        """Return wnid -> name of the class, in the order of labels.

        That is the order of the file if it lists the classes, otherwise the ascending order of these wnids. Where two
        classes have one name, the wnid is added to both.

        Raises:
            SourceError: The file lacks one of the wnids.
        """
        needed = sorted(set(wnids))
        missing = [wnid for wnid in needed if wnid not in self.names]
        if missing:
            raise SourceError(f"{self.path} has no line for {missing[0]!r}; add it, or leave the file out (--ignore)")
        chosen = dict(self.names) if self.whole else {wnid: self.names[wnid] for wnid in needed}
        times = Counter(chosen.values())
        return {wnid: name if times[name] == 1 else f"{name} ({wnid})" for wnid, name in chosen.items()}


def find_synsets(tree: Tree) -> Synsets | None:
    """Return what the first of the usual files says, or None without any; its folder does not matter.

    Raises:
        SourceError: The file is not what its name says.
    """
    by_last = {name.rpartition("/")[2]: name for name in _texts(tree)}
    path = next((by_last[name] for name in _MAPPINGS if name in by_last), None)
    if path is None:
        return None
    data = tree.read(path, max_bytes=_MAX_BYTES)
    names = _of_json(path, data) if path.endswith(".json") else _of_lines(path, data)
    return Synsets(path, names, whole=not path.endswith("words.txt") or path.endswith("synset_words.txt"))


def _texts(tree: Tree) -> Iterable[str]:
    for folder in tree.folders.values():
        if "txt" in folder.extensions or "json" in folder.extensions:
            prefix = f"{folder.path}/" if folder.path else ""
            yield from (prefix + name for name in _MAPPINGS if tree.has(prefix + name))


def _of_lines(path: str, data: bytes) -> dict[str, str]:
    names = {}
    for number, line in enumerate(data.decode("utf-8-sig", errors="replace").splitlines(), start=1):
        wnid, _, name = line.strip().partition("\t" if "\t" in line else " ")
        if wnid and (not WNID.fullmatch(wnid) or not name.strip()):
            raise SourceError(
                f"{path}:{number}: expected a wnid and a name such as 'n01440764 tench', got {line[:60]!r}"
            )
        if wnid:
            names[wnid] = name.strip()
    return names


def _of_json(path: str, data: bytes) -> dict[str, str]:
    try:
        value = parse_json(data)
        pairs = [(value[str(number)][0], value[str(number)][1]) for number in range(len(value))]
    except (DecodeError, LookupError, TypeError) as error:
        raise _not_an_index(path, str(error)) from error
    for wnid, name in pairs:
        if not isinstance(wnid, str) or not WNID.fullmatch(wnid) or not isinstance(name, str):
            raise _not_an_index(path, f"got {wnid!r}, {name!r}")
    return dict(pairs)


def _not_an_index(path: str, why: str) -> SourceError:
    return SourceError(
        f'{path}: expected {{"0": ["n01440764", "tench"], "1": ...}}: {why}; restore it, or leave it out (--ignore)'
    )
