"""DALI, on the CPU, reads our tars by our indexes, which are those of its own tool."""

from __future__ import annotations

from pathlib import Path

import pytest

import shardpack
from tests.heavy.needs import heavy, marks

dali = heavy("nvidia.dali", "dali")
pytestmark = marks
FIELDS = ["jpg", "mirror.jpg", "seg.png", "json"]


def test_the_indexes_of_its_tool(photographs, tmp_path):
    tool = heavy("wds2idx", "dali")
    shardpack.export(photographs, tmp_path / "ours", to="dali")
    for tar in sorted(Path(photographs.location).glob("*.tar")):
        theirs = tmp_path / f"{tar.stem}.idx"
        with tool.IndexCreator(str(tar), str(theirs), verbose=False) as creator:
            creator.create_index()
        assert (tmp_path / "ours" / theirs.name).read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("indexed", [True, False])
def test_its_reader(photographs, tmp_path, indexed):
    shardpack.export(photographs, tmp_path / "out", to="dali")
    tars = sorted(map(str, Path(photographs.location).glob("*.tar")))
    indexes = sorted(map(str, (tmp_path / "out").glob("*.idx"))) if indexed else []
    pipe = dali.Pipeline(batch_size=20, num_threads=1, device_id=None)
    pipe.set_outputs(*dali.fn.readers.webdataset(paths=tars, index_paths=indexes, ext=FIELDS))
    pipe.build()
    found = []
    for _ in range(len(photographs) // 20):
        batch = pipe.run()
        found += [{name: bytes(part.at(at)) for name, part in zip(FIELDS, batch, strict=True)} for at in range(20)]
    assert found == [{name: one[name] for name in FIELDS} for one in photographs]
