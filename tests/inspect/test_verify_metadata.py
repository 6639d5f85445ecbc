"""Files that are neither shards nor indexes; tests/inspect/test_verify.py has the damage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import shardpack
from shardpack.format.checksum import crc32c
from shardpack.format.fingerprint import chain_columns, chain_edits, fingerprint_text
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import MANIFEST_PATH, file_path, manifest_path
from shardpack.format.manifest import AppendedSplits
from shardpack.format.manifest_json import encode_manifest
from shardpack.format.named_files import encode_deleted_file
from shardpack.format.splits import Splits
from shardpack.inspect.verify_metadata import verify_metadata
from shardpack.read.open_dataset import load_manifest
from shardpack.read.shard_list import ShardList
from shardpack.storage.memory import MemoryStore
from tests import edits
from tests.fakes import file_contents
from tests.read.datasets import numbered, packed, write
from tests.sidecars import key_index, plain

FILES = packed(numbered(30), max_shard_samples=10, split="train")


def problems(files, hashes=None):
    store = MemoryStore(files)
    _, manifest = load_manifest(store)
    return [
        (one.kind, plain(one.shard)) for one in verify_metadata(store, manifest, ShardList(store, manifest), hashes)
    ]


def test_good_ones():
    assert problems(FILES) == []


def test_each_damaged_or_missing_one_is_told_once():
    for name in FILES:
        if ".shardpack/" in name and name.endswith(".index") and "/index/" not in name:
            damaged = {**FILES, name: FILES[name][:-1] + b"?"}
            assert problems(damaged) == [("damaged", plain(name))]
            assert problems({path: data for path, data in FILES.items() if path != name}) == [("missing", plain(name))]


def test_splits_that_contradict_the_manifest_are_told():
    (path,) = (name for name in FILES if "/splits-" in name)
    assert shardpack.open(MemoryStore(FILES)).splits == {"train": 30}
    data = bytearray(FILES[path])
    at = data.rindex((30).to_bytes(8, "little"))
    data[at : at + 8] = (29).to_bytes(8, "little")
    crc, old = crc32c(bytes(data)), crc32c(FILES[path])
    text = FILES[MANIFEST_PATH].replace(b"%08x" % old, b"%08x" % crc)[:-25]
    text += b'  "crc32c": "%08x"\n}\n' % crc32c(text)
    named = path.replace(f"{old:08x}", f"{crc:08x}")
    files = {name: bytes_ for name, bytes_ in FILES.items() if name != path}
    files |= {named: bytes(data), MANIFEST_PATH: text, manifest_path(1): text}
    assert problems(files) == [("damaged", plain(named))]


@pytest.fixture
def edited(tmp_path):
    """Two deletions, and splits into which appended samples fell."""
    edits.write(tmp_path, FILES)
    splits = Splits.of_runs([("train", 20), ("val", 10)])
    fall = AppendedSplits(30, {"train": (0, 1 << 31), "val": (1 << 31, 1 << 32)})
    edits.edited(tmp_path, splits=replace(splits, appended=fall))
    edits.appended(tmp_path, {f"more/{i}": {"bin": b"x"} for i in range(8)})
    edits.deleted(tmp_path, 3, 33)
    edits.deleted(tmp_path, 7)
    return tmp_path


HASHES = hash_keys([*numbered(30), *(f"more/{i}" for i in range(8))])


def test_what_edits_leave_is_good(edited):
    assert problems(file_contents(edited), HASHES) == []


def test_each_file_of_edits_is_told_once(edited):
    files = file_contents(edited)
    for file in edits.newest(edited).files:
        path = file_path(file)
        damaged = {**files, path: files[path][:-1] + b"?"}
        assert problems(damaged) == [("damaged", plain(path))]
        assert problems({name: data for name, data in files.items() if name != path}) == [("missing", plain(path))]


def test_deleted_positions_must_be_there_and_differ(edited):
    manifest, text = edits.newest(edited), (edited / MANIFEST_PATH).read_bytes()
    for positions in ([7], [38]):
        file, parts = encode_deleted_file(np.array(positions), generation=6)
        files = {**file_contents(edited), file_path(file): b"".join(parts)}
        changed = replace(manifest, deleted=(*manifest.deleted, file))
        chained = chain_edits(changed.deleted, (), chain_columns(opened(edited).columns))
        files[MANIFEST_PATH] = encode_manifest(replace(changed, fingerprint=fingerprint_text(chained)))
        assert problems(files) == [("damaged", plain(file_path(file)))]
    assert text == (edited / MANIFEST_PATH).read_bytes()


def opened(folder):
    store = MemoryStore(file_contents(folder))
    return ShardList(store, load_manifest(store)[1])


def test_samples_that_fell_into_another_split_are_told(edited):
    manifest = edits.newest(edited)
    fell = dict(manifest.splits.appended.samples)
    fell["train"] -= 1
    changed = replace(manifest.splits, appended=replace(manifest.splits.appended, samples=fell))
    files = {**file_contents(edited), MANIFEST_PATH: encode_manifest(replace(manifest, splits=changed))}
    assert problems(files) == []
    assert problems(files, HASHES) == [("damaged", MANIFEST_PATH)]


def test_what_is_damaged_needs_force(tmp_path):
    write(tmp_path, numbered(6))
    path = key_index(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    (problem,) = shardpack.verify(tmp_path).problems
    assert '"shardpack repair --force"' in problem.message
    assert shardpack.repair(tmp_path, force=True).lost == ()
    assert shardpack.verify(tmp_path).ok
    path.unlink()
    (problem,) = shardpack.verify(tmp_path).problems
    assert '"shardpack repair"' in problem.message
