"""Read a label file for each image, and the size of the image where the labels need it: in parallel, nothing whole.

A layout gives a parser: a picklable callable from the text of a label file and the size of the image to a value. The
engine runs it where the files are read; what a parser refuses is returned as a reason, with the name of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from shardpack.codecs.image_size import ImageSize, image_size
from shardpack.errors import DecodeError, MissingDependencyError, ShardpackError
from shardpack.runtime.engine import IN_PROCESS, Engine
from shardpack.runtime.progress import Advance, no_advance
from shardpack.sources.image_rows import ImageRow
from shardpack.sources.listing import Listing
from shardpack.sources.payloads import read_payload
from shardpack.sources.scan import Files
from shardpack.sources.tree import Tree

MAX_LABEL_FILE = 256 << 20  # LabelMe's hold the image as well
_HEADS = (16 << 10, 512 << 10)  # bytes: for images with small, and with large metadata in front
_ROWS_PER_TASK = 250

Parser = Callable[[bytes | None, ImageSize | None], Any]  # (label file, size of the image if asked for) -> value


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the label of an image cannot be used."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Task:
    listing: Listing  # a row's image, if sizes are needed, and its label file
    parser: Parser
    sizes: bool


def read_label_files(
    tree: Tree,
    rows: Sequence[ImageRow],
    parser: Parser,
    *,
    sizes: bool = False,
    engine: Engine = IN_PROCESS,
    progress: Advance = no_advance,
    rows_per_task: int = _ROWS_PER_TASK,
) -> list[Any]:
    """Return for each row what the parser made of its label file (None if it has none), or `Refused`.

    Args:
        tree: The files.
        rows: Images and their label files.
        parser: See the module.
        sizes: Whether the parser needs the size of the image: one more small read each.
        engine: Distributes the reading; the result does not depend on it.
        progress: Called with the number of rows that are done.
        rows_per_task: How many are read together.
    """
    listing = tree.contents.locate(_to_read(rows, tree.files, sizes=sizes))
    starts = range(0, len(rows), rows_per_task)
    tasks = (_Task(listing.slice(first, min(first + rows_per_task, len(rows))), parser, sizes) for first in starts)
    results: list[Any] = []
    with closing(engine.map(_run, tasks, in_order=True)) as parts:
        for _, part in parts:
            results += part
            progress(len(results))
    return results


def _to_read(rows: Sequence[ImageRow], files: Files, *, sizes: bool) -> Listing:
    """Return a listing whose samples are what is read for each row: "image", "label"."""
    members = [[(0, row.image)] * sizes + ([(1, row.label_file)] if row.label_file >= 0 else []) for row in rows]
    start = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(each) for each in members], out=start[1:])
    flat = [member for each in members for member in each]
    numbers = np.array([number for _, number in flat], np.int64)
    return Listing(
        root=files.root,
        fields=("image", "label"),
        keys=[files.names[row.image] for row in rows],
        start=start,
        field_code=np.array([code for code, _ in flat], np.uint16),
        size=np.array(files.sizes, np.int64)[numbers],
        mtime_ns=np.array(files.mtimes_ns, np.int64)[numbers],
        payload=[files.names[number] for number in numbers.tolist()],
    )


def _run(task: _Task) -> list[Any]:
    return [_one(task, row) for row in range(task.listing.num_samples)]


def _one(task: _Task, row: int) -> Any:
    listing = task.listing
    size, text = None, None
    where = listing.keys[row]
    try:
        for member in range(int(listing.start[row]), int(listing.start[row + 1])):
            if listing.field_code[member] == 0:
                size = read_image_size(listing, member)
                continue
            num_bytes = int(listing.size[member])
            where = _name(listing, member)
            if num_bytes > MAX_LABEL_FILE:
                return Refused(f"{where} has {num_bytes:,} bytes, expected at most {MAX_LABEL_FILE:,}; split it")
            text = read_payload(listing, member)
        return task.parser(text, size)
    except OSError as error:
        return Refused(f"cannot read {where}: {error.strerror or error}; make it readable")
    except MissingDependencyError:
        raise
    except ShardpackError as error:
        return Refused(f"{where}: {error}")


def _name(listing: Listing, member: int) -> str:
    payload = listing.payload[member]
    return payload if isinstance(payload, str) else getattr(payload, "path", "its label")


def read_image_size(listing: Listing, member: int) -> ImageSize:
    """Return the size of an image of a listing: reads its first bytes, and more only where they do not tell.

    Raises:
        OSError: The file cannot be read.
        DecodeError: It is not an image.
        ShardpackError: A store cannot be read.
    """
    num_bytes = int(listing.size[member])
    for head in _HEADS:
        if head < num_bytes and (size := image_size(read_payload(listing, member, head), whole=False)) is not None:
            return size
    content = read_payload(listing, member)
    size = image_size(content, whole=True)
    if size is None:
        raise DecodeError("the image does not tell its size")
    return size
