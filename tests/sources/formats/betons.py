"""Makes .beton files by their documented layout."""

from __future__ import annotations

import json
import struct

import numpy as np

from shardpack.sources.formats.beton_file import ALLOCATION, ARRAY, BYTES, FLOAT, HEADER, IMAGE, INT, JSON

PAGE = 512
PRELUDE = HEADER.size


def descriptor(kind, name, shape=(), dtype=""):
    arguments = struct.pack("<32Q", *shape, *[0] * (32 - len(shape))) if shape else b""
    arguments += struct.pack("<Q", len(dtype)) + dtype.encode() if shape else b""
    return bytes([kind]) + name.encode().ljust(16, b"\0") + arguments.ljust(1024, b"\0")


def beton(rows, fields=None, *, version=2):
    """Return a file of rows; fields are (name, kind) and hold what their kind holds, images bytes or arrays."""
    fields = fields or [("image", IMAGE), ("label", INT)]
    described, types = [], []
    for name, kind in fields:
        shape, dtype = (), ""
        if kind == ARRAY:
            shape, dtype = rows[0][name].shape, json.dumps([["", rows[0][name].dtype.str]])
        described.append(descriptor(kind, name, shape, dtype))
        image = np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("data", "<u8")])
        span = np.dtype([("data", "<u8"), ("size", "<u8")])
        types.append({IMAGE: image, INT: "<i8", FLOAT: "<f8", BYTES: span, JSON: span, ARRAY: "<u8"}[kind])
    table = np.zeros(len(rows), np.dtype([(f"f{i}", kind) for i, kind in enumerate(types)], align=True))
    start = PRELUDE + sum(map(len, described))
    data, allocations = b"", []
    first = -(-(start + table.nbytes) // PAGE) * PAGE
    for number, row in enumerate(rows):
        for i, (name, kind) in enumerate(fields):
            value = row[name]
            if kind in (INT, FLOAT):
                table[f"f{i}"][number] = value
                continue
            height, width, mode = 8, 12, 0
            if kind == IMAGE and isinstance(value, np.ndarray):
                (height, width, _), mode = value.shape, 1
            payload = json.dumps(value).encode() + b"\0" if kind == JSON else bytes(value)
            pointer = first + len(data)
            data += payload
            allocations.append((number, pointer, len(payload)))
            table[f"f{i}"][number] = (
                (mode, width, height, pointer)
                if kind == IMAGE
                else pointer
                if kind == ARRAY
                else (pointer, len(payload))
            )
    head = HEADER.pack(version, len(fields), PAGE, len(rows), first + len(data))
    body = (head + b"".join(described) + table.tobytes()).ljust(first, b"\0")
    return body + data + np.array(allocations[::-1], ALLOCATION).tobytes()
