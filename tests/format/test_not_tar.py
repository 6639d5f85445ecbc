"""Files that are not plain tars are named as what they are, with the command that helps."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess

import pytest

from shardpack.errors import CorruptShardError
from shardpack.format.not_tar import COMPRESSED_SUFFIXES, COMPRESSIONS, compression_by_name, compression_of, what_it_is
from tests.format.builders import entry, parse

TAR = entry(b"a.jpg", b"1" * 3000) + bytes(1024)
SKIPPED = b"\x53\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("gzip", gzip.compress(TAR, mtime=0)),
        ("bzip2", bz2.compress(TAR)),
        ("xz", lzma.compress(TAR)),
        *(("lzma", lzma.compress(TAR, lzma.FORMAT_ALONE, preset=preset)) for preset in (0, 6, 9)),
        ("zstd", b"\x28\xb5\x2f\xfd" + bytes(600)),
        ("zstd", SKIPPED + b"\x28\xb5\x2f\xfd" + bytes(600)),
        ("lz4", b"\x04\x22\x4d\x18" + bytes(600)),
        ("lz4", SKIPPED + SKIPPED + b"\x04\x22\x4d\x18"),
        ("lz4", b"\x02\x21\x4c\x18" + bytes(600)),  # legacy
        ("compress", b"\x1f\x9d\x90" + bytes(600)),
        ("lzip", b"LZIP\x01" + bytes(600)),
        ("lzop", b"\x89LZO\0\r\n\x1a\n" + bytes(600)),
        ("lrzip", b"LRZI\0\x06" + bytes(600)),
        ("grzip", b"GRZipII\0\x02\x04:)" + bytes(600)),
        ("snappy", b"\xff\x06\0\0sNaPpY" + bytes(600)),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
@pytest.mark.parametrize("length", [100, 512, 1 << 20])
def test_compressed_tars_are_named_with_the_command_that_helps(name, data, length):
    command = next(one.command for one in COMPRESSIONS if one.name == name)
    text = f"compressed with {name}, which does not allow random access; decompress it to a plain tar: "
    text += f'"{command} < x.tar > plain-x.tar"'
    with pytest.raises(CorruptShardError) as caught:
        parse([data[:length]], "deep/x.tar")
    assert str(caught.value).startswith(text)
    assert (caught.value.shard, caught.value.offset) == ("deep/x.tar", 0)


def test_files_without_a_magic_number_are_identified_by_name():
    assert what_it_is(b"\x0b\x02\x80" * 30, "x.tar.br")[0].startswith("compressed with brotli")
    assert what_it_is(SKIPPED[:4] + b"\xff" * 20, "x.tar.lz4")[0].startswith("compressed with lz4")
    assert what_it_is(SKIPPED[:4] + b"\xff" * 20, "x.tar")[0].startswith("compressed with zstd")


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"PK\x03\x04", "a zip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"Rar!\x1a\x07\0", "a rar archive"),
        (b"070701", "a cpio archive"),
        (b"!<arch>\n", "an ar archive"),
    ],
)
def test_other_archives_are_named(start, kind):
    with pytest.raises(CorruptShardError, match=f"not a tar but {kind}; unpack it, then pack the files with tar"):
        parse([start + bytes(600)])


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
def test_the_command_in_the_advice_works(name, tmp_path):
    (tmp_path / name).write_bytes(gzip.compress(TAR))
    with pytest.raises(CorruptShardError) as caught:
        parse([(tmp_path / name).read_bytes()], f"deep/{name}")
    command = str(caught.value).split('"')[1]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir() if path.name != name] == [TAR]


def test_unknown_files():
    assert what_it_is(b"", "x.tar.gz") == ("not a tar: the file is empty", "copy it again, or leave it out")
    assert what_it_is(b"hello", "x.tar")[0] == "not a tar: the first block is not a header"
    assert compression_of(b"hello", "x.tar") is None


def test_every_suffix_names_one_compression():
    assert len(set(COMPRESSED_SUFFIXES)) == len(COMPRESSED_SUFFIXES)
    assert all(compression_by_name(f"x{suffix}") is not None for suffix in COMPRESSED_SUFFIXES)
    assert compression_by_name("x.tar") is None
