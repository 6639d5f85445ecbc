"""Where frames end, whatever buffers their bytes come in; and that they hold the tar."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.format.checksum import crc32c
from shardpack.format.frames import parse_seek_table
from shardpack.write.frame_writer import FrameWriter
from shardpack.write.shard_compression import ShardCompression
from tests.conftest import judge
from tests.fakes import write_files
from tests.format.builders import judge_module, small_shard
from tests.strategies import chunked, cuts, examples, payloads, safe_fields, safe_keys

SIZES = st.lists(st.integers(1, 40).map(lambda blocks: 512 * blocks), min_size=1, max_size=12)
ZST = {"compress": {"shards": "zstd:3"}}


def written(data, ends, lengths, frame_bytes, max_frame_bytes):
    """Return (file, index) of bytes that come in buffers of these lengths."""
    parts = []
    writer = FrameWriter(parts.append, ShardCompression(1, frame_bytes), max_frame_bytes=max_frame_bytes)
    writer.end_samples(ends)
    for buffer in chunked(data, lengths):
        writer.write(memoryview(buffer))
    return parts, writer.finish(small_shard({"a": {"b": b""}})[1])


@examples(50)
@given(SIZES, st.integers(1, 9000), st.sampled_from([1500, 1 << 20]), cuts())
def test_frames_end_with_samples(sizes, frame_bytes, max_frame_bytes, lengths):
    module = judge_module("zstandard")
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    data = os.urandom(ends[-1] + 1024)
    parts, index = written(data, ends, lengths, frame_bytes, max_frame_bytes)
    file, frames = b"".join(parts), index.frames
    assert (index.shard_bytes, index.shard_crc32c, index.plain_bytes) == (len(file), crc32c(file), len(data))
    expected = [0]
    while expected[-1] < len(data):
        following = next((end for end in ends if end >= expected[-1] + frame_bytes), len(data))
        expected.append(min(following, expected[-1] + max_frame_bytes))
    assert frames.plain.tolist() == expected
    for (start, stop), (begin, end) in zip(pairwise(frames.stored.tolist()), pairwise(expected), strict=True):
        assert module.frame_content_size(file[start:stop]) == end - begin
        assert module.ZstdDecompressor().decompress(file[start:stop]) == data[begin:end]
    table = parse_seek_table(file[frames.stored_at[len(frames)] :])
    assert table[:, 1].tolist() == [end - begin for begin, end in pairwise(expected)]


SAMPLES = st.dictionaries(
    safe_keys(), st.dictionaries(safe_fields(), payloads(3000), min_size=1, max_size=3), min_size=1, max_size=8
)


def distinct(samples):
    """Leave out keys that differ in case only, which one shard may not hold."""
    return {key: samples[key] for key in {key.lower(): key for key in samples}.values()}


@examples(25)
@given(SAMPLES.map(distinct), st.integers(1, 6000), st.integers(1, 4))
def test_any_samples_read_as_from_plain_shards(tmp_path_factory, samples, frame_bytes, per_shard):
    judge_module("zstandard")
    folder = tmp_path_factory.mktemp("both")
    shardpack.pack(samples.items(), folder / "plain", max_shard_samples=per_shard)
    shardpack.pack(samples.items(), folder / "zst", max_shard_samples=per_shard, frame_bytes=frame_bytes, **ZST)
    plain, framed = shardpack.open(folder / "plain"), shardpack.open(folder / "zst")
    order = random.Random(1).sample(range(len(samples)), len(samples))
    assert [framed[at] for at in order] == [plain[at] for at in order]
    assert framed.get_many(order) == plain.get_many(order)
    assert list(map(dict, framed)) == list(map(dict, plain))
    fields = list(plain.fields[:1])
    assert framed.get_many(order, fields=fields) == plain.get_many(order, fields=fields)
    assert [key for key in samples if dict(framed[key]) != dict(plain[key])] == []
    assert shardpack.verify(folder / "zst", full=True).problems == ()
    assert framed.fingerprint != plain.fingerprint
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same samples packed as plain and as compressed shards."""
    judge_module("zstandard")
    folder = tmp_path_factory.mktemp("judged")
    rng = random.Random(5)
    samples = {
        f"{i // 100}/{i:04d}": {
            "json": json.dumps([rng.random() for _ in range(60)]).encode(),
            "jpg": b"text" * (1 + i % 9),
        }
        for i in range(600)
    }
    write_files(folder / "source", samples)
    report = {
        name: shardpack.pack(folder / "source", folder / name, max_shard_bytes="512KiB", jobs=jobs, **options)
        for name, jobs, options in (("plain", 1, {}), ("zst", 1, ZST), ("zst2", 2, ZST))
    }
    return folder, report


def test_the_number_of_jobs_changes_no_byte(both):
    folder, report = both
    one, two = (
        {path.relative_to(folder / name): path.read_bytes() for path in (folder / name).rglob("*.*") if path.is_file()}
        for name in ("zst", "zst2")
    )
    assert one == two
    assert sum(name.suffix == ".zst" for name in one) == report["plain"].num_shards > 2


def test_the_writer_makes_the_bytes_of_the_packer(both, tmp_path):
    folder, _ = both
    ds = shardpack.open(folder / "plain")
    report = shardpack.pack(
        ((sample.key, dict(sample)) for sample in ds), tmp_path / "out", max_shard_bytes="512KiB", **ZST
    )
    for path in (folder / "zst").glob("*.zst"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    assert report.tar_bytes == ds.manifest.num_bytes


def test_reports_say_the_ratio(both):
    _, report = both
    plain, zst = report["plain"], report["zst"]
    assert (plain.ratio, plain.tar_bytes) == (1.0, plain.num_bytes)
    assert zst.tar_bytes == plain.num_bytes
    assert zst.ratio == zst.num_bytes / plain.num_bytes < 0.6
    assert zst.overhead_bytes == plain.overhead_bytes
    assert zst.largest_shard_bytes < plain.largest_shard_bytes


def test_packing_again_gives_the_plain_shards_back(both, tmp_path):
    folder, _ = both
    shardpack.pack(shardpack.open(folder / "zst"), tmp_path / "out", max_shard_bytes="512KiB", jobs=2)
    for path in (folder / "plain").glob("*.tar"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_zstd_gives_the_plain_tar(both):
    folder, _ = both
    for path in sorted((folder / "zst").glob("*.zst")):
        found = subprocess.run([judge("zstd"), "-dcq", str(path)], capture_output=True, check=True).stdout
        assert found == (folder / "plain" / path.stem).read_bytes()


@pytest.mark.parametrize("command", [["tar", "--zstd", "-xf"], ["bsdtar", "-xf"]], ids=["tar", "bsdtar"])
def test_tars_are_unpacked(both, tmp_path, command):
    folder, _ = both
    judge("zstd")
    for path in sorted((folder / "zst").glob("*.zst")):
        subprocess.run([judge(command[0]), *command[1:], str(path)], cwd=tmp_path, check=True)
    found = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*")}
    source = folder / "source"
    assert found == {path.relative_to(source): path.read_bytes() for path in source.rglob("*.*")}


def test_readers_of_streams_and_of_the_seekable_format(both):
    folder, _ = both
    module, name = judge_module("zstandard"), "shard-000000.tar"
    plain = (folder / "plain" / name).read_bytes()
    with module.open(folder / "zst" / f"{name}.zst") as file:
        assert file.read() == plain
    with judge_module("pyzstd").SeekableZstdFile(folder / "zst" / f"{name}.zst") as file:
        for at in (0, len(plain) - 100, 5000, 1):
            file.seek(at)
            assert file.read(100) == plain[at : at + 100]


def test_a_run_with_another_level_writes_all_anew(both, tmp_path):
    folder, _ = both

    class StopError(Exception):
        pass

    def stop(phase, done, _total):
        if phase == "pack" and done:
            raise StopError

    options = {"max_shard_bytes": "128KiB", "jobs": 1}
    for level, resumes in ((1, True), (9, False)):
        out = tmp_path / str(level)
        with pytest.raises(StopError):
            shardpack.pack(folder / "source", out, progress=stop, compress={"shards": "zstd:1"}, **options)
        report = shardpack.pack(folder / "source", out, compress={"shards": f"zstd:{level}"}, **options)
        assert (report.resumed_shards > 0) == resumes
        recorded = shardpack.open(out).manifest.packed_with["options"]
        assert recorded["compress"] == {"shards": f"zstd:{level}"}
        assert recorded["frame_bytes"] == 16384
        assert set(recorded["versions"]) == {"zstandard", "libzstd"}


def test_plain_and_compressed_shards_are_not_left_side_by_side(both, tmp_path):
    folder, _ = both
    out = tmp_path / "out"
    shardpack.pack(folder / "source", out, **ZST)
    shardpack.pack(folder / "source", out, force=True)
    assert [path.name for path in out.glob("shard*")] == ["shard-000000.tar"]
    shardpack.pack(folder / "source", out, force=True, **ZST)
    assert [path.name for path in out.glob("shard*")] == ["shard-000000.tar.zst"]
