"""Any object with the two read verbs and a size as a store; obstore's own stores, too."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.errors import OptionError, ShardNotFoundError, StorageError
from shardpack.storage.adapter import AdaptedStore, adapt
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.storage.remote import RemoteStore
from tests.storage.contract import StoreContract, WritableContract


class Minimal:
    """The two verbs and size, with the errors of a dict and answers cut short."""

    def __init__(self, objects):
        self.objects = dict(objects)

    def get_range(self, path, *, start, length):
        return memoryview(self.objects[path])[start : start + length]

    def get_ranges(self, path, *, starts, lengths):
        return [self.get_range(path, start=start, length=n) for start, n in zip(starts, lengths, strict=True)]

    def size(self, path):
        return np.int64(len(self.objects[path]))


class Strict(Minimal):
    """Raises, as obstore does, for what is not there."""

    def get_range(self, path, *, start, length):
        if start + length > len(self.objects[path]):
            raise ValueError("invalid range")
        return super().get_range(path, start=start, length=length)


class TestMinimal(StoreContract):
    @classmethod
    def make_store(cls, objects):
        return adapt(Minimal(objects))


class TestStrict(StoreContract):
    @classmethod
    def make_store(cls, objects):
        return adapt(Strict(objects))


class TestObstoreInMemory(StoreContract, WritableContract):
    @classmethod
    def make_store(cls, objects):
        store = pytest.importorskip("obstore.store").MemoryStore()
        for path, data in objects.items():
            store.put(path, data)
        return adapt(store)

    test_pickles_without_its_handles = None  # memory is not pickled


class TestObstoreInAFolder(StoreContract, WritableContract):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def folders(cls, tmp_path_factory):
        cls.new_folder = staticmethod(lambda: tmp_path_factory.mktemp("store"))

    @classmethod
    def make_store(cls, objects):
        store = pytest.importorskip("obstore.store").LocalStore(cls.new_folder())
        for path, data in objects.items():
            store.put(path, data)
        return adapt(store)


class Writes(Minimal):
    """Takes objects as well, and has none of the properties of a store."""

    def __init__(self):
        super().__init__({})

    def put(self, path, source, **_):
        self.objects[path] = source if isinstance(source, bytes) else source.read_bytes()

    def delete(self, path):
        self.objects.pop(path, None)

    def names(self):
        return list(self.objects)


def obstore_in_memory():
    return pytest.importorskip("obstore.store").MemoryStore()


@pytest.mark.parametrize("new", [Writes, obstore_in_memory, lambda: MemoryStore({})])
def test_all_that_writes_takes_any_of_them(new):
    packed, copied, indexed = new(), new(), new()
    samples = [("a", {"txt": b"1"}), ("b", {"txt": b"2"})]
    shardpack.pack(samples, packed)
    shardpack.copy(packed, copied)
    adapt(indexed).put("x.tar", adapt(packed).get("shard-000000.tar"))
    shardpack.index(indexed)
    shardpack.index(indexed, out=indexed, ignore=["b.txt"], force=True)
    with shardpack.ShardWriter(copied, force=True) as writer:
        writer.write("c", {"txt": b"3"})
    for store, values in ((packed, "12"), (copied, "3"), (indexed, "1")):
        assert [sample["txt"].decode() for sample in shardpack.open(store)] == list(values)
        assert shardpack.verify(store, full=True).ok
    with pytest.raises(OptionError, match="source and target are the same"):
        shardpack.copy(packed, packed)
    with pytest.raises(OptionError, match="source and target are the same"):
        shardpack.pack(shardpack.open(packed), packed, force=True)


@pytest.mark.parametrize("store", [Minimal({}), 5, {}, None])
def test_what_takes_no_objects_is_not_written_to(store):
    with pytest.raises(OptionError, match="this store takes no objects, or does not list them; pass a folder"):
        shardpack.pack([("a", {"txt": b"1"})], store)


def test_without_names_the_tars_are_named():
    with pytest.raises(OptionError, match=r"'<Minimal>' does not list its names; pass \(store, names of the tars\)"):
        shardpack.index(Minimal({"a.tar": b""}))


def test_what_is_a_store_already_stays_itself(tmp_path):
    for store in (LocalStore(tmp_path), MemoryStore({}), adapt(Minimal({}))):
        assert adapt(store) is store
    assert isinstance(adapt(Minimal({})), AdaptedStore)
    assert isinstance(adapt(pytest.importorskip("obstore.store").MemoryStore()), RemoteStore)


def test_what_is_missing_is_named():
    with pytest.raises(
        OptionError, match="dict is not a store: it has no get_range, get_ranges, size; pass a folder or a URL"
    ):
        adapt({})


def test_what_an_object_says_about_itself_is_believed():
    class Bucket(Minimal):
        location, remote, prefetch_depth = "there://x", True, 4

    store = adapt(Bucket({}))
    assert (store.location, store.remote, store.prefetch_depth, store.checks_reads) == ("there://x", True, 4, True)


def test_other_errors_are_told():
    class Broken(Minimal):
        def get_range(self, *_, **__):
            raise RuntimeError("out of\norder")

    with pytest.raises(StorageError, match=r"cannot read 'a' of '<Broken>': RuntimeError: out of order") as caught:
        adapt(Broken({"a": b"abc"})).get_range("a", start=0, length=1)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_dataset_opens_from_any_of_them(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        for number in range(20):
            writer.write(f"{number:03}", {"txt": b"%d" % number})
    files = {
        path.relative_to(tmp_path / "ds").as_posix(): path.read_bytes()
        for path in (tmp_path / "ds").rglob("*")
        if path.is_file()
    }
    obstore = pytest.importorskip("obstore.store")
    in_memory = obstore.MemoryStore()
    for name, data in files.items():
        in_memory.put(name, data)
    for store in (Minimal(files), Strict(files), in_memory, obstore.LocalStore(tmp_path / "ds")):
        ds = shardpack.open(store)
        assert ds["007"]["txt"] == b"7"
        assert [sample["txt"] for sample in ds.get_many([3, 19])] == [b"3", b"19"]
        assert sorted(s.position for s in ds.stream(shuffle="blocks", seed=0)) == list(range(20))
    with pytest.raises(ShardNotFoundError):
        adapt(obstore.MemoryStore()).size("a")
