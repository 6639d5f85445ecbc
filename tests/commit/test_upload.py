"""What arrives is what was sent: lengths, checksums, ETags."""

from __future__ import annotations

import hashlib

import pytest

from shardpack.commit.upload import ATTEMPTS, Uploader
from shardpack.errors import StorageError
from shardpack.storage.clients.client import ReceivedBody
from shardpack.storage.protocols import Version
from shardpack.storage.remote import RemoteStore
from tests.commit.stores import WatchedStore

DATA = bytes(range(256)) * 100


class FakeClient:
    """A bucket in a dict, with ETags as `etag` makes them; `damage` changes what is put."""

    def __init__(self, etag, damage=lambda data: data):
        self.objects, self.etag, self.damage = {}, etag, damage
        self.location, self.log = "s3://bucket", []

    def connect(self):
        return self

    advice = "check the credentials"

    def redact(self, text):
        return text

    def put(self, path, source, *, cache_control=None):  # noqa: ARG002
        self.log.append("put")
        data = source if isinstance(source, bytes) else source.read_bytes()
        self.objects[path] = self.damage(data)

    def delete(self, path):
        self.log.append("delete")
        self.objects.pop(path, None)

    def head(self, path):
        self.log.append("head")
        return Version(len(self.objects[path]), self.etag(self.objects[path]))

    def get(self, path, *, start, length, etag):
        del etag
        self.log.append("get")
        data = self.objects[path]
        return ReceivedBody(Version(len(data), self.etag(data)), data[start:][:length])


def md5(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


def random_etag(data):
    return f'"{hashlib.md5(data + b"salt").hexdigest()}"'


def flip(data):
    return data[:50] + bytes([data[50] ^ 1]) + data[51:]


@pytest.fixture(params=["bytes", "file"])
def given(request, tmp_path):
    (tmp_path / "file").write_bytes(DATA)
    return DATA if request.param == "bytes" else tmp_path / "file"


def test_an_md5_tells_that_all_arrived(given):
    client = FakeClient(md5)
    Uploader(RemoteStore(client)).put("x", given)
    assert client.log == ["put", "head"]


@pytest.mark.parametrize("etag", [md5, random_etag])
def test_a_flipped_bit_is_sent_again(given, etag):
    damages = iter([flip(DATA), DATA])
    client = FakeClient(etag, lambda _: next(damages))
    Uploader(RemoteStore(client)).put("x", given)
    assert client.objects["x"] == DATA
    assert client.log.count("put") == 2


@pytest.mark.parametrize("etag", [md5, random_etag])
def test_bits_that_always_flip_are_an_error(given, etag):
    client = FakeClient(etag, flip)
    with pytest.raises(StorageError, match=r"cannot write 'x': other bytes arrive in 's3://bucket' than were sent"):
        Uploader(RemoteStore(client)).put("x", given)
    assert client.log.count("put") == ATTEMPTS
    assert not client.objects


def test_an_encrypting_bucket_is_read_back_once(given):
    client = FakeClient(random_etag)
    uploader = Uploader(RemoteStore(client))
    uploader.put("x", given)
    uploader.put("y", given)
    assert client.log == ["put", "head", "get", "put", "head"]


@pytest.mark.parametrize("etag", ["", '"0x8D"', 'W/"abc"'])
def test_other_etags_tell_nothing(given, etag):
    client = FakeClient(lambda _: etag)
    Uploader(RemoteStore(client)).put("x", given)
    assert client.log == ["put", "head"]


def test_the_etag_of_parts(given):
    parts = [DATA[i : i + 10_000] for i in range(0, len(DATA), 10_000)]
    expected = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest() + "-3"
    client = FakeClient(lambda _: expected)
    client.part_bytes = 10_000
    uploader = Uploader(RemoteStore(client))
    if isinstance(given, bytes):  # never sent in parts
        return
    uploader.put("x", given)
    assert "get" not in client.log


def test_a_store_without_etags_is_asked_for_the_length():
    store = WatchedStore()
    cuts = [True, False]
    store.changed = lambda _, data: data[:-1] if cuts.pop(0) else data
    Uploader(store).put("x", DATA)
    assert store.contents() == {"x": DATA}
