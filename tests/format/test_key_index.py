"""The key index: look-ups against a plain dict, what they read, and each refusal of SPEC 5.3."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptIndexError, UnsupportedVersionError
from shardpack.format import container
from shardpack.format.checksum import crc32c
from shardpack.format.key_index import (
    ABSENT,
    PAGE_BYTES,
    SCHEMA,
    UNSURE,
    KeyIndex,
    KeySegmentReader,
    encode_key_index,
    hash_key,
    hash_keys,
    repeated_hashes,
)
from shardpack.format.manifest import KeySegment
from shardpack.format.paged import FIRST_BYTES, PAGE_ROWS, encode_paged

FEW = st.integers(0, 7)  # so that hashes repeat
HASHES = st.one_of(FEW, st.integers(0, 2**64 - 1), st.sampled_from([2**63, 2**64 - 1]))


class Opened:
    """One segment that notes what is loaded."""

    def __init__(self, parts, *, num_keys: int):
        parts = [bytes(part) for part in parts]
        data, head = b"".join(parts), b"".join(parts[:2])
        self.data, self.loads = bytearray(data), []
        segment = KeySegment("keys-000001-0.index", len(data), crc32c(data), len(head), crc32c(head), num_keys)
        self.reader = KeySegmentReader(self.load, segment, path="keys.index")

    def load(self, begin: int, length: int) -> memoryview:
        self.loads.append((begin, length))
        return memoryview(bytes(self.data[begin : begin + length]))


def opened(hashes) -> Opened:
    return Opened(encode_key_index(np.array(hashes, np.uint64)), num_keys=len(hashes))


def index_of(*lists) -> KeyIndex:
    return KeyIndex([opened(hashes).reader for hashes in lists if len(hashes)])


def positions_of(hashes) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for position, hashed in enumerate(hashes):
        found.setdefault(hashed, []).append(position)
    return found


@given(st.lists(HASHES, max_size=40), st.lists(HASHES, max_size=20), st.lists(HASHES, max_size=5))
def test_positions_equal_those_of_a_dict(hashes, more, others):
    index, expected = index_of(hashes, more), positions_of([*hashes, *more])
    index.check()
    for hashed in [*hashes, *more, *others]:
        assert index.find(hashed) == expected.get(hashed, [])


def matched(index, hashes):
    asked = sorted(set(hashes))
    numbers, positions = index.match(np.array(asked, np.uint64))
    found = {hashed: [] for hashed in asked}
    for number, position in sorted(zip(numbers.tolist(), positions.tolist(), strict=True)):
        found[asked[number]].append(position)
    return found


@given(st.lists(HASHES, max_size=40), st.lists(HASHES, max_size=20), st.lists(HASHES, max_size=5))
def test_many_hashes_match_as_each_is_found(hashes, more, others):
    index = index_of(hashes, more)
    assert matched(index, [*hashes, *more, *others]) == {h: index.find(h) for h in {*hashes, *more, *others}}


@pytest.mark.parametrize("count", [1, 511, 512, 513, 1024, 1025, 5000])
def test_many_hashes_match_over_pages(count):
    index = index_of(np.arange(count) * 3)
    asked = range(0, 3 * count + 3, 2)
    assert matched(index, asked) == {h: [h // 3] if h % 3 == 0 and h < 3 * count else [] for h in asked}


@pytest.mark.parametrize("count", [1, 511, 512, 513, 1024, 1025, 5000])
def test_every_key_is_found_at_the_sizes_where_pages_begin(count):
    keys = [b"k/%d" % i for i in range(count)]
    index = index_of(hash_keys(map(bytes.decode, keys)))
    assert [index.find(hash_key(key)) for key in keys] == [[i] for i in range(count)]
    assert all(index.find(hash_key(b"no/%d" % i)) == [] for i in range(100))
    assert index.find(0) == index.find(2**64 - 1) == []


@given(st.lists(st.tuples(HASHES, st.integers(1, 600)), max_size=4), st.lists(HASHES, max_size=9), st.data())
def test_find_fast_is_right_or_unsure(runs, more, data):
    hashes = data.draw(st.permutations([hashed for hashed, length in runs for _ in range(min(length, 3))]))
    hashes += [hashed for hashed, length in runs for _ in range(length - 3)]
    index = index_of(hashes, more)
    for hashed in {*hashes, 3, 2**60}:
        assert index.find_fast(hashed) == UNSURE  # no page was read yet
    expected = positions_of([*hashes, *more])
    for hashed in {*hashes, *more, 3, 2**60}:
        found = index.find(hashed)
        fast = index.find_fast(hashed)
        assert fast == found[0] if fast >= 0 else fast in (UNSURE, ABSENT)
        assert fast == UNSURE or len(found) == (fast >= 0)
        assert found == expected.get(hashed, [])


def test_find_fast_finds_nearly_every_key_once_its_page_was_used():
    keys = [b"k/%d" % i for i in range(5000)]
    index = index_of(hash_keys(map(bytes.decode, keys)))
    for key in keys:
        index.find(hash_key(key))
    found = [index.find_fast(hash_key(key)) for key in keys]
    assert all(position in (-1, i) for i, position in enumerate(found))
    assert found.count(-1) <= 2 * 10, "left to `find`: the first and last key of each page"


def test_find_fast_looks_into_all_segments():
    lists = [[h * 10 + n for h in range(200)] for n in range(3)]
    index = index_of(*lists)
    for hashed in range(2000):
        index.find(hashed)
    found = [index.find_fast(hashed) for hashed in lists[0] + lists[1] + lists[2]]
    assert all(position in (UNSURE, i) for i, position in enumerate(found))
    assert found.count(UNSURE) <= 9, "left to `find`: the last key of each page, and what may be behind it"
    again = index_of(*lists, [1, 5, 7])
    assert again.find(1) == [200, 600]
    assert again.find_fast(1) == UNSURE


def test_hashes_of_a_segment_take_no_memory_that_its_file_does_not_stand_for():
    segment = opened([5, 3, 9]).reader
    assert segment.hashes().tolist() == [5, 3, 9]
    segment = opened([5, 3, 9]).reader
    segment.segment = replace(segment.segment, num_keys=1 << 60)
    with pytest.raises(CorruptIndexError, match="expected 1152921504606846976 keys"):
        segment.hashes()


@pytest.mark.parametrize("before", [0, 1, 500, 511, 512, 513])
@pytest.mark.parametrize("run", [1, 2, 511, 512, 513, 1100])
def test_runs_of_one_hash_over_the_ends_of_pages(before, run):
    index = index_of([5] * before + [9] * run + [12] * 3)
    assert index.find(9) == list(range(before, before + run))
    assert index.find(12) == list(range(before + run, before + run + 3))
    assert index.find(10) == index.find(4) == []
    assert matched(index, [4, 5, 9, 10, 12, 13]) == {h: index.find(h) for h in (4, 5, 9, 10, 12, 13)}


def test_the_hash_is_xxh3_of_utf8_with_seed_0():
    assert hash_key("é".encode()) == xxhash.xxh3_64_intdigest("é".encode(), seed=0)
    assert hash_key(b"") == 0x2D06800538D394C2  # the vector of the XXH3 reference for an empty input
    assert hash_keys(["", "a"]).tolist() == [hash_key(b""), hash_key(b"a")]


@given(st.lists(FEW, max_size=20))
def test_repeated_hashes_are_grouped(hashes):
    expected = [p for _, group in sorted(positions_of(hashes).items()) if len(group) > 1 for p in group]
    assert repeated_hashes(np.array(hashes, np.uint64)).tolist() == expected


def test_a_look_up_reads_the_first_bytes_and_one_page():
    keys = [b"k/%d" % i for i in range(300_000)]
    whole = opened(hash_keys(map(bytes.decode, keys)))
    assert whole.reader.find(hash_key(b"k/77")) == [77]
    assert [length for _, length in whole.loads] == [FIRST_BYTES, PAGE_BYTES]


def test_many_keys_need_two_rounds():
    keys = [b"k/%d" % i for i in range(300_000)]
    whole = opened(hash_keys(map(bytes.decode, keys)))
    index, hashes, rounds = KeyIndex([whole.reader]), hash_keys(map(bytes.decode, keys[::3000])), 0
    while wanted := index.needed(hashes):
        rounds += 1
        for segment, (begin, length) in wanted:
            index.put(segment, begin, bytes(whole.data[begin : begin + length]))
    assert rounds == 2
    assert [index.find(hashed) for hashed in hashes.tolist()] == [[i] for i in range(0, 300_000, 3000)]
    assert whole.loads == []


@given(st.lists(st.sampled_from([3, 4, 5]), min_size=1, max_size=1500))
def test_needed_includes_runs_of_one_hash(hashes):
    whole = opened(hashes)
    index, wanted_hashes = KeyIndex([whole.reader]), np.array([2, 3, 4, 5, 6], np.uint64)
    while wanted := index.needed(wanted_hashes):
        for segment, (begin, length) in wanted:
            index.put(segment, begin, bytes(whole.data[begin : begin + length]))
    expected = positions_of(hashes)
    assert [index.find(h) for h in range(2, 7)] == [expected.get(h, []) for h in range(2, 7)]
    assert whole.loads == []


# --- What is refused ---------------------------------------------------------------------------


def forged(entry) -> KeySegmentReader:
    """A segment with entries that no writer writes, checksums made to fit."""
    starts = range(0, len(entry), PAGE_ROWS)
    directory = np.array(
        [(entry[i, 0], crc32c(np.ascontiguousarray(entry[i : i + PAGE_ROWS]).data)) for i in starts], "<u8"
    )
    return Opened(encode_paged(SCHEMA, directory, entry, {"hash": "xxh3_64"}), num_keys=len(entry)).reader


def entries(count: int = 1100) -> np.ndarray:
    return np.stack([np.arange(count) * 5, np.arange(count)[::-1]], axis=1).astype("<u8")


def test_a_forged_segment_passes_without_a_fault():
    forged(entries()).check()


@pytest.mark.parametrize("position", [1100, 2**63, 2**64 - 1])
def test_k5_position_beyond_the_dataset(position):
    changed = entries()
    changed[600, 1] = position
    with pytest.raises(CorruptIndexError, match=f"points to position {position} of 1100"):
        forged(changed).find(3000)


def swap(entry):
    entry[[3, 4]] = entry[[4, 3]]


def twice(entry):
    entry[3, 1] = entry[4, 1]


def same(entry):
    entry[3] = entry[4]


def over_pages(entry):
    entry[511, 0] = entry[512, 0] + 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [(swap, "not sorted"), (twice, "every position once"), (same, "not sorted"), (over_pages, "not sorted")],
)
def test_k6_found_by_a_full_check(change, reason):
    changed = entries()
    change(changed)
    with pytest.raises(CorruptIndexError, match=reason):
        forged(changed).check()


def test_k1_another_number_of_keys():
    parts = encode_key_index(np.arange(600, dtype=np.uint64))
    for count in (599, 601, 512, 1):
        with pytest.raises(CorruptIndexError, match="does not match its dataset"):
            Opened(parts, num_keys=count).reader.find(3)


def test_k2_another_hash_needs_a_newer_shardpack():
    columns, metadata = container.parse(b"".join(encode_key_index(np.arange(9, dtype=np.uint64))), name="good")
    parts = container.encode(columns, {**metadata, "hash": "xxh64"})
    with pytest.raises(UnsupportedVersionError, match=r"'xxh64'.*upgrade shardpack"):
        Opened(parts, num_keys=9).reader.find(3)


@given(st.data(), st.integers(0, 2**64 - 1))
def test_damage_is_found(data, hashed):
    whole = opened(hash_keys(f"k{i}" for i in range(600)))
    at = data.draw(st.integers(0, len(whole.data) - 1))
    whole.data[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = whole.reader.find(hashed)
    except CorruptIndexError:
        found = []
    assert found == []
    with pytest.raises(CorruptIndexError):
        whole.reader.check()
