"""A folder of images as a source: scanned, its layout found, its samples listed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.errors import OptionError, SourceError
from shardpack.sources.archives.open import archives_beside, is_archive, kind_of, open_archive, open_archives
from shardpack.sources.foreign_tars import leave_out_indexes, with_stated_splits
from shardpack.sources.layouts.detect import AUTO, read_tree
from shardpack.sources.layouts.layout import LayoutOptions
from shardpack.sources.scan import Files, scan
from shardpack.sources.source import Listed, ListOptions, Problems
from shardpack.sources.stated_splits import StatedSplits
from shardpack.sources.tree import Tree


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder to pack.

    The layout "auto" is "coco" if `annotations` is given, and otherwise the most specific one that fits; see
    `layouts.detect`.

    Attributes:
        path: The folder, an archive of one (`archives/`), or the URL of an archive.
        layout: How it holds its labels.
        annotations: COCO file, relative to the working directory or else to `path`.
        storage_options: Options for the URL of an archive.
        ignore: Patterns of files that are left out; see `layouts.leftovers`.
        table: Table that describes the images, relative to the working directory or else to `path`.
        ask: Whether what is not clear is an error; see `LayoutOptions`.
        key_column, label_column: Columns of tables, by name or number; see `LayoutOptions`.

    Raises:
        OptionError: `annotations` are given for another layout than "coco", or a table or its columns for another one
            than "table".
    """

    path: str | os.PathLike[str]
    layout: str = AUTO
    annotations: str | os.PathLike[str] | None = None
    storage_options: Mapping[str, Any] | None = None
    ignore: Sequence[str] = ()
    table: str | os.PathLike[str] | None = None
    key_column: str | int | None = None
    label_column: str | int | None = None
    ask: bool = True

    def __post_init__(self) -> None:
        if self.annotations is not None and self.layout not in (AUTO, "coco"):
            raise OptionError(
                f"annotations are for the layout 'coco', got layout {self.layout!r}; leave one of them out"
            )

        of_table = {"table": self.table, "key_column": self.key_column, "label_column": self.label_column}
        given = [name for name, value in of_table.items() if value is not None]
        if given and (self.layout not in (AUTO, "table") or self.annotations is not None):
            raise OptionError(f"{given[0]} is for the layout 'table'; leave one of them out")

    @property
    def _layout(self) -> str:
        """The layout that the options imply."""
        if self.annotations is not None:
            return "coco"
        asked = (self.table, self.key_column, self.label_column)
        return self.layout if all(value is None for value in asked) else "table"

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
        tree, archives, stated = self._tree(problems, options)
        layout = self._layout
        listed = read_tree(
            tree,
            layout,
            problems,
            LayoutOptions(
                asked=layout != AUTO,
                rename_keys=options.rename_keys,
                annotations=self.annotations,
                ignore=self.ignore,
                table=self.table,
                key_column=self.key_column,
                label_column=self.label_column,
                ask=self.ask,
                engine=options.engine,
                progress=options.progress,
            ),
        )
        if options.on_error == "raise":
            problems.raise_if_any()
        if not listed.listing.num_samples:
            raise SourceError(_nothing_to_pack(tree.files, problems))
        if not archives:
            return listed
        listed = replace(listed, sentence=f"{kind_of(archives, listed.layout)}: {listed.sentence}")
        return with_stated_splits(listed, stated)

    def _tree(self, problems: Problems, options: ListOptions) -> tuple[Tree, Sequence[str], StatedSplits]:
        """Return the tree, the archives whose files are in it, and the splits that files beside these state."""
        if is_archive(os.fspath(self.path)) and not os.path.isdir(self.path):
            tree = open_archive(self.path, problems, self.storage_options, unpack=options.unpack)
            return tree, [os.fspath(self.path)], StatedSplits()
        files = scan(self.path, problems, progress=options.progress, engine=options.engine)
        archives = archives_beside(files)
        if not archives:
            return Tree(files), (), StatedSplits()
        files, stated = leave_out_indexes(files, archives, problems)
        return open_archives(files, archives, problems, unpack=options.unpack), archives, stated


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
