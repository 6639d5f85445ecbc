"""Identify files that are not plain tars, and name the command that makes a plain tar of one.

The magic numbers are those of the formats' specifications and of the `file` program.
"""

from __future__ import annotations

from dataclasses import dataclass

from shardpack.format.frames import skippable_end


@dataclass(frozen=True, slots=True)
class CompressedTar:
    """A way to compress a tar: how to recognize it, and the command that undoes it."""

    name: str
    magics: tuple[bytes, ...]
    suffixes: tuple[str, ...]
    command: str


COMPRESSIONS = (
    CompressedTar("gzip", (b"\x1f\x8b",), (".tar.gz", ".tgz", ".taz"), "gzip -d"),
    CompressedTar("zstd", (b"\x28\xb5\x2f\xfd",), (".tar.zst", ".tzst"), "zstd -d"),
    CompressedTar("xz", (b"\xfd7zXZ\0",), (".tar.xz", ".txz"), "xz -d"),
    CompressedTar("bzip2", (b"BZh",), (".tar.bz2", ".tbz2", ".tbz"), "bzip2 -d"),
    CompressedTar("lz4", (b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"), (".tar.lz4",), "lz4 -d"),  # the second is legacy
    CompressedTar("compress", (b"\x1f\x9d", b"\x1f\xa0"), (".tar.Z", ".taZ"), "uncompress"),
    CompressedTar("lzma", (b"\x5d\0\0",), (".tar.lzma", ".tlz"), "xz -d --format=lzma"),
    CompressedTar("lzip", (b"LZIP",), (".tar.lz",), "lzip -d"),
    CompressedTar("lzop", (b"\x89LZO\0\r\n\x1a\n",), (".tar.lzo", ".tzo"), "lzop -d"),
    CompressedTar("lrzip", (b"LRZI",), (".tar.lrz", ".tlrz"), "lrzip -d"),
    CompressedTar("rzip", (b"RZIP",), (".tar.rz",), "rzip -d"),
    CompressedTar("grzip", (b"GRZipII\0",), (".tar.grz",), "grzip -d"),
    CompressedTar("snappy", (b"\xff\x06\0\0sNaPpY",), (".tar.sz",), "snzip -d"),
    CompressedTar("brotli", (), (".tar.br", ".tbr"), "brotli -d"),  # has no magic number
)  # fmt: skip
COMPRESSED_SUFFIXES = tuple(suffix for compression in COMPRESSIONS for suffix in compression.suffixes)

_ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"07070": "a cpio archive",
    b"\xc7\x71": "a cpio archive",
    b"!<arch>\n": "an ar archive",
}


def compression_of(start: bytes, name: str = "") -> CompressedTar | None:
    """Return how a file is compressed, by its first bytes or else its name, or None if neither says."""
    while (end := skippable_end(start)) is not None:  # such frames may precede the data of zstd and lz4
        start = start[end:]
        if not start:
            return compression_by_name(name) or _BY_NAME["zstd"]
    for compression in COMPRESSIONS:
        if start.startswith(compression.magics):
            return compression
    return compression_by_name(name)


def compression_by_name(name: str) -> CompressedTar | None:
    """Return how a tar is compressed according to its name, or None."""
    return next((one for one in COMPRESSIONS if name.endswith(one.suffixes)), None)


def what_it_is(start: bytes, name: str) -> tuple[str, str]:
    """Return (what a file without a tar header is, what to do about it).

    Args:
        start: The first bytes of the file, at most a block.
        name: The file's name, for formats without a magic number and for the command.
    """
    compression = compression_of(start, name) if start else None
    if compression is not None:
        return f"compressed with {compression.name}, which does not allow random access", advice_for(compression, name)
    for magic, kind in _ARCHIVES.items():
        if start.startswith(magic):
            return f"not a tar but {kind}", "unpack it, then pack the files with tar"
    what = "the first block is not a header" if start else "the file is empty"
    return f"not a tar: {what}", "copy it again, or leave it out"


def advice_for(compression: CompressedTar, name: str) -> str:
    """Return the advice for a compressed tar of this name."""
    own = name.rpartition("/")[2]
    if own.endswith(compression.suffixes):
        return f'decompress it to a plain tar: "{compression.command} {own}"'
    plain = f"plain-{own}"  # the programs accept only files with their own suffix
    return f'decompress it to a plain tar: "{compression.command} < {own} > {plain}"'


_BY_NAME = {compression.name: compression for compression in COMPRESSIONS}
