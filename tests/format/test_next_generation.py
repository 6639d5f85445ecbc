"""Generations that follow one another: what is kept, what is new, and how few files there stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import FormatError
from shardpack.format.checksum import crc32c
from shardpack.format.deleted import parse_deleted
from shardpack.format.fingerprint import chain, chain_edits, fingerprint_text
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import MANIFEST_PATH, file_path, manifest_path
from shardpack.format.manifest import AppendedSplits, LayerRef, Parent, TableFile
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.named_files import encode_positions_file
from shardpack.format.next_generation import next_generation
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable
from shardpack.format.splits import Splits
from tests.format.builders import small_dataset

SHARDS = [ShardInfo(f"shard-{i:06d}.tar", 10 + i, 4096, 0xDEADBEEF, 512, i, {"jpg": 10, "json": 1}) for i in (0, 1)]


def added(generation, count=3):
    name = f"shard-g{generation:06d}-5f3a9c01-000000.tar"
    return ShardInfo(name, count, 2048, generation, 512, 7, {"json": count, "txt": 1})


class History:
    """A dataset that is edited: its files, and its newest manifest."""

    def __init__(self):
        self.files = small_dataset()
        self.shards = list(SHARDS)

    @property
    def manifest(self):
        return parse_manifest(self.files[MANIFEST_PATH])

    def edit(self, **changes):
        manifest, files = next_generation(
            self.manifest, self.files[MANIFEST_PATH], read=lambda file: self.files[file_path(file)], **changes
        )
        written = {name: b"".join(parts) for name, parts in files}
        assert list(written)[-2:] == [manifest_path(manifest.generation), MANIFEST_PATH]
        assert parse_manifest(written[MANIFEST_PATH]) == manifest
        assert not (written.keys() - {MANIFEST_PATH}) & self.files.keys(), "nothing old is written again"
        self.files.update(written)
        for file in manifest.files:
            if file_path(file) in self.files:
                data = self.files[file_path(file)]
                assert (len(data), crc32c(data)) == (file.num_bytes, file.crc32c)
        return manifest, sorted(written)

    def append(self, count=3, **changes):
        generation = self.manifest.generation + 1
        self.shards.append(added(generation, count))
        hashes = hash_keys(f"g{generation}/{i}" for i in range(count))
        return self.edit(shards=self.shards[-1:], hashes=hashes, base_chain=chain(self.shards[:-1]), **changes)


def test_appending_adds_a_segment_of_each_kind():
    history = History()
    parent, text = history.manifest, history.files[MANIFEST_PATH]
    manifest, written = history.append()
    assert manifest.parent == Parent(1, len(text), crc32c(text))
    assert (manifest.generation, manifest.num_samples, manifest.num_shards) == (2, 24, 3)
    assert manifest.samples_per_field == {"jpg": 20, "json": 5, "txt": 1}
    assert manifest.table_segments[:-1] == parent.table_segments
    assert manifest.key_segments[:-1] == parent.key_segments
    assert len(written) == 4
    assert list(ShardTable.whole(manifest, history.files.get)) == history.shards
    assert manifest.fingerprint == f"{chain(history.shards):016x}"
    assert manifest.classes == parent.classes


def test_deleting_adds_one_file():
    history = History()
    manifest, written = history.edit(deleted=np.array([7, 3]), edit={"command": "delete"})
    assert (manifest.num_samples, manifest.num_deleted, manifest.num_visible) == (21, 2, 19)
    assert manifest.fingerprint != History().manifest.fingerprint
    assert manifest.packed_with["edit"]["command"] == "delete"
    assert len(written) == 3
    with pytest.raises(FormatError, match="base_chain is needed"):
        history.edit(deleted=np.array([5]))
    same = history.edit(deleted=np.array([5]), base_chain=chain(SHARDS))[0]
    assert [file.num_deleted for file in same.deleted] == [2, 1]


@pytest.mark.parametrize("wrong", [[-1], [21], [3, 3]])
def test_only_stored_samples_can_be_deleted_and_once(wrong):
    with pytest.raises(FormatError, match="expected each position once"):
        History().edit(deleted=np.array(wrong))


def test_many_edits_leave_few_files():
    history, deleted = History(), []
    for number in range(30):
        deleted.append(number % 21 if number < 21 else history.manifest.num_samples - 1)
        manifest, written = history.append(
            deleted=np.array([deleted[-1] if number < 21 else history.manifest.num_samples])
        )
        deleted[-1] = deleted[-1] if number < 21 else history.manifest.num_samples - 3
        assert len(written) == 5
        for files in (manifest.table_segments, manifest.key_segments, manifest.deleted):
            assert len(files) <= 8
    assert list(ShardTable.whole(manifest, history.files.get)) == history.shards
    found = [
        parse_deleted(history.files[file_path(file)], file, num_samples=manifest.num_samples, path="x").tolist()
        for file in manifest.deleted
    ]
    assert sorted(position for part in found for position in part) == sorted(deleted)


def test_layers_are_named_with_their_positions():
    history = History()
    positions, parts = encode_positions_file(np.array([1, 2, 0]), generation=2)
    layer = LayerRef("../captions", 1, 900, 5, ("txt",), positions)
    manifest, written = history.edit(layers=[(layer, parts)])
    assert manifest.layers == (layer,)
    assert file_path(positions) in written
    assert manifest.fields == ("jpg", "json", "txt")
    both = [(layer, None), (replace(layer, generation=2), None)]
    both = [(layer, None), (replace(layer, generation=2), None)]
    again, written = history.edit(layers=both, base_chain=chain(SHARDS))
    assert len(again.layers) == 2
    assert len(written) == 2
    back, _ = history.edit(layers=[], base_chain=chain(SHARDS))
    assert back.fingerprint == History().manifest.fingerprint


@pytest.mark.parametrize("made_for", [0, 40, 110])
def test_only_what_comes_behind_the_splits_falls_into_them(made_for):
    history = History()
    appended = AppendedSplits(history.manifest.num_samples + made_for, {"train": (0, 1 << 32)})
    splits = Splits(("train",), np.array([0]), np.array([15]), np.array([0], np.uint16), appended)
    manifest, _ = history.append(count=110, splits=splits)
    assert manifest.splits.totals == {"train": 15 + 110 - made_for}


def test_splits_count_what_is_appended():
    history = History()
    splits = Splits(
        ("train", "val"),
        np.array([0, 15]),
        np.array([15, 21]),
        np.array([0, 1], np.uint16),
        AppendedSplits(21, {"train": (0, 1 << 31), "val": (1 << 31, 1 << 32)}),
    )
    manifest, written = history.edit(splits=splits)
    assert manifest.splits.totals == {"train": 15, "val": 6}
    assert len(written) == 3
    assert manifest.fingerprint == History().manifest.fingerprint
    manifest, written = history.append(count=100)
    assert len(written) == 4, "the file of splits stays"
    upper = hash_keys(f"g3/{i}" for i in range(100)) >> np.uint64(63)
    assert manifest.splits.appended.samples == {"train": int((upper == 0).sum()), "val": int((upper == 1).sum())}
    more = splits.extended(manifest.num_samples, Splits.of_runs([("test", 40), (None, 60)]))
    manifest, _ = history.append(count=100, splits=replace(more, appended=manifest.splits.appended))
    assert manifest.splits.samples == {"train": 15, "val": 6, "test": 40}
    assert sum(manifest.splits.totals.values()) == 221
    assert history.edit(splits=None)[0].splits is None


def test_a_table_that_lacks_rows_is_dropped():
    history = History()
    table = TableFile("table/000002-0000000d.parquet", 4096, 13, 21)
    assert history.edit(table=[table])[0].table == (table,)
    assert history.edit(deleted=np.array([1]))[0].table == (table,)
    assert history.append()[0].table == ()


def test_other_values_are_kept_or_replaced():
    history = History()
    manifest, written = history.edit(classes=None, locations=[".", "../b"], unique_keys=False)
    assert (manifest.classes, manifest.locations, manifest.unique_keys) == (None, (".", "../b"), False)
    assert len(written) == 2
    assert history.edit()[0].locations == (".", "../b")


def test_keys_and_shards_belong_together():
    history = History()
    with pytest.raises(FormatError, match="expected the hashes of 3 keys, got 0"):
        history.edit(shards=[added(2)])
    with pytest.raises(FormatError, match="same name"):
        history.edit(shards=[added(2), added(2)], hashes=hash_keys("abcdef"))


@given(st.data())
def test_any_chain_of_edits_equals_its_model(data):
    """Each generation holds what was appended, less what was deleted, in few files; its fingerprint is of all of it."""
    history, deleted = History(), set()
    chained = {history.manifest.fingerprint}
    for _ in range(data.draw(st.integers(1, 12))):
        before, num_samples = history.manifest, history.manifest.num_samples
        free = sorted(set(range(num_samples)) - deleted)
        gone = data.draw(st.lists(st.sampled_from(free), max_size=3, unique=True)) if free else []
        if data.draw(st.booleans()):
            manifest, _ = history.append(data.draw(st.integers(1, 3)), deleted=np.array(gone, np.int64))
        else:
            manifest, _ = history.edit(base_chain=chain(history.shards), deleted=np.array(gone, np.int64))
        deleted.update(gone)
        assert manifest.parent.generation == before.generation
        assert manifest.num_samples == sum(info.num_samples for info in history.shards)
        assert manifest.num_visible == manifest.num_samples - len(deleted)
        expected = chain_edits(manifest.deleted, (), chain(history.shards))
        assert manifest.fingerprint == fingerprint_text(expected)
        assert (manifest.fingerprint in chained) == (manifest.fingerprint == before.fingerprint)
        chained.add(manifest.fingerprint)
    assert max(map(len, (manifest.table_segments, manifest.key_segments, manifest.deleted))) <= 8
    assert list(ShardTable.whole(manifest, history.files.get)) == history.shards
    found = [
        parse_deleted(history.files[file_path(file)], file, num_samples=manifest.num_samples, path="x").tolist()
        for file in manifest.deleted
    ]
    assert sorted(position for part in found for position in part) == sorted(deleted)
