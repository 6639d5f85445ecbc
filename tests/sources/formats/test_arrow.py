"""Arrow files and streams, with pyarrow as the writer."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError, ShardpackError, SourceError
from shardpack.sources.formats import arrow
from shardpack.sources.formats.found_files import FoundFiles, find_files
from shardpack.sources.formats.importer import FormatOptions
from shardpack.storage.memory import MemoryStore
from tests.sources.formats.tables import expected, images, open_source, sample, samples_of, tables
from tests.strategies import damaged, examples

KINDS = {"file": pa.ipc.new_file, "stream": pa.ipc.new_stream}
every_kind = pytest.mark.parametrize("kind", KINDS)


def write(path, table, kind="file", *, batch=1000, compression=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with KINDS[kind](str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=batch)
    return path


@every_kind
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_images_of_hugging_face_become_samples(tmp_path, kind, compression):
    path = write(tmp_path / "beans-train-00000-of-00001.arrow", images(7), kind, batch=3, compression=compression)
    source = open_source(arrow, path)
    assert [(unit.num_rows, unit.split) for unit in source.units] == [(3, "train"), (3, "train"), (1, "train")]
    assert source.units[1].name == f"{path.name}, batch 1"
    for i, (key, fields) in enumerate(samples_of(source)):
        assert fields.pop("depth.npy").shape == (2, 3)
        assert (key, fields) == (f"{i:03d}", sample(i))


@given(tables(), st.sampled_from(sorted(KINDS)), st.integers(1, 4))
@examples(60)
def test_values_come_back(tmp_path_factory, table, kind, batch):
    if kind == "stream" and "coded" in table.column_names:
        table = table.drop_columns(["coded"])
    if not table.column_names:
        return
    source = open_source(arrow, write(tmp_path_factory.mktemp("a") / "t.arrow", table, kind, batch=batch))
    assert [fields for _, fields in samples_of(source)] == expected(table)


def test_a_stream_with_dictionaries_is_refused(tmp_path):
    table = pa.table({"coded": pa.array(["x", "y"]).dictionary_encode()})
    with pytest.raises(SourceError, match=r"column 'coded' of a stream.*write an Arrow file"):
        open_source(arrow, write(tmp_path / "t.arrow", table, "stream"))


def test_types_without_a_counterpart_are_named(tmp_path):
    table = pa.table({"odd": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    with pytest.raises(SourceError, match="column 'odd' holds values of type month_day_nano_interval"):
        open_source(arrow, write(tmp_path / "t.arrow", table))


@pytest.mark.parametrize("other", ["state.json", "data/0.lance"])
def test_folders_of_other_formats_are_not_claimed(tmp_path, other):
    write(tmp_path / "t.arrow", images(1))
    assert arrow.detect(find_files(tmp_path))
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / other).touch()
    assert not arrow.detect(find_files(tmp_path))


def test_only_local_files_are_read(tmp_path):
    store = MemoryStore({"t.arrow": write(tmp_path / "t.arrow", images(1)).read_bytes()})
    with pytest.raises(OptionError, match="copy it there first"):
        arrow.open(FoundFiles("memory://", store, ("t.arrow",), is_file=True), FormatOptions())


def test_a_value_that_python_cannot_hold_is_one_bad_row(tmp_path):
    times = pa.array([0, 2**62, 1], pa.int64()).cast(pa.timestamp("s"))
    rows = samples_of(open_source(arrow, write(tmp_path / "t.arrow", pa.table({"at": times}))))
    assert [rows[0][1], rows[2][1]] == [{"json": {"at": f"1970-01-01T00:00:0{i}"}} for i in (0, 1)]
    assert rows[1].name == "t.arrow, batch 0, row 1"
    assert "a value cannot be read" in rows[1].reason


@given(st.data(), st.sampled_from(sorted(KINDS)))
@examples(150)
def test_damage_is_one_error_of_ours_or_none(tmp_path_factory, data, kind):
    path = write(tmp_path_factory.mktemp("a") / "t.arrow", images(4), kind, batch=2)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    try:
        samples_of(arrow.open(find_files(path), FormatOptions()))
    except ShardpackError as error:
        assert "\n" not in str(error)  # noqa: PT017 - damage may leave a table that is whole


@every_kind
def test_names_of_columns_that_are_no_texts_are_an_error(tmp_path, kind):
    path = write(tmp_path / "t.arrow", pa.table({"marker": [1]}), kind)
    path.write_bytes(path.read_bytes().replace(b"marker", b"\xff\xfe\xfdker"))
    with pytest.raises(SourceError, match="utf-8"):
        arrow.open(find_files(path), FormatOptions())


@every_kind
def test_a_file_cut_short_is_an_error_that_names_it(tmp_path, kind):
    path = write(tmp_path / "t.arrow", images(4), kind)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 64, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"t\.arrow"):
            samples_of(arrow.open(find_files(path), FormatOptions()))
