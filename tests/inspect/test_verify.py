"""The report on good and on damaged datasets; tests/read/test_damage.py goes through the kinds of damage."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest

import shardpack
from shardpack.errors import CorruptManifestError, DatasetNotFoundError, OptionError
from shardpack.format.key_index import encode_key_index, hash_keys
from shardpack.format.manifest import index_name
from shardpack.inspect import verify as verify_module
from tests.format.builders import entry
from tests.read.damage import flip
from tests.read.datasets import numbered, write

SAMPLES = numbered(300, size=50)
SHARD = "shard-000001.tar"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write(tmp_path_factory.mktemp("original"), SAMPLES, max_shard_samples=120)


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "ds")


def span_of(folder, position, field="bin"):
    (entry_,) = shardpack.open(folder).select([position]).entries()
    return entry_.fields[field]


@pytest.mark.parametrize("jobs", [None, 1, 2])
@pytest.mark.parametrize("full", [False, True])
def test_a_good_dataset(folder, full, jobs):
    report = shardpack.verify(folder, full=full, jobs=jobs)
    assert report.ok
    assert report.problems == ()
    assert (report.num_samples, report.num_shards, report.full) == (300, 3, full)
    assert report.num_bytes == sum(path.stat().st_size for path in folder.glob("*.tar"))
    assert report.seconds > 0


def test_an_empty_dataset_is_good(tmp_path):
    report = shardpack.verify(write(tmp_path, {}), full=True)
    assert (report.ok, report.num_samples, report.num_shards) == (True, 0, 0)


@pytest.mark.parametrize("jobs", [1, 2])
def test_problems_come_in_the_order_of_the_dataset(folder, jobs):
    for number in (2, 0):
        flip(folder / f"shard-{number:06d}.tar", span_of(folder, number * 120).offset)
    problems = shardpack.verify(folder, full=True, jobs=jobs).problems
    assert [(problem.shard, problem.key) for problem in problems] == [
        ("shard-000000.tar", "k/0000"),
        ("shard-000002.tar", "k/0240"),
    ]


def test_many_damaged_payloads_are_named_and_counted(folder):
    data = bytearray((folder / SHARD).read_bytes())
    for position in range(120, 240, 10):
        data[span_of(folder, position).offset] ^= 1
    (folder / SHARD).write_bytes(data)
    problems = shardpack.verify(folder, full=True).problems
    assert [problem.key for problem in problems] == ["k/0120", "k/0130", "k/0140", "k/0150", "k/0160", None]
    assert problems[-1].message == "7 more fields are damaged; restore the shard"
    span = span_of(folder, 120)
    assert problems[0].offset == span.offset
    assert problems[0].message.startswith(f"field 'bin' is damaged: expected CRC32C {span.crc32c:08x}, got ")
    assert str(problems[0]).startswith(f"damaged: {SHARD}, key 'k/0120', offset {span.offset}: field 'bin' is damaged")


def test_a_lost_index_does_not_hide_what_is_wrong_with_its_shard(folder):
    (folder / index_name(SHARD)).unlink()
    (problem,) = shardpack.verify(folder, full=True).problems
    assert (problem.kind, problem.shard) == ("missing", index_name(SHARD))
    flip(folder / SHARD, span_of(folder, 0).offset + 512 * 7)
    found = {(problem.kind, problem.shard) for problem in shardpack.verify(folder, full=True).problems}
    assert found == {("missing", index_name(SHARD)), ("damaged", SHARD)}
    (folder / SHARD).unlink()
    found = {(problem.kind, problem.shard) for problem in shardpack.verify(folder).problems}
    assert found == {("missing", index_name(SHARD)), ("missing", SHARD)}


def test_the_quick_check_reads_headers_throughout_a_shard(folder):
    """A shard of other samples with the same length, first and last among them the same."""
    keys = list(SAMPLES)
    shuffled = dict.fromkeys([keys[0], *keys[119:0:-1][1:], keys[119]])
    other = write(folder.parent / "other", dict.fromkeys(shuffled, SAMPLES["k/0003"]), max_shard_samples=120)
    same = write(folder.parent / "same", dict.fromkeys(keys[:120], SAMPLES["k/0003"]), max_shard_samples=120)
    shutil.copy(other / "shard-000000.tar", same)
    assert shardpack.open(same)[0].key == keys[0]
    (problem,) = shardpack.verify(same).problems
    assert (problem.kind, problem.shard) == ("stale", "shard-000000.tar")
    assert problem.key is not None


def test_orphans_are_told_apart_from_other_files(folder):
    for name in ("shard-000003.tar", "shard-000003.index", "notes.txt", "keys.index.123.tmp", "x.tar"):
        (folder / name).write_bytes(b"")
    (folder / ".shardpack").mkdir()
    (folder / "sub").mkdir()
    (folder / "sub" / "shard-000000.tar").write_bytes(b"")
    problems = shardpack.verify(folder, full=True).problems
    assert {problem.kind for problem in problems} == {"orphan"}
    assert sorted(problem.shard for problem in problems) == [
        ".shardpack",
        "keys.index.123.tmp",
        "shard-000003.index",
        "shard-000003.tar",
        "x.tar",
    ]


def test_the_key_index_of_other_keys(folder):
    """Sound in itself, and bound into the manifest: only the keys themselves tell."""
    keys = [f"x/{i:04d}".encode() for i in range(300)]
    parts = encode_key_index(hash_keys(keys, 300))
    data = b"".join(parts)
    (folder / "keys.index").write_bytes(data)
    manifest = json.loads((folder / "shardpack.json").read_text())
    (problem,) = shardpack.verify(folder).problems
    assert (problem.kind, problem.shard) == ("damaged", "keys.index")
    manifest["keys"]["crc32c"] = f"{verify_module.crc32c(data):08x}"
    (folder / "shardpack.json").write_text(json.dumps(manifest))
    (problem,) = shardpack.verify(folder).problems
    assert (problem.kind, problem.shard) == ("stale", "keys.index")
    (folder / "shard-000004.tar").write_bytes(b"")
    assert len(shardpack.verify(folder).problems) == 2, "an orphan is no reason to look less closely"


def test_an_indexed_foreign_dataset(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a", "sub/b"):
        data = entry(f"{name}.jpg".encode(), b"123") + entry(f"{name}.cls".encode(), b"4") + bytes(1024)
        (tmp_path / f"{name}.tar").write_bytes(data)
    shardpack.index(str(tmp_path / "**" / "*.tar"))
    assert shardpack.verify(tmp_path, full=True).ok
    (tmp_path / "sub" / "c.tar").write_bytes(b"")
    (problem,) = shardpack.verify(tmp_path).problems
    assert (problem.kind, problem.shard) == ("orphan", "sub/c.tar")
    (tmp_path / "sub" / "c.tar").unlink()
    flip(tmp_path / "sub" / "b.tar", 512)
    (problem,) = shardpack.verify(tmp_path, full=True).problems
    assert (problem.kind, problem.shard, problem.key, problem.offset) == ("damaged", "sub/b.tar", "sub/b", 512)


def test_progress_counts_bytes(folder):
    seen = []
    shardpack.verify(folder, full=True, jobs=1, progress=lambda *call: seen.append(call))
    total = sum(path.stat().st_size for path in folder.glob("*.tar"))
    assert [phase for phase, _, _ in seen] == ["verify"] * 3
    assert seen[-1] == ("verify", total, total)
    (folder / SHARD).write_bytes(b"no tar")
    for full in (False, True):
        seen.clear()
        shardpack.verify(folder, full=full, jobs=1, progress=lambda *call: seen.append(call))
        assert seen[-1] == ("verify", total, total), "the end is reached whatever is found on the way"


def test_progress_goes_on_within_a_large_shard(tmp_path):
    write(tmp_path, {"a": {"bin": bytes(5 << 20)}})
    for work, option in ((shardpack.verify, {"full": True}), (shardpack.index, {"force": True})):
        seen = []
        work(tmp_path, progress=lambda _phase, done, _total, seen=seen: seen.append(done), **option)
        assert len(seen) > 4
        assert seen == sorted(set(seen))


def test_without_a_manifest_there_is_nothing_to_verify_against(folder):
    (folder / "shardpack.json").write_text("{}")
    with pytest.raises(CorruptManifestError):
        shardpack.verify(folder)
    (folder / "shardpack.json").unlink()
    with pytest.raises(DatasetNotFoundError):
        shardpack.verify(folder)


def test_options_are_checked(folder):
    for jobs in (0, "4", 1.5, True):
        with pytest.raises(OptionError, match=f"jobs is {jobs!r}, expected an integer of at least 1"):
            shardpack.verify(folder, jobs=jobs)


def test_reports_pickle(folder):
    (folder / "keys.index").unlink()
    report = shardpack.verify(folder)
    assert pickle.loads(pickle.dumps(report)) == report
    assert not report.ok
