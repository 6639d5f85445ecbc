"""Compressed tars of other tools are indexed where their frames can be read one by one, and refused otherwise."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.errors import CorruptShardError
from shardpack.format.frames import Frames, frames_of, seek_table
from shardpack.index.frame_scan import find_frames, scan_compressed
from shardpack.index.full_scan import TarFile, scan_whole
from shardpack.storage.memory import MemoryStore
from tests.format.builders import entry, judge_module
from tests.storage.framed import compressed

MEMBERS = [
    entry(f"{number // 2}.{'jpg' if number % 2 else 'json'}".encode(), b"%d" % number * 300) for number in range(12)
]
PLAIN = b"".join(MEMBERS) + bytes(1024)
GAP = b"\x55\x2a\x4d\x18\x05\0\0\0hello"
NAME = "x.tar.zst"


@pytest.fixture(scope="module")
def zstandard():
    return judge_module("zstandard")


def frames_by_member(zstandard, **options):
    return [zstandard.ZstdCompressor(**options).compress(part) for part in (*MEMBERS, bytes(1024))]


def table_of(parts):
    sizes = [*map(len, MEMBERS), 1024]
    return seek_table(
        frames_of(np.array([[len(part), size] for part, size in zip(parts, sizes, strict=True)], np.int64))
    )


def scan(file, **options):
    return scan_compressed(MemoryStore({NAME: file}), NAME, **options)


def test_files_whose_frames_can_be_read_one_by_one(zstandard, tmp_path):
    parts = frames_by_member(zstandard)
    checked = frames_by_member(zstandard, write_checksum=True)
    untold = frames_by_member(zstandard, write_content_size=False)
    empty = zstandard.ZstdCompressor().compress(b"")
    files = {
        "with a seek table": b"".join(parts) + table_of(parts),
        "without": b"".join(parts),
        "with checksums": b"".join(checked),
        "frames that do not tell what they hold, with a seek table": b"".join(untold) + table_of(untold),
        "with skippable frames": GAP + GAP.join(parts) + GAP,
        "with empty frames": empty.join(parts),
        "in frames that do not end with members": compressed(PLAIN, 1000, table=False)[0],
        "with a seek table, in one frame": compressed(PLAIN, len(PLAIN))[0],
    }
    (tmp_path / "plain.tar").write_bytes(PLAIN)
    shardpack.index(tmp_path / "plain.tar", out=tmp_path / "plain")
    plain = [dict(sample) for sample in shardpack.open(tmp_path / "plain")]
    assert len(plain) == 6
    expected = scan_whole(TarFile(str(tmp_path), "plain.tar")).index
    for number, (what, file) in enumerate(files.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / NAME).write_bytes(file)
        index = scan(file).index
        assert np.array_equal(index.data_offset, expected.data_offset), what
        assert (index.plain_bytes, index.shard_bytes) == (len(PLAIN), len(file))
        report = shardpack.index(folder)
        assert (report.num_samples, report.num_bytes) == (6, len(file))
        ds = shardpack.open(folder)
        assert [ds[position] for position in (5, 0, 3)] == [plain[position] for position in (5, 0, 3)], what
        assert list(map(dict, ds)) == plain, what
        assert shardpack.verify(folder, full=True).problems == ()


def test_files_that_are_refused(zstandard):
    parts = frames_by_member(zstandard)
    whole = zstandard.ZstdCompressor().compress(PLAIN)
    broken = b"".join(parts)
    cases = {
        "one frame": (whole, 'in one frame; recompress with shardpack pack: .* --compress shards=zstd:3"'),
        "one frame and nothing": (whole + zstandard.ZstdCompressor().compress(b""), "in one frame"),
        "nothing at all": (GAP, "in one frame"),
        "frames that do not tell": (
            b"".join(frames_by_member(zstandard, write_content_size=False)),
            "do not say how much",
        ),
        "truncated": (broken[:-3], "truncated inside a zstd frame|truncated"),
        "truncated in a header": (broken + b"\x28\xb5\x2f\xfd", "not a zstd frame"),
        "no zstd": (b"junk" * 99, "not a zstd frame"),
        "something behind": (broken + b"junk" * 9, "not a zstd frame"),
        "no tar": (b"".join(zstandard.ZstdCompressor().compress(b"junk" * 999) for _ in range(2)), "not a tar"),
        "no samples": (b"".join([parts[-1], parts[-1]]), "no samples|no sample"),
        "a seek table of another file": (broken[: len(parts[0])] + broken + table_of(parts), "T|t"),
    }
    for what, (file, reason) in cases.items():
        with pytest.raises(CorruptShardError, match=reason):
            scan(file)
        assert what


def test_frames_of_an_index_are_compared_with_the_file(zstandard):
    parts = frames_by_member(zstandard)
    store = MemoryStore({NAME: b"".join(parts) + table_of(parts), "without": b"".join(parts)})
    frames = find_frames(store, "without", store.size("without"))
    assert scan(b"".join(parts), frames=frames).index.frames is frames
    other = Frames(np.delete(frames.stored, 3), np.delete(frames.plain, 3))
    with pytest.raises(CorruptShardError, match="seek table and index disagree"):
        scan_compressed(store, NAME, frames=other)
    with pytest.raises(CorruptShardError, match="index says"):
        scan_compressed(store, "without", frames=other)
    fewer = Frames(frames.stored[:-1], frames.plain[:-1])
    with pytest.raises(CorruptShardError, match="bytes that belong to no frame"):
        scan_compressed(store, "without", frames=fewer)


def test_progress_counts_the_bytes_of_the_file(zstandard):
    file = b"".join(frames_by_member(zstandard)) + GAP
    done = []
    scan(file, advance=done.append)
    assert sum(done) == len(file)
