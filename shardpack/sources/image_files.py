"""Group images with the other files of the same stem into samples.

    cat/0001.jpg, cat/0001.json, cat/0001.seg.png   one sample "cat/0001", three fields
    0001.0.jpg, 0001.1.jpg, 0001.json               one sample "0001": images that are numbered, and a label of both

Decides which files make one sample, and opens none of them. A key ends at the first dot of its last component, where
all readers of tars cut (SPEC 2.4); only where keys are renamed may it have dots, before the ending of an image.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from shardpack.codecs.field_types import IMAGE_EXTENSIONS, LABEL_FIELDS, is_image, is_mask, kind_of
from shardpack.errors import SourceError
from shardpack.format.shard_index import MAX_FIELDS
from shardpack.sources.columns import Chosen
from shardpack.sources.listing import Listing, sorted_by_key
from shardpack.sources.scan import Files
from shardpack.sources.source import Problems


def group_files(files: Files, problems: Problems, *, rename_keys: bool = False) -> Listing:
    """Return one sample per stem that has an image, with all files of the stem, ascending by key.

    Keys are the names on disk, neither checked nor escaped. Files whose stem has no image are in no sample.
    Costs about 1 us per file.

    Args:
        files: The files of the folder, as returned by `scan`.
        problems: Receives what is rejected or left out.
        rename_keys: Whether a key may contain dots, because it will be escaped: "a.b.jpg" is then
            an image of its own, unless there is an image "a.<extension>": then it is the field "b.jpg" of "a".

    Raises:
        SourceError: There are more different fields than an index may have.
    """
    names = files.names
    shapes = _Shapes()
    keys: list[str] = []
    first_file, shape_of = array("q"), array("q")
    runs = _runs(names)
    if rename_keys:
        runs = (part for run in runs for part in _dotted_runs(names, *run))
    for stem, first, stop in runs:
        cut = len(stem) + 1
        shape = shapes.number(tuple([name[cut:] for name in names[first:stop]])) if stem else -1
        if shape < 0:
            _report(stem, names[first:stop], problems)
            continue
        keys.append(stem)
        first_file.append(first)
        shape_of.append(shape)
    fields, start, member, field_code = shapes.expand(np.array(first_file), np.array(shape_of))
    listing = Listing(
        root=files.root,
        fields=fields,
        keys=keys,
        start=start,
        field_code=field_code,
        size=np.array(files.sizes, np.int64)[member],
        mtime_ns=np.array(files.mtimes_ns, np.int64)[member],
        payload=Chosen((names,), member),
    )
    return sorted_by_key(_reject_empty(listing, problems))


def _runs(names: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yield (stem, first, stop) for each run of names that share a stem; names without a dot have the stem ""."""
    current, first = "", 0
    for i, name in enumerate(names):
        dot = name.find(".", name.rfind("/") + 1)
        stem = name[:dot] if dot >= 0 else ""
        if stem != current:
            if i > first:
                yield current, first, i
            current, first = stem, i
    if len(names) > first:
        yield current, first, len(names)


def _dotted_runs(names: Sequence[str], stem: str, first: int, stop: int) -> Iterator[tuple[str, int, int]]:
    """Yield the runs within a run if keys may contain dots: the key of a name is the shortest that names an image.

    Each key is still one run: all names that begin with "a.b." belong to "a.b", or all to a shorter key.
    """
    cut = len(stem) + 1
    cuts = [name.rpartition(".") for name in names[first:stop]]
    images = {key for key, _, extension in cuts if extension.lower() in IMAGE_EXTENSIONS}
    if stem in images or not images:
        yield stem, first, stop
        return
    current, start = stem, first
    for i in range(first, stop):
        name = names[i]
        dots = [dot for dot in range(cut, len(name)) if name[dot] == "."]
        key = next((name[:dot] for dot in dots if name[:dot] in images), stem)
        if key != current:
            if i > start:
                yield current, start, i
            current, start = key, i
    yield current, start, stop


class _Shapes:
    """The distinct tuples of file extensions that make a sample; most folders have few of them.

    A shape is the extensions of one sample's files, in the order of the files. It is examined once,
    so each sample costs one look-up.
    """

    def __init__(self) -> None:
        self._number_of: dict[tuple[str, ...], int] = {}
        self._code_of: dict[str, int] = {}
        self._codes: list[list[int]] = []  # per accepted shape: field numbers, by sorted field name
        self._orders: list[list[int]] = []  # per accepted shape: its file numbers, by sorted field name

    def number(self, extensions: tuple[str, ...]) -> int:
        """Return the number of this shape, or -1 if such files do not make a sample."""
        number = self._number_of.get(extensions)
        if number is None:
            number = self._number_of[extensions] = self._add([extension.lower() for extension in extensions])
        return number

    def _add(self, fields: list[str]) -> int:
        if not make_sample(fields) or len(set(fields)) != len(fields):
            return -1
        order = sorted(range(len(fields)), key=fields.__getitem__)
        self._codes.append([self._code_of.setdefault(fields[i], len(self._code_of)) for i in order])
        self._orders.append(order)
        return len(self._codes) - 1

    def expand(
        self, first_file: npt.NDArray[np.int64], shape_of: npt.NDArray[np.int64]
    ) -> tuple[tuple[str, ...], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint16]]:
        """Return (fields, start, member, field_code) of the samples; `member` holds the numbers of their files."""
        fields = tuple(sorted(self._code_of))
        if len(fields) > MAX_FIELDS:
            raise SourceError(
                f"{len(fields)} different fields, expected at most {MAX_FIELDS}: {fields[0]!r}, {fields[1]!r}, ...; "
                "a field is what follows the first dot of a file name, so rename the files"
            )
        # Shapes are concatenated: shape s has the rows shape_start[s]:shape_start[s + 1].
        counts = np.array([len(order) for order in self._orders], np.int64)
        shape_start = np.cumsum(counts) - counts
        orders = np.array([i for order in self._orders for i in order], np.int64)
        renumber = np.zeros(len(fields), np.uint16)
        renumber[[self._code_of[field] for field in fields]] = np.arange(len(fields))
        codes = renumber[np.array([code for codes in self._codes for code in codes], np.int64)]
        start = np.zeros(len(shape_of) + 1, np.int64)
        np.cumsum(counts[shape_of], out=start[1:])
        row = np.repeat(shape_start[shape_of] - start[:-1], counts[shape_of]) + np.arange(start[-1])
        return fields, start, np.repeat(first_file, counts[shape_of]) + orders[row], codes[row]


def make_sample(fields: Collection[str]) -> bool:
    """Return whether files of one stem are a sample, by what follows it: an image, or several and a label of them all.

    The several are called 0.jpg, 1.jpg, ... without a gap. Without a label they may as well be a sample each.
    """
    if not IMAGE_EXTENSIONS.isdisjoint(fields):
        return True
    numbers = {field.partition(".")[0] for field in fields if is_image(field) and not is_mask(field)}
    return bool(numbers) and numbers == set(map(str, range(len(numbers)))) and not LABEL_FIELDS.isdisjoint(fields)


def _report(stem: str, names: Sequence[str], problems: Problems) -> None:
    """Record why files that share a stem do not make a sample."""
    cut = len(stem) + 1
    fields = [name[cut:].lower() for name in names] if stem else []
    images = [i for i, field in enumerate(fields) if is_image(field)]
    if images and IMAGE_EXTENSIONS.isdisjoint(fields):
        for i in images:
            problems.reject(
                names[i],
                f"readers split names at the first dot: key {stem!r}, field {fields[i]!r}; "
                "rename it, or pass rename_keys (--rename-keys)",
            )
    elif images:
        one, other = next((fields.index(field), i) for i, field in enumerate(fields) if field in fields[:i])
        image = next(i for i in images if fields[i] in IMAGE_EXTENSIONS)
        problems.reject(
            names[image],
            f"{names[one]!r} and {names[other]!r} differ in the case of their extension only; rename one",
        )


def _reject_empty(listing: Listing, problems: Problems) -> Listing:
    """Return the listing without the samples that have an empty image or label."""
    suspects = np.flatnonzero(listing.size == 0)
    must_have_bytes = [is_image(field) or kind_of(field) == "json" for field in listing.fields]
    members = [member for member in suspects.tolist() if must_have_bytes[listing.field_code[member]]]
    owners = listing.owners(members)
    reasons = {
        owner: f"the file {listing.payload[member]!r} is empty; write it again, or remove it"
        for owner, member in zip(owners.tolist(), members, strict=True)
    }
    return problems.reject_samples(listing, reasons)
