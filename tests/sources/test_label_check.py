"""Labels that contradict their image are named, with the annotation; others cost no read of the image."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from shardpack.errors import SourceError
from shardpack.runtime.engine import IN_PROCESS
from shardpack.runtime.processes import start_workers
from shardpack.runtime.progress import no_progress
from shardpack.sources import label_check
from shardpack.sources.image_files import group_files
from shardpack.sources.label_check import check_labels, label_range
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from tests.conftest import make_jpeg
from tests.sources.trees import write_tree


def turned():
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(file, "JPEG", exif=exif)
    return file.getvalue()


SIZE = {"width": 60, "height": 40}
OUTSIDE = {"bbox": [50, 0, 20, 5]}
CASES = {
    "good": ({**SIZE, "annotations": [{"bbox": [0, 0, 60, 40]}]}, ""),
    "class": ({"label": 3}, ""),
    "list": ([OUTSIDE], ""),
    "size": ({"width": 40, "height": 60}, "the label is for 40 x 60 pixels, but the image has 60 x 40; correct"),
    "box": (
        {"annotations": [{}, OUTSIDE, OUTSIDE]},
        "annotations[1]: bbox [50, 0, 20, 5] is outside the image of 60 x 40 pixels, and 1 more; correct the label",
    ),
    "turned": ({"width": 40, "height": 60}, "the label is for 40 x 60 pixels, as the image is shown, but its pixels"),
    "broken": (SIZE, "damaged JPEG"),
    "text": (None, "not JSON"),
}


@pytest.fixture
def listing(tmp_path):
    images = {"turned": turned(), "broken": b"\xff\xd8 no", "class": b"\xff\xd8 no"}
    for name, (label, _) in CASES.items():
        text = "{" if label is None else json.dumps(label)
        write_tree(tmp_path, {f"{name}.jpg": images.get(name, make_jpeg(60, 40)), f"{name}.json": text})
    write_tree(tmp_path, {"bare.jpg": b"\xff\xd8 no"})
    return group_files(scan(tmp_path, Problems()), Problems())


def test_what_contradicts_is_told(listing):
    found = {listing.keys[sample]: reason for sample, reason in label_range(listing)}
    for name, (_, reason) in CASES.items():
        assert found.pop(name, "").startswith(reason)
        assert bool(reason) == (name in {"size", "box", "turned", "broken", "text"})
    assert not found


def test_the_rest_is_kept_whoever_checks(listing):
    results = []
    with start_workers(2) as workers:
        for engine in (IN_PROCESS, workers):
            problems = Problems()
            kept = check_labels(
                listing, problems, engine=engine, on_error="skip", progress=no_progress, samples_per_task=2
            )
            results.append((list(kept.keys), problems.rejected))
    assert results[0] == results[1]
    assert results[0][0] == ["bare", "class", "good", "list"]
    with pytest.raises(SourceError, match=r"5 problems in the source: 'box\.jpg': annotations\[1\]: bbox"):
        check_labels(listing, Problems(), engine=IN_PROCESS, on_error="raise", progress=no_progress)


def test_unreadable_images_are_told(listing, monkeypatch):
    def fail(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(label_check, "read_image_size", fail)
    reasons = {listing.keys[sample]: reason for sample, reason in label_range(listing)}
    assert reasons["good"] == "unreadable: Permission denied; correct the label"
    assert "class" not in reasons
