"""Lists of RecordIO: id, labels, path."""

from __future__ import annotations

import pytest

from shardpack.errors import SourceError
from shardpack.sources.formats.recordio_list import parse_list


def test_paths_by_id():
    assert parse_list(b"0\t3.0\ta/b.jpg\n\n7\t1\t2\tc.jpg\r\n", "x.lst") == {0: "a/b.jpg", 7: "c.jpg"}


@pytest.mark.parametrize("line", [b"x\t0\ta.jpg", b"inf\t0\ta.jpg", b"1\t0\t\xff"])
def test_other_lines_are_named(line):
    with pytest.raises(SourceError, match="line 2 is"):
        parse_list(b"0\t0\ta.jpg\n" + line, "x.lst")
