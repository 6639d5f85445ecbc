"""Images with label files of their own are told from images without."""

from __future__ import annotations

import pytest

from shardpack.sources.layouts.layout import BY_NAME, UNLABELLED, LayoutOptions
from shardpack.sources.layouts.sidecars import SidecarFiles
from shardpack.sources.source import Problems
from shardpack.sources.splits import counted_splits
from shardpack.sources.tree import Tree
from tests.sources.trees import files_of, samples_of

FILES = SidecarFiles()


@pytest.mark.parametrize(
    ("names", "rank"),
    [
        (["a/1.jpg", "a/1.json"], BY_NAME),
        (["1.JPG", "1.TXT"], BY_NAME),
        (["1.cls", "1.jpg", "2.jpg"], BY_NAME),
        (["1.jpg", "1.seg.png"], UNLABELLED),
        (["1.jpg", "2.txt"], UNLABELLED),
        (["a/1.jpg", "b/1.txt"], UNLABELLED),
        (["a/1.jpg", "a/1.seg.png", "a/notes.txt"], UNLABELLED),
        ([], UNLABELLED),
    ],
)
def test_find(names, rank):
    assert FILES.find(Tree(files_of(names)), LayoutOptions()).rank == rank


def test_if_asked_any_images_will_do():
    tree, options = Tree(files_of(["a/1.jpg", "a/1.seg.png"])), LayoutOptions(asked=True)
    found = FILES.find(tree, options)
    listing = FILES.list(tree, found, Problems(), options)
    assert samples_of(listing) == {"a/1": {"jpg": "a/1.jpg", "seg.png": "a/1.seg.png"}}


def test_splits_are_those_of_the_folders():
    tree, options = Tree(files_of(["train/1.jpg", "train/1.txt", "valid/a/2.jpg"])), LayoutOptions()
    listing = FILES.list(tree, FILES.find(tree, options), Problems(), options)
    assert list(listing.keys) == ["train/1", "valid/a/2"]
    assert counted_splits(listing) == {"train": 1, "valid": 1}
