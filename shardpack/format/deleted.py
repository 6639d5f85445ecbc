"""Which samples are deleted: ascending stored positions, in as many files as there were edits (SPEC 5.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.format import container
from shardpack.format.container import index_error
from shardpack.format.manifest import DeletedFile

SCHEMA = container.Schema("shardpack-deleted", columns={"position": "U64"})


def encode_deleted(positions: npt.NDArray[Any]) -> list[bytes | memoryview]:
    """Return a file of deleted samples as buffers.

    Args:
        positions: (d) stored positions, ascending.
    """
    return container.encode({"position": positions.astype("<u8")}, container.metadata_of(SCHEMA))


def parse_deleted(data: Any, file: DeletedFile, *, num_samples: int, path: str) -> npt.NDArray[np.uint64]:
    """Return (d) stored positions, ascending: a view of the bytes.

    Args:
        data: The bytes, whose length and checksum were compared with the manifest.
        file: What the manifest says of the file.
        num_samples: How many samples are stored.
        path: Path of the file, for errors.

    Raises:
        CorruptIndexError: A rule of SPEC 5.5 is broken.
        UnsupportedVersionError: The file was written by a newer version of the format.
    """
    columns, _ = container.parse(data, name=path, schema=SCHEMA)
    positions = columns.get("position")
    if positions is None or positions.shape != (file.num_deleted,):
        found = "none" if positions is None else f"the shape {positions.shape}"
        raise index_error(f"has other positions than its dataset: expected {file.num_deleted}, got {found}", path)
    if not len(positions) or int(positions[-1]) >= num_samples or bool((positions[1:] <= positions[:-1]).any()):
        raise index_error(f"has deleted positions that do not ascend, or leave the {num_samples} samples", path)
    return positions


def join_deleted(parts: Sequence[npt.NDArray[np.uint64]], *, path: str) -> npt.NDArray[np.uint64]:
    """Return the deleted positions of several files as one list, ascending.

    Args:
        parts: The positions of each file, as `parse_deleted` returns them.
        path: Path of the last file, for errors.

    Raises:
        CorruptIndexError: A position is in two files.
    """
    if len(parts) == 1:
        return parts[0]
    joined = np.concatenate([np.zeros(0, np.uint64), *parts])
    joined.sort(kind="stable")  # merges what is sorted already
    if bool((joined[1:] == joined[:-1]).any()):
        raise index_error("deletes a sample that another file deletes, too", path)
    return joined
