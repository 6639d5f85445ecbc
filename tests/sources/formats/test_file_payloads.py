"""Files that rows only name."""

from __future__ import annotations

import pytest

from shardpack.errors import SourceError
from shardpack.sources.formats.file_payloads import read_beside
from shardpack.sources.formats.found_files import find_files


def test_a_path_is_relative_to_the_table_and_stays_below_the_root(tmp_path):
    (tmp_path / "root" / "data").mkdir(parents=True)
    (tmp_path / "root" / "a.bin").write_bytes(b"a")
    (tmp_path / "root" / "data" / "b.bin").write_bytes(b"b")
    found = find_files(tmp_path / "root")
    assert read_beside(found, "data/t.parquet", "b.bin") == b"b"
    assert read_beside(found, "data/t.parquet", "../a.bin") == b"a"
    assert read_beside(found, "data/t.parquet", "..\\a.bin") == b"a"


@pytest.mark.parametrize(
    "path",
    ["../../x", "/etc/passwd", "https://h/x.jpg", "file:x", "C:\\x", "\\\\host\\x", "a\0b", "..", "a/../../../x"],
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path, path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "t.parquet").touch()
    with pytest.raises(SourceError, match="is not a path below"):
        read_beside(find_files(tmp_path), "data/t.parquet", path)
