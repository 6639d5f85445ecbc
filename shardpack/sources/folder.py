"""A folder of images as a source: which layout it has, and the samples of each layout.

Layouts: class folders (`json_labels.py` makes their labels), files that share a stem (`image_files.py`), tables
(`table.py`), and COCO annotations (`coco.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from shardpack.codecs.field_types import IMAGE_EXTENSIONS, LABEL_FIELDS
from shardpack.errors import OptionError, SourceError
from shardpack.sources.coco import COCO_NAMES, Annotations, list_coco, read_annotations
from shardpack.sources.image_files import ScannedFolder
from shardpack.sources.json_labels import add_class_labels
from shardpack.sources.keys import check_names
from shardpack.sources.listing import Listing
from shardpack.sources.scan import Files, scan
from shardpack.sources.source import Listed, ListOptions, Problems
from shardpack.sources.table import find_tables, list_table

Layout = Literal["auto", "classes", "files", "table", "coco"]


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder to pack.

    The layout "auto" is "coco" if `annotations` is given; "table" if any folder has a metadata.csv, .jsonl or
    .parquet; "coco" if the root has COCO annotations; "classes" if every image is in a folder and no image has a
    label (json, txt or cls) of its own; otherwise "files".

    Attributes:
        path: The folder.
        layout: How it holds its labels.
        annotations: COCO file, relative to the working directory or else to `path`.

    Raises:
        OptionError: `annotations` are given for another layout than "coco".
    """

    path: str | os.PathLike[str]
    layout: Layout = "auto"
    annotations: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.annotations is not None and self.layout not in ("auto", "coco"):
            raise OptionError(
                f"annotations are for the layout 'coco', got layout {self.layout!r}; leave one of them out"
            )

    def list(self, options: ListOptions) -> Listed:
        """Return the samples, ascending by key, their names checked; opens no image.

        Costs one `stat` per file, about 3 us more, and reading tables or annotations. The result does not depend
        on the order in which the disk lists its files.

        Raises:
            SourceError: The folder has no images or unreadable labels, or samples were rejected and `on_error` is
                "raise": the first few are named, all are counted.
            MissingDependencyError: There is a Parquet table, and pyarrow is not installed.
        """
        problems = Problems()
        files = scan(self.path, problems, progress=options.progress, engine=options.engine)
        folder = _Folder(files, self.annotations, problems, rename_keys=options.rename_keys)
        layout = _detect(folder) if self.layout == "auto" else self.layout
        listing = check_names(LAYOUTS[layout](folder), problems, rename_keys=options.rename_keys)
        if options.on_error == "raise":
            problems.raise_if_any()
        if not listing.num_samples:
            raise SourceError(_nothing_to_pack(files, problems))
        return Listed(listing, layout, problems)


class _Folder(ScannedFolder):
    """A scanned folder, and what is derived from it, computed once."""

    def __init__(
        self, files: Files, annotations: str | os.PathLike[str] | None, problems: Problems, *, rename_keys: bool
    ) -> None:
        super().__init__(files, problems, rename_keys=rename_keys)
        self.given = annotations

    @cached_property
    def grouped(self) -> Listing:
        """The images, each with the other files of its stem."""
        return self.group()

    @cached_property
    def coco(self) -> Annotations | None:
        """The COCO annotations in the root that have a usual name."""
        named = (read_annotations(path) for path in self._usual_paths())
        return next((annotations for annotations in named if annotations.is_coco()), None)

    @property
    def annotations(self) -> Annotations:
        """The annotation file that was given, or that has a usual name."""
        if self.given is not None:
            given = os.fspath(self.given)
            within = os.path.join(self.files.root, given)
            return read_annotations(given if os.path.exists(given) or not os.path.exists(within) else within)
        if not (usual := self._usual_paths()):
            raise SourceError(
                f"no annotations in {self.files.root!r}: expected {' or '.join(COCO_NAMES)}; "
                "name the file with annotations (--annotations)"
            )
        return self.coco or read_annotations(usual[0])

    def _usual_paths(self) -> list[str]:
        return [os.path.join(self.files.root, name) for name in COCO_NAMES if name in self.files.names]


# Name of a layout -> the function that lists a folder of that layout.
LAYOUTS: dict[str, Callable[[_Folder], Listing]] = {
    "classes": lambda folder: add_class_labels(folder.grouped, folder.problems),
    "files": lambda folder: folder.grouped,
    "table": list_table,
    "coco": lambda folder: list_coco(folder, folder.annotations),
}


def _detect(folder: _Folder) -> str:
    """Return the layout that "auto" stands for; see `FolderSource`."""
    if folder.given is not None:
        return "coco"
    if find_tables(folder.files):
        return "table"
    if folder.coco is not None:
        return "coco"
    in_folders = all("/" in key for key in folder.grouped.keys)
    in_classes = in_folders and LABEL_FIELDS.isdisjoint(folder.grouped.fields)
    return "classes" if in_classes else "files"


def _nothing_to_pack(files: Files, problems: Problems) -> str:
    """Return the error text for a folder without samples: what was looked for, and what was found."""
    found = [f"{len(files.names)} file{'s' if len(files.names) != 1 else ''}"]
    found += [
        f"{count} left out: {reason} (such as {problems.left_out_examples[reason]!r})"
        for reason, count in problems.left_out.items()
    ]
    if problems.rejected:
        name, reason = problems.rejected[0]
        found.append(f"{len(problems.rejected)} rejected, such as {name!r}: {reason}")
    kinds = ", ".join("." + extension for extension in sorted(IMAGE_EXTENSIONS))
    return (
        f"no images to pack in {files.root!r}: looked for {kinds}; found {'; '.join(found)}; "
        "name the folder that holds the images"
    )
