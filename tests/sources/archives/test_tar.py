"""The files of tars, and of tars in them; Python's tarfile makes and judges them."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptShardError, ShardpackError
from shardpack.sources.archives.tar import list_tar
from shardpack.storage.memory import MemoryStore

FILES = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=150).filter(
        lambda name: not name.lower().endswith(".tar") and name not in {".", ".."}
    ),
    st.binary(max_size=3000),
    max_size=8,
)


def make_tar(files, tar_format=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def read_all(archive):
    store = MemoryStore({"x.tar": archive})
    members = list_tar(store, "x.tar", 0)
    columns = zip(members.names, members.sizes, members.references, strict=True)
    return {name: store.get_range(at.path, start=at.start, length=size) for name, size, at in columns}


@given(files=FILES, tar_format=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_reads_what_tarfile_writes(files, tar_format):
    assert read_all(make_tar(files, tar_format)) == files


@given(outer=FILES, inner=FILES)
def test_tars_in_a_tar_are_folders(outer, inner):
    archive = make_tar({**outer, "n01440764.tar": make_tar(inner), "deep/x.TAR": make_tar(inner)})
    folders = {f"{folder}/{name}": content for folder in ("n01440764", "deep/x") for name, content in inner.items()}
    assert read_all(archive) == {**outer, **folders}


def test_large_payloads_are_not_read():
    store = MemoryStore({"x.tar": make_tar({f"{n}.jpg": bytes(1 << 20) for n in range(8)})})
    done = []
    members = list_tar(store, "x.tar", 0, advance=done.append)
    assert len(members.names) == 8
    assert store.stats.snapshot().bytes_fetched < 1 << 20
    assert sum(done) <= store.size("x.tar")


SMALL = make_tar({"a.txt": b"first", "b.tar": make_tar({"c.txt": b"second"})})


def test_tars_truncated_at_every_offset_lose_nothing_silently():
    whole = read_all(SMALL)
    end = SMALL.rindex(b"second") + 512  # behind it there are only zeros
    for length in range(end):
        try:
            found = read_all(SMALL[:length])
        except ShardpackError:
            continue
        assert length % 512 == 0  # a tar may end behind any member, without a mark
        assert found.items() <= whole.items()


def test_tars_with_a_changed_bit_are_read_or_refused():
    for bit in range(0, 8 * len(SMALL), 3):
        changed = bytearray(SMALL)
        changed[bit // 8] ^= 1 << bit % 8
        with suppress(ShardpackError):
            read_all(bytes(changed))


def test_a_tar_in_a_tar_ends_where_it_ends():
    inner = bytearray(make_tar({"c.txt": bytes(600)})[:1024])  # lacks half of its file
    with pytest.raises(CorruptShardError, match=r"'c\.txt' ends behind it"):
        read_all(make_tar({"b.tar": bytes(inner), "next": bytes(5000)}))


def test_links_are_counted():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (("a", tarfile.LNKTYPE), ("b", tarfile.SYMTYPE), ("c", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "x"
            archive.addfile(info)
    store = MemoryStore({"x.tar": make_tar({"inner.tar": buffer.getvalue(), "file": b"x"})})
    assert list_tar(store, "x.tar", 0).left_out == [("x.tar", "a link in an archive")] * 2


def test_other_files_are_no_tars():
    with pytest.raises(CorruptShardError, match="not a tar"):
        read_all(b"\xff\xd8" * 5000)
