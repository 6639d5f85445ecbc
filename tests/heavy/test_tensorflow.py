"""TensorFlow reads our TFRecord files, and we read what it writes."""

from __future__ import annotations

import json

import pytest

import shardpack
from tests.heavy.needs import heavy, marks
from tests.photographs import photographs as samples_of_all

tf = heavy("tensorflow", "tensorflow")
pytestmark = marks

COLUMNS = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/filename": tf.io.FixedLenFeature([], tf.string),
    "mirror": tf.io.FixedLenFeature([], tf.string),
    "seg": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "score": tf.io.FixedLenFeature([], tf.float32),
    "sharp": tf.io.FixedLenFeature([], tf.int64),
    "captions": tf.io.RaggedFeature(tf.string),
    "annotations": tf.io.FixedLenFeature([], tf.string),
}


def test_it_reads_our_records(photographs, tmp_path):
    shardpack.export(photographs, tmp_path / "out", to="tfrecord", max_file_samples=70, jobs=1)
    for split in photographs.splits:
        files = sorted(str(path) for path in (tmp_path / "out").glob(f"{split}-*.tfrecord"))
        rows = tf.data.TFRecordDataset(files).map(lambda record: tf.io.parse_single_example(record, COLUMNS))
        for row, sample in zip(rows.as_numpy_iterator(), photographs.split(split), strict=True):
            label = sample.decode("json")
            assert row["image/filename"].decode() == f"{sample.key}.jpg"
            payloads = {"image/encoded": "jpg", "mirror": "mirror.jpg", "seg": "seg.png"}
            assert {field: row[name] for name, field in payloads.items()} == {
                field: sample[field] for field in payloads.values()
            }
            assert (row["label"], row["score"], row["sharp"]) == (label["label"], label["score"], label["sharp"])
            assert [text.decode() for text in row["captions"]] == label["captions"]
            assert json.loads(row["annotations"]) == label["annotations"]


def feature(value):
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_we_read_its_records(tmp_path, compression):
    expected = {}
    (tmp_path / "in").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "in" / "train-00000-of-00001.tfrecord"), compression) as writer:
        for key, fields in samples_of_all():
            label = fields["json"]
            row = {"image/encoded": fields["jpg"], "image/filename": f"{key}.jpg".encode(), "seg": fields["seg.png"]}
            row |= {"label": label["label"], "captions": [text.encode() for text in label["captions"]]}
            features = {name: feature(value) for name, value in row.items()} | {"score": feature(label["score"])}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
            captions = label["captions"] if len(label["captions"]) > 1 else label["captions"][0]
            values = {"label": label["label"], "captions": captions, "score": label["score"]}
            expected[key] = {"jpg": fields["jpg"], "seg.png": fields["seg.png"]}, values
    shardpack.pack(tmp_path / "in", tmp_path / "out", jobs=1)
    found = {}
    for one in shardpack.open(tmp_path / "out"):
        payloads = {name: payload for name, payload in one.items() if name != "json"}
        found[one.key] = payloads, one.decode("json")
    assert found == expected
