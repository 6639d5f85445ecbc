"""What tables of all formats have in common: keys, classes, rows at once."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyarrow import parquet as writer

from shardpack.sources.formats import parquet
from shardpack.sources.formats.arrow_table import rows_at_once
from shardpack.sources.row_source import Unit
from tests.sources.formats.tables import open_source, samples_of

JPEG = b"\xff\xd8\xff"


def keys_of(tmp_path, ids, **options):
    path = tmp_path / "t.parquet"
    writer.write_table(pa.table({"image": [JPEG] * len(ids), "id": ids}), path, row_group_size=4)
    return [key for key, _ in samples_of(open_source(parquet, path, **options))]


@pytest.mark.parametrize(
    ("ids", "keys"),
    [
        ([*"abcdef"], [*"abcdef"]),
        ([5, 6, 7, 8, 9], [*"56789"]),
        (["x/a.jpg", "x/b.jpg"], ["x/a", "x/b"]),
        (
            ["a", "b", "c", "d", "e", "a"],
            [f"{i:06d}" for i in range(6)],
        ),  # the last, in another row group, is the first
        (["a", "b", "c", "d", "e", "A"], [f"{i:06d}" for i in range(6)]),
        (["a", "b", "c", "d", "e", "../f"], [f"{i:06d}" for i in range(6)]),
        (["a", "b", "c", "d", "e", None], [f"{i:06d}" for i in range(6)]),
    ],
)
def test_a_column_is_the_key_if_all_rows_agree(tmp_path, ids, keys):
    assert keys_of(tmp_path, ids) == keys


def test_a_key_column_that_was_named_is_used(tmp_path):
    assert keys_of(tmp_path, ["a", "b", "c", "d", "e", "a"], key_column="id")[-1] == "a"


@pytest.mark.parametrize(
    ("num_rows", "num_bytes", "rows"), [(10, 0, 1024), (1000, 1000, 1024), (100, 100 << 20, 8), (2, 9 << 30, 1)]
)
def test_rows_are_decoded_in_parts_of_some_megabytes(num_rows, num_bytes, rows):
    assert rows_at_once(Unit("u", num_rows, num_bytes)) == rows
