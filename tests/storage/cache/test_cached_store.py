"""A store with a cache on the disk: the same bytes, fewer requests, nothing stale, and never an error of the disk."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import CorruptShardError, OptionError, ShardNotFoundError, StorageError
from shardpack.storage import atomic as files_module
from shardpack.storage import open as location
from shardpack.storage.cache import cache_folder as cache_files
from shardpack.storage.cache import entries as cache_entries
from shardpack.storage.cache.cache_folder import FOLDER_NAME
from shardpack.storage.cache.cached_store import CachedStore
from shardpack.storage.clients.client import ReceivedBody
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.storage.open import with_cache
from shardpack.storage.protocols import Ranges, Version
from shardpack.storage.remote import RemoteStore
from shardpack.storage.stats import Stats
from tests.fakes import file_contents
from tests.storage.contract import DATA, StoreContract
from tests.strategies import examples

LIMIT = 64 << 20


class Bucket(MemoryStore):
    """Objects with ETags, as a bucket has them. Remembers what it was asked for; a response tells the version."""

    remote = True
    prefetch_depth = 4
    checks_reads = True

    def __init__(self, objects, *, etag="v1", location="s3://bucket/train"):
        super().__init__(objects, location=location)
        self.etag = etag
        self.asked, self.asked_versions, self.told = [], [], set()

    def __reduce__(self):
        return (_bucket, (self._objects, self.etag, self.location))

    def get_range(self, path, *, start, length):
        data = super().get_range(path, start=start, length=length)
        if length:
            self.asked.append((path, start, length))
            self.told.add(path)
        return data

    def get(self, path, *, max_bytes=None):
        data = super().get(path, max_bytes=max_bytes)
        self.asked.append((path, 0, len(data)))
        self.told.add(path)
        return data

    def version(self, path):
        size = self.size(path)
        if path not in self.told:
            self.asked_versions.append(path)
            self.told.add(path)
        return Version(size, self.etag and f"{self.etag}-{path}")


def _bucket(objects, etag, location):
    return Bucket(objects, etag=etag, location=location)


def entries_in(folder):
    """Return the files of all cached ranges."""
    return [path for path in Path(folder, FOLDER_NAME).glob("*/*/*") if path.parent.parent.name != "tmp"]


def read_at(store, *starts, length=10):
    for start in starts:
        assert store.get_range("a.bin", start=start, length=length) == DATA[start : start + length]


class CachedContract(StoreContract):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _folder(cls, tmp_path_factory):
        cls.folder = tmp_path_factory.mktemp("cache")

    @classmethod
    def make_store(cls, objects):
        return CachedStore(Bucket(objects), tempfile.mkdtemp(dir=cls.folder), LIMIT)


class TestCachedStore(CachedContract):
    def test_reads_are_counted(self):
        store = self.make_store({"a.bin": DATA})
        store.get_range("a.bin", start=0, length=10)
        assert store.stats.snapshot() == Stats(requests=1, bytes_fetched=10)
        store.get_ranges("a.bin", starts=[0, 20], lengths=[5, 6])
        assert store.stats.snapshot() == Stats(requests=2, bytes_fetched=16, cache_hits=1)
        store.get("a.bin")
        store.get("a.bin")
        assert store.stats.snapshot() == Stats(requests=3, bytes_fetched=16 + len(DATA), cache_hits=2)
        store.get_range("a.bin", start=70, length=100)
        store.stats.add_used(7)
        assert store.stats.snapshot() == Stats(3, 16 + len(DATA), bytes_used=7, cache_hits=3)

    def test_threads_share_a_store(self):
        names = [f"{i}.bin" for i in range(4)]
        store = self.make_store({name: name.encode() * 5000 for name in names})
        gate = threading.Barrier(8)

        def read(number):
            gate.wait()
            for i in range(100):
                name = names[(number + i) % len(names)]
                start = 5 * (37 * i % 4000)
                assert store.get_range(name, start=start, length=10) == name.encode() * 2
                assert store.get_ranges(name, starts=[start, 0], lengths=[5, 5]) == [name.encode()] * 2

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(read, range(8)))
        stats = store.stats.snapshot()
        assert stats.requests + stats.cache_hits == 8 * 100 * 3
        assert stats.cache_hits > stats.requests


@pytest.mark.filterwarnings("ignore:the cache in:RuntimeWarning")
class TestWithoutDisk(CachedContract):
    """The folder cannot be made: everything is as without a cache, counts included."""

    @classmethod
    def make_store(cls, objects):
        blocker = cls.folder / "file"
        blocker.touch()
        return CachedStore(Bucket(objects), blocker / "cache", LIMIT)


class TestWithoutVersions(CachedContract):
    """The server tells no ETag."""

    @pytest.fixture(autouse=True)
    def _no_warnings(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield

    @classmethod
    def make_store(cls, objects):
        return CachedStore(Bucket(objects, etag=""), tempfile.mkdtemp(dir=cls.folder), LIMIT)


@pytest.fixture
def make(tmp_path):
    """`make()` is a new store above a new bucket, as another process would have; all share one folder."""

    def make(objects=None, *, max_bytes=LIMIT, folder=tmp_path / "cache", namespace="", **bucket):
        base = Bucket({"a.bin": DATA} if objects is None else objects, **bucket)
        return CachedStore(base, folder, max_bytes, namespace=namespace), base

    return make


ranges = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 400), st.integers(0, 400))
calls = st.lists(st.lists(ranges, max_size=6), max_size=8)


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=calls, again=st.booleans())
def test_any_reads_give_the_bytes_of_the_plain_store(tmp_path, calls, again):
    plain = MemoryStore({"a": DATA[:500], "b": DATA[100:900]})
    folder = tempfile.mkdtemp(dir=tmp_path)
    store = CachedStore(Bucket(plain._objects), folder, LIMIT)
    for call in calls:
        wanted = [Ranges(path, [start], [min(length, plain.size(path) - start)]) for path, start, length in call]
        assert store.get_many(wanted) == plain.get_many(wanted)
        if again:
            store = CachedStore(Bucket(plain._objects), folder, LIMIT)
            assert store.get_many(wanted) == plain.get_many(wanted)
            assert store._base.asked == []
    shutil.rmtree(folder)


def test_a_range_is_fetched_once(make):
    store, base = make()
    for _ in range(3):
        assert store.get_range("a.bin", start=5, length=100) == DATA[5:105]
    assert base.asked == [("a.bin", 5, 100)]  # and not a byte more
    assert base.asked_versions == []
    other, base = make()
    assert other.get_range("a.bin", start=5, length=100) == DATA[5:105]
    assert (base.asked, base.asked_versions) == ([], ["a.bin"])


def test_what_another_process_keeps_is_found_at_once(make):
    store, base = make()
    other, _ = make()
    store.get_range("a.bin", start=0, length=10)
    other.get_ranges("a.bin", starts=[100, 200], lengths=[50, 50])
    store.get_ranges("a.bin", starts=[200, 100], lengths=[50, 50])
    assert base.asked == [("a.bin", 0, 10)]


def test_a_part_of_what_another_process_keeps_is_found(make, monkeypatch):
    monkeypatch.setattr(cache_entries, "_RELIST_SECONDS", 0)
    store, base = make()
    other, _ = make()
    store.get_ranges("a.bin", starts=[0, 5], lengths=[10, 1])
    other.get_range("a.bin", start=100, length=500)
    assert store.get_range("a.bin", start=150, length=50) == DATA[150:200]
    assert base.asked == [("a.bin", 0, 10), ("a.bin", 5, 1)]


def test_parts_of_long_ranges(make):
    data = os.urandom(300_000)
    store, base = make({"a": data})
    store.get_range("a", start=1000, length=299_000)
    for start in (1000, 1001, 65_535, 65_536, 66_535, 66_536, 66_537, 132_072, 200_000, 299_999):
        for length in (1, 2, 1000, 65_536, 65_537, 131_072, 299_000):
            end = min(start + length, len(data))
            assert store.get_range("a", start=start, length=end - start) == data[start:end]
    assert len(base.asked) == 1


def test_only_what_is_missing_is_fetched(make):
    store, base = make({"a": DATA, "b": DATA, "c": DATA})
    store.get_many([Ranges("a", [0, 100], [10, 10]), Ranges("b", [7], [10])])
    base.asked.clear()
    wanted = [Ranges("b", [0, 7], [3, 10]), Ranges("a", [100, 50, 0], [10, 10, 10]), Ranges("c", [1], [2])]
    found = store.get_many(wanted)
    assert found == [[DATA[:3], DATA[7:17]], [DATA[100:110], DATA[50:60], DATA[:10]], [DATA[1:3]]]
    assert base.asked == [("b", 0, 3), ("a", 50, 10), ("c", 1, 2)]
    assert store.stats.snapshot().cache_hits == 3


def test_ranges_of_one_start_are_all_kept(make):
    store, base = make()
    starts, lengths = [0, 0, 0], [10, 30, 20]
    for _ in range(2):
        assert store.get_ranges("a.bin", starts=starts, lengths=lengths) == [DATA[:10], DATA[:30], DATA[:20]]
    assert len(base.asked) == 3


def test_whole_objects_are_kept(make):
    make()[0].get("a.bin")
    store, base = make()
    assert bytes(store.get("a.bin")) == DATA
    assert store.get_range("a.bin", start=10, length=5) == DATA[10:15]
    assert base.asked == []


def test_the_manifest_is_always_fetched(make):
    for text in (b"one", b"two"):
        store, base = make({".shardpack/manifest.json": text})
        for _ in range(2):
            assert store.get(".shardpack/manifest.json") == text
            assert store.get_range(".shardpack/manifest.json", start=0, length=3) == text
        assert len(base.asked) == 4
        assert base.asked_versions == []


# Versions


def test_no_version_is_asked_for_in_vain(make):
    """Cold reading takes the same requests as without a cache."""
    make()[0].get_range("a.bin", start=0, length=10)
    store, base = make()
    store.get_range("a.bin", start=500, length=10)  # of an object that is cached, but not this range
    assert (base.asked, base.asked_versions) == ([("a.bin", 500, 10)], [])
    store.get_range("a.bin", start=0, length=10)
    assert (len(base.asked), base.asked_versions) == (1, [])  # the response told it


def test_versions_of_many_objects_are_asked_for_together(make):
    names = [f"{i}.bin" for i in range(20)]
    wanted = [Ranges(name, [0], [5]) for name in names]
    make(dict.fromkeys(names, DATA))[0].get_many(wanted)
    store, base = make(dict.fromkeys(names, DATA))
    gate = threading.Barrier(20, timeout=60)  # breaks if they do not wait at the same time
    plain = base.version

    def version(path):
        gate.wait()
        return plain(path)

    base.version = version
    assert store.get_many(wanted) == [[DATA[:5]]] * 20
    assert base.asked == []
    assert sorted(base.asked_versions) == sorted(names)


@pytest.mark.parametrize(
    "change",
    [{"etag": "v2"}, {"objects": {"a.bin": DATA[::-1] + b"x"}}, {"location": "s3://other/train"}, {"namespace": "eu"}],
    ids=str,
)
def test_versions_and_places_do_not_mix(make, change):
    make()[0].get_range("a.bin", start=0, length=100)
    changed = {"objects": {"a.bin": DATA[::-1]}, **change}
    store, base = make(**changed)
    for _ in range(2):
        assert store.get_range("a.bin", start=0, length=100) == changed["objects"]["a.bin"][:100]
    assert len(base.asked) == 1
    store, base = make()
    assert store.get_range("a.bin", start=0, length=100) == DATA[:100]  # the old one is still there
    assert base.asked == []


def test_objects_of_one_name_do_not_mix(make):
    store, _ = make({"a/0.tar": b"a" * 100, "b/0.tar": b"b" * 100})
    for _ in range(2):
        assert store.get_range("a/0.tar", start=0, length=3) == b"aaa"
        assert store.get_range("b/0.tar", start=0, length=3) == b"bbb"


def test_names_tell_nothing(make, tmp_path):
    store, _ = make({"patients/smith.tar": DATA}, location="https://example.com/private", etag="secret")
    store.get_range("patients/smith.tar", start=0, length=10)
    found = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
    assert len(found) == 8
    assert not [name for name in found for word in ("smith", "example", "private", "secret", "tar") if word in name]


def test_a_store_that_cannot_tell_versions_first_is_asked_for_bytes(make):
    """Such as a URL that is signed for GET only: a response tells the version all the same."""
    make()[0].get_range("a.bin", start=0, length=10)
    store, base = make()
    plain = base.version

    def version(path):
        if path not in base.told:
            raise StorageError("cannot ask for the length: access denied")
        return plain(path)

    base.version = version
    for _ in range(3):
        assert store.get_range("a.bin", start=0, length=10) == DATA[:10]
    assert base.asked == [("a.bin", 0, 10)]


def test_without_etag_nothing_is_kept_and_one_warning_says_so(make, tmp_path):
    store, base = make(etag="")
    with pytest.warns(RuntimeWarning, match=r"cache.*no ETag") as caught:
        read_at(store, 0, 0, 5)
    store.get("a.bin")
    assert len(caught) == 1
    assert len(base.asked) == 4
    assert not (tmp_path / "cache").exists()


class Server:
    """A connection and its client; counts requests by their kind."""

    location = "s3://bucket/train"

    def __init__(self, objects):
        self.objects = objects
        self.requests = []

    def connect(self):
        return self

    advice = "check the credentials"

    def redact(self, text):
        return text

    def head(self, path):
        self.requests.append(("head", path))
        return Version(len(self.objects[path]), f"v1-{path}")

    def get(self, path, *, start, length, etag):
        self.requests.append(("get", path, start, length, etag))
        data = self.objects[path]
        return ReceivedBody(Version(len(data), f"v1-{path}"), data[start:] if length is None else data[start:][:length])


def test_with_a_real_remote_store(tmp_path):
    for reads in range(2):
        server = Server(dict.fromkeys(("a.index", "a.tar", "keys.index"), DATA))
        store = CachedStore(RemoteStore(server), tmp_path, LIMIT)
        assert store.remote
        assert store.version("keys.index") == Version(len(DATA), "v1-keys.index")
        for _ in range(2):
            assert store.get("a.index") == DATA
            assert store.get_range("a.tar", start=3, length=10) == DATA[3:13]
        cold = [("get", "a.index", 0, None, ""), ("get", "a.tar", 3, 10, "")]
        assert server.requests == [
            ("head", "keys.index"),
            *([("head", "a.index"), ("head", "a.tar")] if reads else cold),
        ]
        assert store.stats.snapshot().requests == (0 if reads else 2)
        assert store.stats.snapshot().cache_hits == (4 if reads else 2)


def test_a_dataset_is_read_through_it(tmp_path, monkeypatch):
    images = {f"cat/{i:04d}": {"jpg": os.urandom(5_000), "json": {"label": i}} for i in range(40)}
    shardpack.pack(images.items(), tmp_path / "out", max_shard_bytes="64KiB")
    server = Server(file_contents(tmp_path / "out"))
    monkeypatch.setattr(location, "connect_to", lambda *_: server)
    folder = tmp_path / "cache"

    def read_all():
        """Return the samples by each way of reading, and how often each kind of request was made."""
        server.requests.clear()
        ds = shardpack.open("s3://bucket/train", cache_dir=folder, cache_bytes="64MiB")
        seen = [list(ds.stream(seed=1)), ds.get_many(range(40)), [ds[i] for i in range(40)], [ds["cat/0007"]]]
        asked = [request[0] for request in server.requests if request[1] != ".shardpack/manifest.json"]
        return [[dict(sample) for sample in samples] for samples in seen], asked, ds.stats()

    first, cold, _ = read_all()
    second, warm, stats = read_all()
    assert first == second
    assert {sample["jpg"] for sample in first[0]} == {fields["jpg"] for fields in images.values()}
    assert set(cold) == {"get"}
    num_objects = len(server.objects) - 2  # without the manifest and its copy
    assert warm == ["head"] * num_objects  # each object's version, and nothing else but the manifest
    assert stats.requests == 1
    assert stats.cache_hits >= 40


@pytest.mark.parametrize(
    ("where", "options", "message"),
    [
        ("s3://bucket/a", {"cache_dir": "cache"}, "belong together"),
        ("s3://bucket/a", {"cache_bytes": "1GB"}, "belong together"),
        ("s3://bucket/a", {"cache_dir": "cache", "cache_bytes": "1MB"}, r"at least 64\.0 MiB"),
        ("s3://bucket/a", {"cache_dir": "cache", "cache_bytes": "much"}, "not a size"),
        ("memory://a", {"cache_dir": "cache", "cache_bytes": "1GB"}, "read in place"),
    ],
)
def test_options_that_make_no_sense(where, options, message):
    with pytest.raises(OptionError, match=message):
        shardpack.open(where, **options)


def test_a_folder_is_read_in_place(tmp_path):
    shardpack.pack([("a", {"json": {}})], tmp_path / "out")
    with pytest.raises(OptionError, match="read in place"):
        shardpack.open(tmp_path / "out", cache_dir=tmp_path / "cache", cache_bytes="1GB")
    with pytest.raises(OptionError, match="read in place"):
        with_cache(LocalStore(tmp_path), tmp_path / "cache", "1GB")


def test_endpoints_do_not_mix(tmp_path):
    def cached(**options):
        store = RemoteStore(Server({"a.bin": DATA if options["endpoint"] == "one" else DATA[::-1]}))
        return with_cache(store, tmp_path, "1GB", options)

    for secret in ("x", "y"):
        assert cached(endpoint="one", secret=secret).get_range("a.bin", start=0, length=10) == DATA[:10]
        assert cached(endpoint="two", secret=secret).get_range("a.bin", start=0, length=10) == DATA[::-1][:10]
    assert len(entries_in(tmp_path)) == 2


# Damage


def change_byte(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: change_byte(path, 0),
        lambda path: change_byte(path, 70_000),
        lambda path: change_byte(path, -1),
        lambda path: os.truncate(path, 0),
        lambda path: os.truncate(path, 100_000),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: path.unlink(),
    ],
)
@pytest.mark.parametrize(("start", "length"), [(0, 100_000), (65_000, 20_000)], ids=["all", "part"])
def test_damaged_entries_are_dropped_and_fetched_anew(make, damage, start, length):
    data = os.urandom(100_000)
    first, _ = make({"a": data})
    first.get_range("a", start=0, length=100_000)
    (entry,) = entries_in(first._disk.folder)
    damage(entry)
    for store in (first, make({"a": data})[0]):
        assert store.get_range("a", start=start, length=length) == data[start : start + length]
        assert store.get_range("a", start=0, length=100_000) == data
    store, base = make({"a": data})
    assert store.get_range("a", start=start, length=length) == data[start : start + length]
    assert store.get_range("a", start=0, length=100_000) == data
    assert base.asked == []


def test_entries_under_wrong_names_are_not_read(make):
    store, _ = make({"a": DATA, "b": DATA[::-1]})
    store.get_ranges("a", starts=[0, 100], lengths=[50, 50])
    store.get_range("b", start=0, length=50)
    copies = {path: path.read_bytes() for path in entries_in(store._disk.folder)}
    for path in copies:
        for data in copies.values():
            path.write_bytes(data)
            assert store.get_ranges("a", starts=[0, 100], lengths=[50, 50]) == [DATA[:50], DATA[100:150]]
            assert store.get_range("b", start=0, length=50) == DATA[::-1][:50]


# The disk refuses


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_means_one_warning(make, monkeypatch):
    store, base = make()
    store.get_range("a.bin", start=0, length=10)
    monkeypatch.setattr(files_module.os, "write", full)
    with pytest.warns(RuntimeWarning, match=r"cache in .* is not used for all reads: No space left") as caught:
        read_at(store, 100, 200, 300, 300)
    assert len(caught) == 1
    assert store.get_range("a.bin", start=0, length=10) == DATA[:10]
    assert len(base.asked) == 5  # what was kept before is still served
    assert [path.name for path in Path(store._disk.root, "tmp").iterdir()] == []


def test_a_mended_disk_is_used_again(make, monkeypatch):
    store, base = make()
    with monkeypatch.context() as patch:
        patch.setattr(files_module.os, "write", full)
        with pytest.warns(RuntimeWarning):
            read_at(store, 0)
    read_at(store, 0)
    assert entries_in(store._disk.folder) == []  # not yet
    store._keep_after = 0
    read_at(store, 0, 0, 0)
    assert len(base.asked) == 3


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small file system")
def test_a_really_full_disk(make, tmp_path):
    mount = tmp_path / "mount"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(mount)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        store, base = make({"a.bin": DATA}, folder=mount)
        starts = range(0, 6_000, 50)
        with pytest.warns(RuntimeWarning, match=r"cache in .*No space left") as caught:
            read_at(store, *starts, *starts, length=4_000)
        assert len(caught) == 1
        assert 120 < len(base.asked) < 240  # there was room for some
        assert {path.stat().st_size for path in entries_in(mount)} == {4_004}
        assert list(Path(store._disk.root, "tmp").iterdir()) == []
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.parametrize("what", ["scandir", "open", "mkdir"])
def test_folders_that_refuse(make, monkeypatch, what):
    if what == "open":  # also for reading
        make()[0].get_range("a.bin", start=0, length=10)
    store, _ = make()

    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    with monkeypatch.context() as patch:
        patch.setattr(cache_files.os, what, refuse)
        with pytest.warns(RuntimeWarning, match="Permission denied") as caught:
            read_at(store, 0, 100)
    assert len(caught) == 1


def test_a_folder_that_is_not_ours_is_left_alone(make):
    store, base = make()
    precious = Path(store._disk.root, "precious.txt")
    precious.parent.mkdir(parents=True)
    precious.write_text("keep me")
    with pytest.warns(RuntimeWarning, match=r"it has no CACHEDIR\.TAG"):
        store.get_range("a.bin", start=0, length=10)
    assert store.get_range("a.bin", start=0, length=10) == DATA[:10]
    assert len(base.asked) == 2
    assert [path.name for path in precious.parent.iterdir()] == ["precious.txt"]


def test_an_emptied_cache_is_made_again(make, tmp_path):
    store, base = make()
    for i, removed in enumerate(
        [FOLDER_NAME, f"{FOLDER_NAME}/tmp", f"{FOLDER_NAME}/used", f"{FOLDER_NAME}/CACHEDIR.TAG"]
    ):
        for _ in range(2):
            assert store.get_range("a.bin", start=i, length=10) == DATA[i : i + 10]
        path = tmp_path / "cache" / removed
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    assert len(base.asked) == 4


def test_a_vanished_folder_is_not_made_again(make, tmp_path):
    """It may be where a disk was mounted."""
    store, base = make()
    store.get_range("a.bin", start=0, length=10)
    shutil.rmtree(tmp_path / "cache")
    with pytest.warns(RuntimeWarning, match="No such file") as caught:
        read_at(store, 0, 20, 20)
    assert len(caught) == 1
    assert len(base.asked) == 4
    assert not (tmp_path / "cache").exists()


def test_what_is_too_long_for_the_limit_is_not_kept(make):
    store, base = make(max_bytes=16_384)
    with pytest.warns(RuntimeWarning, match=r"10\.0 KiB were read at once, too much for a limit of 16\.0 KiB"):
        store.get("a.bin")
    store.get_range("a.bin", start=0, length=4096)
    store.get_range("a.bin", start=0, length=4096)
    assert len(base.asked) == 2


def test_errors_of_the_store_are_its_own(make):
    store, _ = make()
    store.get_range("a.bin", start=0, length=10)
    with pytest.raises(CorruptShardError):
        store.get_ranges("a.bin", starts=[0, len(DATA)], lengths=[10, 1])
    with pytest.raises(ShardNotFoundError):
        store.get_many([Ranges("a.bin", [0], [10]), Ranges("b.bin", [0], [10])])
    assert store.stats.snapshot() == Stats(requests=1, bytes_fetched=10)  # no hits where nothing was served


# Processes


def test_pickles_with_its_settings(make):
    store, base = make(max_bytes=1 << 30, namespace="eu")
    store.get_range("a.bin", start=0, length=10)
    copy = pickle.loads(pickle.dumps(store))
    assert repr(copy).partition(">")[2] == repr(store).partition(">")[2]
    assert (copy._disk.max_bytes, copy._namespace) == (1 << 30, "eu")
    assert (copy.remote, copy.checks_reads, copy.merge_limits) == (True, True, base.merge_limits)
    assert copy.get_range("a.bin", start=0, length=10) == DATA[:10]
    assert copy.stats.snapshot() == Stats(cache_hits=1)


def test_a_relative_folder_stays_where_it_was(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store, _ = make(folder="here")
    monkeypatch.chdir("/")
    store.get_range("a.bin", start=0, length=10)
    assert len(entries_in(tmp_path / "here")) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
def test_forked_processes_share_it(make):
    store, _ = make()
    store.get_range("a.bin", start=0, length=10)
    children = []
    for number in range(4):
        child = os.fork()
        if not child:
            code = 1
            try:
                assert store.get_range("a.bin", start=0, length=10) == DATA[:10]
                assert store.get_range("a.bin", start=1000 * number, length=500) == DATA[1000 * number :][:500]
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    for number in range(4):
        store.get_range("a.bin", start=1000 * number, length=500)
    assert store.stats.snapshot().cache_hits == 4


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")
def test_nothing_stays_open(make):
    store, _ = make()
    before = len(os.listdir("/proc/self/fd"))
    for start in range(0, 1000, 10):
        store.get_range("a.bin", start=start, length=20)
        store.get_range("a.bin", start=start, length=20)
    assert len(os.listdir("/proc/self/fd")) == before


def test_listings_of_many_objects_are_let_go(make, monkeypatch):
    from shardpack.storage.cache import cached_store as cache

    monkeypatch.setattr(cache, "_MAX_OBJECTS", 3)
    names = [f"{i}.bin" for i in range(10)]
    store, base = make(dict.fromkeys(names, DATA))
    for _ in range(2):
        for name in names:
            assert store.get_range(name, start=1, length=5) == DATA[1:6]
    assert len(base.asked) == 10
    assert len(store._objects) == 3
