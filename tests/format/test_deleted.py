"""Files of deleted samples: positions come back, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptIndexError, FormatError
from shardpack.format.deleted import encode_deleted, join_deleted, parse_deleted
from shardpack.format.manifest import DeletedFile

positions = st.sets(st.integers(0, 99), min_size=1, max_size=20).map(lambda found: np.array(sorted(found)))


def parse(data, count, num_samples=100):
    return parse_deleted(data, DeletedFile("x", len(data), 0, count), num_samples=num_samples, path="x.index")


@given(positions)
def test_positions_come_back(deleted):
    data = b"".join(encode_deleted(deleted))
    assert parse(data, len(deleted)).tolist() == deleted.tolist()


@pytest.mark.parametrize(
    ("found", "count", "num_samples", "reason"),
    [
        ([1, 2], 3, 9, "expected 3"),
        ([], 0, 9, "do not ascend"),
        ([2, 1], 2, 9, "do not ascend"),
        ([2, 2], 2, 9, "do not ascend"),
        ([0, 9], 2, 9, "leave the 9 samples"),
        ([0, 2**64 - 1], 2, 9, "leave the 9 samples"),
    ],
)
def test_refused(found, count, num_samples, reason):
    data = b"".join(encode_deleted(np.array(found, np.uint64)))
    with pytest.raises(CorruptIndexError, match=reason):
        parse(data, count, num_samples)


@given(st.data())
def test_damage_is_refused_or_is_another_list(data):
    good = bytearray(b"".join(encode_deleted(np.array([3, 8, 50]))))
    good[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = parse(bytes(good), 3)
    except FormatError:
        return
    assert len(found) == 3
    assert 0 <= found[0] < found[1] < found[2] < 100


@given(st.lists(positions, min_size=1, max_size=4))
def test_joined_files_are_one_list_unless_they_overlap(parts):
    stored = [part.astype(np.uint64) for part in parts]
    together = sorted(position for part in parts for position in part.tolist())
    if len(set(together)) == len(together):
        assert join_deleted(stored, path="x").tolist() == together
    else:
        with pytest.raises(CorruptIndexError, match="another file deletes"):
            join_deleted(stored, path="x")
