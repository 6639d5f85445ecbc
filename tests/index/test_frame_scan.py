"""Compressed tars of other tools are indexed where their frames can be read one by one, and refused otherwise."""

from __future__ import annotations

import gzip
import tracemalloc

import numpy as np
import pytest

import shardpack
from shardpack.errors import CorruptShardError
from shardpack.format.frames import Frames, seek_table
from shardpack.index.frame_scan import find_frames, scan_compressed
from shardpack.index.full_scan import TarFile, scan_whole
from shardpack.index.grouping import DEFAULT_IGNORE
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from tests.format.builders import entry, judge_module
from tests.storage.framed import compressed

MEMBERS = [
    entry(f"{number // 2}.{'jpg' if number % 2 else 'json'}".encode(), b"%d" % number * 300) for number in range(12)
]
PLAIN = b"".join(MEMBERS) + bytes(1024)
GAP = b"\x55\x2a\x4d\x18\x05\0\0\0hello"
LONG_GAP = b"\x55\x2a\x4d\x18\0\0\x08\0" + bytes(1 << 19)
NAME = "x.tar.zst"


@pytest.fixture(scope="module")
def zstandard():
    return judge_module("zstandard")


def frames_by_member(zstandard, **options):
    return [zstandard.ZstdCompressor(**options).compress(part) for part in (*MEMBERS, bytes(1024))]


def table_of(parts, *, before=0):
    """Return the seek table of the parts, of which the first is an empty frame of `before` bytes, if any."""
    sizes = [[len(part), size] for part, size in zip(parts, [*map(len, MEMBERS), 1024], strict=True)]
    return seek_table(Frames(*np.cumsum([[0, 0], *([[before, 0]] * bool(before)), *sizes], axis=0).T))


def with_empty_blocks(frame):
    """Return a frame with many blocks of nothing before its last one, which must be its only one."""
    header = 5 + (1 if frame[4] < 64 else 2 if frame[4] < 128 else 4)
    return frame[:header] + b"\0\0\0" * 30_000 + frame[header:]


def scan(file, **options):
    return scan_compressed(MemoryStore({NAME: file}), NAME, **options, ignore=DEFAULT_IGNORE)


def test_files_whose_frames_can_be_read_one_by_one(zstandard, tmp_path):
    parts = frames_by_member(zstandard)
    checked = frames_by_member(zstandard, write_checksum=True)
    untold = frames_by_member(zstandard, write_content_size=False)
    empty, empty_untold = zstandard.ZstdCompressor().compress(b""), zstandard.ZstdCompressor().compressobj().flush()
    files = {
        "with a seek table": b"".join(parts) + table_of(parts),
        "without": b"".join(parts),
        "with checksums": b"".join(checked),
        "frames that do not tell what they hold, with a seek table": b"".join(untold) + table_of(untold),
        "with skippable frames": GAP + GAP.join(parts) + GAP,
        "with empty frames": empty.join(parts),
        "with empty frames outside": empty + GAP + empty_untold + b"".join(parts) + empty,
        "with empty frames outside, and a seek table": empty + b"".join(parts) + table_of(parts, before=len(empty)),
        "with frames longer than libzstd makes them": b"".join(map(with_empty_blocks, parts)),
        "with long skippable frames": LONG_GAP + LONG_GAP.join(parts) + LONG_GAP,
        "in frames that do not end with members": compressed(PLAIN, 1000, table=False)[0],
        "with a seek table, in one frame": compressed(PLAIN, len(PLAIN))[0],
    }
    (tmp_path / "plain.tar").write_bytes(PLAIN)
    shardpack.index(tmp_path / "plain.tar", out=tmp_path / "plain")
    plain = [dict(sample) for sample in shardpack.open(tmp_path / "plain")]
    assert len(plain) == 6
    expected = scan_whole(TarFile(str(tmp_path), "plain.tar", DEFAULT_IGNORE)).index
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
        "nothing at all": (GAP, "the file is empty"),
        "frames that do not tell": (
            b"".join(frames_by_member(zstandard, write_content_size=False)),
            "no seek table, and its frames do not say how much they hold, as those of a pipe; recompress",
        ),
        "truncated": (broken[:-3], "truncated inside a zstd frame|truncated"),
        "truncated in a header": (broken + b"\x28\xb5\x2f\xfd", "not a zstd frame"),
        "no zstd": (b"junk" * 99, "not compressed with zstd, but not a tar: the first block is not a header; copy it"),
        "a plain tar": (PLAIN, "not compressed with zstd, but a plain tar; rename it to 'x.tar'"),
        "gzip": (gzip.compress(PLAIN), r'but compressed with gzip; .*: "gzip -d < x\.tar\.zst > x\.tar"'),
        "zip": (b"PK\x03\x04" + bytes(600), "but not a tar but a zip archive"),
        "an empty file": (b"", "not a tar: the file is empty; copy it again, or leave it out"),
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
        scan_compressed(store, NAME, frames=other, ignore=DEFAULT_IGNORE)
    with pytest.raises(CorruptShardError, match="index says"):
        scan_compressed(store, "without", frames=other, ignore=DEFAULT_IGNORE)
    fewer = Frames(frames.stored[:-1], frames.plain[:-1])
    with pytest.raises(CorruptShardError, match="bytes that belong to no frame"):
        scan_compressed(store, "without", frames=fewer, ignore=DEFAULT_IGNORE)


def test_progress_counts_the_bytes_of_the_file(zstandard):
    file = b"".join(frames_by_member(zstandard)) + GAP
    done = []
    scan(file, advance=done.append)
    assert sum(done) == len(file)


def test_gigabytes_of_skippable_frames_are_never_in_memory(zstandard, tmp_path):
    """The file is sparse: half a gigabyte of nothing before, between and behind its frames."""
    parts, num_bytes = frames_by_member(zstandard), 160 << 20
    with open(tmp_path / NAME, "wb") as file:
        for number, part in enumerate(parts):
            if number in (0, 5, len(parts) - 1):
                file.write(b"\x50\x2a\x4d\x18" + num_bytes.to_bytes(4, "little"))
                file.seek(num_bytes, 1)
            file.write(part)
    tracemalloc.start()
    try:
        index = scan_compressed(LocalStore(tmp_path), NAME, ignore=DEFAULT_IGNORE).index
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
    assert (index.num_samples, index.shard_bytes) == (6, (tmp_path / NAME).stat().st_size)
    shardpack.index(tmp_path, jobs=1)
    ds = shardpack.open(tmp_path)
    assert [sample.key for sample in (*ds, ds[2], ds["5"])] == [*"012345", "2", "5"]
    assert ds.stats().bytes_fetched < 2 << 20
