"""Both kinds of transactions queue, record and note alike."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.shared_transaction import SharedTransaction
from shardpack.commit.transaction import Transaction
from tests.commit.test_shared_transaction import Plan


@pytest.fixture
def shard(tmp_path):
    """A shard that is made: (its files, what the shard table says of it)."""
    with shardpack.ShardWriter(tmp_path / "made") as writer:
        writer.write("a", {"bin": b"a" * 100})
    (info,) = shardpack.open(tmp_path / "made").shards
    return tmp_path / "made", info


@pytest.fixture(params=["alone", "with other parts"])
def begin(request, tmp_path):
    """Return a function that begins or continues a transaction."""
    if request.param == "alone":
        return lambda: Transaction.new_dataset(FolderTarget(str(tmp_path / "out")), "pack")
    return lambda: SharedTransaction(FolderTarget(str(tmp_path / "out"), shared=True), Plan())


def place(made, folder, info):
    for name in (info.name, info.index_path):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((made / name).read_bytes())


def test_a_queue_delivers_from_scratch(begin, shard, tmp_path):
    made, info = shard
    with begin() as transaction, transaction.delivery_queue(1) as queue:
        for name in (info.name, info.index_path):
            with open(transaction.scratch.join(name), "wb") as file:
                file.write((made / name).read_bytes())
        assert queue.acquire()
        queue.submit(info, "digest")
        assert list(queue.drain()) == [info]
    with begin() as again:
        assert again.finished(info.name, "digest").info == info
        assert again.finished(info.name, "another") is None
    assert (tmp_path / "out" / info.name).read_bytes() == (made / info.name).read_bytes()


def test_what_a_worker_delivered_is_recorded(begin, shard, tmp_path):
    made, info = shard
    with begin() as transaction, transaction.record_queue() as queue:
        place(made, tmp_path / "out", info)
        queue.submit(info, "digest")
        assert list(queue.drain()) == [info]
    with begin() as again:
        assert again.finished(info.name, "digest").info == info


def test_notes_stay_for_whoever_continues(begin):
    with begin() as transaction:
        assert transaction.note("growth") is None
        transaction.put_note("growth", {"samples": 3})
    with begin() as again:
        assert again.note("growth")["samples"] == 3


def test_errors_say_how_to_continue(begin):
    with begin() as transaction, pytest.raises(shardpack.errors.StorageError, match=r"again: .*continues"):  # noqa: SIM117
        with transaction.write_errors():
            raise OSError(28, "disk is full")
