"""The report on undamaged and on damaged datasets; tests/read/test_damage.py has every kind of damage."""

from __future__ import annotations

import dataclasses
import pickle
import shutil

import pytest

import shardpack
from shardpack.errors import DatasetNotFoundError, OptionError
from shardpack.format.assemble import encode_dataset
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import MANIFEST_PATH, index_path, manifest_path
from shardpack.format.manifest_json import encode_manifest, parse_manifest
from shardpack.storage.memory import MemoryStore
from tests.commit.stores import WatchedStore
from tests.fakes import file_contents
from tests.format.builders import entry, judge_module
from tests.read.damage import errors_of_reading, flip
from tests.read.datasets import CountingStore, numbered, split_in_two, write
from tests.sidecars import key_index, shard_table

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


@pytest.mark.parametrize("full", [False, True])
def test_a_store_is_verified_as_its_files_are(folder, full):
    files = file_contents(folder)
    assert shardpack.verify(MemoryStore(files), full=full).ok
    del files[SHARD]
    (problem,) = shardpack.verify(MemoryStore(files), full=full, jobs=1).problems
    assert (problem.kind, problem.shard) == ("missing", SHARD)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("full", [False, True])
def test_tars_in_two_places(folder, full, jobs):
    split_in_two(folder)
    report = shardpack.verify(folder, full=full, jobs=jobs)
    assert (report.problems, report.num_shards) == ((), 3)
    (folder.parent / "more" / SHARD).rename(folder / SHARD)
    assert sorted((problem.kind, problem.shard) for problem in shardpack.verify(folder, full=full).problems) == [
        ("missing", SHARD),
        ("stray", SHARD),
    ]


@pytest.mark.parametrize("full", [False, True])
def test_tars_on_this_disk_and_in_a_bucket(folder, full):
    split_in_two(folder)
    bucket = WatchedStore()
    bucket.put(SHARD, (folder.parent / "more" / SHARD).read_bytes())
    shutil.rmtree(folder.parent / "more")
    whole = parse_manifest((folder / MANIFEST_PATH).read_bytes())
    for path in (MANIFEST_PATH, manifest_path(1)):
        (folder / path).write_bytes(encode_manifest(dataclasses.replace(whole, locations=(".", bucket.url))))
    assert shardpack.verify(folder, full=full).ok
    bucket.delete(SHARD)
    (problem,) = shardpack.verify(folder, full=full).problems
    assert (problem.kind, problem.shard) == ("missing", SHARD)


@pytest.mark.parametrize("full", [False, True])
def test_each_index_is_read_once(folder, full):
    store = CountingStore(file_contents(folder))
    assert shardpack.verify(store, full=full).ok
    taken = [path for path in store.taken() if "/index/" in path]
    assert sorted(taken) == [index_path(f"shard-{number:06d}.tar") for number in range(3)]


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
    span, data = span_of(folder, 120), bytearray((folder / SHARD).read_bytes())
    for position in range(120, 240, 10):
        data[span_of(folder, position).offset] ^= 1
    (folder / SHARD).write_bytes(data)
    problems = shardpack.verify(folder, full=True).problems
    assert [problem.key for problem in problems] == ["k/0120", "k/0130", "k/0140", "k/0150", "k/0160", None]
    assert problems[-1].message == "7 more fields are damaged; restore the shard"
    assert problems[0].offset == span.offset
    assert problems[0].message.startswith(f"field 'bin' is damaged: expected CRC32C {span.crc32c:08x}, got ")
    assert str(problems[0]).startswith(f"damaged: {SHARD}, key 'k/0120', offset {span.offset}: field 'bin' is damaged")


def test_a_damaged_header_names_what_still_reads_the_samples(folder):
    flip(folder / SHARD, 3)
    (problem,) = shardpack.verify(folder, full=True).problems
    assert (problem.kind, problem.shard, problem.offset) == ("damaged", SHARD, 0)
    assert problem.message.endswith('restore the shard, or take out what its index finds with "shardpack extract"')


def test_a_lost_index_does_not_hide_what_is_wrong_with_its_shard(folder):
    (folder / index_path(SHARD)).unlink()
    (problem,) = shardpack.verify(folder, full=True).problems
    assert (problem.kind, problem.shard) == ("missing", index_path(SHARD))
    flip(folder / SHARD, span_of(folder, 0).offset + 512 * 7)
    found = {(problem.kind, problem.shard) for problem in shardpack.verify(folder, full=True).problems}
    assert found == {("missing", index_path(SHARD)), ("damaged", SHARD)}
    (folder / SHARD).unlink()
    found = {(problem.kind, problem.shard) for problem in shardpack.verify(folder).problems}
    assert found == {("missing", index_path(SHARD)), ("missing", SHARD)}


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
    strays = (
        "shard-000003.tar",
        ".shardpack/index/shard-000003.index",
        ".shardpack/keys-000001-00000000.index",
        "x.tar",
    )
    for name in (*strays, "notes.txt", ".shardpack/tmp/lease.json", "a.index"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    (folder / "sub").mkdir()
    (folder / "sub" / "shard-000000.tar").write_bytes(b"")
    problems = shardpack.verify(folder, full=True).problems
    assert {problem.shard: (problem.kind, problem.command) for problem in problems} == {
        ".shardpack/tmp": ("unfinished", None),
        **dict.fromkeys([name for name in strays if name.endswith(".tar")], ("stray", None)),
        **dict.fromkeys([name for name in strays if name.endswith(".index")], ("orphan", "gc")),
    }


def published(folder, change=lambda shards: shards, hashes=None, **options):
    """Write table, key index and manifest anew, all fitting together, with something changed."""
    whole = parse_manifest((folder / MANIFEST_PATH).read_bytes())
    shards = change(list(shardpack.open(folder).shards))
    if hashes is None:
        hashes = hash_keys(SAMPLES)
    for path in [*folder.glob(".shardpack/*.index"), folder / manifest_path(1)]:
        path.unlink()
    _, files = encode_dataset(shards, hashes, packed_with=whole.packed_with, **options)
    for path, parts in files:
        (folder / path).write_bytes(b"".join(parts))


def test_the_key_index_of_other_keys(folder):
    """Sound in itself, and bound into the manifest: only the keys themselves tell."""
    published(folder, hashes=hash_keys(f"x/{i:04d}" for i in range(300)))
    name = str(key_index(folder).relative_to(folder))
    (problem,) = shardpack.verify(folder).problems
    assert (problem.kind, problem.shard) == ("stale", name)
    (folder / "shard-000004.tar").write_bytes(b"")
    assert len(shardpack.verify(folder).problems) == 2, "an orphan does not make the other checks weaker"


def test_a_table_that_tells_other_fields_than_the_indexes(folder):
    def change(shards):
        counts = {name: count - (name == "bin") for name, count in shards[1].samples_per_field.items()}
        return [shards[0], dataclasses.replace(shards[1], samples_per_field=counts), shards[2]]

    published(folder, change)
    (problem,) = shardpack.verify(folder).problems
    assert (problem.kind, problem.shard) == ("stale", SHARD)


@pytest.mark.parametrize("change", [{"num_bytes": 1}, {"fingerprint": "0" * 16}, {"samples_per_field": {"bin": 1}}])
def test_a_manifest_that_contradicts_its_table(folder, change):
    whole = dataclasses.replace(parse_manifest((folder / MANIFEST_PATH).read_bytes()), **change)
    for path in (MANIFEST_PATH, manifest_path(1)):
        (folder / path).write_bytes(encode_manifest(whole))
    (problem,) = shardpack.verify(folder).problems
    assert (problem.kind, problem.shard) == ("damaged", MANIFEST_PATH)


def test_a_damaged_shard_table_is_told_and_hides_no_key_index(folder):
    path, keys = shard_table(folder), key_index(folder)
    for damaged in (path, keys):
        flip(damaged, damaged.stat().st_size - 1)
    assert [(problem.kind, problem.shard) for problem in shardpack.verify(folder).problems] == [
        ("damaged", str(damaged.relative_to(folder))) for damaged in (path, keys)
    ]


def test_the_manifest_of_the_generation(folder):
    path = folder / manifest_path(1)
    text = path.read_bytes()
    path.write_bytes(encode_manifest(dataclasses.replace(parse_manifest(text), classes=("x",))))
    (problem,) = shardpack.verify(folder).problems
    assert (problem.kind, problem.shard) == ("stale", manifest_path(1))
    path.unlink()
    (problem,) = shardpack.verify(folder).problems
    assert (problem.kind, problem.shard) == ("missing", manifest_path(1))


def test_an_indexed_foreign_dataset(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a", "sub/b"):
        data = entry(f"{name}.jpg".encode(), b"123") + entry(f"{name}.cls".encode(), b"4") + bytes(1024)
        (tmp_path / f"{name}.tar").write_bytes(data)
    shardpack.index(str(tmp_path / "**" / "*.tar"))
    assert shardpack.verify(tmp_path, full=True).ok
    (tmp_path / "sub" / "c.tar").write_bytes(b"")
    (problem,) = shardpack.verify(tmp_path).problems
    assert (problem.kind, problem.shard) == ("stray", "sub/c.tar")
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


@pytest.mark.parametrize("text", ["{}", None])
def test_without_the_copy_of_the_manifest_the_rest_is_verified(folder, text):
    copy = folder / MANIFEST_PATH
    copy.unlink()
    if text is not None:
        copy.write_text(text)
    (folder / SHARD).unlink()
    report = shardpack.verify(folder)
    kind = "missing" if text is None else "damaged"
    assert [(one.kind, one.shard, one.command) for one in report.problems] == [
        (kind, MANIFEST_PATH, "repair"),
        ("missing", SHARD, "copy"),
    ]
    assert (report.generation, report.num_samples) == (1, 300)


def test_without_a_manifest_there_is_nothing_to_verify_against(folder):
    (folder / manifest_path(1)).unlink()
    (folder / MANIFEST_PATH).write_text("{}")
    report = shardpack.verify(folder)
    assert [(one.kind, one.shard, one.command) for one in report.problems] == [("damaged", MANIFEST_PATH, "repair")]
    assert "shardpack repair --force" in report.problems[0].message
    assert (report.generation, report.num_shards, report.ok) == (0, 0, False)
    (folder / MANIFEST_PATH).unlink()
    with pytest.raises(DatasetNotFoundError):
        shardpack.verify(folder)


def test_options_are_checked(folder):
    for jobs in (0, "4", 1.5, True):
        with pytest.raises(OptionError, match=f"jobs is {jobs!r}, expected an integer of at least 1"):
            shardpack.verify(folder, jobs=jobs)


def test_reports_pickle(folder):
    key_index(folder).unlink()
    report = shardpack.verify(folder)
    assert pickle.loads(pickle.dumps(report)) == report
    assert not report.ok


def test_damage_anywhere_in_a_compressed_shard(tmp_path):
    judge_module("zstandard")
    samples = numbered(12, size=90)
    folder = write(tmp_path / "out", samples, compress={"shards": "zstd:3"}, frame_bytes=4096)
    assert shardpack.verify(folder).ok
    assert shardpack.verify(folder, full=True).ok
    shard = folder / "shard-000000.tar.zst"
    good = shard.read_bytes()
    for at in range(0, len(good), 41):
        shard.write_bytes(good[:at] + bytes([good[at] ^ 0x15]) + good[at + 1 :])
        errors_of_reading(folder, samples, verify=True)  # fails unless what is read is true, or refused
        problems = shardpack.verify(folder, full=True).problems
        assert problems, f"byte {at} of {len(good)}"
        assert all(problem.shard == shard.name for problem in problems)
    shard.write_bytes(good[:-100])
    assert [problem.kind for problem in shardpack.verify(folder).problems] == ["stale"]
    shard.write_bytes(good)
    (folder / index_path(shard.name)).unlink()
    assert [problem.shard for problem in shardpack.verify(folder, full=True).problems] == [index_path(shard.name)]
