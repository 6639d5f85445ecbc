"""Batches of Arrow files and streams."""

from __future__ import annotations

import pyarrow as pa
import pytest

from shardpack.errors import SourceError
from shardpack.sources.formats.arrow_file import ArrowFile


@pytest.mark.parametrize("kind", ["new_file", "new_stream"])
def test_batches_are_read_alone_and_in_parts(tmp_path, kind):
    table = pa.table({"x": list(range(10))})
    path = str(tmp_path / "t.arrow")
    with getattr(pa.ipc, kind)(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    with ArrowFile(path) as file:
        batches = file.batches()
        assert [batch.num_rows for batch in batches] == [4, 4, 2]
        parts = [part.to_pydict()["x"] for part in file.read(batches[1].number, 1, 2)]
        assert parts == [[5, 6], [7]]


def test_texts_that_are_not_utf8_are_noticed(tmp_path):
    path = tmp_path / "t.arrow"
    table = pa.table({"x": ["marker"]})
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)
    path.write_bytes(path.read_bytes().replace(b"marker", b"\xff\xfe\xfdker"))
    with ArrowFile(str(path)) as file, pytest.raises(pa.ArrowInvalid, match="UTF8"):
        list(file.read(file.batches()[0].number, 0, 9))


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "t.arrow").touch()
    with pytest.raises(SourceError, match="empty"):
        ArrowFile(str(tmp_path / "t.arrow"))
