"""CRC32C against the vectors of RFC 3720, appendix B.4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.format.checksum import crc32c


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0x00000000),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_known_checksums(data, checksum):
    assert crc32c(data) == checksum


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_checksum_continues_from_a_previous_one(first, second):
    assert crc32c(second, crc32c(first)) == crc32c(first + second)
