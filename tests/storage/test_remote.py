"""Buckets and servers as stores: the contract, against real servers on loopback."""

from __future__ import annotations

import itertools
import os
import threading

import pytest

from shardpack.errors import ObjectTooLargeError, OutputExistsError
from shardpack.storage.clients.client import RequestError
from shardpack.storage.open import open_store
from shardpack.storage.remote import RemoteStore
from tests.buckets import FakeBucket
from tests.storage.contract import DATA, StoreContract, WritableContract

pytest.importorskip("obstore")
pytest.importorskip("urllib3")
pytest.importorskip("fsspec")

numbers = itertools.count()


class Served(StoreContract):
    """Objects are files below a folder that nginx serves; `address` makes its URL and options."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls, tmp_path_factory, nginx_for_class):
        cls.root = tmp_path_factory.mktemp("served")
        cls.url = nginx_for_class(cls.root).url

    @classmethod
    def make_store(cls, objects):
        name = f"store-{next(numbers)}"
        for path, data in objects.items():
            file = cls.root / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        url, options = cls.address(name)
        return open_store(url, {"max_requests": 32, "max_attempts": 2, **options})


class TestHttp(Served):
    @classmethod
    def address(cls, name):
        return f"{cls.url}/{name}", {}


class TestObstore(Served):
    """S3's protocol for reading is HTTP's, so nginx will do, and answers at once."""

    @classmethod
    def address(cls, name):
        return f"s3://{name}", {"endpoint": cls.url, "skip_signature": True, "region": "here"}


class TestFsspec(StoreContract, WritableContract):
    @classmethod
    def make_store(cls, objects):
        store = open_store(f"local://{cls.folder}/{next(numbers)}", {"max_attempts": 2})
        for path, data in objects.items():
            store.put(path, data)
        return RemoteStore(*store.__reduce__()[1])  # which has counted nothing yet

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def root(cls, tmp_path_factory):
        cls.folder = tmp_path_factory.mktemp("files")


class Bucket(StoreContract, WritableContract):
    """A server that answers a thousand requests a second: fewer of them."""

    @classmethod
    def make_store(cls, objects):
        url, options = cls.address()
        store = open_store(url, {"max_requests": 8, "max_attempts": 2, **options})
        for path, data in objects.items():
            store.put(path, data)
        return RemoteStore(*store.__reduce__()[1])

    def test_threads_share_a_store(self):
        store = self.make_store({f"{i}.bin": bytes([i]) * 5000 for i in range(4)})
        found = {}

        def read(number):
            found[number] = [store.get_range(f"{i % 4}.bin", start=i, length=3) for i in range(number, number + 20)]

        threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {n: [bytes([i % 4]) * 3 for i in range(n, n + 20)] for n in range(8)}

    test_any_range = None
    test_many_ranges_come_in_the_order_asked = None

    def test_some_ranges(self, store):
        starts, lengths = [5000, 0, 17, 10_239], [100, 1, 0, 1]
        assert store.get_ranges("a.bin", starts=starts, lengths=lengths) == [
            DATA[start : start + length] for start, length in zip(starts, lengths, strict=True)
        ]


class TestS3(Bucket):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls, s3_server):
        cls.s3 = s3_server

    @classmethod
    def address(cls):
        return f"s3://{cls.s3.new_bucket()}/deep/folder", cls.s3.options()

    test_of_two_writers_one_creates = None  # this server looks first and writes then


@pytest.mark.slow
class TestAzure(Bucket):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls, azurite_server):
        cls.azurite = azurite_server

    @classmethod
    def address(cls):
        return f"az://{cls.azurite.new_container()}/deep/folder", cls.azurite.options()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_a_forked_child_reads_on(scheme, s3_server):
    bucket = s3_server.new_bucket()
    s3_server.put(f"/{bucket}/a", DATA)
    if scheme == "s3":
        store = open_store(f"s3://{bucket}", s3_server.options())
    else:
        store = open_store(f"{s3_server.url}/{bucket}")
    assert store.get_ranges("a", starts=[0, 100], lengths=[5, 5]) == [DATA[:5], DATA[100:105]]
    child = os.fork()
    if child == 0:
        code = 1
        try:
            found = store.get_ranges("a", starts=[7, 300], lengths=[5, 5])
            code = 0 if found == [DATA[7:12], DATA[300:305]] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get_range("a", start=1, length=2) == DATA[1:3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_threads_of_a_forked_child_share_one_client(s3_server):
    """Stores that are first used at the same moment: one thread loads the child's copy of the library."""
    bucket = s3_server.new_bucket()
    s3_server.put(f"/{bucket}/a", DATA)
    stores = [open_store(f"s3://{bucket}", s3_server.options()) for _ in range(4)]
    assert stores[0].get_range("a", start=0, length=5) == DATA[:5]
    child = os.fork()
    if child == 0:
        found, gate = [], threading.Barrier(4)

        def read(store):
            gate.wait()
            found.append(store.get_range("a", start=7, length=5))

        threads = [threading.Thread(target=read, args=(store,), daemon=True) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        os._exit(0 if found == [DATA[7:12]] * 4 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_threads_end_with_the_store(s3_server):
    bucket = s3_server.new_bucket()
    s3_server.put(f"/{bucket}/a", DATA)
    before = threading.enumerate()
    store = open_store(f"s3://{bucket}", s3_server.options())
    store.get_ranges("a", starts=list(range(40)), lengths=[5] * 40)
    threads = [thread for thread in threading.enumerate() if thread not in before]
    assert threads
    del store
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_what_is_too_long_is_not_fetched():
    """A server may answer with any amount: the length is looked at before a byte is received."""
    url = "memory://long"
    bucket = FakeBucket(url, {".shardpack/index/shard-000000.index": bytes(50 << 20)})
    received = []
    usual = bucket.get

    def get(*arguments, **options):
        body = usual(*arguments, **options)
        readinto = body.readinto

        def counted(view):
            received.append(len(view))
            return readinto(view)

        body.readinto = counted
        return body

    bucket.get = get
    with pytest.raises(ObjectTooLargeError, match="too large"):
        RemoteStore(bucket).get(".shardpack/index/shard-000000.index", max_bytes=1000)
    assert not received


def losing_the_first_answer(bucket):
    """Let the first `create` be done, and its answer be lost."""
    usual = bucket.create

    def create(path, source):
        usual(path, source)
        bucket.create = usual
        raise RequestError("failed", "the connection broke")

    bucket.create = create
    return RemoteStore(bucket)


def test_an_object_whose_creation_was_not_confirmed_is_ours():
    bucket = FakeBucket("s3://b")
    losing_the_first_answer(bucket).create("a", b"ours")
    assert bucket.objects == {"a": b"ours"}


def test_an_object_of_another_is_not_taken_for_ours():
    bucket = FakeBucket("s3://b")
    usual = bucket.create

    def create(*_):
        bucket.objects["a"], bucket.create = b"theirs", usual  # the other's arrives, ours is lost
        raise RequestError("failed", "the connection broke")

    bucket.create = create
    with pytest.raises(OutputExistsError):
        RemoteStore(bucket).create("a", b"ours")
    assert bucket.objects == {"a": b"theirs"}
