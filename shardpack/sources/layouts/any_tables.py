"""The tables of a tree, whatever they are called, and which of their columns name images."""

from __future__ import annotations

import re

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.sources.layouts.named_images import NamedImages
from shardpack.sources.layouts.table_columns import KeyColumns, key_columns
from shardpack.sources.spaced_tables import START_BYTES, may_be_spaced
from shardpack.sources.splits import SPLIT_NAMES
from shardpack.sources.table_formats import head
from shardpack.sources.table_text import TABLE_KINDS, TableText, table_text
from shardpack.sources.tree import Tree

TABLE_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
EXAMINED_ROWS = 1000
_EXAMINED_TABLES = 64
_KINDS = frozenset(TABLE_KINDS) - {"txt"}


def is_usual(name: str) -> bool:
    """Return whether a file is called as Hugging Face's ImageFolder expects a table."""
    return name.rpartition("/")[2] in TABLE_NAMES


def split_of_name(name: str) -> str | None:
    """Return the split that a table is named after: "train" of "train_labels.csv", or of "train/labels.csv"."""
    *folders, last = name.split("/")
    for part in (last.rpartition(".")[0], *reversed(folders)):
        splits = [word for word in re.split(r"[^0-9A-Za-z]+", part) if word.lower() in SPLIT_NAMES]
        if len(splits) == 1:
            return splits[0]
    return None


def other_tables(tree: Tree) -> list[str]:
    """Return the names of all tables; none if there are so many that they are rather a table for each image."""
    folders = [folder for folder in tree.folders.values() if not _KINDS.isdisjoint(folder.extensions)]
    if sum(folder.extensions.get(kind, 0) for folder in folders for kind in _KINDS) > _EXAMINED_TABLES:
        return []
    names = [name for folder in folders for name in tree.files.names[folder.first : folder.stop]]
    return [name for name in names if name.rpartition(".")[2].lower() in _KINDS]


def spaced_tables(tree: Tree) -> list[TableText]:
    """Return the text files that are tables of columns between spaces.

    Reads none that is called like an image beside it, and none at all where there are many text files; of the others
    the start, and all of those that may be tables.
    """
    folders = [folder for folder in tree.folders.values() if "txt" in folder.extensions]
    if sum(folder.extensions["txt"] for folder in folders) > _EXAMINED_TABLES:
        return []
    names = [name for folder in folders for name in tree.files.names[folder.first : folder.stop]]
    texts = [name for name in names if name.lower().endswith(".txt") and not _has_image(tree, name[:-4])]
    likely = (name for name in texts if may_be_spaced(name, tree.read(name, first=START_BYTES)))
    tables = (table_text(name, tree.read(name)) for name in likely)
    return [table for table in tables if table.columns]


def _has_image(tree: Tree, stem: str) -> bool:
    return any(tree.has(f"{stem}.{extension}") for extension in IMAGE_EXTENSIONS)


def examine(table: TableText, images: NamedImages) -> KeyColumns:
    """Return which columns of a table name images, by its first rows."""
    columns, rows = head(table, EXAMINED_ROWS)
    return key_columns(columns, rows, images, folder=table.folder, split=split_of_name(table.name))
