"""Order is a pure function of integers: SPEC 7 once more in plain Python, and golden values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.order.permutation import PACK_ORDER, SHARD_ORDER, derive_key, mix64, permutation

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
words = st.integers(0, MASK)


def plain_mix64(value: int) -> int:
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


def plain_derive_key(*numbers: int) -> int:
    key = 0
    for number in numbers:
        key = plain_mix64(key * GOLDEN + number + GOLDEN & MASK)
    return key


def plain_permutation(count: int, key: int) -> list[int]:
    return sorted(range(count), key=lambda i: plain_mix64((i + 1) * GOLDEN + key & MASK))


@given(st.lists(words, max_size=20))
def test_mixer_equals_the_specification(values):
    assert mix64(np.array(values, np.uint64)).tolist() == [plain_mix64(value) for value in values]


@given(st.lists(st.integers(), max_size=5))
def test_key_equals_the_specification(numbers):
    assert derive_key(*numbers) == plain_derive_key(*numbers)


@given(st.integers(0, 200), words)
def test_permutation_equals_the_specification(count, key):
    assert permutation(count, key).tolist() == plain_permutation(count, key)


@given(st.integers(0, 2000), words)
def test_every_number_comes_once(count, key):
    order = permutation(count, key)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(count))


def test_golden_values():
    """Part of the format: these never change."""
    assert mix64(np.array([0, 1, 2, MASK], np.uint64)).tolist() == [
        0,
        6238072747940578789,
        15839785061582574730,
        13029008266876403067,
    ]
    assert derive_key() == 0
    assert derive_key(0) == 16294208416658607535
    assert derive_key(PACK_ORDER, 0) == 18100690220309532888
    assert derive_key(PACK_ORDER, 7) == 16336399442582783696
    assert derive_key(SHARD_ORDER, 0, 0) == 12284758217449209061
    assert derive_key(SHARD_ORDER, 0, 1) == 10351889456094892081
    assert derive_key(SHARD_ORDER, -1, 2**70) == 507946594295644933
    assert permutation(10, derive_key(PACK_ORDER, 0)).tolist() == [2, 4, 0, 9, 6, 1, 8, 3, 7, 5]
    assert permutation(10, derive_key(PACK_ORDER, 1)).tolist() == [4, 9, 0, 3, 1, 6, 8, 5, 2, 7]
    long = permutation(1_000_000, derive_key(PACK_ORDER, 0))
    assert long[[0, 1, 499_999, -1]].tolist() == [795712, 71659, 618282, 875396]


def test_mixer_is_splitmix64():
    """The first numbers that Vigna's splitmix64.c gives from the state 1234567."""
    states = np.arange(1, 6, dtype=np.uint64) * np.uint64(GOLDEN) + np.uint64(1234567)
    assert mix64(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4), st.data())
def test_key_depends_on_every_number_and_on_their_order(numbers, data):
    at = data.draw(st.integers(0, len(numbers) - 1))
    changed = [*numbers]
    changed[at] += data.draw(st.integers(1, 1000))
    assert derive_key(*changed) != derive_key(*numbers)
    swapped = numbers[1:] + numbers[:1]
    assert swapped == numbers or derive_key(*swapped) != derive_key(*numbers)
    assert derive_key(*numbers, 0) != derive_key(*numbers)


def test_keys_of_small_numbers_differ():
    keys = {derive_key(*numbers) for length in range(4) for numbers in itertools.product(range(12), repeat=length)}
    assert len(keys) == 1 + 12 + 12**2 + 12**3


def test_numbers_are_taken_modulo_2_to_the_64():
    assert derive_key(-1) == derive_key(MASK)
    assert derive_key(2**64 + 5) == derive_key(5)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int8])
def test_numpy_integers_are_integers(dtype):
    assert derive_key(dtype(5), dtype(6)) == derive_key(5, 6)


def test_purposes_give_different_orders():
    assert len({tuple(permutation(20, derive_key(purpose, 0)).tolist()) for purpose in (PACK_ORDER, SHARD_ORDER)}) == 2


def test_order_looks_shuffled():
    """Crude, but would notice a mixer that does not mix: neighbours end up far apart, for any seed."""
    count = 10_000
    for seed in range(20):
        order = permutation(count, derive_key(PACK_ORDER, seed))
        steps = np.abs(np.diff(order))
        assert abs(steps.mean() - count / 3) < count / 30  # 1/3 in the mean for a true shuffle
        assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 0.05
