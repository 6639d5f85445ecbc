"""Folders as sources: every layout by its name, and which of them a folder has."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from shardpack.codecs.field_types import IMAGE_EXTENSIONS, LABEL_FIELDS
from shardpack.errors import OnError, OptionError, SourceError
from shardpack.runtime.arguments import one_of
from shardpack.runtime.engine import IN_PROCESS, Engine
from shardpack.sources.class_folders import add_class_labels, in_class_folders
from shardpack.sources.coco import COCO_NAMES, Annotations, list_coco, read_annotations
from shardpack.sources.image_files import group_files
from shardpack.sources.keys import check_names
from shardpack.sources.listing import Listing
from shardpack.sources.rejects import Problems
from shardpack.sources.scan import Files, scan
from shardpack.sources.source import Listed, ListOptions
from shardpack.sources.table import find_tables, list_table

Layout = Literal["auto", "classes", "files", "table", "coco"]


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder to pack; see `open_source`."""

    path: str | os.PathLike[str]
    layout: Layout = "auto"
    annotations: str | os.PathLike[str] | None = None

    def list(self, options: ListOptions) -> Listed:
        """Return its samples, ascending by key; see `Source.list`."""
        return open_source(
            self.path,
            layout=self.layout,
            annotations=self.annotations,
            rename_keys=options.rename_keys,
            on_error=options.on_error,
            progress=options.progress,
            engine=options.engine,
        )


def open_source(
    path: str | os.PathLike[str],
    *,
    layout: Layout = "auto",
    annotations: str | os.PathLike[str] | None = None,
    rename_keys: bool = False,
    on_error: OnError = "raise",
    progress: Callable[[int], None] | None = None,
    engine: Engine = IN_PROCESS,
) -> Listed:
    """Return the samples of a folder, their names checked; no image is opened.

    "auto" takes "coco" if `annotations` is given; "table" if there is a metadata.csv, .jsonl or
    .parquet in any folder; "coco" if the root has annotations of that kind; "classes" if every
    image lies in a folder and none has a label (json, txt or cls) of its own; else "files".

    Costs one `stat` a file, about 3 us more, and the reading of tables or annotations. The
    result does not depend on the order in which the disk lists its files.

    Args:
        path: The folder.
        layout: How it holds its labels.
        annotations: COCO file, relative to the working directory or else to `path`.
        rename_keys: Escape unsafe keys reversibly instead of rejecting them.
        on_error: "raise" at the end if anything was rejected, or "skip" to go on without it.
        progress: Called with the number of files found so far, now and then.
        engine: Shares the listing of folders among its workers; the result is the same.

    Raises:
        SourceError: No images, unreadable labels, or rejected samples: the first few are
            named, all are counted.
        MissingDependencyError: A Parquet table, and pyarrow is not installed.
        OptionError: An option has another value, or they contradict each other.
    """
    one_of("layout", layout, get_args(Layout))
    one_of("on_error", on_error, get_args(OnError))
    if annotations is not None and layout not in ("auto", "coco"):
        raise OptionError(f"annotations are for the layout 'coco', got layout {layout!r}; leave one of them out")
    problems = Problems()
    files = scan(path, problems, progress=progress, engine=engine)
    folder = _Folder(files, annotations, problems, rename_keys=rename_keys)
    name = _detect(folder) if layout == "auto" else layout
    listing = check_names(LAYOUTS[name](folder), problems, rename_keys=rename_keys)
    if on_error == "raise":
        problems.raise_if_any()
    if not listing.num_samples:
        raise SourceError(_nothing(files, problems))
    return Listed(listing, name, problems)


class _Folder:
    """A scanned folder, and what is found out about it, once."""

    def __init__(
        self, files: Files, annotations: str | os.PathLike[str] | None, problems: Problems, *, rename_keys: bool
    ) -> None:
        self.files, self.given, self.problems, self.rename_keys = files, annotations, problems, rename_keys

    @cached_property
    def grouped(self) -> Listing:
        """Images with their sidecar files."""
        return group_files(self.files, self.problems, rename_keys=self.rename_keys)

    @cached_property
    def annotations(self) -> Annotations:
        """The annotation file, given or by its usual name."""
        if self.given is None:
            in_root = [name for name in COCO_NAMES if name in self.files.names]
            if not in_root:
                raise SourceError(
                    f"no annotations in {self.files.root!r}: expected {' or '.join(COCO_NAMES)}; "
                    "name the file with annotations (--annotations)"
                )
            return read_annotations(os.path.join(self.files.root, in_root[0]))
        given = os.fspath(self.given)
        within = os.path.join(self.files.root, given)
        return read_annotations(given if os.path.exists(given) or not os.path.exists(within) else within)

    def holds_coco(self) -> bool:
        """Return whether the root has annotations under a usual name that are COCO's."""
        for name in COCO_NAMES:
            if name in self.files.names:
                found = read_annotations(os.path.join(self.files.root, name))
                if found.is_coco():
                    self.annotations = found
                    return True
        return False


# How a folder is listed, by the name of its layout.
LAYOUTS: dict[str, Callable[[_Folder], Listing]] = {
    "classes": lambda folder: add_class_labels(folder.grouped, folder.problems),
    "files": lambda folder: folder.grouped,
    "table": lambda folder: list_table(folder.files, folder.problems, rename_keys=folder.rename_keys),
    "coco": lambda folder: list_coco(folder.files, folder.annotations, folder.problems, rename_keys=folder.rename_keys),
}


def _detect(folder: _Folder) -> str:
    """Return the layout that fits; see `open_source`."""
    if folder.given is not None:
        return "coco"
    if find_tables(folder.files):
        return "table"
    if folder.holds_coco():
        return "coco"
    in_classes = in_class_folders(folder.grouped) and LABEL_FIELDS.isdisjoint(folder.grouped.fields)
    return "classes" if in_classes else "files"


def _nothing(files: Files, problems: Problems) -> str:
    """Return why there is nothing to pack: what was looked for, and what was found."""
    found = [f"{len(files.names)} file{'s' if len(files.names) != 1 else ''}"]
    found += [
        f"{count} left out: {reason} (such as {problems.left_out_examples[reason]!r})"
        for reason, count in problems.left_out.items()
    ]
    if problems.rejected:
        name, reason = problems.rejected[0]
        found.append(f"{len(problems.rejected)} rejected, such as {name!r}: {reason}")
    kinds = ", ".join("." + extension for extension in sorted(IMAGE_EXTENSIONS))
    return f"no images to pack in {files.root!r}: looked for {kinds}; found {'; '.join(found)}"
