"""Files that are neither shards nor indexes; tests/inspect/test_verify.py has the damage."""

from __future__ import annotations

import shardpack
from shardpack.format.checksum import crc32c
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import MANIFEST_PATH, manifest_path
from shardpack.inspect.verify_metadata import is_table_sound, verify_metadata
from shardpack.storage.memory import MemoryStore
from tests.read.datasets import numbered, packed
from tests.sidecars import plain

FILES = packed(numbered(30), max_shard_samples=10, split="train")


def problems(files):
    store = MemoryStore(files)
    ds = shardpack.open(store)
    hashes = None
    if is_table_sound(ds.shards):
        hashes = hash_keys(ds.keys())
    return [(problem.kind, plain(problem.shard)) for problem in verify_metadata(store, ds.manifest, ds.shards, hashes)]


def test_good_ones():
    assert problems(FILES) == []


def test_each_damaged_or_missing_one_is_told_once():
    for name in FILES:
        if ".shardpack/" in name and name != MANIFEST_PATH and "/index/" not in name:
            damaged = {**FILES, name: FILES[name][:-1] + b"?"}
            kind = "stale" if name == manifest_path(1) else "damaged"
            assert problems(damaged) == [(kind, plain(name))]
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


def test_files_of_earlier_generations_are_no_strays_and_later_ones_are():
    strays = {".shardpack/manifests/000002.json": b"", ".shardpack/notes.txt": b""}
    assert problems({**FILES, **strays}) == [("orphan", path) for path in sorted(strays)]
