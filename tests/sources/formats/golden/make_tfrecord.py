"""Writes tensorflow.tfrecord and its twins with TensorFlow: run once, by hand, with tensorflow-cpu installed.

Recorded with TensorFlow 2.21. TensorFlow takes 1.5 GB, too much to install for each run of the tests.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

HERE = Path(__file__).parent
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256))


def feature(value):
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def example(number):
    row = {"image/encoded": JPEG + bytes([number]), "image/class/label": number, "image/filename": b"%d.jpg" % number}
    row |= {"box": [0.5, 0.25 * number], "ids": [-1, 1 << 62, number], "empty": [b""], "text": "größer".encode()}
    return tf.train.Example(features=tf.train.Features(feature={name: feature(value) for name, value in row.items()}))


def sequence(number):
    frames = tf.train.FeatureList(feature=[feature(JPEG + bytes([number, i])) for i in range(2)])
    return tf.train.SequenceExample(
        context=tf.train.Features(feature={"label": feature(number)}),
        feature_lists=tf.train.FeatureLists(feature_list={"frames": frames}),
    )


for name, compression, make in (
    ("plain.tfrecord", "", example),
    ("gzip.tfrecord", "GZIP", example),
    ("zlib.tfrecord", "ZLIB", example),
    ("sequence.tfrecord", "", sequence),
):
    with tf.io.TFRecordWriter(str(HERE / name), compression) as writer:
        for number in range(4):
            writer.write(make(number).SerializeToString(deterministic=True))
