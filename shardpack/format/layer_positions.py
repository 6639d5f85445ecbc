"""Which sample of a layer belongs to which sample of the base: a column from stored position to stored position.

    position[base position] = position in the layer + 1, or 0 where the layer has no such sample       (SPEC 5.6)

The column may be shorter than the base: what was appended after a layer was attached is not in it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.format import container
from shardpack.format.container import index_error

SCHEMA = container.Schema("shardpack-layer", columns={"position": "U64"})


def encode_layer_positions(column: npt.NDArray[Any]) -> list[bytes | memoryview]:
    """Return the file of a layer's positions as buffers.

    Args:
        column: (m) for each stored position of the base the layer's stored position + 1, or 0.
    """
    return container.encode({"position": column.astype("<u8", copy=False)}, container.metadata_of(SCHEMA))


def parse_layer_positions(data: Any, *, num_samples: int, path: str) -> npt.NDArray[np.uint64]:
    """Return (m) the column: a view of the bytes, none of which is read.

    Args:
        data: The bytes, which may be a map.
        num_samples: How many samples the base stores.
        path: Path of the file, for errors.

    Raises:
        CorruptIndexError: The file is not a column of at most `num_samples` positions.
        UnsupportedVersionError: The file was written by a newer version of the format.
    """
    columns, _ = container.parse(data, name=path, schema=SCHEMA)
    column = columns.get("position")
    _check_shape(None if column is None else column.shape, num_samples, path)
    assert column is not None
    return column


def layer_column(head: Any, *, num_bytes: int, num_samples: int, path: str) -> container.Column:
    """Return where the column is in the file, from its first bytes: to read ranges of it.

    Args:
        head: The first bytes of the file, the header at least.
        num_bytes: Length of the whole file.
        num_samples, path: As for `parse_layer_positions`.

    Raises:
        CorruptIndexError, UnsupportedVersionError: As `parse_layer_positions`.
    """
    view = memoryview(head).cast("B")
    header = container.parse_header(view, name=path, num_bytes=num_bytes, schema=SCHEMA)
    column = header.columns.get("position")
    _check_shape(None if column is None else column.shape, num_samples, path)
    assert column is not None
    return column


def check_layer_positions(column: npt.NDArray[np.uint64], *, layer_samples: int, path: str) -> None:
    """Check entries of the column before they are used.

    Args:
        column: The entries that will be used.
        layer_samples: How many samples the layer stores.
        path: Path of the file, for errors.

    Raises:
        CorruptIndexError: An entry leads beyond the layer.
    """
    if len(column) and (highest := int(column.max())) > layer_samples:
        raise index_error(f"points to position {highest - 1} of a layer of {layer_samples}", path)


def _check_shape(shape: tuple[int, ...] | None, num_samples: int, path: str) -> None:
    if shape is None or len(shape) != 1 or not 0 < shape[0] <= num_samples:
        found = "none" if shape is None else f"the shape {shape}"
        raise index_error(f"has other positions than its base: expected at most {num_samples}, got {found}", path)
