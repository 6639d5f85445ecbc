"""MosaicML Streaming reads our MDS, and we read what it writes."""

from __future__ import annotations

import pytest

import shardpack
from tests.heavy.needs import heavy, marks, without_kernels
from tests.photographs import photographs as samples_of_all

without_kernels()  # it asks for torchvision
streaming = heavy("streaming", "streaming")
pytestmark = marks
PAYLOADS = {"image": "jpg", "mirror": "mirror.jpg", "seg": "seg.png"}


def test_it_reads_our_shards(photographs, tmp_path):
    shardpack.export(photographs, tmp_path / "out", to="mds", max_file_samples=70, jobs=1)
    for split in photographs.splits:
        index = (tmp_path / "out" / split / "index.json").read_text()
        assert '"jpeg"' in index
        reader = streaming.LocalDataset(str(tmp_path / "out"), split)
        assert len(reader) == photographs.splits[split]
        for number, sample in enumerate(photographs.split(split)):
            shard, at = reader.spanner[number]
            row = reader.shards[shard].get_sample_data(at)
            decoded = reader[number]
            label = sample.decode("json")
            assert decoded["__key__"] == sample.key
            for payload in (sample[field] for field in PAYLOADS.values()):
                assert payload in row
            assert {name: decoded[name] for name in label} == label


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_we_read_its_shards(tmp_path, compression):
    columns = {"image": "jpeg", "seg": "bytes", "label": "int", "score": "float64", "key": "str", "more": "json"}
    expected = {}
    with streaming.MDSWriter(
        out=str(tmp_path / "in"), columns=columns, compression=compression, size_limit=1 << 18
    ) as out:
        for key, fields in samples_of_all():
            label = fields["json"]
            row = {"image": fields["jpg"], "seg": fields["seg.png"], "key": key, "more": label}
            row |= {"label": label["label"], "score": label["score"]}
            out.write(row)
            values = {"label": label["label"], "score": label["score"], "more": label}
            expected[key] = {"jpg": fields["jpg"], "seg.png": fields["seg.png"], "json": values}
    shardpack.pack(tmp_path / "in", tmp_path / "out", jobs=1)
    found = {one.key: {**one, "json": one.decode("json")} for one in shardpack.open(tmp_path / "out")}
    assert found == expected
