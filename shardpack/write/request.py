"""What `shardpack.pack` is asked for, checked once, and what it reports."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from shardpack.errors import OnError, OptionError
from shardpack.format.assemble import recorded_options
from shardpack.runtime.arguments import as_integer, as_jobs, one_of
from shardpack.runtime.progress import Announce, Progress, no_announcement, no_progress
from shardpack.runtime.sizes import DEFAULT_MAX_SHARD_BYTES, parse_bytes
from shardpack.runtime.start_engine import EngineOption, check_engine
from shardpack.sources.formats.importer import FORMATS, FormatOptions, Raw, Unpickle
from shardpack.sources.image_check import ImageCheck
from shardpack.sources.layouts.detect import AUTO, LAYOUT_CHOICES
from shardpack.write.follow_image import Labels
from shardpack.write.image_step import ImageStep
from shardpack.write.part import parse_part
from shardpack.write.shard_compression import ShardCompression, recorded_compression, shard_compression
from shardpack.write.sharding import ShardLimits
from shardpack.write.steps import PackSteps
from shardpack.write.user_transform import Decode

# Options of one kind of source, and their defaults, which the others accept.
FOR_FOLDERS: dict[str, Any] = {"layout": AUTO, "annotations": None, "ignore": (), "table": None}
FOR_ROWS: dict[str, Any] = dict.fromkeys(("source_format", "unpickle", "raw"))
FOR_COLUMNS: dict[str, Any] = dict.fromkeys(("key_column", "label_column"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRequest:
    """The options of `shardpack.pack`, which documents them.

    Of `with_table`, packing itself keeps only that it may be continued until the table is made (`edit/pack_table.py`).

    Raises:
        OptionError: An option is out of range, or has the wrong type.
    """

    max_shard_bytes: int | str = DEFAULT_MAX_SHARD_BYTES
    max_shard_samples: int | None = None
    allow_oversized: bool = False
    jobs: int | None = None
    shuffle_seed: int | None = None
    check_images: ImageCheck | None = None
    check_labels: bool = False
    on_error: OnError = "raise"
    layout: str = AUTO
    annotations: str | os.PathLike[str] | None = None
    ignore: Sequence[str] = ()
    table: str | os.PathLike[str] | None = None
    key_column: str | int | None = None
    label_column: str | int | None = None
    classes: Sequence[str] | None = None
    split: str | None = None
    rename_keys: bool = False
    force: bool = False
    dry_run: bool = False
    storage_options: Mapping[str, Any] | None = None
    work_dir: str | os.PathLike[str] | None = None
    progress: Progress = no_progress
    announce: Announce = no_announcement
    compress: Mapping[str, str] | None = None
    frame_bytes: int | str | None = None
    threads_per_job: int | None = None
    part: str | None = None
    engine: EngineOption = None
    transform: Callable[..., Any] | None = None
    transform_version: str | None = None
    decode: Decode = False
    fields: Sequence[str] | None = None
    rename_field: Mapping[str, str] | None = None
    sample_timeout: float | None = None
    resize: str | None = None
    encode: str | Mapping[str, str] | None = None
    image: Sequence[str] | str | None = None
    nearest: Sequence[str] | str | None = None
    keep: Sequence[str] | str | None = None
    labels: Labels = "follow"
    first_frame: bool = False
    source_format: str | None = None
    unpickle: Unpickle | None = None
    raw: Raw | None = None
    with_table: bool = False
    steps: PackSteps = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_shard_bytes", self.limits.max_bytes)
        object.__setattr__(self, "max_shard_samples", self.limits.max_samples)
        object.__setattr__(self, "jobs", as_jobs(self.jobs))
        if self.threads_per_job is not None:
            object.__setattr__(self, "threads_per_job", as_integer("threads_per_job", self.threads_per_job, minimum=1))
        check_engine(self.engine)
        if self.engine not in (None, "ray") and (self.jobs is not None or self.threads_per_job is not None):
            raise OptionError("jobs and threads_per_job are for engines that pack starts; yours has its own")
        if self.part is not None:
            parse_part(self.part)
            if self.force:
                raise OptionError(
                    "force is not for a part, which could delete what the other parts have just published; delete the "
                    "existing dataset first, or choose another target"
                )
        if self.shuffle_seed is not None:
            object.__setattr__(self, "shuffle_seed", as_integer("shuffle_seed", self.shuffle_seed))
        object.__setattr__(self, "classes", as_classes(self.classes))
        if self.split is not None and not isinstance(self.split, str):
            raise OptionError(f"split is {self.split!r}, expected the name of one split")
        object.__setattr__(self, "ignore", as_patterns(self.ignore))
        if self.compress is not None and not isinstance(self.compress, Mapping):
            raise OptionError(f'compress is {self.compress!r}; expected a mapping such as {{"shards": "zstd:3"}}')
        if (compression := self.compression) is not None:
            compression.versions()  # raises where the package is missing
        images = ImageStep.parse(
            self.resize,
            self.encode,
            image=self.image,
            nearest=self.nearest,
            keep=self.keep,
            labels=self.labels,
            first_frame=self.first_frame,
        )
        steps = PackSteps.of(
            transform=self.transform,
            transform_version=self.transform_version,
            decode=self.decode,
            images=images,
            fields=self.fields,
            rename_field=self.rename_field,
            compress=self.compress,
            sample_timeout=self.sample_timeout,
            seed=self.shuffle_seed,
        )
        object.__setattr__(self, "steps", steps)
        one_of("check_images", self.check_images, (*get_args(ImageCheck), None))
        one_of("on_error", self.on_error, get_args(OnError))
        one_of("source_format", self.source_format, (*FORMATS, None))
        one_of("unpickle", self.unpickle, (*get_args(Unpickle), None))
        one_of("raw", self.raw, (*get_args(Raw), None))
        one_of("layout", self.layout, LAYOUT_CHOICES)

    @property
    def checks_samples(self) -> bool:
        """Whether payloads are looked at before any is packed."""
        return self.check_images is not None or self.check_labels

    @property
    def format_options(self) -> FormatOptions:
        """How rows of a foreign format become samples."""
        return FormatOptions(
            key_column=None if self.key_column is None else str(self.key_column),
            label_column=None if self.label_column is None else str(self.label_column),
            classes=as_classes(self.classes),
            unpickle=self.unpickle,
            raw=self.raw,
        )

    @property
    def limits(self) -> ShardLimits:
        """When a shard is full."""
        return ShardLimits(parse_bytes(self.max_shard_bytes), self.max_shard_samples, self.allow_oversized)

    @property
    def compression(self) -> ShardCompression | None:
        """How shards are compressed; None for plain tars."""
        return shard_compression(self.compress, self.frame_bytes)

    def recorded(self, layout: str, label_shape: str | None = None) -> dict[str, Any]:
        """Return the options that determine the output, for the manifest; layout and label shape are as found."""
        compression, steps = self.compression, self.steps
        of_shards = {} if compression is None else compression.versions()
        return recorded_options(
            layout=layout,
            label_shape=label_shape,
            max_shard_bytes=self.max_shard_bytes,
            max_shard_samples=self.max_shard_samples,
            allow_oversized=self.allow_oversized or None,
            split=self.split,
            shuffle_seed=self.shuffle_seed,
            check_images=self.check_images,
            check_labels=self.check_labels or None,
            on_error=self.on_error,
            rename_keys=self.rename_keys or None,
            key_column=self.key_column,
            label_column=self.label_column,
            unpickle=self.unpickle,
            raw=self.raw,
            ignore=list(self.ignore) or None,
            compress={**(steps.compress.recorded() or {}), **recorded_compression(compression)} or None,
            frame_bytes=None if compression is None else compression.frame_bytes,
            versions={**steps.recorded_versions(), **of_shards} or None,
            **steps.recorded(),
        )

    def refuse_but_for(self, kind: str, **usual: Any) -> None:
        """Refuse options that do not apply to this kind of source, instead of ignoring them.

        Args:
            kind: The kind of source, for the error text.
            usual: Option -> its default, the only accepted value.

        Raises:
            OptionError: An option has another value.
        """
        for name, value in usual.items():
            if getattr(self, name) != value:
                raise OptionError(f"{name} is not for {kind}; leave it out, or pack a folder")


def as_patterns(patterns: Any) -> tuple[str, ...]:
    """Return patterns of file names as a tuple.

    Raises:
        OptionError: They are not a list of texts.
    """
    if isinstance(patterns, str) or not isinstance(patterns, Sequence) or not all(isinstance(p, str) for p in patterns):
        raise OptionError(f"ignore is {patterns!r}, expected a list of patterns such as ['*.csv']")
    return tuple(patterns)


def as_classes(classes: Any) -> tuple[str, ...] | None:
    """Return class names as a tuple, or None for None.

    Raises:
        OptionError: `classes` is not a list of different names.
    """
    if classes is None:
        return None
    if isinstance(classes, (str, bytes)) or not isinstance(classes, (Sequence, tuple)):
        raise OptionError(f"classes is {classes!r}, expected a list of names in the order of their labels")
    for number, name in enumerate(classes):
        if not isinstance(name, str):
            raise OptionError(f"classes[{number}] is {name!r}, expected a name")
    if len(set(classes)) < len(classes):
        twice = next(name for number, name in enumerate(classes) if name in classes[:number])
        raise OptionError(f"classes name {twice!r} twice; each class must have one number")
    return tuple(classes)
