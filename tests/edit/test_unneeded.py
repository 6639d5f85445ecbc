"""Which files may be deleted: those that no generation needs that is kept, that are ours, and that are old."""

from __future__ import annotations

from dataclasses import replace

import pytest

import shardpack
from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.edit_folder import EditNote
from shardpack.commit.generations import newest_generation
from shardpack.edit.unneeded import find_unneeded
from shardpack.errors import CorruptManifestError, OptionError, ShardNotFoundError
from shardpack.format.layout import MANIFEST_PATH, file_path, manifest_path
from shardpack.format.manifest import LayerRef, PositionsFile
from shardpack.format.manifest_json import encode_manifest, parse_manifest
from shardpack.storage.protocols import Listed
from tests.commit.stores import WatchedStore

DAY = 86400.0
ORPHANS = [
    ".shardpack/deleted-000002-0badcafe.index", ".shardpack/index/shard-g000002-0badcafe-000000.index",
    ".shardpack/keys-000002-0badcafe.index", ".shardpack/layers/g000002-0badcafe/.shardpack/manifest.json",
    ".shardpack/layers/g000002-0badcafe/shard-000000.tar", ".shardpack/table/000002-0badcafe.parquet",
    "shard-g000002-0badcafe-000000.tar",
]  # fmt: skip
OTHERS = [
    ".shardpack/notes.txt", ".shardpack/rejected.jsonl", ".shardpack/tmp/x", "photos/a.jpg", "shard-000007.tar",
    "train-g000002-5f3a9c01-000000.tar",  # without an index it may be anybody's
    "x.tar",
]  # fmt: skip


class Place:
    """A dataset of three generations, made a day after each other, and then asked three days later."""

    def __init__(self):
        self.store = WatchedStore()
        shardpack.pack([(key, {"bin": b"1"}) for key in "abc"], self.store.url)
        self.days = dict.fromkeys(self.store.names(), 0.0)
        for day, key in enumerate("ab", start=1):
            shardpack.delete(self.store.url, [key])
            self.days = {name: self.days.get(name, float(day)) for name in self.store.names()}
        self.target = BucketTarget(self.store, shared=True)

    def put(self, names, day=0.0):
        for name in names:
            self.store.put(name, b"12")
            self.days[name] = day

    def note(self, folder, tag, *, day=100.0, commits=None):
        self.store.put(f"{folder}/edit.json", EditNote(tag, commits).encode())
        self.days[f"{folder}/edit.json"] = day

    def find(self, *, keep=1, before=99.0, silent=99.0):
        listed = [Listed(name, 2, self.days.get(name, 2.0) * DAY) for name in self.store.names()]
        limit = None if before is None else before * DAY
        return find_unneeded(
            self.target,
            newest_generation(self.target),
            listed,
            keep=keep,
            written_before=limit,
            silent_before=None if silent is None else silent * DAY,
        )


@pytest.fixture
def place():
    return Place()


def paths(listed):
    return [one.path for one in listed]


def test_generations_are_kept_by_their_number(place):
    found = place.find()
    assert (found.kept, found.generations) == ((3,), (1, 2))
    assert paths(found.manifests) == [manifest_path(1), manifest_path(2)]
    assert not found.files, "all other files are still needed"
    assert place.find(keep=2).generations == (1,)
    assert place.find(keep=3).generations == place.find(keep=9).generations == ()


def test_generations_are_kept_as_long_as_they_may_be_read(place):
    """A generation was opened until the one after it was made."""
    assert place.find(before=0.5).generations == ()
    assert place.find(before=1.5).generations == (1,)
    assert place.find(before=2.5).generations == (1, 2)
    assert place.find(before=None).generations == (1, 2)


def test_what_no_generation_names_goes_and_what_is_not_ours_stays(place):
    place.put([*ORPHANS, *OTHERS])
    found = place.find()
    assert sorted(paths(found.files)) == ORPHANS
    assert paths(found.files)[0] == "shard-g000002-0badcafe-000000.tar", "before its index, by which it is known"
    assert found.num_young == 0


def test_what_is_young_stays(place):
    place.put(ORPHANS, day=5.0)
    place.put([".shardpack/keys-000001-0badcafe.index"], day=0.0)
    found = place.find(before=4.0)
    assert paths(found.files) == [".shardpack/keys-000001-0badcafe.index"]
    assert found.num_young == len(ORPHANS)


def test_what_an_unfinished_edit_made_stays(place):
    place.put(ORPHANS)
    place.note(".shardpack/tmp/append-01234567", "g000002-0badcafe")
    place.store.put(".shardpack/tmp/delete-01234567/edit.json", b"damaged")
    place.days[".shardpack/tmp/delete-01234567/edit.json"] = 100.0
    left = paths(place.find().files)
    assert left == [name for name in ORPHANS if "g000002" not in name]


def test_what_an_edit_under_way_has_put_for_the_next_generation_stays(place):
    """Not all of these names have the tag of the edit; its manifest is the last file that it writes."""
    next_names = [name.replace("000002", "000004") for name in ORPHANS if "g000002" not in name]
    place.put([*ORPHANS, *next_names])
    place.note(".shardpack/tmp/relabel-01234567", "g000004-0badcafe")
    assert sorted(paths(place.find().files)) == ORPHANS
    place.store.delete(".shardpack/tmp/relabel-01234567/edit.json")
    assert sorted(paths(place.find().files)) == sorted([*ORPHANS, *next_names])


WORK = ".shardpack/tmp/append-01234567"
OF_KILLED = [
    f"{WORK}/claim", f"{WORK}/.shardpack/tmp/journal.jsonl", "shard-g000004-0badcafe-000000.tar",
    "shard-g000004-0badcafe-000001.tar", ".shardpack/index/shard-g000004-0badcafe-000000.index",
    ".shardpack/keys-000004-0badcafe.index", ".shardpack/shards-000004-0badcafe.index", f"{WORK}/edit.json",
]  # fmt: skip


def killed(place):
    """Put what an append left that was killed right before its manifest; its second tar has no index yet."""
    place.put(OF_KILLED)
    place.store.put(".shardpack/shards-000004-0badcafe.index", b"shard-g000004-0badcafe-000000.tar")
    place.note(WORK, "g000004-0badcafe", day=0.0)


def test_an_edit_that_nothing_was_written_for_goes_and_its_note_last(place):
    killed(place)
    place.put(["shard-g000004-0000000a-000000.tar"])
    found = paths(place.find().files)
    assert found[:2] == OF_KILLED[:2]
    assert found[-1] == f"{WORK}/edit.json"
    assert sorted(found) == sorted(OF_KILLED)


@pytest.mark.parametrize("young", [f"{WORK}/claim", "shard-g000004-0badcafe-000001.tar"])
def test_an_edit_that_wrote_something_of_late_stays(place, young):
    killed(place)
    place.days[young] = 100.0
    assert paths(place.find().files) == []


def test_without_a_lock_an_edit_is_under_way_for_some_time(place):
    killed(place)
    place.days[f"{WORK}/claim"] = 50.0
    assert paths(place.find(before=None, silent=49.0).files) == []
    for silent in (51.0, None):
        assert sorted(paths(place.find(before=None, silent=silent).files)) == sorted(OF_KILLED)


def test_an_edit_whose_new_files_have_no_tag_is_under_way_while_it_writes_them(place):
    """As `table` does, for hours."""
    parts = [".shardpack/table/000004-0badcafe.parquet", ".shardpack/table/000004-0000000a.parquet"]
    place.put(parts)
    place.note(".shardpack/tmp/table-01234567", "g000004-0badcafe", day=0.0)
    place.days[parts[1]] = 100.0
    assert paths(place.find().files) == []
    place.days[parts[1]] = 50.0
    assert len(place.find().files) == 3


def test_an_edit_in_a_place_without_times_stays(place):
    killed(place)
    listed = [Listed(name) for name in place.store.names()]
    newest = newest_generation(place.target)
    assert not find_unneeded(place.target, newest, listed, keep=9, written_before=None, silent_before=99.0).files


def test_a_note_that_is_left_after_its_commit_goes_alone(place):
    (named,) = (name for name in place.store.names() if "/deleted-000003" in name)
    place.note(WORK, "g000003-0badcafe", day=0.0, commits=(3, newest_generation(place.target).crc32c))
    assert paths(place.find(keep=9).files) == [f"{WORK}/edit.json"]
    assert named in place.store.names()


def test_files_that_only_deleted_generations_name_go(place):
    """Generation 3 no longer has the shard, the table and the keys of the others."""
    manifest = newest_generation(place.target).manifest
    empty = replace(
        manifest, table_segments=(), key_segments=(), num_samples=0, num_shards=0, num_bytes=0, samples_per_field={},
        deleted=(),
    )  # fmt: skip
    for name in (MANIFEST_PATH, manifest_path(3)):
        place.store.put(name, encode_manifest(empty))
    place.put(["shard-000007.tar"])
    dropped = paths(place.find().files)
    assert dropped[0] == "shard-000000.tar"
    assert sorted(name.rpartition("/")[2].partition("-")[0] for name in dropped[1:]) == [
        "deleted", "deleted", "keys", "shard", "shards",
    ]  # fmt: skip
    assert [name[:24] for name in paths(place.find(keep=2).files)] == [".shardpack/deleted-00000"], "only that of 3"


def test_tars_of_the_user_stay(place):
    """As above, but of a dataset that was indexed."""
    for number in (1, 2, 3):
        text = place.store.contents()[manifest_path(number)]
        manifest = replace(
            newest_generation(place.target).manifest, generation=number, packed_with={"options": {"indexed": True}}
        )
        if number == 3:
            manifest = replace(
                manifest, table_segments=(), key_segments=(), num_samples=0, num_shards=0, num_bytes=0,
                samples_per_field={}, deleted=(),
            )  # fmt: skip
        assert text
        place.store.put(manifest_path(number), encode_manifest(replace(manifest, parent=None)))
    place.store.put(MANIFEST_PATH, place.store.contents()[manifest_path(3)])
    assert not [name for name in paths(place.find().files) if name.endswith(".tar")]


def test_layers_that_are_attached_stay(place):
    positions = PositionsFile("layer-000002-0badcafe.index", 100, 0x0BADCAFE)
    layers = [
        LayerRef(location, 1, 7, 7, ("txt",), positions)
        for location in (".shardpack/layers/g000002-0badcafe", "s3://other/.shardpack/layers/g000002-0000000a", "../x")
    ]
    manifest = replace(newest_generation(place.target).manifest, layers=tuple(layers))
    for name in (MANIFEST_PATH, manifest_path(3)):
        place.store.put(name, encode_manifest(manifest))
    other = ".shardpack/layers/g000002-0000000a/shard-000000.tar"
    place.put([*ORPHANS, other, file_path(positions)])
    found = paths(place.find().files)
    assert other in found
    assert not [name for name in found if "layers/g000002-0badcafe" in name]


def test_a_place_that_tells_no_times(place):
    place.days = dict.fromkeys(place.store.names())
    listed = [Listed(name) for name in place.store.names()]
    newest = newest_generation(place.target)
    with pytest.raises(OptionError, match=r"older_than=0 \(--older-than 0\)"):
        find_unneeded(place.target, newest, listed, keep=1, written_before=5.0, silent_before=None)
    assert find_unneeded(place.target, newest, listed, keep=9, written_before=5.0, silent_before=None).kept == (3, 2, 1)
    assert find_unneeded(place.target, newest, listed, keep=1, written_before=None, silent_before=None).generations == (
        1,
        2,
    )


def test_where_only_the_copy_is_there(place):
    place.store.delete(manifest_path(3))
    found = place.find()
    assert (found.kept, found.generations) == ((3,), (1, 2))


def test_earlier_generations_stay_if_the_newest_one_cannot_be_opened(place):
    *_, deleted = newest_generation(place.target).manifest.deleted
    place.store.delete(file_path(deleted))
    with pytest.raises(ShardNotFoundError, match=r"generation 3 misses a file.*nothing was deleted.*deleted-000003"):
        place.find()
    assert place.find(keep=3).generations == ()


def test_a_layer_that_is_lost_keeps_earlier_generations(place):
    shardpack.relabel(place.store.url, {"c": {"n": 1}})
    assert place.find().generations == (1, 2, 3)
    (manifest,) = (name for name in place.store.names() if "layers/" in name and name.endswith("/manifest.json"))
    place.store.delete(manifest)
    with pytest.raises(ShardNotFoundError, match=r"generation 4 misses a file.*layers/"):
        place.find()


def test_a_generation_that_misses_a_file_does_not_count(place):
    shardpack.delete(place.store.url, ["c"])
    (lost,) = (name for name in place.store.names() if "/deleted-000002" in name)
    for number in (3, 4):  # that do not need it
        manifest = parse_manifest(place.store.contents()[manifest_path(number)])
        deleted = tuple(file for file in manifest.deleted if file_path(file) != lost)
        place.store.put(manifest_path(number), encode_manifest(replace(manifest, deleted=deleted)))
    place.store.put(MANIFEST_PATH, place.store.contents()[manifest_path(4)])
    assert place.find(keep=3).kept == (4, 3, 2)
    place.store.delete(lost)
    assert place.find(keep=3).kept == (4, 3, 2, 1), "three that can be opened"
    assert place.find(keep=2).generations == (1, 2)


def test_what_a_damaged_manifest_names_is_not_guessed(place):
    place.store.put(manifest_path(2), b"damaged")
    with pytest.raises(CorruptManifestError, match=r"generation 2, which is kept, is damaged.*nothing was deleted"):
        place.find(keep=2)
    assert place.find(keep=1).generations == (1, 2)


def test_tars_of_edits_stay_that_may_have_been_committed():
    """Two were appended; then the manifests of both are lost."""
    store = WatchedStore()
    shardpack.pack([("a", {"bin": b"1"})], store.url)
    first = store.contents()[MANIFEST_PATH]
    shardpack.append([("b", {"bin": b"2"})], store.url)
    store.put("shard-g000002-0badcafe-000000.tar", b"of an edit that was killed")
    store.put(".shardpack/index/shard-g000002-0badcafe-000000.index", b"12")
    store.put(MANIFEST_PATH, first)
    store.delete(manifest_path(2))
    target = BucketTarget(store, shared=True)

    def found():
        listed = [Listed(name, 2) for name in store.names()]
        files = find_unneeded(
            target, newest_generation(target), listed, keep=1, written_before=None, silent_before=None
        ).files
        return [path for path in paths(files) if "keys" not in path]

    killed = ["shard-g000002-0badcafe-000000.tar", ".shardpack/index/shard-g000002-0badcafe-000000.index"]
    assert found() == killed, "the shard table of the other one is there"
    advice = [(one.kind, one.shard) for one in shardpack.verify(store.url).problems if "keys" not in one.shard]
    appended = next(name for name in store.names() if name.startswith("shard-g000002-") and name not in killed)
    assert sorted(advice) == sorted([*(("orphan", name) for name in killed), ("stray", appended)])
    indexed = replace(newest_generation(target).manifest, packed_with={"options": {"indexed": True}})
    store.put(MANIFEST_PATH, encode_manifest(indexed))
    store.put(manifest_path(1), encode_manifest(indexed))
    assert not [path for path in found() if path.endswith(".tar")], "its sidecars were made of tars"


def test_a_shard_table_of_a_generation_that_is_known_spares_nothing(place):
    """It was written for generation 2 or 3 by an edit that another one overtook."""
    place.put(["shard-g000002-0badcafe-000000.tar", ".shardpack/index/shard-g000002-0badcafe-000000.index"])
    table = ".shardpack/shards-000003-0badcafe.index"
    place.store.put(table, b"shard-g000002-0badcafe-000000.tar")
    assert table in paths(place.find().files)
    assert len(place.find().files) == 3
