"""One file a tar."""

from __future__ import annotations

import pytest

from shardpack.errors import OptionError
from shardpack.export.indexes.tar_files import distinct, write_bytes
from shardpack.export.staging import ExportFiles


def test_two_tars_of_one_index_are_refused():
    assert distinct(["a.idx", "b.idx"], ["a.tar", "b.tar"]) == ["a.idx", "b.idx"]
    with pytest.raises(OptionError, match=r"'a.1.tar' and 'a.2.tar' would share one index, 'a.idx'; rename one"):
        distinct(["a.idx", "a.idx"], ["a.1.tar", "a.2.tar"])


def test_folders_are_made(tmp_path):
    write_bytes(ExportFiles(str(tmp_path), ""), "d/e.idx", b"1")
    assert (tmp_path / "d" / "e.idx").read_bytes() == b"1"
