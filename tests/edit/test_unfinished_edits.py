"""Which unfinished edits may go on, and which are given up."""

from __future__ import annotations

from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.edit_folder import EditNote
from shardpack.edit.unfinished_edits import find_unfinished_edits
from shardpack.storage.memory import MemoryStore
from shardpack.storage.protocols import Listed

ONE, TWO = ".shardpack/tmp/append-00000001", ".shardpack/tmp/delete-00000002"


def found(*old, tag="g000002-0badcafe", more=()):
    store = MemoryStore(
        {
            f"{ONE}/edit.json": EditNote("g000002-0badcafe").encode(),
            "shard-g000002-0badcafe-000000.tar": b"1",
            f"{TWO}/edit.json": EditNote(tag).encode(),
            **dict.fromkeys(more, b"1"),
        }
    )
    edits = find_unfinished_edits(
        BucketTarget(store, shared=True),
        [Listed(name) for name in store.names()],
        lambda one: one.path in old,
        generation=3,
    )
    return edits.tags, edits.given_up, edits.tags_given_up


def test_all_files_of_an_edit_are_looked_at():
    other = "g000002-0000000a"
    assert found(tag=other) == ({"g000002-0badcafe", other}, frozenset(), frozenset())
    assert found(f"{ONE}/edit.json", tag=other)[0] == {"g000002-0badcafe", other}, "its tar is young"
    given_up = found(f"{ONE}/edit.json", "shard-g000002-0badcafe-000000.tar", tag=other)
    assert given_up == ({other}, {ONE}, {"g000002-0badcafe"})


def test_what_another_edit_may_go_on_with_is_not_given_up():
    folder, tar = f"{ONE}/edit.json", "shard-g000002-0badcafe-000000.tar"
    assert found(folder, tar) == ({"g000002-0badcafe"}, {ONE}, frozenset())


def test_a_damaged_note_names_nothing():
    assert found(f"{TWO}/edit.json", tag="x") == ({"g000002-0badcafe"}, {TWO}, frozenset())


def test_files_of_the_next_generation_may_be_of_any():
    part = ".shardpack/table/000003-0badcafe.parquet"
    old = (f"{ONE}/edit.json", f"{TWO}/edit.json", "shard-g000002-0badcafe-000000.tar")
    assert found(*old, more=[part]) == ({"g000002-0badcafe"}, frozenset(), frozenset())
    assert found(*old, part, more=[part])[1] == {ONE, TWO}
