"""The sidecar index: encode, parse, and each refusal of SPEC 4."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptIndexError, UnsupportedVersionError
from shardpack.format import container as safetensors
from shardpack.format.shard_index import MAX_FIELDS, encode_index, parse_index
from tests.format.builders import SAMPLES, framed_index, judge_module, parse, small_index, small_shard
from tests.strategies import damaged, json_values, payloads, safe_fields, safe_keys

MEMBERS = st.dictionaries(safe_keys(), st.dictionaries(safe_fields(), payloads(), min_size=1, max_size=3), max_size=5)


def columns_of(index) -> dict[str, np.ndarray]:
    return {
        f.name: getattr(index, f.name)
        for f in dataclasses.fields(index)
        if f.name not in _PLAIN and getattr(index, f.name) is not None
    }


_PLAIN = ("frames", "ignored", "fields", "shard_bytes", "shard_crc32c", "end_of_data")


@given(MEMBERS)
def test_parse_undoes_encode(samples):
    _, index = small_shard(samples)
    data = b"".join(encode_index(index))
    found = parse_index(data, name="x")
    for name in _PLAIN:
        assert getattr(found, name) == getattr(index, name)
    for name, column in columns_of(index).items():
        assert np.array_equal(getattr(found, name), column)
        assert getattr(found, name).dtype == column.dtype
    assert b"".join(encode_index(found)) == data


def test_an_index_may_have_no_checksums():
    _, whole = small_shard(SAMPLES)
    index = dataclasses.replace(whole, crc32c=None, shard_crc32c=None)
    data = b"".join(encode_index(index))
    found = parse_index(data, name="x")
    assert (found.crc32c, found.shard_crc32c) == (None, None)
    assert found.keys() == list(SAMPLES)
    assert np.array_equal(found.data_offset, whole.data_offset)
    assert len(data) < len(b"".join(encode_index(whole))) - whole.size.size * 4
    assert b"".join(encode_index(found)) == data


@given(MEMBERS)
def test_every_payload_is_at_its_offset(samples):
    shard, index = small_shard(samples)
    found = parse_index(b"".join(encode_index(index)), name="x")
    assert found.keys() == list(samples)
    assert [found.key(row) for row in range(found.num_samples)] == list(samples)
    payloads = {}
    for row, key in enumerate(samples):
        for member in found.members(row):
            start, size = int(found.data_offset[member]), int(found.size[member])
            begin = start - int(found.header_bytes[member])
            payloads[f"{key}.{found.field_of(member)}"] = (begin, shard[start : start + size])
            assert found.row_of(member) == row
    assert payloads == {m.name: (m.member_offset, payload) for m, payload in parse([shard])[0]}
    assert found.samples_per_field() == {
        field: sum(field in sample for sample in samples.values()) for field in found.fields
    }


@given(MEMBERS)
def test_the_safetensors_library_reads_an_index(samples):
    judge = judge_module("safetensors.numpy")
    _, index = small_shard(samples)
    loaded = judge.load(b"".join(encode_index(index)))
    for name, column in columns_of(index).items():
        assert np.array_equal(loaded[name], column)


def test_patterns_of_ignored_files_round_trip():
    _, index = small_shard(SAMPLES)
    assert b"ignored" not in b"".join(encode_index(index))
    index = dataclasses.replace(index, ignored=("*.txt", "._*"))
    assert parse_index(b"".join(encode_index(index)), name="x").ignored == ("*.txt", "._*")


def test_keys_that_are_not_utf8_round_trip():
    _, index = small_shard(SAMPLES)
    index = dataclasses.replace(
        index, key_heap=np.frombuffer(b"\xff\xe9\xc3\xa9", np.uint8), key_offset=np.array([0, 1, 2, 4], np.uint64)
    )
    found = parse_index(b"".join(encode_index(index)), name="x")
    assert found.keys() == ["\udcff", "\udce9", "é"]
    assert found.key(2) == "é"


def test_fields_outside_ascii_round_trip():
    _, index = small_shard({"a": {"jpg": b"1"}})
    for field in ("", "é", "\udcff", "\0", "x-"):
        found = parse_index(b"".join(encode_index(dataclasses.replace(index, fields=(field,)))), name="x")
        assert found.fields == (field,)


def test_an_index_without_samples():
    found = parse_index(b"".join(encode_index(small_shard({})[1])), name="x")
    assert (found.num_samples, found.keys(), found.fields, found.end_of_data) == (0, [], (), 0)


def test_fields_in_another_order_than_sorted_are_accepted():
    _, index = small_shard({"a": {"x": b"1", "y": b"2"}, "b": {"x": b"3", "y": b"4"}})
    order = [1, 0, 3, 2]
    swapped = {name: column[order] for name, column in columns_of(index).items() if len(column) == index.num_members}
    parse_index(b"".join(encode_index(dataclasses.replace(index, **swapped))), name="x")


# Rule and case: what is changed in a good index of three samples (fields jpg, json, seg.png).
def cell(column, at, value):
    def change(columns, _metadata):
        columns[column] = columns[column].copy()
        columns[column][at] = value

    return change


def meta(name, value):
    return lambda _columns, metadata: metadata.update({name: value})


def column(name, make):
    return lambda columns, _metadata: columns.update({name: make(columns[name])})


def swap_rows(columns, _metadata):
    for name in ("data_offset", "size", "crc32c", "header_bytes"):
        columns[name] = columns[name][[0, 2, 1, 3, 4, 5]]


HUGE = 2**64 - 512
REFUSED = {
    "X1 missing": (lambda _, metadata: metadata.pop("fields"), "no list of field names"),
    "X1 text": (meta("fields", "jpg"), "no list of field names"),
    "X1 object": (meta("fields", "{}"), "no list of field names"),
    "X1 number": (meta("fields", '["jpg",1,"x"]'), "no list of field names"),
    "X1 deep": (meta("fields", "[" * 100_000), "no list of field names"),
    "X1 ignored": (meta("ignored", '"._*"'), "no list of ignored patterns"),
    "X1 ignored not sorted": (meta("ignored", '["b","a"]'), "has ignored patterns that are not sorted"),
    "X1 unsorted": (meta("fields", '["json","jpg","seg.png"]'), "not sorted"),
    "X1 twice": (meta("fields", '["jpg","jpg","json"]'), "or repeat"),
    "X1 many": (
        meta("fields", json.dumps([f"{i:05d}" for i in range(MAX_FIELDS + 1)], separators=(",", ":"))),
        "limit 65536",
    ),
    "X2 missing": (lambda _, metadata: metadata.pop("shard_bytes"), "bad shard_bytes"),
    **{
        f"X2 {value!r}": (meta("end_of_data", value), "bad end_of_data")
        for value in ("-1", "+1", " 1", "01", "1_0", "1.0", "0x10", "²", "", "9" * 5000, str(2**63))
    },
    **{
        f"X2 checksum {value!r}": (meta("shard_crc32c", value), "bad shard_crc32c")
        for value in ("", "DEADBEEF", "0x123456", "1234567", "123456789", "1234567\n", "-1234567")
    },
    "X3 missing": (lambda columns, _: columns.pop("header_bytes"), "has the columns"),
    "X3 one of two": (lambda columns, _: columns.pop("field"), "has the columns"),
    "X3 the other": (lambda columns, _: columns.pop("member_start"), "has the columns"),
    "X3 neither": (lambda columns, _: (columns.pop("field"), columns.pop("member_start")), "shape"),
    "X3 checksums without that of the shard": (lambda _, metadata: metadata.pop("shard_crc32c"), "has the columns"),
    "X3 no checksums but that of the shard": (lambda columns, _: columns.pop("crc32c"), "has the columns"),
    "X3 dtype": (column("crc32c", lambda c: c.astype("<u8")), "'crc32c' of uint64"),
    "X3 shape": (column("size", lambda c: c[:2]), "'size'"),
    "X3 in two dimensions": (column("size", lambda c: c.reshape(2, 3)), "'size'"),
    "X3 keys": (column("key_offset", lambda c: c[:-1]), "'member_start' of shape"),
    "X3 no keys": (column("key_offset", lambda c: c[:0]), "empty or not one-dimensional"),
    "X3 keys in two dimensions": (column("key_offset", lambda c: c.reshape(2, 2)), "empty or not one-dimensional"),
    "X4 begin": (column("key_offset", lambda c: c + np.array([1, 0, 0, 0], "<u8")), "key offsets"),
    "X4 end": (column("key_heap", lambda c: c[:-1]), "key offsets"),
    "X4 descends": (column("key_offset", lambda c: c[[0, 2, 1, 3]]), "key offsets"),
    "X4 huge": (column("key_offset", lambda c: np.array([0, HUGE, HUGE, c[-1]], "<u8")), "key offsets"),
    "X5 beyond": (meta("shard_bytes", "512"), "data up to"),
    "X5 no block": (meta("end_of_data", "5121"), "data up to"),
    "X6 fewer fields": (meta("fields", '["jpg","json"]'), "other fields than its 2"),
    "X6 more fields": (meta("fields", '["jpg","json","seg.png","txt"]'), "a field without a member"),
    "X6 begin": (cell("member_start", 0, 1), "member numbers that do not ascend"),
    "X6 end": (cell("member_start", 3, 5), "member numbers that do not ascend"),
    "X6 no field": (cell("member_start", 2, 2), "without any field"),
    "X6 descends": (cell("member_start", 1, 2**32 - 1), "member numbers that do not ascend"),
    "X6 twice": (cell("field", 1, 0), "not sorted, or repeat"),
    "X6 field": (cell("field", 5, 3), "other fields"),
    "X6 huge field": (cell("field", 5, 2**16 - 1), "other fields"),
    "X7 offset": (cell("data_offset", 5, 1 << 20), "beyond the data"),
    "X7 size": (cell("size", 5, 1 << 20), "beyond the data"),
    "X7 overflow": (cell("size", 5, 2**64 - 1), "beyond the data"),
    "X7 both overflow": (cell("data_offset", 5, HUGE), "beyond the data"),
    "X8 offset": (cell("data_offset", 0, 513), "not whole blocks"),
    "X8 headers": (cell("header_bytes", 0, 511), "not whole blocks"),
    "X8 no header": (cell("header_bytes", 0, 0), "not whole blocks"),
    "X9 overlap": (cell("size", 0, 600), "overlap"),
    "X9 same": (cell("data_offset", 1, 512), "overlap"),
    "X9 long header": (cell("header_bytes", 1, 1024), "overlap"),
    "X9 before the shard": (cell("header_bytes", 0, 1024), "overlap"),
    "X9 header as long as numbers go": (cell("header_bytes", 3, 2**32 - 512), "overlap"),
    "X9 rows": (swap_rows, "another order"),
}
FRAMES_REFUSED = {
    "X5 beyond the tar": (meta("end_of_data", "8192"), "data up to"),
    "X10 one column": (lambda columns, _: columns.pop("frame_data"), "only one or two of"),
    "X10 no columns": (
        lambda columns, _: (columns.pop("frame_data"), columns.pop("frame_start")),
        "only one or two of",
    ),
    "X10 no compression": (lambda _, metadata: metadata.pop("compression"), "only one or two of"),
    "X10 lengths": (column("frame_start", lambda c: c[:2]), "expected two columns alike"),
    "X10 no frame": (
        lambda columns, _: columns.update({name: columns[name][:1] for name in ("frame_start", "frame_data")}),
        "expected two columns alike",
    ),
    "X10 in two dimensions": (
        lambda columns, _: columns.update(
            {name: columns[name].reshape(3, 1) for name in ("frame_start", "frame_data")}
        ),
        "expected two columns alike",
    ),
    "X11 begin": (cell("frame_data", 0, 512), "frames that do not ascend"),
    "X11 descends": (cell("frame_data", 1, 0), "frames that do not ascend"),
    "X11 starts descend": (cell("frame_start", 1, 300), "frames that do not ascend"),
    "X11 beyond the file": (cell("frame_start", 2, 401), "frames that do not ascend"),
    "X11 large": (cell("frame_data", 2, 1 << 31), "a frame that holds more than"),
    "X11 huge": (cell("frame_data", 2, HUGE), "a frame that holds more than"),
}


@pytest.mark.parametrize(
    ("change", "reason", "good"),
    [(*case, small_index()) for case in REFUSED.values()]
    + [(*case, framed_index()) for case in FRAMES_REFUSED.values()],
    ids=[*REFUSED, *FRAMES_REFUSED],
)
def test_refused(change, reason, good):
    columns, metadata = safetensors.parse(good, name="good")
    change(columns, metadata)
    data = b"".join(safetensors.encode(columns, metadata))
    with pytest.raises(CorruptIndexError, match=reason) as caught:
        parse_index(data, name="x.index")
    assert caught.value.path == "x.index"


def test_samples_without_any_field_are_refused():
    columns, metadata = safetensors.parse(small_index(), name="good")
    keys = {name: columns[name] for name in ("key_offset", "key_heap")}
    rest = {name: columns[name][:0] for name in ("data_offset", "size", "crc32c", "header_bytes")}
    metadata["fields"] = "[]"
    with pytest.raises(CorruptIndexError, match="without any field"):
        parse_index(b"".join(safetensors.encode({**keys, **rest}, metadata)), name="x")


def test_frames_round_trip():
    index = parse_index(framed_index(), name="x")
    assert index.frames is not None
    assert (index.frames.stored.tolist(), index.frames.plain.tolist()) == ([0, 180, 300], [0, 2048, index.plain_bytes])
    assert (index.shard_bytes, len(index.frames)) == (400, 2)
    assert b"".join(encode_index(index)) == framed_index()


def test_another_compression_needs_a_newer_shardpack():
    columns, metadata = safetensors.parse(framed_index(), name="good")
    metadata["compression"] = "lz4"
    with pytest.raises(UnsupportedVersionError, match="'lz4', which this version of shardpack does not know"):
        parse_index(b"".join(safetensors.encode(columns, metadata)), name="x")


@given(MEMBERS.filter(bool), st.data())
def test_pick_gives_the_members_of_rows(samples, data):
    index = small_shard(samples)[1]
    rows = data.draw(st.lists(st.integers(0, len(samples) - 1), max_size=6))
    columns = sorted(data.draw(st.sets(st.integers(0, len(index.fields) - 1))))
    for wanted in (None, columns):
        owner, members = index.pick(np.array(rows, np.int64), wanted)
        fields = index.fields if wanted is None else [index.fields[column] for column in wanted]
        assert list(zip(owner.tolist(), members.tolist(), strict=True)) == [
            (number, member)
            for number, row in enumerate(rows)
            for field in fields
            for member in index.members(row)
            if index.field_of(member) == field
        ]


@given(st.data())
def test_truncation_anywhere_is_refused(data):
    whole = small_index()
    with pytest.raises(CorruptIndexError):
        parse_index(whole[: data.draw(st.integers(0, len(whole) - 1))], name="x")


def test_a_newer_version_is_distinguished_from_damage():
    columns, metadata = safetensors.parse(small_index(), name="good")
    metadata["version"] = "2"
    del columns["size"]
    with pytest.raises(UnsupportedVersionError, match="upgrade shardpack"):
        parse_index(b"".join(safetensors.encode(columns, metadata)), name="x")


@given(st.data())
def test_damage_gives_an_index_within_its_shard_or_our_error(data):
    _within_or_our_error(data.draw(damaged(small_index())))


@given(st.sampled_from(["data_offset", "size", "header_bytes", "member_start", "field", "key_offset"]), st.data())
def test_any_numbers_give_an_index_within_its_shard_or_our_error(name, data):
    columns, metadata = safetensors.parse(small_index(), name="good")
    changed = columns[name].copy()
    bits = 8 * changed.itemsize
    number = st.one_of(st.integers(0, 2**bits - 1), st.integers(0, 9).map(lambda n: n * 512 % 2**bits))
    for _ in range(data.draw(st.integers(1, 3))):
        changed.reshape(-1)[data.draw(st.integers(0, changed.size - 1))] = data.draw(number)
    _within_or_our_error(b"".join(safetensors.encode({**columns, name: changed}, metadata)))


@given(st.sampled_from(["fields", "shard_bytes", "shard_crc32c", "end_of_data", "version"]), json_values())
def test_any_metadata_gives_an_index_within_its_shard_or_our_error(name, value):
    columns, metadata = safetensors.parse(small_index(), name="good")
    metadata[name] = json.dumps(value)
    _within_or_our_error(b"".join(safetensors.encode(columns, metadata)))


def _within_or_our_error(data: bytes) -> None:
    try:
        index = parse_index(data, name="x")
    except (CorruptIndexError, UnsupportedVersionError):
        return
    ends = [int(a) + int(b) for a, b in zip(index.data_offset, index.size, strict=True)]
    assert max(ends, default=0) <= index.end_of_data <= index.shard_bytes < 2**63
    assert all(int(a) >= int(b) for a, b in zip(index.data_offset, index.header_bytes, strict=True))
    assert len(index.keys()) == index.num_samples
    members = [member for row in range(index.num_samples) for member in index.members(row)]
    assert members == list(range(index.num_members))
    assert {index.field_of(member) for member in members} == set(index.fields)
