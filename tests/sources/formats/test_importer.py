"""Which format a path holds, and options that formats share."""

from __future__ import annotations

import pytest

from shardpack.errors import OptionError, SourceError
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import FORMATS, FormatOptions, find_format, importer_of


def test_every_format_has_a_module():
    for name in FORMATS:
        importer = importer_of(name)
        assert callable(importer.detect)
        assert callable(importer.open)


def test_an_unknown_format_is_refused():
    with pytest.raises(OptionError, match="no format is called 'nonsense'; choose one of"):
        importer_of("nonsense")


def test_files_of_no_format(tmp_path):
    (tmp_path / "a.nonsense").write_bytes(b"nothing")
    assert find_format(find_files(tmp_path)) is None
    assert find_format(find_files(tmp_path / "a.nonsense")) is None


def test_options_are_checked():
    with pytest.raises(OptionError, match="raw is 'bmp'"):
        FormatOptions(raw="bmp")
    with pytest.raises(OptionError, match="unpickle is 'all'"):
        FormatOptions(unpickle="all")
    with pytest.raises(OptionError, match=r"raw \(--raw\) is not for tfrecord; leave it out"):
        FormatOptions(raw="png").refuse("tfrecord", "unpickle", "raw")


def test_files_of_several_formats_are_a_question(tmp_path):
    (tmp_path / "a.msgpack").write_bytes(b"\x80")
    (tmp_path / "a.rec").write_bytes(b"\x0a\x23\xd7\xce")
    with pytest.raises(SourceError, match=r"of several formats: msgpack, recordio; choose with .*--from msgpack"):
        find_format(find_files(tmp_path))
