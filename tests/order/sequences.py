"""What every sequence of positions has to do, whatever it is kept as."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np

from shardpack.order.positions import Positions


def check_sequence(found: Positions, expected: list[int], *, upto: int = 200) -> None:
    """Check that positions are those of a list, by every method."""
    assert len(found) == len(expected)
    for one in (found, pickle.loads(pickle.dumps(found))):
        assert [one[item] for item in range(len(one))] == expected
        assert [position for position in range(-2, upto) if one.holds(position)] == sorted(
            {p for p in expected if p < upto}
        )
        assert [position for piece in one.pieces() for position in piece.tolist()] == expected
        assert one.is_ascending() == all(a < b for a, b in pairwise(expected))
        backwards = np.arange(len(expected))[::-1]
        for items in (backwards, backwards[::-1], np.repeat(backwards, 2), backwards[::3]):
            at = one.at(items)
            assert at.dtype == np.int64
            assert at.tolist() == [expected[item] for item in items.tolist()]
