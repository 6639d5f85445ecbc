"""Where samples are packed: a new dataset has what the source has, another place may make something else of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

import shardpack
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.open_target import target_of
from shardpack.errors import OptionError
from shardpack.sources.splits import with_splits
from shardpack.storage.open import open_store
from shardpack.write.pack import pack_source
from shardpack.write.place import Incoming, NewDataset
from shardpack.write.request import PackRequest
from shardpack.write.select_fields import SelectFields
from tests.fakes import write_files

SAMPLES = {f"a/{i}": {"jpg": bytes([i]) * 10, "txt": b"t"} for i in range(4)}


class Elsewhere:
    """Packs into another folder than the one it is asked for; all samples are in one split, without a class list."""

    is_new = True

    def __init__(self, folder, split="extra"):
        self.store, self.split, self.seen = open_store(folder), split, []

    def target(self, *, work_dir=None, shared=False):
        return target_of(self.store, work_dir=work_dir, shared=shared)

    def refuse(self, stores):
        self.seen.append([store.location for store in stores])

    def admit(self, listing, *, keeps_keys):
        self.seen.append((len(listing.keys), keeps_keys))
        return with_splits(replace(listing, classes=("x",)), [self.split] * listing.num_samples)

    def admit_rows(self, classes, splits):
        self.seen.append((classes, list(splits)))
        return Incoming(("x",), (SelectFields(("jpg",)),), self.split)


def test_a_new_dataset_has_what_the_source_has(tmp_path):
    place = NewDataset(str(tmp_path / "out"))
    assert isinstance(place.target(), FolderTarget)
    assert place.admit_rows(["a"], ["train"]) == Incoming(["a"])
    with pytest.raises(OptionError, match="source and target are the same"):
        place.refuse([open_store(tmp_path / "out")])


@pytest.mark.parametrize("options", [{}, {"compress": {"txt": "zstd:3"}}])
def test_listed_samples_are_shown_to_their_place(tmp_path, options):
    source = write_files(tmp_path / "source", SAMPLES)
    place = Elsewhere(tmp_path / "there")
    request = PackRequest(layout="files", jobs=1, **options)
    report = pack_source(source, tmp_path / "out", request, place=place)
    assert not (tmp_path / "out").exists()
    found = shardpack.open(tmp_path / "there")
    assert dict(found.splits) == {"extra": 4} == dict(report.splits)
    assert found.classes == ("x",)
    assert place.seen == [[], (4, True)]
    assert {shard.name.partition("-")[0] for shard in found.shards} == {"extra"}


def test_an_iterable_passes_through_the_steps_of_its_place(tmp_path):
    place = Elsewhere(tmp_path / "there")
    report = pack_source(SAMPLES.items(), tmp_path / "out", PackRequest(), place=place)
    found = shardpack.open(tmp_path / "there")
    assert (found.classes, dict(found.splits), found.fields) == (("x",), {"extra": 4}, ("jpg",))
    assert report.classes == ("x",)


def test_rows_pass_through_the_steps_of_their_place(tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(
        pa.table({"key": ["a", "b"], "jpg": [b"\xff\xd8\xff1", b"\xff\xd8\xff2"], "n": [1, 2]}), tmp_path / "a.parquet"
    )
    place = Elsewhere(tmp_path / "there")
    pack_source(tmp_path / "a.parquet", tmp_path / "out", PackRequest(jobs=1), place=place)
    found = shardpack.open(tmp_path / "there")
    assert (found.classes, dict(found.splits), found.fields) == (("x",), {"extra": 2}, ("jpg",))


def test_a_writer_writes_into_a_target(tmp_path):
    with shardpack.ShardWriter(FolderTarget(str(tmp_path))) as writer:
        writer.write("a", {"bin": b"1"})
    assert list(shardpack.open(tmp_path).keys()) == ["a"]
    with pytest.raises(OptionError, match="for URLs"):
        shardpack.ShardWriter(FolderTarget(str(tmp_path)), work_dir=tmp_path)
