"""Labels reach the samples that their records name."""

from __future__ import annotations

from shardpack.sources.layouts.by_name import LabelsByName
from shardpack.sources.layouts.layout import LayoutOptions
from shardpack.sources.source import Problems
from shardpack.sources.splits import split_of
from shardpack.sources.tree import Tree
from tests.sources.trees import files_of, samples_of


def test_labels_by_name():
    problems = Problems()
    tree = Tree(files_of(["images/a.jpg", "images/b.jpg", "images/c.jpg", "list.txt"]))
    samples = LabelsByName(tree, frozenset(["list.txt"]), problems, LayoutOptions())
    assert samples.find("line 1", "z.jpg", ["images/z.jpg"]) is None
    a, b = (samples.find("x", name, [f"images/{name}"]) for name in ("a.jpg", "b.jpg"))
    samples.add(a, {"class": "dog"}, where="line 2", split="train")
    samples.add(b, {"n": float("nan")}, where="line 3")
    listing = samples.finish(missing="in no list", classes=["cat"])
    assert samples_of(listing) == {"a": {"jpg": "images/a.jpg", "json": b'{"label":1,"class":"dog"}'}}
    assert listing.classes == ("cat", "dog")
    assert split_of(listing, 0) == "train"
    reasons = dict(problems.rejected)
    assert reasons["line 1"].startswith("names 'z.jpg', which does not exist")
    assert "JSON cannot represent" in reasons["images/b.jpg"]
    assert problems.left_out_names == ["images/c.jpg"]
