"""Captions in a table or a list beside the images, one or several for each image.

captions.csv, .jsonl     image,caption           0001.jpg,a red hat
captions.txt, *.token    0001.jpg#0<TAB>a red hat

-> json {"captions":["a red hat","a hat on a table"]}, in the order of the rows
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from shardpack.errors import SourceError
from shardpack.sources.csv_dialect import FILE_NAME
from shardpack.sources.image_files import group_files
from shardpack.sources.image_paths import ImagePaths
from shardpack.sources.json_labels import attach_labels, compact_json
from shardpack.sources.layouts.any_tables import examine, is_usual, other_tables
from shardpack.sources.layouts.layout import BY_TABLE, Found, LayoutOptions
from shardpack.sources.layouts.named_images import NamedImages
from shardpack.sources.layouts.split_folders import split_by_folder
from shardpack.sources.layouts.table_columns import NEARLY_ALL, caption_column, may_hold_captions
from shardpack.sources.layouts.table_rows import sample_of
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.table_formats import head, records_of
from shardpack.sources.table_text import TableText, table_text
from shardpack.sources.tree import Folder, Tree

_NUMBERED = re.compile(rb"(?P<name>[^\t\n#]+)#\d+\t(?P<caption>[^\n]*)")
_LISTS = frozenset({"txt", "token"})
_EXAMINED_LINES = 1000
_EXAMINED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class CaptionFile:
    """A file with captions.

    Attributes:
        table: Its text, and the column that names images.
        column: The column with captions; None for a list with numbered names.
    """

    table: TableText
    column: str | None


class Captions:
    """Tables and lists of captions."""

    name = "captions"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the files with captions; see `Layout.find`."""
        if options.table is not None:
            return None
        lists = [name for folder in tree.folders.values() for name in _lists(tree, folder)]
        texts = (table_text(name, tree.read(name)) for name in [*other_tables(tree), *lists])
        tables = [table for table in texts if may_hold_captions(head(table, 1)[0])]
        if not lists and not tables:
            return _nothing(tree, options)
        images = NamedImages(tree.files.names)
        found = [
            CaptionFile(TableText(name, data), None) for name, data in _read(tree, lists) if _is_list(data, images)
        ]
        known = {file.table.name for file in found}
        for table in tables:
            found += _of_table(table, images) if table.name not in known else []
        if not found:
            return _nothing(tree, options)
        names = [file.table.name for file in found]
        title = f"captions in {', '.join(names[:3])}{', ...' * (len(names) > 3)}"
        uses = frozenset(names)
        return Found(layout=self.name, rank=BY_TABLE, title=title, label="captions", uses=uses, memory=(found, images))

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return the images that have captions; the others are left out and counted."""
        files, images = found.memory
        others = tree.files.without(found.uses)
        listing = group_files(others, problems, rename_keys=options.rename_keys)
        paths = ImagePaths(listing, tree.files, problems)
        captions: dict[int, list[str]] = {}
        for where, folder, name, said in _captions(files, problems):
            sample = sample_of(name, folder, images, paths)
            if isinstance(sample, str):
                problems.reject(where, sample)
            elif sample is not None:
                captions.setdefault(sample, []).extend(said)
        labels: list[bytes | None] = [None] * listing.num_samples
        for sample, texts in captions.items():
            labels[sample] = compact_json({"captions": texts})
        return split_by_folder(attach_labels(listing, labels, problems, missing="an image without a caption"), tree)


def _nothing(tree: Tree, options: LayoutOptions) -> Found | None:
    if options.asked:
        raise SourceError(
            f"no captions in {tree.files.root!r}: expected a table with the columns image and caption, or a "
            "captions.txt with lines like 0001.jpg#0, tab, caption; name the columns so"
        )
    return None


def _of_table(table: TableText, images: NamedImages) -> list[CaptionFile]:
    """Return a table with the columns that name images and hold captions, if it has both."""
    columns = head(table, 1)[0]
    if is_usual(table.name) and FILE_NAME in columns:
        return []  # its columns are the label as they are
    key = examine(table, images).column
    column = None if key is None else caption_column(columns, key)
    return [] if key is None or column is None else [CaptionFile(replace(table, key=key), column)]


def _lists(tree: Tree, folder: Folder) -> Iterator[str]:
    if not _LISTS.isdisjoint(folder.extensions):
        for name in tree.files.names[folder.first : folder.stop]:
            last = name.rpartition("/")[2].lower()
            if last.endswith(".token") or (last.endswith(".txt") and "caption" in last):
                yield name


def _read(tree: Tree, names: list[str]) -> Iterator[tuple[str, bytes]]:
    return ((name, tree.read(name)) for name in names)


def _is_list(data: bytes, images: NamedImages) -> bool:
    """Return whether the first lines are numbered names of images with captions."""
    lines = list(filter(None, data[:_EXAMINED_BYTES].removeprefix(BOM_UTF8).splitlines()))[:_EXAMINED_LINES]
    matches = [match for line in lines if (match := _NUMBERED.fullmatch(line)) is not None]
    if not matches or len(matches) < NEARLY_ALL * len(lines):
        return False
    known = sum(images.find(match["name"].decode(errors="replace")) is not None for match in matches)
    return known >= NEARLY_ALL * len(matches)


def _captions(files: list[CaptionFile], problems: Problems) -> Iterator[tuple[str, str, Any, list[str]]]:
    """Yield (file and line, folder of the file, name of the image, its captions)."""
    for file in files:
        table = file.table
        if file.column is None:
            for number, line in enumerate(table.data.removeprefix(BOM_UTF8).splitlines(), start=1):
                match = _NUMBERED.fullmatch(line)
                if match is None:
                    if line.strip():
                        problems.reject(
                            f"{table.name}:{number}", "expected name#number, tab, caption; correct the line"
                        )
                    continue
                try:
                    yield (
                        f"{table.name}:{number}",
                        table.folder,
                        match["name"].decode(),
                        [match["caption"].decode().strip()],
                    )
                except UnicodeDecodeError as error:
                    problems.reject(f"{table.name}:{number}", f"not UTF-8: {error.reason}; save it as UTF-8")
            continue
        for _, number, values in records_of([table], problems):
            where, said = f"{table.name}:{number}", values.get(file.column)
            texts = said if isinstance(said, list) else [said]
            if all(isinstance(text, (str, int, float)) for text in texts):
                yield where, table.folder, values.get(table.key), [str(text) for text in texts]
            else:
                problems.reject(where, f"its {file.column} is {said!r}, expected a text; write one, or remove the row")
