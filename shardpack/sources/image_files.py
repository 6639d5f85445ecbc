"""A folder of images and whatever lies beside them, as samples.

    cat/0001.jpg, cat/0001.json, cat/0001.seg.png   one sample "cat/0001", three fields

Decides which files make one sample, and never opens one. Truth for the cut between key and
field: `format/naming.py`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from shardpack.codecs.field_types import IMAGE_EXTENSIONS, is_image, kind_of
from shardpack.errors import SourceError
from shardpack.format.shard_index import MAX_FIELDS
from shardpack.sources.listing import Listing, sorted_by_key
from shardpack.sources.rejects import Problems
from shardpack.sources.scan import Files

NO_IMAGE = "no image of this name"


def group_files(files: Files, problems: Problems, *, rename_keys: bool = False) -> Listing:
    """Return the images of `files` with their sidecars, one sample a stem, ascending by key.

    Keys are the names as the disk has them: not yet checked, nor escaped. Files that share a
    stem with no image are left out and counted. Costs about 1 us a file.

    Args:
        files: What `scan` found.
        problems: Takes what is rejected or left out.
        rename_keys: Whether a key may hold dots, because it will be escaped: "a.b.jpg" is then
            an image of its own, unless there is "a.<image>", of which it is the field "b.jpg".

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
            _refuse(stem, names[first:stop], problems)
            continue
        keys.append(stem)
        first_file.append(first)
        shape_of.append(shape)
    fields, start, member, field_code = shapes.expand(np.array(first_file), np.array(shape_of))
    whole = np.array_equal(member, np.arange(len(names)))
    listing = Listing(
        root=files.root,
        fields=fields,
        keys=keys,
        start=start,
        field_code=field_code,
        size=np.array(files.sizes, np.int64)[member],
        mtime_ns=np.array(files.mtimes_ns, np.int64)[member],
        payload=names if whole else [names[i] for i in member.tolist()],
    )
    return sorted_by_key(_reject_empty(listing, problems))


def _runs(names: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yield (stem, first, stop) of neighbours that share a stem; "" is the stem of names without a dot."""
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
    """Yield the runs within a run if keys may hold dots: each key the shortest that names an image.

    They are neighbours still: all that begin with "a.b." belong together, or to a shorter key.
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
    """The distinct ways in which samples are made of files; a real source has few.

    A shape is the extensions of one sample's files, as they lie on disk. What must be known
    of it is found once, so that a sample costs one look-up.
    """

    def __init__(self) -> None:
        self._number_of: dict[tuple[str, ...], int] = {}
        self._code_of: dict[str, int] = {}
        self._codes: list[list[int]] = []  # of each good shape, fields sorted
        self._orders: list[list[int]] = []  # of its files, such that their fields are sorted

    def number(self, extensions: tuple[str, ...]) -> int:
        """Return the number of this shape, or -1 if such files are no sample."""
        number = self._number_of.get(extensions)
        if number is None:
            number = self._number_of[extensions] = self._add([extension.lower() for extension in extensions])
        return number

    def _add(self, fields: list[str]) -> int:
        if IMAGE_EXTENSIONS.isdisjoint(fields) or len(set(fields)) != len(fields):
            return -1
        order = sorted(range(len(fields)), key=fields.__getitem__)
        self._codes.append([self._code_of.setdefault(fields[i], len(self._code_of)) for i in order])
        self._orders.append(order)
        return len(self._codes) - 1

    def expand(
        self, first_file: npt.NDArray[np.int64], shape_of: npt.NDArray[np.int64]
    ) -> tuple[tuple[str, ...], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint16]]:
        """Return (fields, start, member, field_code) of samples; `member` numbers their files."""
        fields = tuple(sorted(self._code_of))
        if len(fields) > MAX_FIELDS:
            raise SourceError(
                f"{len(fields)} different fields, expected at most {MAX_FIELDS}: {fields[0]!r}, {fields[1]!r}, ...; "
                "a field is what follows the first dot of a file's name, so rename the files"
            )
        # Shapes one after another: shape s fills the rows shape_start[s]:shape_start[s + 1].
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


def _refuse(stem: str, names: Sequence[str], problems: Problems) -> None:
    """Note why files that share a stem are no sample."""
    cut = len(stem) + 1
    fields = [name[cut:].lower() for name in names] if stem else []
    images = [i for i, field in enumerate(fields) if is_image(field)]
    if not images:
        for name in names:
            problems.leave_out(name, NO_IMAGE)
    elif IMAGE_EXTENSIONS.isdisjoint(fields):
        for i in images:
            problems.reject(
                names[i],
                f"readers cut names at the first dot: key {stem!r}, field {fields[i]!r}; "
                "rename it, or pass rename_keys (--rename-keys)",
            )
    else:
        one, other = next((fields.index(field), i) for i, field in enumerate(fields) if field in fields[:i])
        image = next(i for i in images if fields[i] in IMAGE_EXTENSIONS)
        problems.reject(
            names[image],
            f"{names[one]!r} and {names[other]!r} differ in the case of their extension only; rename one",
        )


def _reject_empty(listing: Listing, problems: Problems) -> Listing:
    """Return the listing without the samples that have an empty image or label."""
    suspects = np.flatnonzero(listing.size == 0)
    must_have = [is_image(field) or kind_of(field) == "json" for field in listing.fields]
    members = [member for member in suspects.tolist() if must_have[listing.field_code[member]]]
    owners = listing.owners(members)
    reasons = {
        owner: f"an empty file: {listing.payload[member]!r}; write it again, or remove it"
        for owner, member in zip(owners.tolist(), members, strict=True)
    }
    return problems.reject_samples(listing, reasons)
