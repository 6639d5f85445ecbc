"""LMDB environments, with lmdb as the writer."""

from __future__ import annotations

import pickle

import lmdb as writer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError, ShardpackError, SourceError
from shardpack.runtime import worker
from shardpack.sources.formats import lmdb
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.row_source import BadRow
from tests.conftest import make_jpeg
from tests.sources.formats.tables import open_source, samples_of
from tests.strategies import examples

JPEGS = [make_jpeg(seed=i) for i in range(6)]
DATUM = b"\x08\x03\x10\x01\x18\x02\x22\x06" + bytes(range(6)) + b"\x28\x05"


@pytest.fixture(autouse=True)
def _here(request, monkeypatch):
    """Read in this process, as a worker does, but for what may end it."""
    if "child" not in request.fixturenames:
        monkeypatch.setattr(worker, "_serving", [True])


@pytest.fixture
def child():
    """Read in a child."""


def write(path, entries, *, subdir=True, databases=None):
    with writer.open(str(path), map_size=64 << 20, subdir=subdir, lock=subdir, max_dbs=4) as environment:
        for name, content in (databases or {None: entries}).items():
            database = environment.open_db(name)
            with environment.begin(write=True, db=database) as transaction:
                for key, value in content.items():
                    transaction.put(key, value)
    return path


def test_encoded_images_under_their_names(tmp_path):
    write(tmp_path / "db", {f"x/{i}.jpg".encode(): jpeg for i, jpeg in enumerate(JPEGS)})
    source = open_source(lmdb, tmp_path / "db")
    assert samples_of(source) == [(f"x/{i}", {"jpg": jpeg}) for i, jpeg in enumerate(JPEGS)]
    assert source.sentence == "LMDB: 6 samples in 1 file; a sample is jpg (value); key: key"
    assert [row.key for row in source.rows(0, 2, 4)] == ["x/2", "x/3"]


def test_entries_of_a_key_are_stored_as_they_are(tmp_path):
    entries = {}
    for i, jpeg in enumerate(JPEGS):
        entries[b"x/%d.jpg" % i], entries[b"x/%d.seg.png" % i], entries[b"x/%d.json" % i] = (
            jpeg,
            b"png",
            b'{"label":%d}' % i,
        )
    source = open_source(lmdb, write(tmp_path / "db", entries))
    assert samples_of(source) == [
        (f"x/{i}", {"jpg": jpeg, "seg.png": b"png", "json": b'{"label":%d}' % i}) for i, jpeg in enumerate(JPEGS)
    ]
    assert "a sample is jpg + json + seg.png; key: that of its entries" in source.sentence


def test_numbered_entries_of_text_recognition(tmp_path):
    entries = {b"num-samples": b"6"}
    for i, jpeg in enumerate(JPEGS, start=1):
        entries[b"image-%09d" % i], entries[b"label-%09d" % i] = jpeg, f"wörd {i}".encode()
    rows = samples_of(open_source(lmdb, write(tmp_path / "db", entries)))
    assert rows == [
        (f"{i:09d}", {"jpg": jpeg, "json": {"label": f"wörd {i}"}}) for i, jpeg in enumerate(JPEGS, start=1)
    ]


def test_a_numbered_entry_that_lacks_another_is_named(tmp_path):
    path = write(tmp_path / "db", {b"image-1": b"a", b"image-2": b"b", b"label-1": b"c", b"label-3": b"d"})
    with pytest.raises(SourceError, match="has b'image-2' but no b'label-2'"):
        open_source(lmdb, path)


def test_pickled_tuples_if_asked_for(tmp_path):
    entries = {b"%03d" % i: pickle.dumps((jpeg, i)) for i, jpeg in enumerate(JPEGS)}
    entries |= {b"__len__": pickle.dumps(6), b"__keys__": pickle.dumps([b"000"]), b"006": pickle.dumps(print)}
    path = write(tmp_path / "db", entries)
    with pytest.raises(OptionError, match="--unpickle plain"):
        open_source(lmdb, path)
    *rows, bad = samples_of(open_source(lmdb, path, unpickle="plain"))
    assert rows == [(f"{i:03d}", {"jpg": jpeg, "json": {"label": i}}) for i, jpeg in enumerate(JPEGS)]
    assert isinstance(bad, BadRow)
    assert bad.name == "data.mdb, key '006'"


def test_raw_pixels_of_caffe_ask_for_a_field(tmp_path):
    path = write(tmp_path / "x_train_lmdb", {b"%03d" % i: DATUM for i in range(3)})
    with pytest.raises(OptionError, match="BGR"):
        open_source(lmdb, path)
    for raw in ("png", "npy"):
        source = open_source(lmdb, path, raw=raw)
        _, fields = samples_of(source)[0]
        assert (fields[raw] == np.array([[[4, 2, 0], [5, 3, 1]]])).all()
        assert fields["json"] == {"label": 5}
        assert "(Datum of Caffe)" in source.sentence


def test_files_and_databases_called_train_and_test_are_splits(tmp_path):
    (tmp_path / "two").mkdir()
    write(tmp_path / "two" / "a_train.lmdb", {b"a": JPEGS[0]}, subdir=False)
    write(tmp_path / "two" / "a_val.lmdb", {b"a": JPEGS[1]}, subdir=False)
    assert samples_of(open_source(lmdb, tmp_path / "two")) == [
        ("train/a", {"jpg": JPEGS[0]}),
        ("val/a", {"jpg": JPEGS[1]}),
    ]
    write(tmp_path / "named", {}, databases={b"train": {b"a": JPEGS[0]}, b"test": {b"a": JPEGS[1]}})
    source = open_source(lmdb, tmp_path / "named")
    assert sorted(samples_of(source)) == [("test/a", {"jpg": JPEGS[1]}), ("train/a", {"jpg": JPEGS[0]})]
    write(tmp_path / "other", {}, databases={b"images": {b"a": JPEGS[0]}, b"labels": {b"a": b"1"}})
    with pytest.raises(SourceError, match=r"several databases \(images, labels\)"):
        open_source(lmdb, tmp_path / "other")


def test_keys_that_are_no_texts_give_way_to_row_numbers(tmp_path):
    path = write(tmp_path / "db", {i.to_bytes(4, "little"): jpeg for i, jpeg in enumerate(JPEGS)})
    assert [key for key, _ in samples_of(open_source(lmdb, path))] == [f"{i:06d}" for i in range(6)]


@given(st.dictionaries(st.text("abc019_-/", min_size=1, max_size=6), st.binary(max_size=5000), min_size=1, max_size=40))
@examples(30)
def test_values_come_back(tmp_path_factory, values):
    entries = {f"k/{key}".encode(): b"\x89PNG\r\n\x1a\n" + value for key, value in values.items()}
    source = open_source(lmdb, write(tmp_path_factory.mktemp("l") / "db", entries))
    assert [fields["png"] for _, fields in samples_of(source)] == [entries[key] for key in sorted(entries)]


def test_an_empty_database_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no entries"):
        open_source(lmdb, write(tmp_path / "db", {}))


def test_other_files_of_the_name_are_not_claimed(tmp_path):
    (tmp_path / "data.mdb").write_bytes(b"Standard Jet DB" + bytes(100))
    assert not lmdb.detect(find_files(tmp_path))


def test_a_file_cut_short_is_an_error_that_names_it(tmp_path):
    path = write(tmp_path / "db", {b"%d" % i: bytes(5000) for i in range(50)}) / "data.mdb"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(SourceError, match=r"data\.mdb is cut short"):
        lmdb.open(find_files(path.parent), FormatOptions())


@pytest.mark.slow
@pytest.mark.usefixtures("child")
def test_damage_costs_a_child_and_is_one_error_of_ours(tmp_path):
    path = write(tmp_path / "db", {b"%05d" % i: bytes(300) for i in range(400)}) / "data.mdb"
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    errors = 0
    for _ in range(12):
        damaged = bytearray(whole)
        for page in random.integers(2, len(whole) // 4096, 4).tolist():
            at = page * 4096 + int(random.integers(0, 40))
            damaged[at : at + 8] = random.bytes(8)
        path.write_bytes(damaged)
        try:
            samples_of(lmdb.open(find_files(path.parent), FormatOptions()))
        except ShardpackError as error:
            errors += 1
            assert "\n" not in str(error)  # noqa: PT017 - damage may hit what nobody reads
            assert "db" in str(error) or "data.mdb" in str(error)  # noqa: PT017 - as above
    assert errors
