"""Generations that are kept, the copy of the manifest, and files that none of them names."""

from __future__ import annotations

import json

import pytest

import shardpack
from shardpack.errors import CorruptManifestError
from shardpack.format.layout import MANIFEST_PATH, file_path, manifest_path
from shardpack.inspect.verify_generations import verify_generations
from shardpack.read.open_dataset import load_manifest
from shardpack.read.shard_list import ShardList
from shardpack.storage.memory import MemoryStore
from tests import edits
from tests.conformance.recipes import CORPUS
from tests.fakes import file_contents
from tests.read.datasets import numbered, write

EDITED = CORPUS / "edited"


def found(files):
    store = MemoryStore(files)
    _, manifest = load_manifest(store)
    return verify_generations(store, manifest, ShardList(store, manifest))


def problems(files):
    return [(problem.kind, problem.shard, problem.command) for problem in found(files).problems]


def without(files, *names):
    assert all(name in files for name in names)
    return {name: data for name, data in files.items() if name not in names}


FILES = file_contents(EDITED)
SPLITS = next(name for name in FILES if "/splits-" in name)


def test_a_chain_of_generations_is_good():
    assert problems(FILES) == []
    assert found(FILES).kept == (1, 2, 3, 4, 5)


def test_generations_that_were_removed_are_no_problem():
    assert found(without(FILES, manifest_path(1), manifest_path(2))).kept == (3, 4, 5)
    assert problems(without(FILES, manifest_path(1), manifest_path(2))) == []


def test_a_gap_hides_no_older_generation():
    gap = found(without(FILES, manifest_path(3), manifest_path(4)))
    assert (gap.problems, gap.kept) == ([], (1, 2, 5))


def test_files_of_generations_that_were_removed_are_orphans(tmp_path):
    write(tmp_path, numbered(6), max_shard_samples=3)
    edits.edited(tmp_path, splits=edits.splits_of(("train", 6)))
    path = file_path(edits.newest(tmp_path).splits)
    edits.edited(tmp_path, splits=None)
    files = file_contents(tmp_path)
    assert problems(files) == []
    assert problems(without(files, manifest_path(2))) == [("orphan", path, "gc")]
    assert problems(without(files, path)) == [("incomplete", path, "gc")]
    assert found(without(files, path)).kept == (1,)
    damaged = {**files, manifest_path(2): b"damaged"}
    assert problems(damaged) == [("incomplete", manifest_path(2), "gc")], "what it named is not known"


def test_a_copy_that_was_not_replaced():
    behind = {**FILES, MANIFEST_PATH: FILES[manifest_path(5)]}
    assert problems(behind) == [("behind", MANIFEST_PATH, "repair")]
    assert "generation 6 was made" in str(found(behind).problems[0])


@pytest.mark.parametrize("number", [2, 5])
def test_a_parent_that_is_another_one(number):
    other = {**FILES, manifest_path(number): FILES[manifest_path(number)].replace(b'"append"', b'"delete"')}
    if other == FILES:
        other[manifest_path(number)] = b"damaged"
    assert problems(other) == [("incomplete", manifest_path(number), "gc")]
    forged = json.loads(FILES[manifest_path(number)])
    forged["x-note"] = 1
    assert problems({**FILES, manifest_path(number): edits.signed(forged)}) == [
        ("incomplete", manifest_path(number), "gc")
    ]


def test_the_copy_and_its_generation():
    assert problems(without(FILES, manifest_path(6))) == [("missing", manifest_path(6), "repair")]
    assert problems({**FILES, manifest_path(6): b"x"}) == [("stale", manifest_path(6), "repair")]


def test_what_no_generation_names_is_an_orphan():
    orphans = (
        ".shardpack/deleted-000003-0badcafe.index",
        ".shardpack/index/shard-g000002-0badcafe-000000.index",
        ".shardpack/layers/g000004-0badcafe/shard-000000.tar",
        ".shardpack/table/000003-0badcafe.parquet",
        "shard-g000002-0badcafe-000000.tar",
    )
    assert problems(FILES | dict.fromkeys(orphans, b"")) == [("orphan", name, "gc") for name in orphans]
    strays = (
        ".shardpack/manifests/000009.json",
        ".shardpack/notes.txt",
        "shard-g000002-0badcafe-000000.tar",
        "train-000007.tar.zst",
    )
    assert problems(FILES | dict.fromkeys(strays, b"")) == [("stray", name, None) for name in strays]
    assert problems({**FILES, "notes.txt": b"", "photos/a.tar.gz": b""}) == []


def test_what_an_unfinished_edit_made_is_its_own():
    folder = ".shardpack/tmp/append-5f3a9c01"
    more = {
        f"{folder}/edit.json": b'{"tag": "g000007-0badcafe", "commits": null, "totals": {}}',
        f"{folder}/journal.jsonl": b"",
        "shard-g000007-0badcafe-000000.tar": b"",
        ".shardpack/index/shard-g000007-0badcafe-000000.index": b"",
        ".shardpack/keys-000007-0badcafe.index": b"",
        "shard-g000007-00000000-000000.tar": b"",
    }
    assert problems(FILES | more) == [
        ("stray", "shard-g000007-00000000-000000.tar", None),
        ("unfinished", folder, None),
    ]


def test_a_report_says_what_is_kept(tmp_path):
    write(tmp_path, numbered(6), max_shard_samples=3)
    edits.deleted(tmp_path, 1, 4)
    report = shardpack.verify(tmp_path, full=True)
    assert (report.problems, report.generation, report.kept, report.num_samples) == ((), 2, (1,), 4)


def test_gc_mends_what_is_wrong_with_earlier_generations(tmp_path):
    write(tmp_path, numbered(6), max_shard_samples=3)
    for position in (1, 4):
        edits.deleted(tmp_path, position)
    (tmp_path / manifest_path(2)).write_bytes(b"damaged")
    (problem,) = shardpack.verify(tmp_path).problems
    assert problem.kind == "incomplete"
    assert problem.message.endswith('restore it, or remove all earlier generations with "shardpack gc --older-than 0"')
    with pytest.raises(CorruptManifestError, match=r"generation 2.*remove all earlier generations.*--older-than 0"):
        shardpack.gc(tmp_path)
    shardpack.gc(tmp_path, older_than=0)
    assert shardpack.verify(tmp_path).ok
