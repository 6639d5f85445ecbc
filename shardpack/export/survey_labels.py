"""Read all labels once, in parallel, to know the types of their values before the first file is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shardpack.codecs.label_types import LabelType, merge_members, type_of
from shardpack.errors import OnError
from shardpack.export.contents import cut
from shardpack.export.exporter import Contents, Exportable, ExportOptions, LabelSurvey, Limits
from shardpack.export.make_part import OF_SAMPLES
from shardpack.export.roles import Roles, roles_of
from shardpack.runtime.processes import default_jobs, start_workers
from shardpack.runtime.progress import Progress

_RUN = Limits(max_bytes=256 << 20, max_samples=5000)
_NO_LABEL = -1  # how datasets say that a sample is not labelled


@dataclass(frozen=True, slots=True)
class _Task:
    samples: Exportable
    roles: Roles
    drop: tuple[str, ...]
    classes: tuple[str, ...] | None
    on_error: OnError


@dataclass(slots=True)
class _Found:
    """What the labels of a run of samples are."""

    types: dict[str, LabelType] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    dropped: set[str] = field(default_factory=set)
    fits: bool = True  # whether `label` and `class` are what the class names say


def survey_labels(contents: Contents, options: ExportOptions, jobs: int | None, progress: Progress) -> Contents:
    """Return the contents with the types of labels. Calls progress("labels", samples, total samples).

    Raises:
        DecodeError, ExportError: A label cannot be read, and `on_error` is "raise".
    """
    roles = roles_of(contents)
    if not roles.labels:
        return replace(contents, labels=LabelSurvey({}, {}, has_classes=False))
    runs = cut(contents, _RUN)
    tasks = (
        _Task(
            contents.samples_of(run),
            roles,
            options.drop,
            contents.classes,
            options.on_error,
        )
        for run in runs
    )
    if jobs is None:
        jobs = default_jobs(contents.num_samples * 4096)
    total, done = _Found(), 0
    with start_workers(max(1, min(jobs, len(runs)))) as engine:
        for number, found in engine.map(_look, tasks):
            total.types = merge_members(total.types, found.types)
            total.counts += found.counts
            total.dropped |= found.dropped
            total.fits = total.fits and found.fits
            done += runs[number].num_samples
            progress("labels", done, contents.num_samples)
    has_classes = contents.classes is not None and total.fits and "label" in total.types
    types = dict(sorted(total.types.items()))
    counts = {name: total.counts[name] for name in types}
    labels = LabelSurvey(types, counts, has_classes=has_classes, dropped=frozenset(total.dropped))
    return replace(contents, labels=labels)


def _look(task: _Task) -> _Found:
    found = _Found()
    for sample in task.samples.stream(fields=task.roles.labels):
        try:
            label = task.roles.label_of(sample, task.drop, found.dropped)
        except OF_SAMPLES as error:
            if task.on_error == "raise":
                error.key = error.key or sample.key
                raise
            continue
        found.counts.update([name for name, value in label.items() if value is not None])
        found.types = merge_members(found.types, {name: type_of(value) for name, value in label.items()})
        found.fits = found.fits and _fits(label, task.classes)
    return found


def _fits(label: Mapping[str, Any], classes: tuple[str, ...] | None) -> bool:
    """Return whether the label is a number of a class, or missing, and its class that name."""
    number, name = label.get("label"), label.get("class")
    if number is None or number == _NO_LABEL:
        return name is None
    if classes is None or isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(classes):
        return False
    return name is None or name == classes[number]
