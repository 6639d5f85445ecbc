"""A name in a table leads to the image that it can only mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.sources.layouts.named_images import BY_BASE, BY_PATH, BY_STEM, NamedImages

IMAGES = NamedImages(["images/cat/1.jpg", "images/dog/1.jpg", "images/dog/2.PNG", "train/7.jpg", "val/7.jpg", "x.txt"])


@pytest.mark.parametrize(
    ("name", "how", "paths"),
    [
        ("images/cat/1.jpg", BY_PATH, ["images/cat/1.jpg"]),
        ("./images//cat/1.jpg", BY_PATH, ["images/cat/1.jpg"]),
        ("cat/1.jpg", BY_PATH, ["images/cat/1.jpg"]),
        ("C:\\data\\images\\cat\\1.jpg", BY_PATH, ["images/cat/1.jpg"]),
        ("/data/images/dog/2.PNG", BY_PATH, ["images/dog/2.PNG"]),
        ("2.PNG", BY_BASE, ["images/dog/2.PNG"]),
        (" 2.PNG ", BY_BASE, ["images/dog/2.PNG"]),
        ("2", BY_STEM, ["images/dog/2.PNG"]),
        (2, BY_STEM, ["images/dog/2.PNG"]),
        ("dog/1", BY_STEM, ["images/dog/1.jpg"]),
        ("1.jpg", BY_BASE, ["images/cat/1.jpg", "images/dog/1.jpg"]),
        (1, BY_STEM, ["images/cat/1.jpg", "images/dog/1.jpg"]),
    ],
)
def test_names(name, how, paths):
    assert IMAGES.find(name) == (how, paths)


@pytest.mark.parametrize("name", ["bird/1.jpg", "og/2.PNG", "x.txt", "x", "", None, 2.0, True, ["2"], "3.jpg", "../.."])
def test_what_names_nothing(name):
    assert IMAGES.find(name) is None


def test_folder_and_split_of_the_table():
    assert IMAGES.find("1.jpg", folder="images/cat") == (BY_PATH, ["images/cat/1.jpg"])
    assert IMAGES.find("../dog/1.jpg", folder="images/cat") == (BY_PATH, ["images/dog/1.jpg"])
    assert IMAGES.find("7.jpg", split="Training") == (BY_BASE, ["train/7.jpg"])
    assert IMAGES.find(7, split="valid") == (BY_STEM, ["val/7.jpg"])
    assert IMAGES.find(7, split="test") == (BY_STEM, ["train/7.jpg", "val/7.jpg"])


paths = st.lists(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join), max_size=8, unique=True
)


@given(paths, st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join))
def test_a_name_agrees_with_the_images_that_it_means_and_with_no_others(stems, name):
    images = [f"{stem}.jpg" for stem in stems]
    match = NamedImages(images).find(f"{name}.jpg")
    agree = [path for path in images if f"/{path}".endswith(f"/{name}.jpg") or f"/{name}.jpg".endswith(f"/{path}")]
    exact = [path for path in agree if path == f"{name}.jpg"]
    assert (match.paths if match else []) == (exact or sorted(agree))
