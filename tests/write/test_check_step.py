"""Images and JSON are checked while they are packed, where no listing could check them."""

from __future__ import annotations

from collections import Counter

import pytest

from shardpack.errors import SourceError
from shardpack.write.check_step import CheckImages

GOOD = {"jpg": b"\xff\xd8\xff only its first bytes", "json": b"{}", "bin": b"anything"}


def check(mode, fields):
    return list(CheckImages(mode)("key", fields, Counter()))


def test_a_good_sample_passes():
    assert check("signature", GOOD) == [("key", GOOD)]


@pytest.mark.parametrize(
    ("mode", "fields", "says"),
    [
        ("signature", {"jpg": b"\x89PNG\r\n\x1a\n"}, "jpg: does not begin like a jpg image, but like a png"),
        ("signature", {"a.json": b"{"}, r"a\.json: not JSON"),
        ("decode", GOOD, "jpg: "),
    ],
)
def test_a_bad_one_is_named(mode, fields, says):
    with pytest.raises(SourceError, match=says):
        check(mode, fields)
