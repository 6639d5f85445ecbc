"""What parts agree on: which plans are the same, and the first file in which two differ."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.journal import PARTS_FOLDER
from shardpack.sources.splits import sorted_by_split, with_splits
from shardpack.write.pack_run import PackRun, pack_plan, plan_shards
from shardpack.write.request import PackRequest
from shardpack.write.sharding import ShardLimits
from tests.fakes import inline_listing, make_listing

FILES = {f"{i:03d}": [("jpg", f"{i:03d}.jpg", 10 + i, 1), ("txt", f"{i:03d}.txt", 5, 1)] for i in range(20)}


def part_plan(listing, *, rejected=(), **options):
    plan = plan_shards(listing, ShardLimits(max_samples=3))
    return PackRun(replace(plan, anywhere=True), PackRequest(), {"options": options}, rejected).agreement()


def difference(one, other):
    """Return how the first plan differs from the other, which is published."""
    published = {name: b"".join(parts) for name, parts in other.details()}
    assert all(name.startswith(f"{PARTS_FOLDER}/") for name in published)
    assert one.text != other.text
    assert not published.keys() & dict(one.details()).keys()
    return one.difference(other.text, published.get)


def test_the_same_plan_from_anywhere_is_the_same():
    assert part_plan(make_listing("/here", FILES)).text == part_plan(make_listing("/there", FILES)).text


@given(
    number=st.integers(0, 19),
    change=st.sampled_from(["size", "time", "missing", "more", "renamed"]),
)
def test_the_first_file_that_differs_is_named(number, change):
    key, name = f"{number:03d}", f"{number:03d}.txt"
    other = dict(FILES)
    jpg, (field, path, size, time) = FILES[key]
    match change:
        case "size":
            other[key], says = [jpg, (field, path, size + 1, time)], f"{name!r} has another size or time here"
        case "time":
            other[key], says = [jpg, (field, path, size, time + 1)], f"{name!r} has another size or time here"
        case "missing":
            other[key], says = [jpg], f"{name!r} is in it, but not in the source here"
        case "more":
            other[key], says = [jpg, (field, path, size, time), ("xml", "x.xml", 1, 1)], "'x.xml' is not in it"
        case "renamed":
            del other[key]
            other[f"{key}-b"], says = FILES[key], "'{0}.jpg' is {1}"
            says = f"{key + '-b.jpg'!r}"
    said = difference(part_plan(make_listing("/a", other)), part_plan(make_listing("/a", FILES)))
    assert said == says or (change == "renamed" and key in said)


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ({"max_shard_samples": 3}, {"max_shard_samples": 4}, "max_shard_samples is 4 in it, and 3 here"),
        ({"rename_keys": True}, {}, "rename_keys is None in it, and True here"),
        ({"versions": {"zstd": "1"}}, {"versions": {"zstd": "2"}}, "zstd is '2' in it, and '1' here"),
        ({"rejected": [("a", "b")]}, {}, "the samples that were left out differ"),
    ],
)
def test_options_that_differ_are_named(one, other, says):
    listing = make_listing("/a", FILES)
    assert difference(part_plan(listing, **one), part_plan(listing, **other)) == says


def test_class_names_that_differ_are_told():
    listing = make_listing("/a", FILES)
    classes = replace(listing, classes=("a", "b"))
    assert difference(part_plan(listing), part_plan(classes)) == "the class names differ"


@pytest.mark.parametrize("published", [b"", b"{}", b"[1]", b'{"packed_with": {"options": {}}, "classes": null}'])
def test_a_plan_that_is_not_understood_is_of_another_version(published):
    said = part_plan(make_listing("/a", FILES)).difference(published, lambda _: None)
    assert said == "it was written by another version of shardpack"


class TestDataset:
    """The dataset of a plan is known by itself."""

    SAMPLES = {f"{i}": {"bin": bytes(i * 600)} for i in range(7)}  # noqa: RUF012 - is not changed

    @pytest.fixture
    def target(self, tmp_path):
        plan = plan_shards(inline_listing(self.SAMPLES), ShardLimits(max_samples=3))
        target = FolderTarget(str(tmp_path))
        pack_plan(plan, target, PackRequest(), recorded={"options": {}})
        return target

    def test_it_is(self, target):
        assert part_plan(inline_listing(self.SAMPLES)).is_dataset(target.read)

    @pytest.mark.parametrize(
        "changed",
        [
            {"6": {"bin": bytes(10_000)}},
            {"6": {"txt": bytes(3600)}},
            {"7": {"bin": b""}},
            {"6": {"bin": bytes(3600), "x": b""}},
        ],
    )
    def test_of_other_samples_it_is_not(self, target, changed):
        assert not part_plan(inline_listing({**self.SAMPLES, **changed})).is_dataset(target.read)

    def test_of_other_keys_it_is_not(self, target):
        renamed = {("k" if key == "6" else key): fields for key, fields in self.SAMPLES.items()}
        assert not part_plan(inline_listing(renamed)).is_dataset(target.read)

    def test_of_other_options_it_is_not(self, target):
        assert not part_plan(inline_listing(self.SAMPLES), rename_keys=True).is_dataset(target.read)


def test_other_splits_are_another_plan():
    found = make_listing("/a", FILES)
    one, other = (sorted_by_split(with_splits(found, [name] * 20)) for name in ("train", "val"))
    assert difference(part_plan(one), part_plan(other)) == "its samples are in other splits"
