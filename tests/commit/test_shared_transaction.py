"""Transactions of several processes: one plan wins, the lease is shared, nothing stays. Whole runs: test_pack_part."""

from __future__ import annotations

import pytest

from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.journal import PARTS_FOLDER, PLAN_PATH
from shardpack.commit.lease import LEASE_NAME
from shardpack.commit.shared_transaction import SharedTransaction, published_plan
from shardpack.errors import OutputExistsError
from shardpack.format import layout
from shardpack.format.assemble import encode_dataset
from shardpack.format.key_index import hash_keys
from tests.commit.stores import WatchedStore
from tests.fakes import contents


class Plan:
    """A plan of a dataset without shards."""

    def __init__(self, name="one"):
        self.digest, self.text = name, f"plan {name}".encode()

    def details(self):
        return [(f"{PARTS_FOLDER}/details-{self.digest}", [b"details"])]

    def difference(self, published, read):
        assert read(f"{PARTS_FOLDER}/details-{published.decode()[5:]}") == b"details"
        return f"{published.decode()!r} is not {self.text.decode()!r}"

    def files(self):
        return encode_dataset([], hash_keys([]), packed_with={"plan": self.digest})[1]

    def is_dataset(self, read):
        return read(layout.MANIFEST_PATH) == self.files()[-1][1][0]


@pytest.fixture(params=["folder", "bucket"])
def target(request, tmp_path):
    """Return a function that opens the same target again."""
    store = WatchedStore()
    return lambda: (
        FolderTarget(str(tmp_path), shared=True)
        if request.param == "folder"
        else BucketTarget(store, str(tmp_path), shared=True)
    )


def names(target):
    return sorted(name for name in target.names() if name != ".shardpack")  # the folder itself


def test_the_first_publishes_the_plan_and_others_obey_it(target):
    with SharedTransaction(target(), Plan()) as first:
        assert published_plan(target()) == b"plan one"
        with SharedTransaction(target(), Plan()) as second:
            assert not first.complete
            assert not second.complete
        with pytest.raises(
            OutputExistsError, match="another one: 'plan one' is not 'plan two'; give all parts the same"
        ):
            SharedTransaction(target(), Plan("two"))
    assert names(target()) == [LEASE_NAME, f"{PARTS_FOLDER}/details-one", PLAN_PATH]


def test_whoever_publishes_leaves_only_the_dataset(target):
    with SharedTransaction(target(), Plan()) as first, SharedTransaction(target(), Plan()) as second:
        assert not second.was_published()
        first.publish(Plan().files())
        with pytest.raises(OutputExistsError, match="another process"):
            second.check()
        assert second.was_published()
    with SharedTransaction(target(), Plan()) as third:
        assert third.complete
    with pytest.raises(OutputExistsError, match="already holds a dataset"):
        SharedTransaction(target(), Plan("two"))
    assert names(target()) == [layout.MANIFEST_PATH, layout.manifest_path(1)]


def test_both_may_publish_at_once(target):
    with SharedTransaction(target(), Plan()), SharedTransaction(target(), Plan()) as second:
        own_name, parts = Plan().files()[0]
        target().create(own_name, parts)
        second.publish(Plan().files())
    assert names(target()) == [layout.MANIFEST_PATH, layout.manifest_path(1)]


def test_a_publisher_that_was_killed_is_finished_by_another(target):
    with SharedTransaction(target(), Plan()):
        for name, parts in Plan().files():
            target().put(name, parts)
    with SharedTransaction(target(), Plan()) as second:
        assert second.complete
    assert names(target()) == [layout.MANIFEST_PATH, layout.manifest_path(1)]


def test_the_manifest_of_another_is_never_replaced(target):
    with SharedTransaction(target(), Plan()) as first:
        own_name, parts = Plan("two").files()[0]
        target().create(own_name, parts)
        with pytest.raises(OutputExistsError):
            first.publish(Plan().files())
    assert target().read(own_name) == b"".join(parts)
    assert target().read(layout.MANIFEST_PATH) is None


@pytest.mark.parametrize("can_create", [True, False])
def test_of_two_plans_that_come_first_at_once_one_wins(tmp_path, can_create, monkeypatch):
    monkeypatch.setattr(WatchedStore, "can_create", can_create)
    outcomes = []
    for step in range(1, 9):
        store = WatchedStore()
        left = [step]

        def other(*_, store=store, left=left):
            left[0] -= 1
            if left[0] == 0:
                outcomes.append(attempt(store, "two"))

        store.before = other
        outcomes.append(attempt(store, "one"))
        assert 1 in outcomes[-2:] or left[0] > 0
        kept = BucketTarget(store, str(tmp_path), shared=True)
        assert published_plan(kept) in (b"plan one", b"plan two")
    assert 0 in outcomes


def attempt(store, name):
    """Return whether a plan was taken."""
    try:
        with SharedTransaction(BucketTarget(store, shared=True), Plan(name)) as transaction:
            transaction.check()
    except OutputExistsError:
        return 0
    return 1


def test_a_failed_start_leaves_no_scratch(tmp_path):
    with SharedTransaction(FolderTarget(str(tmp_path), shared=True), Plan()):
        pass
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError):
        SharedTransaction(FolderTarget(str(tmp_path), shared=True), Plan("two"))
    assert contents(tmp_path) == before


def test_a_folder_that_a_packer_has_locked_is_busy(tmp_path):
    lock = FolderTarget(str(tmp_path)).lock()
    with pytest.raises(OutputExistsError, match="another process is writing to"):
        SharedTransaction(FolderTarget(str(tmp_path), shared=True, seconds_to_wait=0), Plan())
    lock.release()
    part = SharedTransaction(FolderTarget(str(tmp_path), shared=True), Plan())
    with part, pytest.raises(OutputExistsError, match="another process is writing to"):
        FolderTarget(str(tmp_path), seconds_to_wait=0).lock()
