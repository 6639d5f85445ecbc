"""Tables as pyarrow and Hugging Face write them, and what a source makes of them."""

from __future__ import annotations

import json
import pickle
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
from hypothesis import strategies as st

from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.row_source import BadRow
from tests.conftest import make_jpeg

FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FEATURES = {
    "image": {"_type": "Image"},
    "label": {"_type": "ClassLabel", "names": ["cat", "dog"]},
    "depth": {"_type": "Array2D", "shape": [2, 3], "dtype": "float32"},
    "caption": {"_type": "Value", "dtype": "string"},
}
SCHEMA = pa.schema(
    [("image", FILE), ("label", pa.int64()), ("depth", pa.list_(pa.list_(pa.float32()))), ("caption", pa.string())],
    metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
)


def images(count, *, first=0):
    """Return a table as Hugging Face has it: images with their paths, labels with class names, arrays, captions."""
    numbers = range(first, first + count)
    return pa.table(
        {
            "image": [{"bytes": make_jpeg(seed=i), "path": f"{i:03d}.jpg"} for i in numbers],
            "label": [i % 2 for i in numbers],
            "depth": [[[i, 1.0, 2.0], [3.0, 4.0, 0.5]] for i in numbers],
            "caption": [f"number {i} é" if i % 3 else None for i in numbers],
        },
        schema=SCHEMA,
    )


def sample(i):
    """Return what row i of `images` becomes, without its array."""
    caption = {"caption": f"number {i} é"} if i % 3 else {}
    return {"jpg": make_jpeg(seed=i), "json": {"label": i % 2, "class": ("cat", "dog")[i % 2], **caption}}


def open_source(module, path, **options):
    """Return a source, pickled once, as workers get it."""
    found = find_files(path)
    assert module.detect(found)
    return pickle.loads(pickle.dumps(module.open(found, FormatOptions(**options))))


def samples_of(source):
    """Return key -> fields of all rows, unit by unit; bad rows as they are."""
    rows = [row for unit in range(len(source.units)) for row in source.rows(unit, 0, None)]
    return [row if isinstance(row, BadRow) else (row.key, dict(row.fields)) for row in rows]


_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_COLUMNS = {
    "int": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "wide": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "float": (pa.float64(), st.floats(allow_nan=False, allow_infinity=False)),
    "bool": (pa.bool_(), st.booleans()),
    "text": (pa.large_string(), _TEXTS),
    "list": (pa.list_(pa.int8()), st.lists(st.integers(-128, 127), max_size=3)),
    "nested": (
        pa.struct([("a", pa.list_(pa.string())), ("b", pa.int16())]),
        st.fixed_dictionaries({"a": st.lists(_TEXTS, max_size=2), "b": st.integers(-9, 9)}),
    ),
    "time": (pa.timestamp("us"), st.datetimes()),
    "decimal": (pa.decimal128(9, 2), st.integers(-(10**6), 10**6).map(lambda cents: Decimal(cents).scaleb(-2))),
    "coded": (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["x", "y"])),
    "blob": (pa.binary(), st.binary(max_size=20).map(lambda tail: b"\x89PNG\r\n\x1a\n" + tail)),
}


def in_json(value):
    """Return a value as JSON shows it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


@st.composite
def tables(draw):
    """Return a table of columns of many types, some of whose values are missing."""
    names = draw(st.lists(st.sampled_from(sorted(_COLUMNS)), min_size=1, unique=True))
    count = draw(st.integers(1, 9))
    columns = {name: draw(st.lists(_COLUMNS[name][1] | st.none(), min_size=count, max_size=count)) for name in names}
    return pa.table(
        [pa.array(columns[name], _COLUMNS[name][0]) for name in names],
        schema=pa.schema([(n, _COLUMNS[n][0]) for n in names]),
    )


def expected(table):
    """Return the fields that the rows of one of `tables` become."""
    rows = []
    for row in table.to_pylist():
        fields = {"png": row["blob"]} if row.get("blob") is not None else {}
        labels = {name: in_json(value) for name, value in row.items() if value is not None and name != "blob"}
        rows.append({**fields, **({"json": labels} if labels else {})})
    return rows
