"""Edits in stores other than S3: Azure Blob, and what obstore itself keeps in memory, each with its own conditions.

Of Google Cloud Storage there is no server to test with: it takes the same path through obstore.
"""

from __future__ import annotations

import pytest

import shardpack
from shardpack.edit.base import open_base
from shardpack.errors import OutputExistsError
from shardpack.format.layout import WORK_FOLDER
from shardpack.storage.open import as_writable


@pytest.fixture(params=["azure", "obstore"])
def place(request):
    stores = pytest.importorskip("obstore.store")
    if request.param == "obstore":
        return stores.MemoryStore(), {}
    server = request.getfixturevalue("azurite_server")
    return f"az://{server.new_container()}/deep/ds", {"storage_options": server.options()}


def test_edits_by_create_if_absent(place):
    location, options = place
    with shardpack.ShardWriter(location, max_shard_samples=4, **options) as writer:
        for number in range(6):
            writer.write(f"k/{number}", {"json": {"label": number}, "cls": number})
    shardpack.relabel(location, {"k/1": {"label": 7}}, **options)
    shardpack.delete(location, ["k/0"], **options)
    shardpack.append([("n/0", {"json": {"label": 9}, "cls": 9})], location, **options)
    shardpack.split(location, {"train": 0.5, "val": 0.5}, **options)
    with shardpack.open(location, **options) as ds:
        found = {sample.key: (sample.decode("json")["label"], sample.decode("cls")) for sample in ds}
        assert found == {"k/1": (7, 7), **{f"k/{n}": (n, n) for n in range(2, 6)}, "n/0": (9, 9)}
        assert sum(ds.splits.values()) == 6
        assert ds.manifest.generation == 5
    with shardpack.open(location, generation=1, **options) as ds:
        assert [sample.decode("cls") for sample in ds] == list(range(6))
    assert not [name for name in as_writable(location, options.get("storage_options")).names() if WORK_FOLDER in name]


def test_of_two_editors_one_wins(place):
    location, options = place
    with shardpack.ShardWriter(location, **options) as writer:
        for key in "ab":
            writer.write(key, {"json": {"label": 0}})
    with open_base(location, **options).begin("relabel", run_digest="x") as behind:
        behind.put(f"{behind.folder}/finished", [b"1"])
        shardpack.delete(location, ["a"], **options)
        with pytest.raises(OutputExistsError, match="another edit made generation 2"):
            behind.commit(behind.parent, [(".shardpack/manifests/000002.json", [b"{}"]), ("", [b""])])
    with shardpack.open(location, **options) as ds:
        assert list(ds.keys()) == ["b"]
    assert behind.target.read(f"{behind.folder}/finished") == b"1"
