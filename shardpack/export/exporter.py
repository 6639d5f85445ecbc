"""Seam 7, the way out: what an export needs of a dataset, what users choose, and what a format provides.

    Exportable --entries--> Contents --cut by `limits`--> Parts
    samples of a part --row_maker()--> rows --write()--> files of the part, a note
    notes of all parts --finish()--> the other files

An exporter knows its format alone. Who runs it, how it is resumed and where files appear is decided in `run.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from shardpack.codecs.label_types import LabelType
from shardpack.errors import OnError
from shardpack.export.staging import ExportFiles
from shardpack.format.manifest import Manifest
from shardpack.format.shard_info import ShardInfo
from shardpack.read.sample import Sample, SampleLocation
from shardpack.runtime.progress import Progress
from shardpack.stream.stream_input import StreamInput

NamedBy = Literal["key", "path", "image"]
Note = Mapping[str, Any]  # what is kept of a part until all are made: JSON


@runtime_checkable
class Exportable(Protocol):
    """The part of a dataset, or of a view of one, that exports use. Pickles."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def location(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...] | None: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def splits(self) -> Mapping[str, int]: ...

    @property
    def shards(self) -> Sequence[ShardInfo]: ...

    def shard_url(self, number: int) -> str:
        """Return the path or URL of a shard."""
        ...

    def __len__(self) -> int: ...

    def select(self, items: Iterable[int | str]) -> Exportable:
        """Return a view of some positions or keys."""
        ...

    def split(self, name: str) -> Exportable:
        """Return a view of the samples of one split."""
        ...

    def entries(self) -> Iterator[SampleLocation]:
        """Yield where each sample is stored, in order."""
        ...

    def stream(self, *, fields: Sequence[str] | None = None) -> Iterable[Sample]:
        """Return the samples in order."""
        ...

    def stream_input(self) -> StreamInput:
        """Return the shards, and the positions of a view: what describes tars reads their indexes."""
        ...


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What the user chose; `export` describes each. None: the format decides.

    The last four are taken by some formats only, which list them in `Exporter.takes`.
    """

    fields: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    max_file_bytes: int | None = None
    max_file_samples: int | None = None
    on_error: OnError = "raise"
    pattern: str | None = None
    flat: bool = False
    task: str | None = None
    hashes: bool = False


@dataclass(frozen=True, slots=True)
class LabelSurvey:
    """What the labels of all samples hold.

    Attributes:
        types: The type of each value, by its name, sorted.
        counts: How many samples have it, and not as null.
        has_classes: Whether `label` is the number of a class in each sample that has one, and `class` its name.
        dropped: Names of the values that labels have and the user leaves out; they are in none of the others.
    """

    types: Mapping[str, LabelType]
    counts: Mapping[str, int]
    has_classes: bool
    dropped: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What is exported, as far as the index tells.

    Attributes:
        dataset: The dataset or view.
        samples_per_field: How many of its samples have each of the chosen fields, by name.
        left_out: The same of the other fields.
        num_bytes: (samples) payload bytes of the chosen fields, split by split.
        splits: (name, its samples) of each split, in the order in which all are exported; one without a name if the
            dataset has no splits.
        digest: Stands for which samples and fields these are.
        labels: What their labels hold, for a `typed` exporter.
    """

    dataset: Exportable
    samples_per_field: Mapping[str, int]
    left_out: Mapping[str, int]
    num_bytes: npt.NDArray[np.int64]
    splits: tuple[tuple[str | None, Exportable], ...]
    digest: str
    labels: LabelSurvey | None = None

    @property
    def num_samples(self) -> int:
        return len(self.num_bytes)

    @property
    def fields(self) -> tuple[str, ...]:
        """The chosen fields that samples have, sorted."""
        return tuple(sorted(self.samples_per_field))

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names in label order, or None."""
        return self.dataset.classes

    def samples_of(self, part: Part) -> Exportable:
        """Return a view of the samples of a part."""
        first = part.first
        for name, samples in self.splits:
            if name == part.split:
                break
            first -= len(samples)
        return samples.select(range(first, first + part.num_samples))


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a part ends: before the sample that would exceed one of them. A part has one sample at least."""

    max_bytes: int
    max_samples: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A run of samples that one task exports.

    Attributes:
        number: Its number among all parts.
        split: The split that its samples are from; None if the dataset has no splits.
        index, count: Its number among the parts of its split, and how many these are.
        first, num_samples: Its samples, as numbers among all that are exported.
        num_bytes: Length of their payloads.
    """

    number: int
    split: str | None
    index: int
    count: int
    first: int
    num_samples: int
    num_bytes: int


class Exporter(Protocol):
    """A format, with all that was decided for one export. Pickles; its `repr` tells everything that decides the bytes.

    Attributes:
        takes: Names of the options, of those that only some formats take, that this one does.
        named_by: What names the files or entries that are written, so that no two samples may have the same: keys,
            paths of keys below the folder of a split, or such paths with the kind of image; None if none of them does.
        sequential: Whether parts are made one after another, as they go into one file.
        typed: Whether `prepare` has to know the types of all label values, for which all labels are read first.
    """

    takes: ClassVar[frozenset[str]]
    named_by: ClassVar[NamedBy | None]
    sequential: ClassVar[bool]
    typed: ClassVar[bool]

    @classmethod
    def prepare(cls, contents: Contents, options: ExportOptions) -> Exporter:
        """Decide about names and types; refuse what the format cannot hold.

        Raises:
            OptionError: Something would be lost; the message asks, and names the option that answers.
        """
        ...

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields to read."""
        ...

    @property
    def names_classes(self) -> bool:
        """Whether the files of the format name all classes; otherwise a file beside them does."""
        ...

    @property
    def limits(self) -> Limits:
        """How the samples are cut into parts, unless the user says otherwise."""
        ...

    @property
    def sentence(self) -> str:
        """What samples become, in a line."""
        ...

    def row_maker(self) -> Callable[[Sample], Any]:
        """Return the function that makes of a sample what `write` takes; called once a part.

        It raises DecodeError, ExportError or InvalidKeyError where the sample does not fit; `on_error` decides what
        follows.
        """
        ...

    def write(self, part: Part, rows: Iterator[Any], files: ExportFiles) -> Note:
        """Write the files of a part; those of an earlier attempt may be there, and are replaced.

        In the note, `left_out` may say how many of which things were left out.
        """
        ...

    def finish(self, parts: Sequence[Part], notes: Sequence[Note], files: ExportFiles) -> None:
        """Write what describes the whole, when all parts are made."""
        ...


class IndexExporter(Protocol):
    """A format that describes the tars and leaves payloads where they are. Its files may lie beside the tars.

    Attributes:
        takes: As of an `Exporter`.
    """

    takes: ClassVar[frozenset[str]]

    @classmethod
    def of(cls, dataset: Exportable, options: ExportOptions, *, beside: bool) -> IndexExporter:
        """Decide what is written: to a folder of its own, or beside the tars.

        Raises:
            OptionError: The dataset, or the view, cannot be described so.
        """
        ...

    @property
    def names(self) -> Sequence[str]:
        """Return the names of the files that `write` makes, relative to the folder they go to."""
        ...

    def write(self, files: ExportFiles, progress: Progress) -> None:
        """Write all of them; `progress` as `export` takes it, with "hash" and bytes while tars are hashed."""
        ...


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported, or what a run without `dry_run` would export.

    Attributes:
        out: The folder.
        to: Name of the format.
        num_samples: How many samples were exported.
        num_bytes: Length of their payloads.
        num_files: How many files were written; 0 with `dry_run`.
        num_parts, resumed_parts: In how many tasks, and how many of these an interrupted run had finished.
        splits: (name, number of samples) of each split; empty if the dataset has no splits.
        left_out: Field -> number of samples that have it and were exported without; and what else was left out because
            `drop` said so, by its name.
        rejected: (key, reason) of each sample left out because of `on_error="skip"`.
        seconds: Wall time.
        dry_run: Whether nothing was written.
    """

    out: str
    to: str
    num_samples: int
    num_bytes: int
    num_files: int = 0
    num_parts: int = 0
    resumed_parts: int = 0
    splits: Sequence[tuple[str, int]] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    rejected: Sequence[tuple[str, str]] = ()
    seconds: float = 0.0
    dry_run: bool = False
