"""Members in any order make one index."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import FormatError
from shardpack.format.index_builder import build_index
from shardpack.format.shard_index import MAX_FIELDS, encode_index, parse_index


def build(members, *, num_samples: int, fields):
    """An index of (row, code) pairs whose member i has offset 512 * (2 i + 1) and size i."""
    row, code = (np.array([member[i] for member in members], np.int64) for i in (0, 1))
    numbers = np.arange(len(members))
    return build_index(
        keys=[f"k{i}" for i in range(num_samples)],
        fields=fields,
        row=row,
        code=code,
        data_offset=512 * (2 * numbers + 1),
        size=numbers,
        crc32c=numbers + 7,
        header_bytes=np.full(len(members), 512),
        shard_bytes=1024 * (len(members) + 1),
        shard_crc32c=0,
        end_of_data=1024 * len(members),
    )


@given(st.data())
def test_each_member_lands_in_its_cell(data):
    fields = data.draw(st.lists(st.text(max_size=4), min_size=1, max_size=5, unique=True))
    rows = data.draw(st.lists(st.sets(st.integers(0, len(fields) - 1), min_size=1), max_size=5))
    members = [(row, code) for row, codes in enumerate(rows) for code in data.draw(st.permutations(sorted(codes)))]
    index = build(members, num_samples=len(rows), fields=fields)
    assert list(index.fields) == sorted({fields[code] for _, code in members})
    assert index.present.sum() == len(members)
    for i, (row, code) in enumerate(members):
        column = index.fields.index(fields[code])
        cell = (index.data_offset, index.size, index.crc32c, index.header_bytes, index.present)
        assert [int(table[row, column]) for table in cell] == [512 * (2 * i + 1), i, i + 7, 512, 1]
    parse_index(b"".join(encode_index(index)), name="x")


@pytest.mark.parametrize("count", [MAX_FIELDS, MAX_FIELDS + 1])
def test_a_tar_where_every_member_has_a_field_of_its_own(count):
    members = [(i, i) for i in range(count)]
    fields = [f"{i}.jpg" for i in range(count)]
    if count <= MAX_FIELDS:
        assert len(build(members, num_samples=count, fields=fields).fields) == count
    else:
        with pytest.raises(FormatError, match=r"1025 different fields in one shard, limit 1024: '0\.jpg', "):
            build(members, num_samples=count, fields=fields)
