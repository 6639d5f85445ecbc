"""Index tars in buckets and on servers: beside them, elsewhere, in memory, interrupted and continued."""

from __future__ import annotations

import io
import json
import random
import re
import tarfile

import pytest

import shardpack
from shardpack.errors import (
    CorruptShardError,
    DuplicateKeyError,
    OptionError,
    OutputExistsError,
    ShardNotFoundError,
    StaleIndexError,
    StorageError,
)
from shardpack.storage.clients.client import RequestError
from tests.buckets import FakeBucket, serve
from tests.conformance.recipes import CORPUS
from tests.fakes import contents
from tests.format.builders import entry

END = bytes(1024)


def photo_tar(first, count, size=70_000):
    """Return a tar of images large enough to skip, and labels."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for i in range(first, first + count):
            for field, data in (("jpg", random.Random(i).randbytes(size + i)), ("json", b'{"i":%d}' % i)):
                info = tarfile.TarInfo(f"{i:05d}.{field}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


TARS = {f"train-{number:03d}.tar": photo_tar(20 * number, 20) for number in range(4)}


LEASES = 100 * len(TARS)  # bytes at most that the lease takes, read once a tar


@pytest.fixture
def bucket(monkeypatch):
    made = FakeBucket("memory://bucket", TARS)
    serve(monkeypatch, made)
    return made


def labels(ds):
    return [sample.decode("json")["i"] for sample in ds]


def test_indexes_beside_the_tars(bucket):
    report = shardpack.index("memory://bucket/train-*.tar")
    assert (report.out, report.num_samples, report.num_shards) == ("memory://bucket", 80, 4)
    assert (report.without_checksums, report.resumed) == (4, 0)
    assert bucket.fetched() < 0.12 * report.num_bytes, "64 KiB at the start of a small tar"
    assert bucket.fetched() <= report.bytes_fetched < bucket.fetched() + LEASES
    kinds = {re.sub(r"-000001-[0-9a-f]{8}", "", name) for name in bucket.objects}
    assert kinds == {
        *TARS,
        *(f".shardpack/index/{name.replace('.tar', '.index')}" for name in TARS),
        ".shardpack/keys.index",
        ".shardpack/shards.index",
        ".shardpack/manifests/000001.json",
        ".shardpack/manifest.json",
    }, "no journal is left"
    changes = [(verb, name) for verb, name, _ in bucket.asked if verb in {"put", "delete"}]
    after = changes[changes.index(("put", ".shardpack/manifest.json")) + 1 :]
    assert {verb for verb, _ in after} == {"delete"}, "the manifest comes last, but for the journal's end"
    assert json.loads(bucket.objects[".shardpack/manifest.json"])["locations"] == ["."]
    ds = shardpack.open("memory://bucket")
    assert labels(ds) == list(range(80))
    assert ds["00042"]["jpg"] == random.Random(42).randbytes(70_042)
    assert sorted(labels(ds.stream(shuffle="blocks", seed=1))) == list(range(80))
    assert ds.shards[0].crc32c is None
    assert next(ds.entries()).fields["jpg"].crc32c is None


def test_full_reads_everything_and_gives_checksums(bucket):
    report = shardpack.index("memory://bucket", checksums=True)
    assert report.without_checksums == 0
    assert 0 <= report.bytes_fetched - sum(map(len, TARS.values())) < LEASES
    with pytest.raises(OutputExistsError, match=r"already holds .shardpack/manifest.json; pass force=True \(--force\)"):
        shardpack.index("memory://bucket")
    bucket.objects["train-000.tar"] = TARS["train-000.tar"].replace(b'{"i":3}', b'{"i":4}')
    with pytest.raises(CorruptShardError, match="field 'json' is damaged"):
        labels(shardpack.open("memory://bucket"))
    report = shardpack.index("memory://bucket", force=True)
    assert report.changed == [], "unknown without checksums"
    assert shardpack.index("memory://bucket", force=True, checksums=True).changed == []


def test_the_manifest_says_where_the_tars_are(bucket, tmp_path, monkeypatch):
    other = FakeBucket("memory://indexes")
    serve(monkeypatch, bucket, other)
    before = dict(bucket.objects)
    for out in (tmp_path / "new" / "folder", "memory://indexes"):
        report = shardpack.index("memory://bucket/train-{000..003}.tar", out=out)
        assert report.out == str(out)
        ds = shardpack.open(out)
        assert ds.manifest.locations == ("memory://bucket",)
        assert labels(ds) == list(range(80))
        assert ds["00042"].decode("json") == {"i": 42}
        assert ds.stats().bytes_fetched > 0
    assert bucket.objects == before, "the tars' own place is left alone"
    files = {name: data for name, data in contents(tmp_path / "new" / "folder").items() if data is not None}
    assert files == other.objects
    assert not any("/tmp" in name for name in files), "no journal is left"


def test_local_and_remote_give_the_same_dataset(bucket, tmp_path):
    for name, data in TARS.items():
        (tmp_path / name).write_bytes(data)
    local, remote = (shardpack.index(where, checksums=True, force=True) for where in (tmp_path, "memory://bucket"))
    assert local.samples_per_field == remote.samples_per_field
    assert {name: data for name, data in contents(tmp_path).items() if data is not None} == bucket.objects
    shardpack.index(tmp_path, checksums=False, force=True)
    shardpack.index("memory://bucket", force=True)
    assert {name: data for name, data in contents(tmp_path).items() if data is not None} == bucket.objects


def test_in_memory_over_the_network(bucket):
    urls = [f"memory://bucket/{name}" for name in TARS]
    for where in (urls, "memory://bucket/train-{000..003}.tar", "memory://bucket"):
        ds = shardpack.open(where, index="memory")
        assert labels(ds) == list(range(80))
        assert ds["00042"]["jpg"] == random.Random(42).randbytes(70_042)
    assert not any(verb == "put" for verb, _, _ in bucket.asked)


# Cut off, and continued


def fail_at(name, verb="get"):
    def before(asked, path):
        if (asked, path) == (verb, name):
            raise RequestError("failed", "status 500")

    return before


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_run_that_was_cut_off_continues(bucket, tmp_path, on_disk):
    out = tmp_path / "out" if on_disk else None
    bucket.before = fail_at("train-003.tar")
    with pytest.raises(StorageError, match=r"train-003.tar'.* status 500; try again later"):
        shardpack.index("memory://bucket", out=out, jobs=1)
    names = contents(out) if on_disk else bucket.objects
    assert ".shardpack/manifest.json" not in names
    journal = [name for name in names if re.fullmatch(r"\.shardpack/tmp/train-\d+\.tar\.done\.json", name)]
    assert len(journal) == 3
    bucket.before = lambda *_: None
    bucket.asked.clear()
    report = shardpack.index("memory://bucket", out=out)
    assert report.resumed == 3
    assert {name for verb, name, _ in bucket.asked if verb == "get" and name.endswith(".tar")} == {"train-003.tar"}
    assert labels(shardpack.open(out or "memory://bucket")) == list(range(80))
    assert not any(name.startswith(".shardpack/tmp") for name in (contents(out) if on_disk else bucket.objects))


def test_what_changed_meanwhile_is_read_again(bucket):
    bucket.before = fail_at("train-003.tar")
    with pytest.raises(StorageError):
        shardpack.index("memory://bucket", jobs=1)
    bucket.before = lambda *_: None
    same_length = TARS["train-001.tar"].replace(b'{"i":21}', b'{"i":91}')
    assert len(same_length) == len(TARS["train-001.tar"])
    bucket.objects["train-001.tar"] = same_length
    index = ".shardpack/index/train-000.index"
    bucket.objects[index] = bucket.objects[index][:-1] + b"!"
    journal = next(name for name in bucket.objects if b'"train-002.tar"' in bucket.objects[name] and ".json" in name)
    bucket.objects[journal] = b"{half of an ent"
    report = shardpack.index("memory://bucket")
    assert report.resumed == 0
    assert labels(shardpack.open("memory://bucket"))[20:22] == [20, 91]


def test_a_run_with_checksums_takes_none_without(bucket):
    bucket.before = fail_at("train-003.tar")
    with pytest.raises(StorageError):
        shardpack.index("memory://bucket", jobs=1)
    bucket.before = lambda *_: None
    report = shardpack.index("memory://bucket", checksums=True)
    assert (report.resumed, report.without_checksums) == (0, 0)


def test_without_etags_nothing_is_taken_over(bucket):
    bucket.etags = False
    bucket.before = fail_at("train-003.tar")
    with pytest.raises(StorageError):
        shardpack.index("memory://bucket", jobs=1)
    bucket.before = lambda *_: None
    assert shardpack.index("memory://bucket").resumed == 0


def test_repeated_keys_leave_the_work_done(bucket):
    bucket.objects["train-004.tar"] = TARS["train-000.tar"]
    with pytest.raises(DuplicateKeyError, match=r"20 key\(s\) repeat: '00000' in 'train-004.tar' at 0"):
        shardpack.index("memory://bucket")
    report = shardpack.index("memory://bucket", on_duplicate="keep")
    assert (report.resumed, len(report.repeated)) == (5, 20)


def test_a_tar_that_is_replaced_meanwhile(bucket):
    def replace(verb, name):
        if verb == "get" and name == "train-002.tar" and ("get", name) in {ask[:2] for ask in bucket.asked}:
            bucket.objects[name] = TARS["train-001.tar"]

    bucket.before = replace
    with pytest.raises(StaleIndexError, match="was replaced"):
        shardpack.index("memory://bucket")


# What is in the way


def test_nothing_is_overwritten_unasked(bucket):
    other = ".shardpack/index/train-002.index"
    bucket.objects[other] = b"another file"
    with pytest.raises(
        OutputExistsError,
        match=r"memory://bucket/.shardpack/index/train-002.index' is not a shardpack index; move it away",
    ):
        shardpack.index("memory://bucket")
    assert bucket.objects[other] == b"another file"
    shardpack.index("memory://bucket", force=True)
    bucket.objects["train-009.tar"] = photo_tar(500, 1)
    with pytest.raises(OutputExistsError, match=r"has 1 more tar\(s\), such as 'train-003.tar'"):
        shardpack.index("memory://bucket/train-{000..002}.tar", force=True)
    bucket.objects[".shardpack/tmp/lease.json"] = b'{"command": "pack"}'
    with pytest.raises(OutputExistsError, match="unfinished; run the same pack command again"):
        shardpack.index("memory://bucket", force=True)


def test_a_bad_tar_among_good_ones(bucket):
    bucket.objects["train-001.tar"] = b"\x1f\x8b" + bytes(1000)
    with pytest.raises(CorruptShardError, match="compressed with gzip") as caught:
        shardpack.index("memory://bucket")
    assert caught.value.shard == "train-001.tar"
    assert ".shardpack/manifest.json" not in bucket.objects


def test_a_bucket_that_takes_nothing_names_another_way(bucket):
    def refuse(verb, _):
        if verb == "put":
            raise RequestError("denied", "status 403")

    bucket.before = refuse
    with pytest.raises(StorageError, match=r"access denied .*; or name another target for the indexes: out= \(--out\)"):
        shardpack.index("memory://bucket")


@pytest.mark.usefixtures("bucket")
def test_places_that_make_no_sense(tmp_path):
    (tmp_path / "x.tar").write_bytes(entry(b"a.jpg", b"1") + END)
    for call, text in [
        (lambda: shardpack.index("https://host/a-{0..1}.tar"), r"web server takes no files; name .* out= \(--out\)"),
        (lambda: shardpack.index("memory://bucket", out="https://host/x"), "a web server takes no files"),
        (lambda: shardpack.index(tmp_path, out="memory://bucket"), "tars on this disk cannot be found from"),
        (lambda: shardpack.index([tmp_path, "memory://bucket"]), "some tars are on this disk and some are not"),
        (lambda: shardpack.index(tmp_path, storage_options={"region": "x"}), "storage_options are for URLs"),
        (lambda: shardpack.index("memory://bucket", out_options={"region": "x"}), "out_options are for out"),
        (lambda: shardpack.index("memory://bucket", jobs="4"), "jobs is '4'"),
        (lambda: shardpack.index("memory://bucket", checksums="yes"), "checksums is 'yes'; choose True, False or None"),
        (lambda: shardpack.index(5), "expected a path, a URL, a store, or a list of paths or URLs, got 5"),
        (lambda: shardpack.index([tmp_path, 5]), "expected a path, a URL, a store, or a list"),
        (lambda: shardpack.index(b"x.tar"), "expected a path, a URL, a store, or a list"),
    ]:
        with pytest.raises(OptionError, match=text):
            call()


@pytest.mark.usefixtures("bucket")
def test_progress_is_told_from_one_thread_at_a_time():
    seen = []
    shardpack.index("memory://bucket", progress=lambda *call: seen.append(call))
    total = sum(map(len, TARS.values()))
    assert seen[:4] == [("sizes", count, 4) for count in (1, 2, 3, 4)], "no silent phase"
    assert seen[-1] == ("index", total, total)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


# Tars that changed after indexing


@pytest.mark.parametrize("verify", [None, True, False])
@pytest.mark.parametrize("what", ["shorter", "longer", "other names", "other sizes"])
def test_a_tar_without_checksums_that_changed_is_noticed(bucket, what, verify):
    shardpack.index("memory://bucket")
    data = TARS["train-000.tar"]
    bucket.objects["train-000.tar"] = {
        "shorter": data[:-1024],
        "longer": data + bytes(512),
        "other names": photo_tar(20, 20)[: len(data)].ljust(len(data), b"\0"),
        "other sizes": photo_tar(0, 20, 69_000).ljust(len(data), b"\0"),
    }[what]
    ds = shardpack.open("memory://bucket", verify=verify)
    for read in (lambda: ds[3], lambda: ds["00007"], lambda: ds[:], lambda: list(ds), lambda: ds.get_many([1, 70])):
        with pytest.raises((StaleIndexError, CorruptShardError), match=r"rebuild its index|truncated") as caught:
            read()
        assert caught.value.shard == "train-000.tar"


def test_requests_for_shards_without_checksums(bucket):
    shardpack.index("memory://bucket")
    bucket.asked.clear()
    ds = shardpack.open("memory://bucket")
    ds[0]
    headers = [(verb, name) for verb, name, length in bucket.asked if length == 512]
    assert headers == [("get", "train-000.tar")] * 4
    assert len(bucket.asked) == 4 + 4, "manifest, shard table, index, four headers at once, the sample"
    bucket.asked.clear()
    ds[1]
    assert [ask[:2] for ask in bucket.asked] == [("get", "train-000.tar")]


# Local folders


def test_local_tars_with_indexes_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "tars" / "sub").mkdir(parents=True)
    for i in range(3):
        (tmp_path / "tars" / "sub" / f"{i}.tar").write_bytes(TARS[f"train-{i:03d}.tar"])
    before = contents(tmp_path / "tars")
    monkeypatch.chdir(tmp_path)
    report = shardpack.index("tars/sub/{0..2}.tar", out="idx", jobs=1)
    assert (report.without_checksums, report.out) == (0, str(tmp_path / "idx"))
    assert contents(tmp_path / "tars") == before
    ds = shardpack.open("idx")
    assert ds.manifest.locations == ("../tars/sub",)
    assert labels(ds) == list(range(60))
    tmp_path.joinpath("elsewhere").mkdir()
    tmp_path.joinpath("idx").rename(tmp_path / "elsewhere" / "idx")
    with pytest.raises(ShardNotFoundError):
        shardpack.open("elsewhere/idx")[0]
    tmp_path.joinpath("tars").rename(tmp_path / "elsewhere" / "tars")
    assert labels(shardpack.open("elsewhere/idx")) == list(range(60)), "both moved together"
    with pytest.raises(OptionError, match=r"storage_options are for URLs, and .*idx' is a folder"):
        shardpack.open("elsewhere/idx", storage_options={"region": "x"})


def test_beside_may_be_said_with_out(tmp_path):
    (tmp_path / "x.tar").write_bytes(TARS["train-000.tar"])
    shardpack.index(tmp_path, out=tmp_path, jobs=1)
    assert shardpack.open(tmp_path).manifest.locations == (".",)


def test_foreign_tars_with_every_option(tmp_path):
    for name in ("gnu-pax", "bsdtar-gnutar", "webdataset-now"):
        found = {}
        for checksums in (True, False, None):
            out = tmp_path / name / str(checksums)
            shardpack.index(CORPUS / "foreign" / f"{name}.tar", out=out, checksums=checksums, jobs=1)
            ds = shardpack.open(out)
            found[checksums] = [(sample.key, dict(sample)) for sample in ds]
        assert found[True] == found[False] == found[None]
