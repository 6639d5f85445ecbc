"""Where tar readers differ we refuse, and only there: GNU tar, bsdtar, tarfile and webdataset as judges (SPEC 2.3)."""

from __future__ import annotations

import io
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptShardError
from shardpack.format import tar_header as tar
from tests.conftest import judge
from tests.format.builders import GNU, POSIX, V7, block, entry, full, gnu_long, judge_module, names, pax

END = bytes(1024)
A, C = entry(b"a.jpg", b"1"), entry(b"c.jpg", b"3")
SMUGGLED = entry(b"evil.jpg", b"x")[:512]  # bytes behind a link: a header to some, a payload to others
COMMENT, PATH = tar.pax_record(b"comment", b"hi"), tar.pax_record(b"path", b"q.jpg")


def extended(kind: bytes, size: int, content: bytes) -> bytes:
    """An extended header that says it has `size` bytes, whatever follows."""
    return block(b"././@LongLink", size, kind, magic=GNU) + full(content)


REFUSED = {
    "hard link with a size": block(b"l", 512, b"1", link=b"a.jpg") + SMUGGLED,
    "symbolic link with a size": block(b"l", 512, b"2", link=b"a.jpg") + SMUGGLED,
    "device with a size": block(b"l", 512, b"3") + SMUGGLED,
    "folder with a size": block(b"l/", 512, b"5") + SMUGGLED,
    "FIFO with a size": block(b"l", 512, b"6") + SMUGGLED,
    "label with a size": block(b"l", 512, b"V", magic=GNU) + SMUGGLED,
    "hard link with a size in pax": pax([(b"size", b"512")]) + block(b"l", 0, b"1", link=b"a.jpg") + SMUGGLED,
    "v7 folder with a size": block(b"b.jpg/", 512, b"\0", magic=V7) + SMUGGLED,
    "file whose name ends in a slash": block(b"b.jpg/", 512) + SMUGGLED,
    "pax path that ends in a slash": pax([(b"path", b"b.jpg/")]) + entry(b"b.jpg"),
    "pax path that ends in a slash, v7": pax([(b"path", b"b.jpg/")]) + entry(b"b.jpg", b"", b"\0"),
    "v7 name cut at a slash": gnu_long(b"bbb.jpg") + entry(b"b/", b"2", b"\0", magic=GNU),
    "label with a long name": gnu_long(b"b.jpg") + block(b"l", 0, b"V", magic=GNU),
    "long name beyond its size": extended(b"L", 3, b"bbb-b.jpg\0") + entry(b"z", b"2", magic=GNU),
    "long name of nothing": extended(b"L", 0, b"") + entry(b"b.jpg", b"2", magic=GNU),
    "pax records beyond their size": extended(b"x", len(COMMENT), COMMENT + PATH) + entry(b"b.jpg", b"2"),
    "global records beyond their size": extended(b"g", len(COMMENT), COMMENT + PATH) + entry(b"b.jpg", b"2"),
}
READ = {
    **{f"kind {kind} without a size": block(b"l", 0, kind, link=b"a.jpg") for kind in (b"1", b"2", b"5", b"6")},
    "label without a size": block(b"l", 0, b"V", magic=GNU),
    "contents of a folder": block(b"l", 512, b"D", magic=GNU) + SMUGGLED,
    "file of kind 7": entry(b"b.jpg", b"2", b"7"),
    "v7 folder": block(b"b/", 0, b"\0", magic=V7),
    "v7 folder with a long name": gnu_long(b"b.jpg/") + entry(b"b/", b"", b"\0", magic=GNU),
    "long name that ends before its size": extended(b"L", 6, b"b.jpg\0junk.jpg") + entry(b"z", b"2", magic=GNU),
    "long name without a NUL": extended(b"L", 5, b"b.jpg") + entry(b"z", b"2", magic=GNU),
    "long name of one block": extended(b"L", 512, b"b" * 508 + b".jpg") + entry(b"z", b"2", magic=GNU),
    "pax records before a NUL": extended(b"x", len(COMMENT), COMMENT + b"\0" + PATH) + entry(b"b.jpg", b"2"),
    "pax header of nothing": extended(b"x", 0, b"") + entry(b"b.jpg", b"2"),
}


def listed(program, path):
    """Return the regular files that a tar program lists; None if it complains."""
    environment = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([judge(program), "-tvf", path], capture_output=True, text=True, env=environment, check=False)
    if done.returncode or done.stderr:
        return None
    return [line.split()[-1] for line in done.stdout.splitlines() if line[0] in "-C"]  # C: kind 7


def opinions(data, path):
    """Return what each judge takes for the files of an archive, by the judge's name."""
    path.write_bytes(data)
    with tarfile.open(path) as archive:
        python = [member.name for member in archive if member.isreg()]
    wds = judge_module("webdataset.tariterators")
    streamed = [file["fname"] for file in wds.tar_file_iterator(io.BytesIO(data))]
    return {"tar": listed("tar", path), "bsdtar": listed("bsdtar", path), "tarfile": python, "webdataset": streamed}


@pytest.mark.parametrize("middle", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_what_readers_differ_about(middle, tmp_path):
    data = A + middle + C + END
    found = opinions(data, tmp_path / "x.tar")
    assert len({tuple(names) if names is not None else names for names in found.values()}) > 1, found
    with pytest.raises(CorruptShardError, match="create it again"):
        names(data)


@pytest.mark.parametrize("middle", READ.values(), ids=READ)
def test_what_is_read_is_what_all_readers_read(middle, tmp_path):
    data = A + middle + C + END
    for judged, files in opinions(data, tmp_path / "x.tar").items():
        assert files == names(data), judged


NAMES = st.sampled_from(
    [b"b.jpg", b"c/d.jpg", b"e/", b"f", b"n" * 100, b"", b"./g.jpg", b"/h.jpg", b"i//j.jpg", b"\xff.jpg"]
)
LONG = st.sampled_from([b"q.jpg", b"r/s.jpg", b"t/", b"long/" * 30 + b"u.jpg", b"600", b"0", b" 5", b"-1", b"x=y"])
SLIPS = st.sampled_from([0] * 8 + [-1, 1, 5])  # in the size that an extended header claims


@st.composite
def headers_before(draw):
    """Zero to two extended headers, some with a size that is wrong."""
    parts = []
    for kind in draw(st.lists(st.sampled_from([b"x", b"X", b"g", b"L", b"K"]), max_size=2)):
        if kind in b"LK":
            content = draw(LONG) + draw(st.sampled_from([b"", b"\0", b"\0\0"]))
        else:
            keywords = st.sampled_from([b"path", b"size", b"mtime", b"comment", b"linkpath"])
            content = b"".join(tar.pax_record(draw(keywords), draw(LONG)) for _ in range(draw(st.integers(0, 2))))
        parts.append(extended(kind, max(0, len(content) + draw(SLIPS)), content))
    return b"".join(parts)


@st.composite
def members(draw):
    """One member of any kind, whatever it claims."""
    payload = b"p" * draw(st.sampled_from([0, 0, 0, 1, 512, 600]))
    prefix = draw(st.sampled_from([b"", b"", b"pre"]))
    magic = POSIX if prefix else draw(st.sampled_from([GNU, POSIX, V7]))
    kind = draw(st.sampled_from([b"0", b"0", b"0", b"\0", b"7", b"1", b"2", b"3", b"5", b"6", b"V", b"D", b"S"]))
    return draw(headers_before()) + block(draw(NAMES), len(payload), kind, magic=magic, prefix=prefix) + full(payload)


@given(st.lists(members(), min_size=1, max_size=3))
def test_whatever_is_read_is_what_tarfile_reads(between):
    data = A + b"".join(between) + C + END
    try:
        ours = [name for name in names(data) if not name.endswith("/")]
    except CorruptShardError:
        return
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert ours == [m.name for m in archive if m.isreg() and not m.name.endswith("/")]
