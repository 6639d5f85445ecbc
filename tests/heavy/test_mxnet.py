"""MXNet writes RecordIO files, and we read them."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from tests.heavy.needs import heavy, marks
from tests.photographs import photographs

with pytest.MonkeyPatch.context() as patch:
    patch.setitem(vars(np), "bool", bool)  # MXNet is archived, and asks NumPy for a name of its day
    recordio = heavy("mxnet.recordio", "mxnet")
pytestmark = marks


def test_we_read_its_records(tmp_path):
    (tmp_path / "in").mkdir()
    writer = recordio.MXIndexedRecordIO(str(tmp_path / "in" / "train.idx"), str(tmp_path / "in" / "train.rec"), "w")
    expected = []
    for number, (_, fields) in enumerate(photographs()):
        label = fields["json"]["label"]
        header = recordio.IRHeader(0, float(label), number, 0)
        writer.write_idx(number, recordio.pack(header, fields["jpg"]))
        expected.append({"jpg": fields["jpg"], "json": {"label": label}})
    writer.close()
    shardpack.pack(tmp_path / "in", tmp_path / "out", jobs=1)
    found = [{**one, "json": one.decode("json")} for one in shardpack.open(tmp_path / "out")]
    assert found == expected
