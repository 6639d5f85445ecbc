"""Draw rows of a foreign format, to try encodings on their images: stretches of rows, spread over all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from shardpack.codecs.field_types import is_image, is_mask
from shardpack.errors import SourceError
from shardpack.format.tar_header import BLOCK, padded
from shardpack.inspect.draw import NO_IMAGES, Draw, DrawnSample
from shardpack.sources.row_source import BadRow, RowSource, num_rows
from shardpack.write.apply_steps import encoded_fields

_STRETCHES = 8  # neighbouring rows are read together: a row group is decompressed as a whole


def draw_rows(source: RowSource, count: int) -> Draw:
    """Return up to `count` samples with an image; how many there are is estimated, if the source does not tell.

    Of a sample with several images the first by name is taken that is not a mask. Of units that are only read from
    their beginning, the first rows are drawn.

    Raises:
        SourceError: None of the rows that were drawn has an image, or the source cannot be read.
    """
    samples: list[DrawnSample] = []
    unread: dict[str, str] = {}
    num_read = num_bytes = num_images = 0
    for unit, first, stop in _stretches(source, count):
        for row in source.rows(unit, first, stop):
            if isinstance(row, BadRow):
                unread[row.name] = row.reason
                continue
            try:
                fields = {name: bytes(payload) for name, payload in encoded_fields(row.fields, Counter()).items()}
            except SourceError as error:
                unread[row.key] = str(error.args[0])
                continue
            num_read += 1
            num_bytes += sum(map(len, fields.values()))
            image = min((name for name in fields if is_image(name) and not is_mask(name)), default=None)
            if image is None:
                continue
            num_images += 1
            if len(samples) < count:
                samples.append(DrawnSample(row.key, image, fields))
    if not samples:
        raise SourceError(NO_IMAGES)
    total = num_rows(source)
    if total is None:
        total = round(sum(unit.num_bytes for unit in source.units) * num_read / max(num_bytes, 1))
    payload_bytes = sum(len(payload) for one in samples for payload in one.fields.values())
    tar_bytes = sum(_tar_bytes(payload) for one in samples for payload in one.fields.values())
    return Draw(
        samples=samples,
        unread=unread,
        num_images=max(len(samples), round(total * num_images / num_read)),
        image_bytes=float(np.mean([len(one.payload) for one in samples])),
        other_bytes=(tar_bytes - sum(_tar_bytes(one.payload) for one in samples)) / len(samples),
        overhead=1 - payload_bytes / tar_bytes,
    )


def _stretches(source: RowSource, count: int) -> Iterator[tuple[int, int, int]]:
    """Yield (unit, first row, behind the last row) of about `count` rows."""
    filled = [number for number, unit in enumerate(source.units) if unit.num_rows != 0]
    num_units = min(_STRETCHES, count, len(filled))
    for at in range(num_units):
        number = filled[at * len(filled) // num_units]
        unit, wanted = source.units[number], -(-count // num_units)
        if unit.num_rows is None or unit.is_whole:
            yield number, 0, min(wanted, unit.num_rows or wanted)
            continue
        parts = min(_STRETCHES // num_units, wanted)
        for part in range(parts):
            first, end = (unit.num_rows * step // parts for step in (part, part + 1))
            yield number, first, min(first + -(-wanted // parts), end)


def _tar_bytes(payload: bytes) -> int:
    return BLOCK + int(padded(len(payload)))
