"""One file: written the same way each time, opened with few requests, refused where it is not what it should be."""

from __future__ import annotations

import io
import os
import random
import urllib.request
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shardpack
from shardpack.errors import CorruptIndexError, ShardNotFoundError, UnsupportedVersionError
from shardpack.format.checksum import crc32c
from shardpack.format.manifest import TableFile
from shardpack.storage.memory import MemoryStore
from shardpack.table import parquet
from shardpack.table.parquet import TablePart, all_columns, write_file
from shardpack.table.schema import OWN, own_types, type_of_values
from tests.table.datasets import labelled

PATH = ".shardpack/table/000001-00000000.parquet"


def table_of(count, **labels):
    own = {name: pa.nulls(count, kind) for name, kind in own_types().items()}
    own["key"] = pa.array([f"k{n:05d}" for n in range(count)])
    own["position"] = pa.array(range(count), pa.int64())
    own["class"] = pa.array([f"c{n % 7}" for n in range(count)])
    types = {name: type_of_values(column) for name, column in labels.items()}
    return pa.table({**own, **{name: pa.array(column) for name, column in labels.items()}}), types


class RemoteMemory(MemoryStore):
    """A store in memory that counts as remote, and keeps what was asked of it."""

    remote = True

    def __init__(self, objects):
        super().__init__(objects)
        self.asked = []

    def get_range(self, path, *, start, length):
        self.asked.append(length)
        return super().get_range(path, start=start, length=length)


def stored(data, num_rows, *, store=None, checksum=None):
    store = store or MemoryStore({})
    store.put(PATH, data)
    return store, TableFile(
        PATH.removeprefix(".shardpack/"), len(data), crc32c(data) if checksum is None else checksum, num_rows
    )


def written(folder, count, **labels):
    file = write_file(str(folder / "x.parquet"), *table_of(count, **labels))
    data = Path(file.path).read_bytes()
    assert (file.num_bytes, file.crc32c, file.num_rows) == (len(data), crc32c(data), count)
    return data


def test_columns_come_back(tmp_path):
    data = written(tmp_path, 10, score=[n / 3 for n in range(10)], tags=[["a"] * n for n in range(10)])
    part = TablePart(*stored(data, 10))
    assert part.num_rows == 10
    assert part.columns == (*OWN, "score", "tags")
    assert part.read(["tags", "position"]).to_pydict() == {
        "tags": [["a"] * n for n in range(10)],
        "position": list(range(10)),
    }
    assert all_columns([part], part.types) == part.columns


def test_equal_tables_are_equal_files(tmp_path):
    assert written(tmp_path, 100, a=list(range(100))) == written(tmp_path, 100, a=list(range(100)))


def test_row_groups_have_statistics_and_checksums(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "GROUP_ROWS", 40)
    written(tmp_path, 100, a=list(range(100)))
    metadata = pq.ParquetFile(tmp_path / "x.parquet").metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [40, 40, 20]
    column = metadata.row_group(1).column(len(OWN))
    assert (column.statistics.min, column.statistics.max) == (40, 79)


def test_long_remote_files_are_read_by_range(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "WHOLE_BYTES", 1000)
    noise = np.random.default_rng(0).random(20_000)
    data = written(tmp_path, 20_000, score=noise.tolist(), other=noise.tolist())
    store, file = stored(data, 20_000, store=RemoteMemory({}))
    part = TablePart(store, file)
    assert store.asked == [parquet.FOOTER_BYTES]
    assert part.read(["class"])["class"].to_pylist()[:8] == ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c0"]
    assert part.read(["score"])["score"].to_pylist() == noise.tolist()
    assert len(store.asked) == 3
    assert store.asked[1] < 20_000
    assert 100_000 < store.asked[2] < len(data) / 2


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-1], "expected .* bytes, got"),
        (lambda data: data + b"x", "got more|expected .* bytes, got"),
        (lambda data: data[:50] + b"x" + data[51:], "CRC32C"),
    ],
)
def test_short_files_are_checked_as_a_whole(tmp_path, damage, reason):
    data = written(tmp_path, 10, a=list(range(10)))
    store, file = stored(data, 10)
    store.put(PATH, damage(data))
    with pytest.raises(CorruptIndexError, match=f"(?s)damaged: .*({reason}).*shardpack table --force"):
        TablePart(store, file)


def test_pages_of_long_files_are_checked_when_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "WHOLE_BYTES", 1000)
    data = bytearray(written(tmp_path, 20_000, score=np.random.default_rng(0).random(20_000).tolist()))
    column = pq.ParquetFile(tmp_path / "x.parquet").metadata.row_group(0).column(len(OWN))
    data[column.data_page_offset + 5000] ^= 1
    for store in (MemoryStore({}), RemoteMemory({})):
        part = TablePart(*stored(bytes(data), 20_000, store=store))
        assert part.read(["class"]).num_rows == 20_000
        with pytest.raises(CorruptIndexError, match="damaged"):
            part.read(["score"])


def test_columns_are_read_by_range_whatever_they_are_called(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(parquet, "GROUP_ROWS", 4000)
    labels = {"a": [{"b": n, "c": {"d": [n]}} for n in range(20_000)], "a.b": [str(n) for n in range(20_000)]}
    store, file = stored(written(tmp_path, 20_000, **labels), 20_000, store=RemoteMemory({}))
    part = TablePart(store, file)
    for name, column in labels.items():
        assert part.read([name])[name].to_pylist() == column
    assert part.read([]).num_columns == 0


def test_statistics_that_contradict_each_other_do_not_end_the_process(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "WHOLE_BYTES", 1000)
    data = written(tmp_path, 20_000, score=np.random.default_rng(0).random(20_000).tolist())
    optional, required = b"%\x02\x18\x05score", b"%\x00\x18\x05score"  # in the schema, which the levels then contradict
    assert data.count(optional) == 1
    for store in (MemoryStore({}), RemoteMemory({})):
        part = TablePart(*stored(data.replace(optional, required), 20_000, store=store))
        assert part.read(["class"]).num_rows == 20_000
        with pytest.raises(CorruptIndexError, match="damaged"):
            part.read(["score"])


def test_row_groups_that_claim_too_much_are_not_read(tmp_path, monkeypatch):
    data = written(tmp_path, 5)
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 100)
    with pytest.raises(CorruptIndexError, match="row group 0 is larger than any that is written"):
        TablePart(*stored(data, 5))


@pytest.mark.parametrize("error", [pa.ArrowNotImplementedError, pa.ArrowInvalid, OSError])
def test_what_arrow_says_of_a_footer_is_damage(tmp_path, monkeypatch, error):
    data = written(tmp_path, 5)

    def fail(*_, **__):
        raise error("not\nknown")

    monkeypatch.setattr(pq, "ParquetFile", fail)
    with pytest.raises(CorruptIndexError, match="damaged: not known; restore it"):
        TablePart(*stored(data, 5))


def write_foreign(table, folder):
    pq.write_table(table, folder / "y.parquet")
    return (folder / "y.parquet").read_bytes()


@pytest.mark.parametrize("length", [0, 4, 100, 70_000])
def test_what_is_no_parquet(length, monkeypatch):
    data = os.urandom(length)
    for store in (MemoryStore({}), RemoteMemory({})):
        for whole in (1 << 20, 10):
            monkeypatch.setattr(parquet, "WHOLE_BYTES", max(whole, 70_001 if length < 70_000 else 0))
            with pytest.raises(CorruptIndexError):
                TablePart(*stored(data, 1, store=store))


def test_files_of_others(tmp_path):
    table, types = table_of(5, a=[1, 2, 3, 4, 5])
    with pytest.raises(UnsupportedVersionError, match="what its columns are"):
        TablePart(*stored(write_foreign(table, tmp_path), 5))
    with pytest.raises(CorruptIndexError, match="expected 6 rows, got 5"):
        TablePart(*stored(written(tmp_path, 5), 6))
    metadata = parquet.metadata_of(types)
    for wrong in (
        table.drop_columns(["width"]),
        table.drop_columns(["class"]),
        table.append_column("b", pa.array([1] * 5)),
        table.set_column(len(OWN), "a", pa.array(["x"] * 5)),
        table.rename_columns([*OWN, "other"]),
    ):
        with pytest.raises(CorruptIndexError, match=r"damaged: (its columns|it lacks the column|column 'a')"):
            TablePart(*stored(write_foreign(wrong.replace_schema_metadata(metadata), tmp_path), 5))


def test_files_of_splits_have_no_other_columns(tmp_path):
    table, _ = table_of(5, a=[1, 2, 3, 4, 5])
    table = table.replace_schema_metadata(parquet.metadata_of({}))
    for columns in (["position", "split"], ["position", "split", "key"], ["split"]):
        data = write_foreign(table.select(columns), tmp_path)
        file = TableFile("table/splits-000001-00000000.parquet", len(data), crc32c(data), 5)
        store = MemoryStore({f".shardpack/{file.name}": data})
        if len(columns) == 2:
            assert TablePart(store, file).read(columns).num_rows == 5
            continue
        with pytest.raises(CorruptIndexError, match="its columns are not those"):
            TablePart(store, file)


def test_missing_file():
    with pytest.raises(ShardNotFoundError, match="label table is missing"):
        TablePart(MemoryStore({}), TableFile("table/000001-00000000.parquet", 10, 0, 1))


class RangeFile(io.RawIOBase):
    """A file on a web server, read by ranges: what any other program would do."""

    def __init__(self, url):
        self._url, self._at, self.asked = url, 0, 0
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as answer:
            self._size = int(answer.headers["Content-Length"])

    def seekable(self):
        return True

    def readable(self):
        return True

    def tell(self):
        return self._at

    def seek(self, offset, whence=io.SEEK_SET):
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer):
        end = min(self._size, self._at + len(buffer))
        if end == self._at:
            return 0
        asked = urllib.request.Request(self._url, headers={"Range": f"bytes={self._at}-{end - 1}"})
        with urllib.request.urlopen(asked) as answer:
            data = answer.read()
        buffer[: len(data)] = data
        self.asked += len(data)
        self._at += len(data)
        return len(data)


def test_over_http_ranges(tmp_path, nginx_server, monkeypatch):
    """Ours, and other programs: only the columns that are asked for travel."""
    labels = [{"class": f"c{n % 7}", "n": n, "noise": random.Random(n).random()} for n in range(8000)]
    folder = labelled(tmp_path / "ds", labels, image=False)
    shardpack.table(folder)
    (file,) = shardpack.open(folder).manifest.table
    server = nginx_server(tmp_path)
    other = RangeFile(f"{server.url}/ds/.shardpack/{file.name}")
    assert pq.ParquetFile(pa.PythonFile(other, mode="r")).read(columns=["class"]).num_rows == 8000
    assert other.asked <= 65536 + file.num_bytes / 4
    monkeypatch.setattr(parquet, "WHOLE_BYTES", 1000)
    ds = shardpack.open(f"{server.url}/ds")
    before = ds.stats()
    view = ds.where("class = 'c3' and n < 70")
    after = ds.stats()
    assert [key for key in view.keys()] == [f"{n:03d}" for n in range(3, 70, 7)]  # noqa: C416, SIM118
    assert after.requests - before.requests <= 4
    assert after.bytes_fetched - before.bytes_fetched <= 65536 + file.num_bytes / 3
    assert ds.table(["n"])["n"].to_pylist() == list(range(8000))


def test_other_programs_read_the_files(tmp_path):
    folder = labelled(tmp_path / "ds", [{"class": "ab"[n % 2], "tags": ["x"] * n, "meta": {"a": n}} for n in range(5)])
    shardpack.table(folder)
    (file,) = shardpack.open(folder).manifest.table
    path = tmp_path / "ds" / ".shardpack" / file.name
    with duckdb.connect(":memory:") as connection:
        query = f"SELECT key, len(tags), meta.a FROM '{path}' WHERE class = 'b' AND width > 20"
        assert connection.execute(query).fetchall() == [("001", 1, 1), ("003", 3, 3)]
    rows = pq.read_table(path, filters=[("class", "=", "b")])
    assert rows["key"].to_pylist() == ["001", "003"]
