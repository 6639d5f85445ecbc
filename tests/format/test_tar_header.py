"""Headers as written, judged by Python's tarfile."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.format import tar_header as tar
from tests.format.builders import block
from tests.strategies import BOUNDARY_SIZES, member_names

SIZES = st.one_of(st.sampled_from(BOUNDARY_SIZES), st.integers(0, 2**63 - 1))


def first_member(header: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(header + bytes(1024)), mode="r:") as archive:
        assert archive.firstmember is not None
        return archive.firstmember


@given(member_names(), SIZES)
def test_tarfile_reads_headers(name, size):
    header = tar.header(name.encode(), size)
    member = first_member(header)
    assert (member.name, member.size, member.offset_data) == (name, size, len(header))
    assert (member.mode, member.uid, member.gid, member.mtime, member.uname, member.gname) == (0o644, 0, 0, 0, "", "")
    assert member.isreg()
    assert member.linkname == ""
    assert tar.header_length(name.encode(), size) == len(header)


@given(member_names(), st.integers(0, tar.MAX_OCTAL_SIZE))
def test_the_header_of_a_ustar_name_equals_that_of_tarfile(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    try:
        expected = info.tobuf(tarfile.USTAR_FORMAT)
    except ValueError:  # a name that needs pax
        assert len(tar.header(name.encode(), size)) > tar.BLOCK
    else:
        assert _without_devices(tar.header(name.encode(), size)) == _without_devices(expected)


def _without_devices(header: bytes) -> bytes:
    """Python leaves the device numbers of files NUL, we write zeros as GNU tar does: the sums differ too."""
    return header[: tar.CHECKSUM] + header[tar.TYPE : 329] + header[345:]


@pytest.mark.parametrize(
    ("name", "size", "blocks"),
    [
        (b"a" * 100, 8**11 - 1, 1),
        (b"a" * 100, 8**11, 3),
        (b"a" * 101, 0, 3),
        (b"p" * 155 + b"/" + b"a" * 100, 0, 1),
        (b"p" * 156 + b"/" + b"a" * 100, 0, 3),
        (b"/" + b"a" * 100, 0, 3),
        (b"a" * 100 + b"/", 0, 3),
        (b"a" * 600, 0, 4),
    ],
)
def test_pax_is_used_where_ustar_ends(name, size, blocks):
    header = tar.header(name, size)
    assert len(header) == blocks * tar.BLOCK
    member = first_member(header)
    assert (member.name, member.size) == (name.decode().rstrip("/"), size)


def completed(names, sizes, *, gap=0):
    """Return headers made together, each `gap` blocks behind the one before."""
    blocks = np.full((len(names) * (gap + 1), tar.BLOCK), 0xEE, np.uint8)
    rows = np.arange(len(names)) * (gap + 1)
    blocks[rows] = np.frombuffer(tar.PLAIN_HEADER, np.uint8)
    tar.complete_headers(blocks, rows, names, np.array(sizes, np.int64))
    others = np.delete(blocks, rows, axis=0)
    assert (others == 0xEE).all()
    return [blocks[row].tobytes() for row in rows]


NAMES = st.one_of(st.text("ab/-.", min_size=1, max_size=100).map(str.encode), st.binary(min_size=1, max_size=100))
SIZES = st.one_of(st.integers(0, tar.MAX_OCTAL_SIZE), st.sampled_from([0, 0o7777, 0o10000, tar.MAX_OCTAL_SIZE]))


@given(st.lists(st.tuples(NAMES, SIZES), max_size=20), st.integers(0, 2))
def test_headers_made_together_are_those_made_one_by_one(members, gap):
    expected = [tar.header(name, size) for name, size in members]
    assert completed([name for name, _ in members], [size for _, size in members], gap=gap) == expected


def test_the_largest_sum_of_a_header():
    name, size = b"\xff" * 100, tar.MAX_OCTAL_SIZE
    assert completed([name], [size]) == [tar.header(name, size)]


def test_headers_made_together_tolerate_some_that_need_more():
    names, sizes = [b"a.jpg", b"b" * 300, b"c.jpg", b"d.jpg"], [1, 2, 8**11, 3]
    found = completed(names, sizes)
    for i in (0, 3):
        assert found[i] == tar.header(names[i], sizes[i])


@given(st.binary(min_size=1, max_size=12), st.binary(min_size=1, max_size=600))
def test_pax_record_counts_itself(keyword, value):
    record = tar.pax_record(keyword, value)
    assert record == b"%d %s=%s\n" % (len(record), keyword, value)


@pytest.mark.parametrize("length", [*range(90, 103), *range(985, 1003)])
def test_pax_record_at_the_lengths_where_a_digit_is_added(length):
    record = tar.pax_record(b"path", b"x" * length)
    assert int(record.split(b" ")[0]) == len(record)


@given(st.integers(0, 10**9))
def test_padded_is_the_next_multiple_of_a_block(size):
    assert tar.padded(size) % 512 == 0
    assert 0 <= tar.padded(size) - size < 512
    assert tar.padded(np.array([size, 0, 513])).tolist() == [tar.padded(size), 0, 1024]


def test_unusual_members_are_those_that_do_not_fit_one_plain_header():
    lengths, sizes = np.array([100, 101, 1, 1]), np.array([0, 0, 8**11 - 1, 8**11])
    assert tar.unusual_members(lengths, sizes).tolist() == [1, 3]


@given(st.one_of(st.binary(max_size=512), st.text(st.characters(max_codepoint=127), max_size=512).map(str.encode)))
def test_byte_sum_is_the_sum(data):
    assert tar.byte_sum(data) == sum(data)


def test_byte_sum_is_exact_for_the_largest_ascii_block():
    assert tar.byte_sum(b"\x7f" * 512) == 0x7F * 512


@given(st.integers(0, 8**11 - 1))
def test_parse_number_reads_octal(number):
    for text in (b"%011o\0", b"%11o ", b"%011o ", b" %o"):
        assert tar.parse_number((text % number).ljust(12, b"\0")[:12]) == number


@given(st.integers(-(2**94), 2**94 - 1))
def test_parse_number_reads_base_256(number):
    field = (number & (2**95 - 1) | 1 << 95).to_bytes(12, "big")
    assert tar.parse_number(field) == number


@given(st.integers(-(2**56), 2**56 - 1))
def test_parse_number_reads_what_tarfile_writes(number):
    assert tar.parse_number(tarfile.itn(number, 8, tarfile.GNU_FORMAT)) == number


@given(st.binary(min_size=12, max_size=12))
def test_parse_number_equals_tarfile_or_refuses(field):
    try:
        number = tar.parse_number(field)
    except ValueError:
        return
    if field[0] in (0x80, 0xFF) or not field[0] & 0x80:  # other first bytes are GNU tar's alone
        assert number == tarfile.nti(field)


@pytest.mark.parametrize("field", [b"8", b"12 34", b"+7", b"0o17", b"1_0", b"\0" + b"17", b"-1", b"\t7"])
def test_parse_number_refuses_what_others_read_differently(field):
    with pytest.raises(ValueError, match=r"octal|invalid literal"):
        tar.parse_number(field.ljust(12, b"\0"))


@pytest.mark.parametrize("field", [bytes(12), b" " * 12, b" \0".ljust(12, b"\0")])
def test_an_empty_number_is_zero(field):
    assert tar.parse_number(field) == 0


def test_checksum_may_be_signed():
    header = bytearray(block("é.jpg".encode(), 1))
    assert tar.checksum_matches(bytes(header))
    unsigned = tar.parse_number(bytes(header[tar.CHECKSUM : tar.TYPE]))
    header[tar.CHECKSUM : tar.TYPE] = b"%06o\0 " % (unsigned - 2 * 256)  # two bytes above 127
    assert tar.checksum_matches(bytes(header))
    header[tar.CHECKSUM : tar.TYPE] = b"%06o\0 " % (unsigned - 256)
    assert not tar.checksum_matches(bytes(header))


@given(st.integers(0, 511), st.integers(1, 255))
def test_checksum_finds_any_changed_byte(at, change):
    header = bytearray(tar.header(b"cat/0001.jpg", 1234))
    before = bytes(header)
    header[at] ^= change
    in_checksum = tar.CHECKSUM <= at < tar.TYPE
    if in_checksum and tar.parse_number(before[tar.CHECKSUM : tar.TYPE]) == _or_none(header[tar.CHECKSUM : tar.TYPE]):
        return  # another spelling of the same number
    assert not tar.checksum_matches(bytes(header))


def _or_none(field: bytes) -> int | None:
    try:
        return tar.parse_number(bytes(field))
    except ValueError:
        return None
