"""What the datasets of an HDF5 file are to samples.

    images (100 x ...), labels (100)      a table: a row is a sample; x_train, y_train, x_test, ...: one table a split
    0001/image, 0001/label, 0002/image    a group is a sample
    cat/0001.jpg, cat/0002.jpg, ...       a dataset is a sample; its path is the key, its attributes are labels

Top groups called train, test and the like are splits. What is left over is named before anything is packed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.errors import SourceError
from shardpack.sources.formats.hdf5_file import Stored
from shardpack.sources.formats.split_names import KNOWN

CLASS_NAMES = frozenset(("classes", "class_names", "label_names", "categories", "names_of_classes", "list_classes"))
_RUN = 4096  # samples of a unit, where each is a dataset or a group
_WORD = re.compile(r"[A-Za-z]+|[^A-Za-z]+")

Kind = Literal["table", "groups", "datasets"]


@dataclass(frozen=True, slots=True)
class Part:
    """Samples that are stored alike, as a unit reads them. Pickles.

    Attributes:
        kind: What a sample is.
        split: Its split, or None.
        prefix: Path of the group that holds it all, with a slash behind; empty for the file.
        columns: (column, dataset) of a table; (column, path below the group) of groups.
        num_rows: Number of samples.
        num_bytes: What they take in the file.
        first: Path below `prefix` of the first sample, where it is a dataset or a group.
    """

    kind: Kind
    split: str | None
    prefix: str
    columns: tuple[tuple[str, str], ...]
    num_rows: int
    num_bytes: int
    first: str = ""


@dataclass(slots=True)
class Layout:
    """All parts, the dataset of class names if there is one, and the paths of datasets that belong to none."""

    parts: list[Part] = field(default_factory=list)
    class_names: str | None = None
    left: list[str] = field(default_factory=list)


def find_layout(datasets: Sequence[Stored], is_image: Callable[[Stored], bool]) -> Layout:
    """Return what the datasets are.

    Args:
        datasets: All of a file.
        is_image: Returns whether the bytes of a dataset are an encoded image.

    Raises:
        SourceError: There is nothing that samples could be made of.
    """
    layout = Layout()
    tops = {stored.path.partition("/")[0] for stored in datasets if "/" in stored.path}
    at_top = [stored for stored in datasets if "/" not in stored.path]
    if tops and not at_top and all(top.lower() in KNOWN for top in tops):
        for top in sorted(tops):
            _add(layout, top, f"{top}/", [s for s in datasets if s.path.startswith(f"{top}/")], is_image)
    else:
        _add(layout, None, "", datasets, is_image)
    if not layout.parts:
        raise SourceError("no dataset has rows or images; expected images, labels and the like")
    return layout


def _add(
    layout: Layout, split: str | None, prefix: str, datasets: Sequence[Stored], is_image: Callable[[Stored], bool]
) -> None:
    inner, below = _without_lone_groups(prefix, datasets)
    at_top = {name: stored for name, stored in below.items() if "/" not in name}
    if at_top and not all(_is_one_sample(name, stored, is_image) for name, stored in at_top.items()):
        layout.left += [stored.path for name, stored in below.items() if name not in at_top]
        _add_tables(layout, split, inner, at_top)
    elif not at_top and (columns := _columns_of_groups(below)):
        layout.parts += _runs("groups", split, inner, columns, _by_group(below))
    else:  # paths are keys, so that lone groups stay
        sizes = {stored.path[len(prefix) :]: stored.num_bytes for stored in datasets}
        layout.parts += _runs("datasets", split, prefix, (), sizes)


def _without_lone_groups(prefix: str, datasets: Sequence[Stored]) -> tuple[str, dict[str, Stored]]:
    """Return the path of the first group that holds more than one group, and the datasets below it by their paths."""
    while True:
        below = {stored.path[len(prefix) :]: stored for stored in datasets}
        tops = {name.partition("/")[0] for name in below}
        if len(tops) != 1 or any("/" not in name for name in below):
            return prefix, below
        prefix += f"{tops.pop()}/"


def _is_one_sample(name: str, stored: Stored, is_image: Callable[[Stored], bool]) -> bool:
    """Return whether a dataset holds one image instead of a row for each sample."""
    if not stored.shape:
        return stored.kind in ("bytes", "text")
    if len(stored.shape) == 1:
        return stored.kind == "number" and is_image(stored)
    return stored.kind == "number" and _is_file_name(name)


def _is_file_name(name: str) -> bool:
    return name.isdigit() or name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS


def _add_tables(layout: Layout, split: str | None, prefix: str, datasets: Mapping[str, Stored]) -> None:
    tables: dict[str | None, dict[str, Stored]] = {}
    for name, stored in datasets.items():
        own, column = (split, name) if split is not None else _split_in(name)
        if name.lower() in CLASS_NAMES and stored.kind == "text" and len(stored.shape) == 1:
            layout.class_names = stored.path
        elif stored.shape:
            tables.setdefault(own, {})[column] = stored
        else:
            layout.left.append(stored.path)
    if len(tables) > 1 and None in tables:  # beside x_train and x_test
        layout.left += [stored.path for stored in tables.pop(None).values()]
    for own, columns in tables.items():
        lengths = Counter(stored.shape[0] for stored in columns.values())
        num_rows = max(lengths, key=lambda length: (lengths[length], length))
        kept = {name: stored for name, stored in columns.items() if stored.shape[0] == num_rows}
        layout.left += [stored.path for name, stored in columns.items() if name not in kept]
        named = tuple((name, stored.path) for name, stored in kept.items())
        num_bytes = sum(stored.num_bytes for stored in kept.values())
        layout.parts.append(Part("table", own, prefix, named, num_rows, num_bytes))


def _split_in(name: str) -> tuple[str | None, str]:
    """Return the split that the name of a dataset tells, and the rest: x_train, train_set_x."""
    words = _WORD.findall(name)
    splits = [word for word in words if word.lower() in KNOWN]
    if len(splits) != 1 or len(words) == 1:
        return (splits[0], "data") if splits else (None, name)
    rest = [word for word in words if word.isalnum() and word not in (splits[0], "set")]
    return splits[0], "_".join(rest) or "data"


def _by_group(below: Mapping[str, Stored]) -> dict[str, int]:
    sizes: Counter[str] = Counter()
    for name, stored in below.items():
        sizes[name.partition("/")[0]] += stored.num_bytes
    return dict(sizes)


def _columns_of_groups(below: Mapping[str, Stored]) -> tuple[tuple[str, str], ...] | None:
    """Return the columns of groups that are samples: all have datasets of the same names, which are no file names."""
    names: dict[str, set[str]] = {}
    for name in below:
        top, _, rest = name.partition("/")
        names.setdefault(top, set()).add(rest)
    first = next(iter(names.values()), set())
    if not first or any(other != first for other in names.values()) or any(_is_file_name(name) for name in first):
        return None
    return tuple((name, name) for name in sorted(first))


def _runs(
    kind: Kind, split: str | None, prefix: str, columns: tuple[tuple[str, str], ...], sizes: Mapping[str, int]
) -> Iterable[Part]:
    """Yield parts of neighbouring samples; those that are datasets are apart by group."""
    groups: dict[str, list[str]] = {}
    for name in sizes:
        groups.setdefault(name.rpartition("/")[0], []).append(name)
    for group in groups.values():
        for start in range(0, len(group), _RUN):
            run = group[start : start + _RUN]
            yield Part(kind, split, prefix, columns, len(run), sum(sizes[name] for name in run), run[0])
