"""What a layout is: it finds out whether a tree holds its labels, and lists the samples.

Layouts are asked in two steps, so that all of them can look at a tree before one of them works: `find` decides by
names, and by a few small files; `list` reads all labels. `detect.py` decides between several that found something.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shardpack.runtime.engine import IN_PROCESS, Engine
from shardpack.runtime.progress import Advance, no_advance
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree

# How specific a layout is: of several that fit a tree, the highest one is meant.
UNLABELLED, BY_FOLDERS, BY_NAME, BY_TABLE, BY_ANNOTATIONS, BY_ITS_OWN_NAMES = range(6)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutOptions:
    """What the user said about the layout.

    Attributes:
        asked: Whether the layout was named outright. Then `find` says with a SourceError what is missing, and does
            not ask how likely the layout is.
        ask: Whether what is not clear is an error with a question. Otherwise the images are listed with the files of
            their stems, and files that may hold labels are left out: enough to try encodings.
        rename_keys: Whether keys may contain dots, because they will be escaped; see `group_files`.
        annotations: File with annotations, as `Tree.read_given` takes it.
        table: File with a table, as `Tree.read_given` takes it.
        key_column, label_column: Columns of tables, by name or number: which names images, and which is their class.
        engine: Distributes the reading of many label files; the result does not depend on it.
        progress: Called from time to time with the number of images whose labels have been read.
        ignore: Patterns of files that are left out; see `leftovers.ignore_files`.
    """

    asked: bool = False
    ask: bool = True
    rename_keys: bool = False
    annotations: str | os.PathLike[str] | None = None
    table: str | os.PathLike[str] | None = None
    key_column: str | int | None = None
    label_column: str | int | None = None
    engine: Engine = IN_PROCESS
    progress: Advance = no_advance
    ignore: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a layout found in a tree.

    Attributes:
        layout: Its name: "yolo".
        rank: How specific it is, from UNLABELLED to BY_ITS_OWN_NAMES.
        title: What it is called in the line that is said before the work: "YOLO". The number of samples, splits,
            fields and classes of the listing are added to it.
        label: What the JSON label holds, for that line: "boxes"; "" if the layout makes none.
        uses: Names of the files that it understands, and that are in no sample: tables, annotations, class lists.
        question: Why it cannot be listed before the user says more; it is asked if no higher layout fits.
        memory: What `list` wants to know again.
    """

    layout: str
    rank: int
    title: str
    label: str = ""
    uses: frozenset[str] = frozenset()
    question: str = ""
    memory: Any = field(default=None, repr=False, compare=False)


class Layout(Protocol):
    """One way to lay out images and their labels in a tree. Has no state."""

    name: str

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return what it found, or None if the tree has another layout. Opens a few small files, and no image.

        Costs at most 0.3 us a file: `tree.folders` counts the files of each folder by extension, once for all.

        Raises:
            SourceError: The layout was asked for, and something that it needs is missing or unreadable.
        """
        ...

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return the samples, each with its label. Payloads of files are their names in the tree.

        Keys are the names on disk, neither checked nor escaped. What cannot be packed is rejected, and images
        without a label are left out, or kept and counted: with `problems`.

        Raises:
            SourceError: A label file cannot be read at all.
        """
        ...
