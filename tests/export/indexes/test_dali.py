"""DALI's index: byte for byte that of its own tool, offsets as Python's tarfile reads them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import InvalidKeyError
from shardpack.export.indexes.dali import encode, index_name
from shardpack.export.indexes.shard_members import members_of
from tests.export.indexes.samples import exported, members
from tests.export.indexes.test_index_source import write_tar
from tests.strategies import examples, payloads, safe_fields, safe_keys


def test_the_bytes_of_its_own_tool(ds, golden, tmp_path):
    made = exported(ds, tmp_path, "dali")
    assert {name: text.decode() for name, text in made.items()} == golden["dali"]


@pytest.mark.parametrize(
    ("tar", "index"),
    [("a.tar", "a.idx"), ("d.x/a.b.tar", "d.x/a.idx"), (".a.tar", ".a.idx"), ("shard-0.tar", "shard-0.idx")],
)
def test_names_of_indexes(tar, index):
    assert index_name(tar) == index


@examples(20)
@given(st.dictionaries(safe_keys(), st.dictionaries(safe_fields(), payloads(), min_size=1, max_size=3), min_size=1))
def test_each_line_is_a_sample_and_says_where_its_members_are(samples):
    with tempfile.TemporaryDirectory() as folder:
        with shardpack.ShardWriter(folder) as writer:
            for key, fields in samples.items():
                writer.write(key, fields)
        with shardpack.open(folder) as ds:
            text = encode(members_of(ds.stream_input().cache.get(0).index, "shard-000000.tar")).decode()
        tar = Path(folder, "shard-000000.tar")
        data, judged = tar.read_bytes(), members(tar)
    head, *lines = text.splitlines()
    assert head == f"v1.2 {len(samples)}"
    words = [word for line in lines for word in line.split(" ")]
    found = [
        (name, int(offset), int(size)) for offset, size, name in zip(words[1::4], words[2::4], words[3::4], strict=True)
    ]
    assert found == [(one.name, one.offset_data, one.size) for one in judged]
    for (key, fields), line in zip(samples.items(), lines, strict=True):
        assert line.split(" ")[0::4] == sorted(fields)
        for field, offset, size, name in zip(*(line.split(" ")[i::4] for i in range(4)), strict=True):
            assert name == f"{key}.{field}"
            assert data[int(offset) : int(offset) + int(size)] == fields[field]


@pytest.mark.parametrize("name", ["a b.jpg", "a\tb.jpg", "a.j pg", "a\nb.jpg", "a.", "d/.h.jpg"])
def test_names_that_its_reader_would_break_at_are_refused(tmp_path, name):
    write_tar(tmp_path / "x.tar", {"fine.jpg": b"1", name: b"2"})
    ds = shardpack.open(tmp_path, index="memory")
    with pytest.raises(InvalidKeyError, match="DALI cannot index this name") as caught:
        exported(ds, tmp_path / "out", "dali")
    assert name.startswith(caught.value.key)
    assert not (tmp_path / "out" / "x.idx").exists()
