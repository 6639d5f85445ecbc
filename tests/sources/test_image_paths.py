"""A path in a table or an annotation file leads to one sample, or to the reason why it leads to none."""

from __future__ import annotations

from shardpack.sources.image_files import group_files
from shardpack.sources.image_paths import ImagePaths
from shardpack.sources.source import Problems
from tests.sources.trees import files_of


def test_names_lead_to_images_or_to_a_reason():
    problems = Problems()
    files = files_of(["d/1.jpg", "d/1.seg.png", "d/2.jpg", "notes.txt"], sizes={"d/2.jpg": 0})
    images = ImagePaths(group_files(files, problems), files, problems)
    for good in ("d/1.jpg", "./d/1.jpg", "d//1.jpg", "x/../d/1.jpg"):
        assert images.find(good, [good]) == 0
    assert images.find("1.jpg", ["1.jpg", "d/1.jpg"]) == 0
    assert images.find("d/2.jpg", ["d/2.jpg"]) is None  # an empty file, which is known already
    for outside in ("../d/1.jpg", "/d/1.jpg", "d/../../1.jpg", ".."):
        assert "which is outside the source" in images.find(outside, [outside])
    assert "which is outside the source" in images.find("/1.jpg", ["/1.jpg", "d//1.jpg"])
    assert "which is not an image with its own sample" in images.find("notes.txt", ["notes.txt"])
    assert "which is not an image with its own sample" in images.find("d/1.seg.png", ["d/1.seg.png"])
    assert "which does not exist" in images.find("d/3.jpg", ["d/3.jpg"])
