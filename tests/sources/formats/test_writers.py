"""Libraries of others write two hundred photographs, and we read what they wrote, sample for sample."""

from __future__ import annotations

import json

import numpy as np
import pytest

import shardpack
from tests.conftest import reader
from tests.photographs import photographs as samples_of_all
from tests.photographs import resized

pytestmark = pytest.mark.slow


def rows():
    """Return a row of a table for each photograph; annotations are lists of objects with equal members."""
    made = []
    for key, fields in samples_of_all():
        label = fields["json"]
        boxes = [{name: one[name] for name in ("bbox", "label", "iscrowd")} for one in label["annotations"]]
        values = {name: label[name] for name in ("label", "score", "sharp", "captions")}
        made.append({"id": key, "image": fields["jpg"], "seg": fields["seg.png"], **values, "annotations": boxes})
    return made


def check(folder, out, **options):
    """Pack a folder, and check that its samples are those of `rows`."""
    shardpack.pack(folder, out, jobs=1, **options)
    found = [(one.key, one["jpg"], one["seg.png"], one.decode("json")) for one in shardpack.open(out)]
    expected = []
    for row in rows():
        label = {name: value for name, value in row.items() if name not in ("id", "image", "seg")}
        expected.append((row["id"], row["image"], row["seg"], label))
    assert found == expected


@pytest.mark.parametrize("compression", ["snappy", "zstd", None])
def test_pandas_to_parquet(tmp_path, compression):
    pandas = reader("pandas")
    (tmp_path / "in").mkdir()
    pandas.DataFrame(rows()).to_parquet(tmp_path / "in" / "train.parquet", compression=compression)
    check(tmp_path / "in", tmp_path / "out")


def test_pandas_to_feather(tmp_path):
    pandas = reader("pandas")
    (tmp_path / "in").mkdir()
    pandas.DataFrame(rows()).to_feather(tmp_path / "in" / "train.feather")
    check(tmp_path / "in", tmp_path / "out")


def test_duckdb_to_parquet(tmp_path):
    pandas, duckdb = reader("pandas"), reader("duckdb")
    (tmp_path / "in").mkdir()
    with duckdb.connect() as connection:
        connection.register("photographs", pandas.DataFrame(rows()))
        connection.execute(f"COPY photographs TO '{tmp_path}/in/train.parquet' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    check(tmp_path / "in", tmp_path / "out")


def test_tfrecord(tmp_path):
    tfrecord = reader("tfrecord")
    (tmp_path / "in").mkdir()
    writer = tfrecord.TFRecordWriter(str(tmp_path / "in" / "train-00000-of-00001.tfrecord"))
    for row in rows():
        values = {"id": (row["id"].encode(), "byte"), "image": (row["image"], "byte"), "label": (row["label"], "int")}
        writer.write({**values, "score": (row["score"], "float")})
    writer.close()
    shardpack.pack(tmp_path / "in", tmp_path / "out", jobs=1)
    found = [(one.key, one["jpg"], one.decode("json")) for one in shardpack.open(tmp_path / "out")]
    wanted = [(row["id"], row["image"], {"label": row["label"], "score": row["score"]}) for row in rows()]
    assert found == wanted


def test_msgpack(tmp_path):
    msgpack = reader("msgpack")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "train.msgpack").write_bytes(b"".join(map(msgpack.packb, rows())))
    check(tmp_path / "in", tmp_path / "out")


def test_h5py(tmp_path):
    h5py = reader("h5py")
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in" / "train.h5", "w") as file:
        table = rows()
        for name in ("image", "seg"):
            payloads = file.create_dataset(name, len(table), h5py.vlen_dtype(np.uint8))
            for at, row in enumerate(table):
                payloads[at] = np.frombuffer(row[name], np.uint8)
        for name in ("id", "label", "score", "sharp"):
            file[name] = [row[name] for row in table]
        file["annotations"] = [json.dumps(row["annotations"]) for row in table]
    shardpack.pack(tmp_path / "in", tmp_path / "out", jobs=1)
    for one, row in zip(shardpack.open(tmp_path / "out"), table, strict=True):
        assert (one.key, one["jpg"], one["seg.png"]) == (row["id"], row["image"], row["seg"])
        assert one.decode("json") == {name: row[name] for name in ("label", "score", "sharp", "annotations")}


def test_lmdb(tmp_path):
    lmdb = reader("lmdb")
    with lmdb.open(str(tmp_path / "train_lmdb"), map_size=1 << 24) as environment, environment.begin(write=True) as out:
        for key, fields in samples_of_all():
            out.put(f"{key}.jpg".encode(), fields["jpg"])
            out.put(f"{key}.json".encode(), json.dumps(fields["json"]).encode())
    shardpack.pack(tmp_path / "train_lmdb", tmp_path / "out", jobs=1)
    found = [(one.key, one["jpg"], one.decode("json")) for one in shardpack.open(tmp_path / "out")]
    assert found == [(key, fields["jpg"], fields["json"]) for key, fields in samples_of_all()]


def test_numpy(photographs, tmp_path):
    samples = list(resized(photographs, tmp_path / "small"))
    images = np.stack([np.asarray(one.decode("png")) for one in samples])
    labels = [one.decode("json")["label"] for one in samples]
    (tmp_path / "in").mkdir()
    np.savez_compressed(tmp_path / "in" / "train.npz", images=images, labels=labels, keys=[one.key for one in samples])
    shardpack.pack(tmp_path / "in", tmp_path / "out", raw="png", jobs=1)
    for one, sample, label in zip(shardpack.open(tmp_path / "out"), samples, labels, strict=True):
        assert (one.key, one.decode("json")) == (sample.key, {"label": label})
        assert np.array_equal(np.asarray(one.decode("png")), np.asarray(sample.decode("png")))


def test_webdataset(tmp_path):
    webdataset = reader("webdataset")
    (tmp_path / "in").mkdir()
    with webdataset.TarWriter(str(tmp_path / "in" / "train-0000.tar")) as writer:
        for key, fields in samples_of_all():
            writer.write({"__key__": key, **fields})
    shardpack.index(tmp_path / "in")
    found = [(one.key, one["jpg"], one["seg.png"], one.decode("json")) for one in shardpack.open(tmp_path / "in")]
    assert found == [(key, one["jpg"], one["seg.png"], one["json"]) for key, one in samples_of_all()]
