"""The key index: look-ups against a plain dict, and each refusal of SPEC 5."""

from __future__ import annotations

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptIndexError, UnsupportedVersionError
from shardpack.format import container as safetensors
from shardpack.format.checksum import crc32c
from shardpack.format.key_index import PAGE_ENTRIES, KeyIndex, encode_key_index, hash_key, hash_keys, repeated_hashes
from tests.format.builders import small_key_index
from tests.strategies import damaged

FEW = st.integers(0, 7)  # so that hashes repeat
HASHES = st.one_of(FEW, st.integers(0, 2**64 - 1), st.sampled_from([2**63, 2**64 - 1]))


def encode(hashes) -> bytes:
    return b"".join(encode_key_index(np.array(hashes, np.uint64)))


def positions_of(hashes) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for position, hashed in enumerate(hashes):
        found.setdefault(hashed, []).append(position)
    return found


@given(st.lists(HASHES, max_size=40), st.lists(HASHES, max_size=5))
def test_positions_are_those_of_a_dict(hashes, others):
    index, expected = KeyIndex(encode(hashes), num_samples=len(hashes)), positions_of(hashes)
    index.check()
    for hashed in [*hashes, *others]:
        assert index.positions(hashed) == expected.get(hashed, [])


@pytest.mark.parametrize("count", [0, 1, 511, 512, 513, 1024, 1025, 5000])
def test_every_key_is_found_at_the_sizes_where_pages_begin(count):
    keys = [b"k/%d" % i for i in range(count)]
    index = KeyIndex(encode(hash_keys(keys, count)), num_samples=count)
    assert [index.positions(hash_key(key)) for key in keys] == [[i] for i in range(count)]
    assert all(index.positions(hash_key(b"no/%d" % i)) == [] for i in range(100))
    assert index.positions(0) == index.positions(2**64 - 1) == []


@given(st.lists(st.tuples(HASHES, st.integers(1, 600)), max_size=4), st.data())
def test_unique_position_is_right_or_leaves_it_to_positions(runs, data):
    hashes = data.draw(st.permutations([hashed for hashed, length in runs for _ in range(min(length, 3))]))
    hashes += [hashed for hashed, length in runs for _ in range(length - 3)]
    index = KeyIndex(encode(hashes), num_samples=len(hashes))
    for hashed in {*hashes, 3, 2**60}:
        assert index.unique_position(hashed) == -1  # no page was checked yet
    expected = positions_of(hashes)
    for hashed in {*hashes, 3, 2**60}:
        found = index.positions(hashed)
        assert index.unique_position(hashed) in (-1, *(found if len(found) == 1 else ()))
        assert found == expected.get(hashed, [])


def test_unique_position_finds_nearly_every_key_once_its_page_was_used():
    keys = [b"k/%d" % i for i in range(5000)]
    index = KeyIndex(encode(hash_keys(keys, 5000)), num_samples=5000)
    index.check()
    found = [index.unique_position(hash_key(key)) for key in keys]
    assert all(position in (-1, i) for i, position in enumerate(found))
    # Left to `positions`: the first and the last key of each of nine pages, and the tenth page whole.
    assert found.count(-1) == 9 + 9 + 5000 % PAGE_ENTRIES


@pytest.mark.parametrize("before", [0, 1, 500, 511, 512, 513])
@pytest.mark.parametrize("run", [1, 2, 511, 512, 513, 1100])
def test_runs_of_one_hash_over_the_ends_of_pages(before, run):
    hashes = [5] * before + [9] * run + [12] * 3
    index = KeyIndex(encode(hashes), num_samples=len(hashes))
    assert index.positions(9) == list(range(before, before + run))
    assert index.positions(12) == list(range(before + run, before + run + 3))
    assert index.positions(10) == index.positions(4) == []


def test_the_hash_is_xxh3_of_utf8_with_seed_0():
    assert hash_key("é".encode()) == xxhash.xxh3_64_intdigest("é".encode(), seed=0)
    assert hash_key(b"") == 0x2D06800538D394C2  # the vector of the XXH3 reference for an empty input
    assert hash_keys([b"", b"a"], 2).tolist() == [hash_key(b""), hash_key(b"a")]


@given(st.lists(FEW, max_size=20))
def test_repeated_hashes_are_grouped(hashes):
    expected = [p for _, group in sorted(positions_of(hashes).items()) if len(group) > 1 for p in group]
    assert repeated_hashes(np.array(hashes, np.uint64)).tolist() == expected


def test_pages_are_checked_when_first_used():
    data = bytearray(small_key_index(1100))
    index = KeyIndex(data, num_samples=1100)
    entry = safetensors.parse(bytes(data), name="x")[0]["entry"]
    last, first = int(entry[-1, 0]), int(entry[0, 0])
    data[-1] ^= 1
    assert index.positions(first)
    with pytest.raises(CorruptIndexError, match="damaged page 2"):
        index.positions(last)


# Rule and case: what is changed in a good key index of 1100 keys, checksums made to fit where damage is not the case.
def refit(columns, metadata):
    entry = columns["entry"]
    directory = columns["directory"].copy()
    for page in range(len(directory)):
        part = entry[page * PAGE_ENTRIES : (page + 1) * PAGE_ENTRIES]
        directory[page] = part[0, 0], crc32c(np.ascontiguousarray(part).data)
    columns["directory"] = directory
    metadata["directory_crc32c"] = f"{crc32c(directory.data):08x}"


def drop(name):
    return lambda columns, _: columns.pop(name)


def replace(name, make):
    return lambda columns, _: columns.update({name: make(columns[name])})


def meta(name, value):
    return lambda _, metadata: metadata.update({name: value})


REFUSED = {
    "K1 no entry": (drop("entry"), "does not match its dataset"),
    "K1 fewer": (replace("entry", lambda entry: entry[:-1]), "does not match its dataset"),
    "K1 one column": (replace("entry", lambda entry: entry[:, :1]), "does not match its dataset"),
    "K1 flat": (replace("entry", np.ravel), "does not match its dataset"),
    "K1 dtype": (replace("directory", lambda directory: directory.astype("<u4")), "'directory' of uint32"),
    "K1 pages": (replace("directory", lambda directory: directory[:-1]), "does not match its dataset"),
    "K2 hash": (meta("hash", "xxh64"), "no xxh3_64 hashes"),
    "K2 page": (meta("page_entries", "256"), "pages of 512"),
    "K2 missing": (lambda _, metadata: metadata.pop("hash"), "no xxh3_64 hashes"),
    "K3": (replace("directory", lambda directory: directory ^ np.uint64(1)), "damaged directory"),
    "K3 missing": (lambda _, metadata: metadata.pop("directory_crc32c"), "damaged directory"),
    "C4 kind": (meta("format", "shardpack-index"), "is not a shardpack-keys"),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_when_opened(change, reason):
    columns, metadata = safetensors.parse(small_key_index(), name="good")
    change(columns, metadata)
    with pytest.raises(CorruptIndexError, match=reason) as caught:
        KeyIndex(b"".join(safetensors.encode(columns, metadata)), num_samples=1100)
    assert caught.value.shard == "keys.index"


@pytest.mark.parametrize("num_samples", [0, 1099, 1101, 2**40])
def test_k1_another_number_of_samples(num_samples):
    with pytest.raises(CorruptIndexError, match="does not match its dataset"):
        KeyIndex(small_key_index(), num_samples=num_samples)


def changed(change) -> KeyIndex:
    columns, metadata = safetensors.parse(small_key_index(), name="good")
    columns["entry"] = columns["entry"].copy()
    change(columns["entry"])
    refit(columns, metadata)
    return KeyIndex(b"".join(safetensors.encode(columns, metadata)), num_samples=1100)


@pytest.mark.parametrize("position", [1100, 2**63, 2**64 - 1])
def test_k5_position_beyond_the_dataset(position):
    def change(entry):
        entry[600:602] = entry[600]
        entry[600, 1] = position

    index = changed(change)
    with pytest.raises(CorruptIndexError, match=f"points to position {position} of 1100"):
        index.positions(int(index._entry[600, 0]))


def unsorted(entry):
    entry[[3, 4]] = entry[[4, 3]]


def twice(entry):
    entry[3, 1] = entry[4, 1]


def same_position(entry):
    entry[3] = entry[4]


@pytest.mark.parametrize(
    ("change", "reason"), [(unsorted, "not sorted"), (twice, "every position once"), (same_position, "not sorted")]
)
def test_k6_found_by_a_full_check(change, reason):
    with pytest.raises(CorruptIndexError, match=reason):
        changed(change).check()


def test_k6_a_directory_that_disagrees_with_its_pages():
    columns, metadata = safetensors.parse(small_key_index(), name="good")
    directory = columns["directory"].copy()
    directory[1, 0] -= np.uint64(1)
    columns["directory"] = directory
    metadata["directory_crc32c"] = f"{crc32c(directory.data):08x}"
    index = KeyIndex(b"".join(safetensors.encode(columns, metadata)), num_samples=1100)
    with pytest.raises(CorruptIndexError, match="not sorted"):
        index.check()


@given(st.data(), st.integers(0, 2**64 - 1))
def test_damage_gives_positions_within_the_dataset_or_our_error(data, hashed):
    broken = data.draw(damaged(small_key_index(30)))
    try:
        index = KeyIndex(broken, num_samples=30)
        found = [position for value in (hashed, *index._first_hashes) for position in index.positions(value)]
        index.check()
    except (CorruptIndexError, UnsupportedVersionError):
        return
    assert all(0 <= position < 30 for position in found)
