"""`export` writes the samples of a dataset or view in a foreign format, or an index of its tars for another reader."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields as fields_of
from dataclasses import replace
from importlib import import_module
from typing import Any

from xxhash import xxh3_64_hexdigest

from shardpack._version import __version__
from shardpack.errors import OnError, OptionError
from shardpack.export.contents import cut, survey
from shardpack.export.export_index import export_index
from shardpack.export.exporter import (
    Contents,
    Exportable,
    Exporter,
    ExportOptions,
    ExportReport,
    Limits,
    Part,
)
from shardpack.export.formats import EXPORTERS
from shardpack.export.make_part import PartMade, PartTask, make_part
from shardpack.export.staging import STAGING_NAME, ExportFiles, Staging, refuse_occupied, refuse_own_folder
from shardpack.export.survey_labels import survey_labels
from shardpack.runtime.arguments import as_integer, as_jobs, as_names, one_of
from shardpack.runtime.processes import default_jobs, start_workers
from shardpack.runtime.progress import Announce, Progress, no_announcement, no_progress
from shardpack.runtime.sizes import parse_bytes
from shardpack.sources.class_list import CLASS_LIST, class_list_text
from shardpack.storage.atomic import storage_errors
from shardpack.storage.url import local_path

_OF_SOME = ("pattern", "flat", "task", "hashes")  # options that some formats take


def export(
    dataset: Exportable,
    out: str | os.PathLike[str] | None = None,
    *,
    to: str,
    fields: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    max_file_bytes: int | str | None = None,
    max_file_samples: int | None = None,
    pattern: str | None = None,
    flat: bool = False,
    task: str | None = None,
    hashes: bool = False,
    jobs: int | None = None,
    on_error: OnError = "raise",
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
    announce: Announce = no_announcement,
) -> ExportReport:
    """Write the samples of a dataset or view in another format; return what was written.

    `export/README.md` says what each format becomes, what reads it, and what it cannot hold: that is refused, unless
    `fields` or `drop` leaves it out. Payloads are copied byte for byte. The output is the same for any `jobs`, and
    after any number of interruptions: the same call continues an interrupted one. Until it is whole, `out` holds
    nothing but a folder for the work.

    Args:
        dataset: A dataset, or a view of one.
        out: A folder. A format that describes the tars may leave it out, and then writes beside them.
        to: Name of the format.
        fields: The fields to export; by default all.
        drop: Names of label values to leave out.
        max_file_bytes, max_file_samples: How much goes into one file, of formats that have several; by default what
            suits the format. In bytes of payloads, or like "256MiB"; a sample larger than that has its own file.
        pattern: For "webdataset": names of the tars, such as "train-%06d.tar"; "{split}" stands for the split.
        flat: For "folder": without class folders.
        task: For "yolo": "detect", "segment" or "pose".
        hashes: For formats that describe the tars: compute the hashes that are optional there; reads each tar once.
        jobs: Number of worker processes; None: one per core, if there is enough to do.
        on_error: "raise", or "skip" to leave out samples that do not fit the format; the report lists them.
        force: Replace what is in `out`, once the new files are complete. Hidden files are never deleted.
        dry_run: Only say what would be exported.
        progress: Called as progress("survey", samples, total samples), and then with "export" the same way.
        announce: Called with a line that says what samples become and which fields are left out, before any is written.

    Raises:
        OptionError: The format is unknown, an option does not fit it, or it cannot hold all that the samples have.
        DuplicateKeyError: The format names files by keys, and two samples have the same.
        OutputExistsError: `out` holds files, or another process is exporting to it.
        ExportError, DecodeError: A sample does not fit the format.
        MissingDependencyError: The format needs a package; the message names the extra.
        StorageError: The disk refused; the same call continues.
    """
    began = time.perf_counter()
    if not isinstance(dataset, Exportable):
        raise OptionError(f"cannot export {dataset!r}: expected what shardpack.open returns, or a view of it")
    exporter_class = exporter_named(to)
    options = _checked(
        to,
        exporter_class.takes,
        ExportOptions(
            fields=None if fields is None else as_names("fields", fields),
            drop=as_names("drop", drop),
            max_file_bytes=None if max_file_bytes is None else _positive(parse_bytes(max_file_bytes)),
            max_file_samples=None
            if max_file_samples is None
            else as_integer("max_file_samples", max_file_samples, minimum=1),
            on_error=one_of("on_error", on_error, ("raise", "skip")),
            pattern=pattern,
            flat=flat,
            task=task,
            hashes=hashes,
        ),
    )
    jobs = as_jobs(jobs)
    folder = None if out is None else _folder(out)
    if not hasattr(exporter_class, "prepare"):
        report = export_index(
            exporter_class, to, dataset, folder, options, force=force, dry_run=dry_run, progress=progress
        )
        return replace(report, seconds=time.perf_counter() - began)
    if folder is None:
        raise OptionError(f"{to} is written to a folder: name it, OUT")
    refuse_own_folder(folder, dataset.location, dataset.manifest.locations)
    if not os.path.isdir(os.path.join(folder, STAGING_NAME)):
        refuse_occupied(folder, force=force)  # before a long survey
    contents = survey(dataset, options.fields, progress, named_by=exporter_class.named_by)
    if exporter_class.typed:
        contents = survey_labels(contents, options, jobs, progress)
    exporter: Exporter = exporter_class.prepare(contents, options)
    parts = cut(contents, _limits(exporter, options))
    lost = ", ".join(f"{name} of {count:,} samples" for name, count in contents.left_out.items())
    announce(f"{to}: {exporter.sentence}" + (f"; left out: {lost}" if lost else ""))
    report = ExportReport(
        out=folder,
        to=to,
        num_samples=contents.num_samples,
        num_bytes=int(contents.num_bytes.sum()),
        num_parts=len(parts),
        splits=tuple((name, len(samples)) for name, samples in contents.splits if name is not None),
        left_out=contents.left_out,
        dry_run=dry_run,
    )
    if not dry_run:
        with storage_errors(f"write to {folder!r}"):
            report = _Run(exporter, contents, parts, options, progress).make(report, folder, jobs, force=force)
    return replace(report, seconds=time.perf_counter() - began)


def exporter_named(to: str) -> Any:
    """Return the class of the exporter of this name.

    Raises:
        OptionError: No format has this name; the message lists all.
    """
    module, _, name = EXPORTERS[one_of("to", to, tuple(EXPORTERS))].partition(":")
    return getattr(import_module(module), name)


class _Run:
    """One export: makes the parts that are missing, and publishes when none is."""

    def __init__(
        self,
        exporter: Exporter,
        contents: Contents,
        parts: Sequence[Part],
        options: ExportOptions,
        progress: Progress,
    ) -> None:
        self._exporter, self._contents, self._parts = exporter, contents, parts
        self._options, self._progress = options, progress
        self._made: dict[int, PartMade] = {}
        self._done = 0

    def make(self, report: ExportReport, out: str, jobs: int | None, *, force: bool) -> ExportReport:
        """Export all samples; return the report, completed."""
        parts = self._parts
        with Staging(out, self._digest(), force=force) as staging:
            self._made = {
                part.number: PartMade.of_json(note) for part in parts if (note := staging.paths.note(part.number))
            }
            missing = [part for part in parts if part.number not in self._made]
            self._done = contents_done = sum(part.num_samples for part in parts if part.number in self._made)
            if not staging.is_publishing:
                resumed = len(parts) - len(missing)
                self._make_parts(staging, missing, jobs)
                notes = [self._made[part.number].note for part in parts]
                self._exporter.finish(parts, notes, staging.paths.files())
                self._name_classes(staging.paths.files())
            else:
                resumed = len(parts) if contents_done else 0
            rejected = tuple(one for part in parts for one in self._made[part.number].rejected)
            num_files = staging.publish()
        return replace(
            report,
            num_samples=report.num_samples - len(rejected),
            num_files=num_files,
            left_out=_left_out(report, self._made.values()),
            resumed_parts=resumed,
            rejected=rejected,
        )

    def _name_classes(self, files: ExportFiles) -> None:
        """Write the class names, if there are some and the format has no place for them."""
        classes = self._contents.classes
        if classes and not self._exporter.names_classes:
            with open(files.create(CLASS_LIST), "w", encoding="utf-8") as file:
                file.write(class_list_text(classes))

    def _digest(self) -> str:
        cuts = [(part.split, part.first, part.num_samples) for part in self._parts]
        all_of_it = (
            __version__,
            self._contents.digest,
            self._exporter,
            self._options.on_error,
            cuts,
            self._contents.classes,
        )
        return xxh3_64_hexdigest(repr(all_of_it).encode("utf-8", "surrogateescape"))

    def _make_parts(self, staging: Staging, missing: Sequence[Part], jobs: int | None) -> None:
        options = self._options
        tasks = (
            PartTask(
                self._exporter,
                part,
                self._contents.samples_of(part),
                staging.paths,
                options.on_error,
            )
            for part in missing
        )
        if jobs is None:
            jobs = default_jobs(sum(part.num_bytes for part in missing))
        if self._exporter.sequential:
            jobs = 1
        with start_workers(max(1, min(jobs, len(missing)))) as engine:
            for number, made in engine.map(make_part, tasks, advance=self._advance):
                self._made[missing[number].number] = made

    def _advance(self, _: int, num_samples: int) -> None:
        self._done += num_samples
        self._progress("export", self._done, self._contents.num_samples)


def _left_out(report: ExportReport, made: Iterable[PartMade]) -> Mapping[str, int]:
    """Return the fields that were left out, and what exporters have counted."""
    counts = Counter(report.left_out)
    for part in made:
        counts.update(part.note.get("left_out", {}))
    return dict(counts)


def _limits(exporter: Exporter, options: ExportOptions) -> Limits:
    limits = exporter.limits
    return Limits(options.max_file_bytes or limits.max_bytes, options.max_file_samples or limits.max_samples)


def _checked(to: str, takes: frozenset[str], options: ExportOptions) -> ExportOptions:
    plain = ExportOptions()
    for option in fields_of(options):
        name = option.name
        if name in _OF_SOME and name not in takes and getattr(options, name) != getattr(plain, name):
            raise OptionError(f"{name} does not apply to {to}; leave it out")
    return options


def _positive(num_bytes: int) -> int:
    return as_integer("max_file_bytes", num_bytes, minimum=1)


def _folder(out: str | os.PathLike[str]) -> str:
    folder = local_path(os.fspath(out))
    if folder is None:
        raise OptionError(
            f"exports are written to a folder, and {os.fspath(out)!r} is a URL; copy the folder there afterwards"
        )
    return folder
