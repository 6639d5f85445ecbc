"""Export the samples of one part: the task of a worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shardpack.errors import DecodeError, ExportError, InvalidKeyError, OnError
from shardpack.export.exporter import Exportable, Exporter, Part
from shardpack.export.staging import StagingPaths
from shardpack.read.sample import Sample
from shardpack.runtime.progress import Advance, no_advance
from shardpack.storage.atomic import storage_errors

_PROGRESS_SAMPLES = 100
OF_SAMPLES = (DecodeError, ExportError, InvalidKeyError)  # what `on_error` decides about


@dataclass(frozen=True, slots=True)
class PartTask:
    """Everything that a worker needs to make a part."""

    exporter: Exporter
    part: Part
    samples: Exportable
    paths: StagingPaths
    on_error: OnError


@dataclass(frozen=True, slots=True)
class PartMade:
    """What is recorded of a part.

    Attributes:
        note: What the exporter keeps of it.
        num_samples: How many samples were exported.
        rejected: (key, reason) of the others.
    """

    note: Any
    num_samples: int
    rejected: tuple[tuple[str, str], ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"note": self.note, "num_samples": self.num_samples, "rejected": self.rejected}

    @classmethod
    def of_json(cls, value: Any) -> PartMade:
        """Return what `as_json` returned."""
        return cls(value["note"], value["num_samples"], tuple((key, reason) for key, reason in value["rejected"]))


def make_part(task: PartTask, advance: Advance = no_advance) -> PartMade:
    """Write the files of a part and record that it is made; calls advance(samples) on the way.

    Raises:
        DecodeError, ExportError, InvalidKeyError: A sample does not fit the format, unless those are skipped.
        OutputExistsError: Another run has taken over the folder.
        StorageError: The disk refused.
    """
    with storage_errors(f"write to {task.paths.folder!r}"), task.paths.share():
        rows = _Rows(task, advance)
        files = task.paths.files()
        note = task.exporter.write(task.part, iter(rows), files)
        files.sync()
        made = PartMade(note, rows.done - len(rows.rejected), tuple(rows.rejected))
        task.paths.keep_note(task.part.number, made.as_json())
    return made


class _Rows:
    """The rows of a part, as the exporter's `row_maker` makes them of samples."""

    def __init__(self, task: PartTask, advance: Advance) -> None:
        self._task, self._advance = task, advance
        self.rejected: list[tuple[str, str]] = []
        self.done = 0

    def __iter__(self) -> Iterator[Any]:
        row, reported = self._task.exporter.row_maker(), 0
        for sample in self._task.samples.stream(fields=self._task.exporter.fields):
            self.done += 1
            if self.done - reported == _PROGRESS_SAMPLES:
                self._advance(self.done - reported)
                reported = self.done
            try:
                made = row(sample)
            except OF_SAMPLES as error:
                self._reject(sample, error)
            else:
                yield made
        self._advance(self.done - reported)

    def _reject(self, sample: Sample, error: DecodeError | ExportError | InvalidKeyError) -> None:
        if self._task.on_error == "raise":
            if error.key is None:
                error.key = sample.key
            raise error
        self.rejected.append((sample.key, str(error.args[0])))
