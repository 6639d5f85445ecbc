"""Files are grouped into samples as an independent, slow definition says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.field_types import IMAGE_EXTENSIONS, is_image
from shardpack.errors import SourceError
from shardpack.format.naming import split_name
from shardpack.sources.image_files import group_files
from shardpack.sources.source import Problems
from tests.sources.trees import files_of, samples_of

stems = st.text("ab", min_size=1, max_size=2)
extensions = st.lists(st.sampled_from(["jpg", "JPG", "png", "json", "txt", "seg", "a", "b", "x1"]), max_size=3)
names = st.tuples(st.lists(st.sampled_from(["a", "b", "a.b", "v1.0"]), max_size=2), stems, extensions).map(
    lambda parts: "/".join([*parts[0], ".".join([parts[1], *parts[2]])])
)
trees = st.lists(names, max_size=12, unique=True)


def definition(tree, *, rename_keys):
    """Return key -> fields by the rule in the README, and the names that belong to no key."""
    cuts = {}  # name -> every (key, field) it could be cut into, shortest key first
    for name in tree:
        folder, slash, last = name.rpartition("/")
        dots = [i for i, letter in enumerate(last) if letter == "."]
        cuts[name] = [(folder + slash + last[:dot], last[dot + 1 :]) for dot in dots]
        if not rename_keys:
            cuts[name] = cuts[name][:1]
    imaged = {key for options in cuts.values() for key, field in options if field.lower() in IMAGE_EXTENSIONS}
    samples, nobody = {}, []
    for name, options in cuts.items():
        key, field = next(((key, field) for key, field in options if key in imaged), (None, None))
        if key is None:
            nobody.append(name)
        else:
            samples.setdefault(key, []).append((field.lower(), name))
    return samples, nobody


@given(trees, st.booleans())
def test_samples_are_as_defined(tree, rename_keys):
    problems = Problems()
    found = samples_of(group_files(files_of(tree), problems, rename_keys=rename_keys))
    samples, nobody = definition(tree, rename_keys=rename_keys)
    good = {key: dict(members) for key, members in samples.items() if len(dict(members)) == len(members)}
    assert found == good
    assert list(found) == sorted(found)
    dotted = [name for name in nobody if is_image(name.lower())]
    assert len(problems.rejected) == len(samples) - len(good) + len(dotted)


@given(trees, st.booleans())
def test_files_are_in_a_sample_or_have_no_image(tree, rename_keys):
    problems = Problems()
    found = samples_of(group_files(files_of(tree), problems, rename_keys=rename_keys))
    packed = {path for fields in found.values() for path in fields.values()}
    assert len(packed) == sum(map(len, found.values()))
    assert not problems.left_out
    if not problems.rejected:
        assert packed == set(tree) - set(definition(tree, rename_keys=rename_keys)[1])


@given(trees)
def test_safe_names_are_cut_as_readers_cut_them(tree):
    for key, fields in samples_of(group_files(files_of(tree), Problems())).items():
        for field, path in fields.items():
            assert split_name(path) == (key, field)


def test_sidecars_join_their_image():
    listing = group_files(files_of(["d/1.jpg", "d/1.json", "d/1.seg.png", "d/2.PNG", "d/2.Txt"]), Problems())
    assert samples_of(listing) == {
        "d/1": {"jpg": "d/1.jpg", "json": "d/1.json", "seg.png": "d/1.seg.png"},
        "d/2": {"png": "d/2.PNG", "txt": "d/2.Txt"},
    }


def test_a_dotted_folder_between_the_files_of_a_sample():
    tree = ["a.aux.png", "a.b/c.jpg", "a.jpg"]
    assert samples_of(group_files(files_of(tree), Problems())) == {
        "a": {"aux.png": "a.aux.png", "jpg": "a.jpg"},
        "a.b/c": {"jpg": "a.b/c.jpg"},
    }


def test_files_without_an_image_are_in_no_sample():
    problems = Problems()
    listing = group_files(files_of(["README", "1.jpg", "2.json", "d/notes.txt", "xjpg", "jpg"]), problems)
    assert list(listing.keys) == ["1"]
    assert not problems.rejected


def test_dotted_keys_are_rejected_one_by_one():
    problems = Problems()
    listing = group_files(files_of(["v.01.jpg", "v.01.json", "v.02.jpg", "w.jpg"]), problems)
    assert list(listing.keys) == ["w"]
    assert [name for name, _ in problems.rejected] == ["v.01.jpg", "v.02.jpg"]
    assert problems.rejected[0][1] == (
        "readers split names at the first dot: key 'v', field '01.jpg'; rename it, or pass rename_keys (--rename-keys)"
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["jpg"], True),
        (["0.jpg", "1.png", "json"], True),
        (["0.jpg", "1.jpg", "10.jpg", *(f"{n}.jpg" for n in range(2, 10)), "cls", "mask.png"], True),
        (["0.jpg", "1.jpg"], False),  # cat.0.jpg, cat.1.jpg: a sample each
        (["0.jpg", "2.jpg", "json"], False),
        (["1.jpg", "2.jpg", "json"], False),
        (["rgb.jpg", "json"], False),
        (["mask.png", "json"], False),
        (["json"], False),
        ([], False),
    ],
)
def test_numbered_images_and_a_label_are_a_sample(fields, expected):
    names = sorted(f"d/a.{field}" for field in fields)
    assert list(group_files(files_of(names), Problems()).keys) == ["d/a"] * expected


def test_dotted_keys_with_rename_keys():
    tree = ["v.01.jpg", "v.01.json", "v.01.seg.png", "v.02.jpg", "v.03.txt", "w.jpg", "w.x.jpg", "z..jpg"]
    problems = Problems()
    assert samples_of(group_files(files_of(tree), problems, rename_keys=True)) == {
        "v.01": {"jpg": "v.01.jpg", "json": "v.01.json", "seg.png": "v.01.seg.png"},
        "v.02": {"jpg": "v.02.jpg"},
        "w": {"jpg": "w.jpg", "x.jpg": "w.x.jpg"},
        "z.": {"jpg": "z..jpg"},
    }


def test_extensions_that_differ_in_case_only():
    problems = Problems()
    assert not group_files(files_of(["a.jpg", "a.TXT", "a.txt"]), problems).keys
    assert problems.rejected == [
        ("a.jpg", "'a.TXT' and 'a.txt' differ in the case of their extension only; rename one")
    ]


@pytest.mark.parametrize("empty", ["a.jpg", "a.json", "a.seg.png"])
def test_empty_images_and_labels_are_rejected(empty):
    problems = Problems()
    tree = ["a.jpg", "a.json", "a.seg.png", "a.txt", "b.jpg"]
    listing = group_files(files_of(tree, sizes={empty: 0, "a.txt": 0}), problems)
    assert list(listing.keys) == ["b"]
    assert listing.fields == ("jpg",)
    assert problems.rejected == [("a.jpg", f"the file {empty!r} is empty; write it again, or remove it")]


def test_an_empty_text_is_data():
    assert list(group_files(files_of(["a.jpg", "a.txt"], sizes={"a.txt": 0}), Problems()).keys) == ["a"]


def test_sizes_follow_their_files():
    sizes = {"b.jpg": 3, "b.JSON": 4, "a.png": 5, "c.txt": 6}
    listing = group_files(files_of(list(sizes), sizes=sizes), Problems())
    assert dict(zip(listing.payload, listing.size.tolist(), strict=True)) == {"a.png": 5, "b.jpg": 3, "b.JSON": 4}


def test_too_many_different_fields():
    tree = ["a.jpg", *(f"a.{number}.txt" for number in range(1 << 16))]
    with pytest.raises(SourceError, match=r"65537 different fields, expected at most 65536: '0.txt', .*rename"):
        group_files(files_of(tree), Problems())
    assert len(group_files(files_of(tree[:-1]), Problems()).fields) == 1 << 16


def test_nothing_at_all():
    listing = group_files(files_of([]), Problems())
    assert (listing.num_samples, listing.fields, listing.start.tolist()) == (0, (), [0])


def test_problems_say_the_first_few_and_count_all():
    problems = Problems()
    for number in range(5):
        problems.reject(f"{number}.jpg", "an empty file")
    with pytest.raises(
        SourceError, match=r"^5 problems .*'0.jpg': an empty file; .*'2.jpg': .*; and 2 more; .*on_error"
    ):
        problems.raise_if_any()
    json.dumps(problems.rejected)
