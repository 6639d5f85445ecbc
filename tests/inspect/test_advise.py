"""The advice holds together: its figures follow from what was tried, and its command does what it says."""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import partial
from itertools import count

import numpy as np
import pytest
from PIL import Image

from shardpack.errors import SourceError
from shardpack.inspect.advise import advise, encodings_for, summary_of
from shardpack.inspect.encoding_trial import Encoding, Trial
from shardpack.inspect.epoch_time import Hardware
from shardpack.runtime.engine import IN_PROCESS
from shardpack.sources.folder import FolderSource
from shardpack.sources.source import ListOptions
from tests.inspect.test_encoding_trial import photo

FEW = [Encoding(), Encoding("jpg:q=90", "short=32"), Encoding("npy:rgb", "cover=32x32")]
HARDWARE = Hardware(disk=1e9, network=1e6)


@pytest.fixture(scope="module")
def listing(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(12):
        (folder / f"{number:02d}.png").write_bytes(photo(96 + number)[1])
        (folder / f"{number:02d}.json").write_bytes(b"{}")
    return FolderSource(folder, "files").list(ListOptions()).listing


def test_figures_are_those_of_the_images(listing):
    done = []
    advice = advise(
        listing, HARDWARE, place="bucket", train_size=32, samples=8, jobs=1, encodings=FEW,
        progress=lambda *progress: done.append(progress),
    )  # fmt: skip
    assert (advice.num_images, advice.num_tried, advice.jobs, advice.field) == (12, 8, 1, "png")
    as_is, jpg, array = advice.measured
    sizes = listing.size[listing.field_code == listing.fields.index("png")]
    assert as_is.num_bytes == np.mean([sizes[i * 12 // 8] for i in range(8)])
    assert as_is.psnr is None
    assert array.num_bytes == 32 * 32 * 3 + 128
    assert jpg.psnr is not None
    assert jpg.num_bytes < array.num_bytes < as_is.num_bytes
    for one in advice.measured:
        read = (one.num_bytes + 1024) / HARDWARE.network
        assert one.epochs["bucket"].seconds == pytest.approx(12 * max(read, one.decode_seconds_all))
    assert advice.recommended is jpg
    assert advice.pack_options() == [
        "--resize", "short=32", "--encode", "jpg:q=90", *advice.pack_options()[4:-2], "--max-shard-bytes", "16MiB",
    ]  # fmt: skip
    assert advice.pack_seconds == pytest.approx(
        12 * max(jpg.encode_seconds_all, (jpg.num_bytes + 1024) / HARDWARE.disk)
    )
    assert advice.upload_seconds == pytest.approx(12 * (jpg.num_bytes + 1024) / HARDWARE.network)
    assert done[-1] == ("try", 8, 8)


def test_packing_images_as_they_are_takes_what_the_disk_takes(listing):
    slow = Hardware(disk=1000, network=1e6)
    advice = advise(listing, slow, train_size=32, samples=2, seconds=0, jobs=1, encodings=FEW[:1])
    assert advice.pack_seconds == pytest.approx(12 * (advice.recommended.num_bytes + 1024) / 1000)


def test_seconds_are_those_of_all_images_together():
    """Most of a folder may be small, and a few large images take nearly all of the time."""
    trials = [Trial(100, 1.0, seconds, 0.0, 0, is_kept=False) for seconds in (1.0, 1.0, 1.0, 41.0)]
    one = summary_of(FEW[1], trials[2:], trials, cores=2, epochs_of=lambda *_: {})
    assert (one.decode_seconds, one.decode_seconds_all) == (21.0, 5.5)
    assert (one.encode_seconds, one.encode_seconds_all) == (1.0, 0.5)


def test_no_image_is_begun_when_the_time_is_over(listing):
    advice = advise(listing, HARDWARE, train_size=32, samples=12, seconds=0, jobs=1, encodings=FEW)
    assert advice.num_tried == 4, "two alone, and two more"


def test_processes_try_what_one_tries(listing):
    one, two = (
        advise(listing, HARDWARE, train_size=32, samples=6, jobs=jobs, encodings=FEW).measured for jobs in (1, 2)
    )
    assert [(a.name, a.num_bytes, a.psnr, a.images) for a in one] == [
        (b.name, b.num_bytes, b.psnr, b.images) for b in two
    ]


def test_a_library_that_is_missing_is_told(listing, monkeypatch):
    monkeypatch.setattr(Encoding, "missing", lambda one: "no library" if one.encode == "npy:rgb" else None)
    advice = advise(listing, HARDWARE, train_size=32, samples=2, jobs=1, encodings=FEW)
    assert advice.skipped == {"npy:rgb at cover=32x32": "no library"}
    assert len(advice.measured) == 2


def test_an_encoding_that_cannot_hold_an_image_is_told(tmp_path):
    for number in range(3):
        Image.fromarray(np.full((40, 40), 300 * number, np.uint16)).save(tmp_path / f"{number}.png")
    deep = FolderSource(tmp_path, "files").list(ListOptions()).listing
    advice = advise(deep, HARDWARE, train_size=32, samples=3, jobs=1, encodings=[*FEW, Encoding("npy")])
    assert [one.name for one in advice.measured] == ["as is", "npy"]
    assert "more than 8 bits" in advice.skipped["jpg:q=90 at short=32"]


def test_damaged_images_are_named_and_left_out(tmp_path):
    for number in range(6):
        payload = photo(96 + number)[1]
        (tmp_path / f"{number}.png").write_bytes(payload[:300] if number in (0, 3) else payload)
    listing = FolderSource(tmp_path, "files").list(ListOptions()).listing
    for jobs in (1, 2):
        advice = advise(listing, HARDWARE, train_size=32, jobs=jobs, encodings=FEW)
        assert (advice.num_images, advice.num_tried, sorted(advice.damaged)) == (6, 4, ["0.png", "3.png"])
        assert [one.images for one in advice.measured] == [4, 4, 4]


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(photo()[1])
    listing = FolderSource(tmp_path, "files").list(ListOptions()).listing
    (tmp_path / "1.png").unlink()
    advice = advise(listing, HARDWARE, train_size=32, jobs=1, encodings=FEW)
    assert (advice.num_tried, advice.damaged) == (2, {"1.png": "cannot be read: No such file or directory"})


@pytest.mark.parametrize(
    ("images", "names"),
    [(1, "'0.png'"), (3, "'0.png', '1.png', '2.png'"), (6, "'0.png', '1.png', '2.png', '3.png' and 2 more")],
)
def test_if_no_image_decodes_the_error_names_them(tmp_path, images, names):
    for number in range(images):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    listing = FolderSource(tmp_path, "files").list(ListOptions()).listing
    with pytest.raises(SourceError) as caught:
        advise(listing, HARDWARE, jobs=1, encodings=FEW)
    assert str(caught.value) == (
        f"none of the images that were drawn can be tried: {names}; the first: field 'png' does not decode: "
        "Pillow knows no image that begins like this; check the source"
    )


def test_more_processes_than_cores_are_not_faster(listing, monkeypatch):
    monkeypatch.setattr("shardpack.inspect.advise.usable_cores", lambda: 2)
    monkeypatch.setattr("shardpack.inspect.advise.start_workers", lambda _: nullcontext(IN_PROCESS))
    monkeypatch.setattr(time, "process_time", partial(next, count()))  # each step takes a second
    for jobs, seconds in ((1, 1), (2, 0.5), (8, 0.5)):
        for one in advise(listing, HARDWARE, train_size=32, samples=2, seconds=0, jobs=jobs, encodings=FEW).measured:
            assert (one.decode_seconds, one.decode_seconds_all, one.encode_seconds_all) == (1, seconds, seconds)


def test_what_is_tried():
    names = [encoding.name for encoding in encodings_for(224)]
    assert names[0] == "as is"
    assert {"jpg:q=90", "webp:q=85", "avif:q=75", "png", "npy", "npy.zst", "npz", "jxl"} <= set(names)
    assert {"jpg:q=90 at short=256", "npy:rgb at cover=224x224"} <= set(names)
