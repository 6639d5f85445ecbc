"""An edit makes one generation or none: whoever else edits, and wherever it is killed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

import shardpack
from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.edit_folder import NOTE, folder_of_edit
from shardpack.commit.edit_transaction import EditTransaction
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.transaction import Transaction
from shardpack.errors import DatasetNotFoundError, OptionError, OutputExistsError, StorageError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import MANIFEST_PATH, WORK_FOLDER, manifest_path
from shardpack.format.manifest import KeySegment, Parent
from shardpack.format.manifest_json import encode_manifest
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.fakes import file_contents

SAMPLES = [(key, {"bin": key.encode() * 100}) for key in "abc"]


class Place:
    """A dataset in a folder or a bucket."""

    def __init__(self, kind, tmp_path):
        self.kind, self.path, self.store = kind, tmp_path / "ds", WatchedStore()
        shardpack.pack(SAMPLES, self.location)

    def target(self):
        if self.kind == "folder":
            return FolderTarget(str(self.path), seconds_to_wait=0.0)
        return BucketTarget(self.store, shared=True)

    def edit(self, what="x", command="delete", **options):
        return EditTransaction(self.target(), command, run_digest=what, **options)

    @property
    def location(self):
        return self.path if self.kind == "folder" else self.store.url

    def contents(self):
        return file_contents(self.path) if self.kind == "folder" else self.store.contents()

    def put(self, name, data):
        if self.kind == "folder":
            path = self.path / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_bytes(data)
        else:
            self.store.put(name, data)

    def unfinished(self):
        return {name for name in self.contents() if name.startswith(WORK_FOLDER)}

    def generation(self):
        return shardpack.open(self.location).manifest.generation


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path):
    return Place(request.param, tmp_path)


@pytest.fixture
def bucket(tmp_path):
    return Place("bucket", tmp_path)


def following(transaction, classes):
    """The next manifest, which differs in its classes, and the files to publish."""
    parent = Parent(transaction.parent.generation, len(transaction.parent_text), crc32c(transaction.parent_text))
    number = transaction.parent.generation + 1
    manifest = replace(transaction.parent, generation=number, parent=parent, classes=tuple(classes))
    text = encode_manifest(manifest)
    return manifest, [(".shardpack/x-" + classes, [b"file"]), (manifest_path(number), [text]), (MANIFEST_PATH, [text])]


def make(place, classes="k", **options):
    with place.edit(classes, **options) as transaction:
        transaction.commit(*following(transaction, classes))


def test_an_edit_makes_the_next_generation_and_leaves_nothing_else(place):
    before = place.contents()
    with place.edit() as transaction:
        assert transaction.parent.generation == 1
        assert transaction.parent_text == before[MANIFEST_PATH]
        assert transaction.tag.startswith("g000002-")
        transaction.put(f"{transaction.folder}/kept", [b"1"])
        transaction.commit(*following(transaction, "k"))
    after = place.contents()
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed == {MANIFEST_PATH, manifest_path(2), ".shardpack/x-k"}
    assert after[MANIFEST_PATH] == after[manifest_path(2)]
    assert before.keys() <= after.keys(), "nothing is deleted"
    assert shardpack.open(place.location).classes == ("k",)
    assert shardpack.open(place.location, generation=1).classes is None


def test_an_edit_that_finishes_nothing_leaves_nothing(place):
    before = place.contents()
    with pytest.raises(ZeroDivisionError), place.edit():
        raise ZeroDivisionError
    assert place.contents() == before


def test_edits_that_were_not_finished_are_continued_side_by_side(place):
    with place.edit("x") as first:
        first.put(f"{first.folder}/kept", [b"1"])
    with place.edit("y") as other:
        other.put(f"{other.folder}/kept", [b"2"])
    assert {first.folder, other.folder} == {folder_of_edit(name) for name in place.unfinished()}
    make(place, "k")
    with place.edit("x") as again:
        assert again.parent.generation == 2
        assert (again.folder, again.tag) == (first.folder, first.tag), "what it named stays usable"
        assert again.target.read(f"{again.folder}/kept") == b"1"
        again.commit(*following(again, "m"))
    assert {folder_of_edit(name) for name in place.unfinished()} == {other.folder}
    assert place.generation() == 3


def test_equal_edits_of_different_parents_have_different_tags(place):
    with place.edit("x") as first:
        first.commit(*following(first, "k"))
    with place.edit("x") as second:
        assert second.folder == first.folder
        assert second.tag != first.tag


def test_a_missed_copy_is_healed_by_the_next_editor(place):
    make(place)
    place.put(MANIFEST_PATH, place.contents()[manifest_path(1)])
    assert place.generation() == 1, "readers see the copy"
    with place.edit() as transaction:
        assert transaction.parent.generation == 2
    assert place.generation() == 2


def test_a_run_that_was_killed_after_its_commit_is_complete(place):
    with place.edit("x") as transaction:
        manifest, files = following(transaction, "k")
        transaction.commit(manifest, files, totals={"deleted": 3})
    kept = f'{{"tag": "{transaction.tag}", "commits": [2, {crc32c(files[-1][1][0])}], "totals": {{"deleted": 3}}}}'
    place.put(f"{transaction.folder}/{NOTE}", kept.encode())
    place.put(f"{transaction.folder}/more", b"1")
    with place.edit("x") as again:
        assert again.complete
        assert (again.parent.generation, again.totals) == (2, {"deleted": 3})
    assert not place.unfinished()
    with place.edit("x") as again:
        assert not again.complete


def test_a_run_that_was_committed_and_edited_since_begins_anew(place):
    """Its files belong to generation 2: another run must not write to them."""
    with place.edit("x") as transaction:
        _, files = following(transaction, "k")
        transaction.commit(*following(transaction, "k"))
    make(place, "m")
    kept = f'{{"tag": "{transaction.tag}", "commits": [2, {crc32c(files[-1][1][0])}], "totals": {{}}}}'
    place.put(f"{transaction.folder}/{NOTE}", kept.encode())
    with place.edit("x") as again:
        assert not again.complete
        assert again.tag != transaction.tag


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"tag": "../x", "commits": null, "totals": {}}', b'{"tag": 1}'])
def test_a_damaged_note_counts_as_none(place, note):
    with place.edit() as transaction:
        transaction.put(f"{transaction.folder}/kept", [b"1"])
    place.put(f"{transaction.folder}/{NOTE}", note)
    with place.edit() as again:
        assert again.tag == transaction.tag


def test_where_only_the_copy_is_kept_the_parent_is_not_lost(place):
    target = place.target()
    target.delete([manifest_path(1)])
    make(place)
    assert shardpack.open(place.location, generation=1).classes is None


# Others


def test_the_second_editor_of_a_folder_gets_one_error_at_once(tmp_path):
    place = Place("folder", tmp_path)
    with place.edit("x") as first:
        for command in ("delete", "append"):
            with pytest.raises(OutputExistsError, match=r"another process is writing to .*; wait"):
                place.edit("y", command=command)
        with pytest.raises(OutputExistsError, match="another process"):
            Transaction.new_dataset(place.target(), "pack", force=True)
        first.commit(*following(first, "k"))
    make(place, "m")
    assert place.generation() == 3


def test_of_several_editors_of_a_bucket_the_first_to_commit_wins(bucket):
    transactions = [bucket.edit(str(number)) for number in range(8)]
    for transaction in transactions:
        transaction.put(f"{transaction.folder}/kept", [b"1"])
    made = [following(transaction, str(number)) for number, transaction in enumerate(transactions)]
    transactions[5].commit(*made[5])
    for transaction, files in zip(transactions, made, strict=True):
        if transaction is transactions[5]:
            continue
        with (
            transaction,
            pytest.raises(OutputExistsError, match=r"another edit made generation 2 .* run the same delete"),
        ):
            transaction.commit(*files)
    assert shardpack.open(bucket.location).classes == ("5",)
    for number in (3, 7):
        with bucket.edit(str(number)) as again:
            assert again.tag == transactions[number].tag
            assert again.target.read(f"{again.folder}/kept") == b"1"
            again.commit(*following(again, str(number)))
    assert shardpack.open(bucket.location).classes == ("7",)
    assert bucket.generation() == 4


def test_who_comes_second_takes_back_what_only_its_manifest_would_name(bucket):
    same, other = ".shardpack/keys-000002-00000001.index", ".shardpack/keys-000002-00000002.index"
    transactions = [bucket.edit(name) for name in "xy"]
    made = [following(transaction, name) for transaction, name in zip(transactions, "xy", strict=True)]
    segment = KeySegment("keys-000002-00000001.index", 9, 1, 9, 9, 3)
    winner = replace(made[0][0], key_segments=(segment,))
    text = encode_manifest(winner)
    winning = [(same, [b"segment"]), (manifest_path(2), [text]), (MANIFEST_PATH, [text])]
    transactions[1].put(other, [b"segment"])
    transactions[1].put(".shardpack/notes", [b"not ours to delete"])
    transactions[0].commit(winner, winning)
    with transactions[1], pytest.raises(OutputExistsError, match="meanwhile"):
        transactions[1].commit(*made[1])
    assert {same, ".shardpack/notes"} <= bucket.contents().keys()
    assert other not in bucket.contents()
    assert not bucket.unfinished(), "nothing was finished that the next run could use"


def test_what_has_the_tag_in_its_name_is_kept_for_the_next_run(bucket):
    first, second = bucket.edit("x"), bucket.edit("y")
    name = f"shard-{second.tag}-000000.tar"
    second.put(name, [b"shard"])
    first.commit(*following(first, "k"))
    with second, pytest.raises(OutputExistsError, match="meanwhile"):
        second.commit(*following(second, "m"))
    assert name in bucket.contents()
    with bucket.edit("y") as again:
        assert again.tag == second.tag


def test_the_manifest_decides_at_the_last_moment(bucket):
    """The other editor commits between the last look and the creation."""
    other = bucket.edit("y")

    def overtake(what, name):
        if (what, name) == ("create", manifest_path(2)):
            heal(bucket.store)
            other.commit(*following(other, "m"))

    with bucket.edit("x") as transaction:
        files = following(transaction, "k")
        bucket.store.before = overtake
        with pytest.raises(OutputExistsError, match="meanwhile"):
            transaction.commit(*files)
    assert shardpack.open(bucket.location).classes == ("m",)


def test_a_slow_editor_does_not_bring_an_older_copy_back(bucket):
    """Between the commit of the first and its copy, the second heals, commits and copies."""

    def overtake(what, name):
        if (what, name) == ("put", MANIFEST_PATH):
            heal(bucket.store)
            make(bucket, "m")

    with bucket.edit("x") as transaction:
        files = following(transaction, "k")
        bucket.store.before = overtake
        transaction.commit(*files)
    assert bucket.generation() == 3
    assert shardpack.open(bucket.location).classes == ("m",)


def test_equal_edits_at_once_are_one(bucket):
    first, second = bucket.edit("x"), bucket.edit("x")
    for transaction in (first, second):
        transaction.commit(*following(transaction, "k"))
    assert bucket.generation() == 2
    assert not bucket.unfinished()


@pytest.mark.parametrize("error", [ZeroDivisionError("its own"), StorageError("its own")], ids=["any", "of a bucket"])
def test_an_error_is_told_where_the_bucket_answers_no_more(bucket, monkeypatch, error):
    def refuse(*_):
        raise StorageError("bucket is unreachable")

    transaction = bucket.edit(command="append")
    assert transaction.target.scratch
    monkeypatch.setattr(BucketTarget, "read", refuse)
    with pytest.raises(type(error), match="its own"), transaction:
        raise error
    assert transaction._released
    assert transaction.target._held is None, "its scratch folder is gone"


def test_an_error_of_a_run_that_lost_its_claim_is_that(bucket):
    first, _ = (bucket.edit(command="append") for _ in range(2))
    with pytest.raises(OutputExistsError, match="the same append was begun again"), first:
        raise StorageError("no such object")


def test_unfinished_packers_are_finished_first(place):
    place.put(f"{WORK_FOLDER}/lease.json", b'{"command": "index", "owner": "1"}')
    with pytest.raises(OutputExistsError, match="unfinished; run the same index command again"):
        place.edit()
    place.target().delete([f"{WORK_FOLDER}/lease.json"])
    with place.edit() as transaction:
        files = following(transaction, "k")
        place.put(f"{WORK_FOLDER}/lease.json", b'{"command": "pack", "owner": "1"}')
        with pytest.raises(OutputExistsError, match="unfinished; run the same pack command again"):
            transaction.commit(*files)
    assert place.generation() == 1


def test_a_store_that_cannot_create_asks_for_a_promise(bucket):
    bucket.store.can_create = False
    with pytest.raises(OptionError, match=r"single_writer=True \(--single-writer\)"):
        bucket.edit()
    with bucket.edit(single_writer=True) as transaction:
        transaction.commit(*following(transaction, "k"))
    assert bucket.generation() == 2


def test_without_a_dataset_there_is_nothing_to_edit():
    with pytest.raises(DatasetNotFoundError, match="no dataset"):
        EditTransaction(BucketTarget(WatchedStore(), shared=True), "delete", run_digest="x")


def test_a_copy_that_arrives_damaged_is_an_error(bucket):
    bucket.store.changed = lambda name, data: data[:-1] if name == MANIFEST_PATH else data
    with bucket.edit() as transaction, pytest.raises(StorageError, match="other bytes arrive"):
        transaction.commit(*following(transaction, "k"))
    bucket.store.changed = lambda _, data: data
    bucket.put(MANIFEST_PATH, bucket.contents()[manifest_path(1)])
    with bucket.edit("z"):
        assert bucket.generation() == 2


def test_the_requests_of_an_edit_are_few_and_list_nothing_at_the_beginning(bucket, monkeypatch):
    monkeypatch.setattr(WatchedStore, "names", lambda _: pytest.fail("listed"))
    transaction = bucket.edit()
    bucket.store.log.clear()
    monkeypatch.undo()
    transaction.commit(*following(transaction, "k"))
    assert [name.rpartition("/")[2] for _, name in bucket.store.log] == [
        "x-k", "edit.json", "000002.json", "manifest.json", "edit.json",
    ]  # fmt: skip


# Kills


@pytest.mark.parametrize("step", range(1, 8))  # the eighth change is the last
def test_killed_at_any_change_it_is_one_generation_or_the_other(bucket, step):
    def run():
        with bucket.edit("x") as transaction:
            if not transaction.complete:
                transaction.put(f"{transaction.folder}/kept", [b"1"])
                transaction.commit(*following(transaction, "k"))

    kill_at(bucket.store, step)
    with suppress(KilledError):
        run()
    heal(bucket.store)
    assert bucket.generation() in (1, 2)
    run()
    assert bucket.generation() == 2
    assert shardpack.open(bucket.location).classes == ("k",)
    assert not bucket.unfinished()


def test_a_manifest_that_appears_while_ours_is_created_is_not_deleted(bucket):
    """Read as missing, it is there a moment later: it is the other editor's, and not a leftover."""
    other = bucket.edit("y")
    with bucket.edit("x") as transaction:
        files, real = following(transaction, "k"), transaction.target.read

        def read(name):
            present = real(name)
            if name == manifest_path(2) and present is None and any("x-k" in put for put in bucket.store.puts()):
                transaction.target.read = real
                other.commit(*following(other, "m"))
            return present

        transaction.target.read = read
        with pytest.raises(OutputExistsError, match="meanwhile"):
            transaction.commit(*files)
    assert shardpack.open(bucket.location).classes == ("m",)


def test_a_dataset_that_was_replaced_meanwhile_is_not_edited(bucket):
    """The packer came and went between the beginning of the edit and its commit."""
    with bucket.edit("x") as transaction:
        files = following(transaction, "k")
        shardpack.pack([("new", {"bin": b"1"})], bucket.location, force=True)
        before = bucket.contents()
        with pytest.raises(OutputExistsError, match="was replaced while it was edited; nothing has changed"):
            transaction.commit(*files)
    assert list(shardpack.open(bucket.location).keys()) == ["new"]
    assert before.keys() <= bucket.contents().keys()
    assert bucket.generation() == 1
    assert manifest_path(2) not in bucket.contents()
    make(bucket, "m")
    assert bucket.generation() == 2


def test_released_it_touches_nothing_of_the_next_editor(tmp_path):
    place = Place("folder", tmp_path)
    with place.edit("x") as first:
        first.commit(*following(first, "k"))
        second = place.edit("y")
        (place.path / second.folder / "more").mkdir()
    assert (place.path / second.folder / "more").is_dir()
    second.release()
