"""What a trial says of an encoding is what packing with it does."""

from __future__ import annotations

import io
import threading
import time
from itertools import count

import numpy as np
import pytest
from PIL import Image

import shardpack
from shardpack.codecs.decode import decode_field
from shardpack.inspect.encoding_trial import Damaged, Encoding, TrialTask, run_trials


def photo(height=96, width=128, **options):
    """Return the pixels of a smooth image with some noise, and its payload."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows * 2, columns, (rows + columns) % 256], axis=2) + np.random.default_rng(0).integers(
        0, 9, (height, width, 3)
    )
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **({"format": "PNG"} | options))
    return pixels, buffer.getvalue()


def trials(payload, *encodings, field="png"):
    return run_trials(TrialTask("a/1.png", field, payload, tuple(encodings), 32))


EXACT = [
    Encoding(),
    Encoding("png"),
    Encoding("webp:lossless"),
    Encoding("npy"),
    Encoding("npz"),
    Encoding("npy", compress="zstd:3"),
    Encoding("npy:rgb", "cover=32x32"),
    Encoding("png", "short=48"),
]


@pytest.mark.parametrize("encoding", EXACT, ids=lambda encoding: encoding.name)
def test_what_is_exact_is_told(encoding):
    pytest.importorskip("zstandard")
    (found,) = trials(photo()[1], encoding)
    assert found.squared_error == 0
    assert found.num_bytes > 0


def test_loss_is_that_of_the_stored_pixels():
    pixels, payload = photo()
    (found,) = trials(payload, Encoding("jpg:q=30"))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=30, subsampling="4:2:0")
    stored = np.asarray(Image.open(buffer)).astype(float)
    assert found.num_values == pixels.size
    assert found.squared_error == pytest.approx(((stored - pixels) ** 2).sum(), rel=0.05)
    assert found.num_bytes == pytest.approx(len(buffer.getvalue()), rel=0.05)


def test_an_image_that_would_grow_is_kept():
    _, payload = photo(format="JPEG", quality=20)
    (found,) = trials(payload, Encoding("jpg:q=98"), field="jpg")
    assert found.is_kept
    assert (found.num_bytes, found.squared_error) == (len(payload), 0)
    assert not trials(payload, Encoding("jpg:q=98", "short=48"), field="jpg")[0].is_kept


def test_an_image_with_an_orientation_is_compared_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    _, payload = photo(format="JPEG", exif=exif)
    (found,) = trials(payload, Encoding("png"), field="jpg")
    assert found.squared_error == 0


@pytest.mark.parametrize("payload", [b"", b"\x89PNG\r\n\x1a\nxxx", photo()[1][:-500]])
def test_an_image_that_does_not_decode_is_told(payload):
    assert isinstance(trials(payload, Encoding("png")), Damaged)


@pytest.mark.parametrize("encoding", [one for one in EXACT if one.encode != "npz"], ids=lambda encoding: encoding.name)
def test_packing_with_the_options_gives_these_bytes(encoding, tmp_path):
    pytest.importorskip("zstandard")
    pixels, payload = photo()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.png").write_bytes(payload)
    typed = encoding.pack_options("png")
    options = dict(zip((name.removeprefix("--") for name in typed[::2]), typed[1::2], strict=True))
    if "compress" in options:
        options["compress"] = dict([options["compress"].split("=")])
    shardpack.pack(tmp_path / "in", tmp_path / "out", layout="files", jobs=1, **options)
    (sample,) = shardpack.open(tmp_path / "out")
    ((field, stored),) = sample.items()
    assert len(stored) == trials(payload, encoding)[0].num_bytes
    if encoding.resize is None:
        assert np.array_equal(np.asarray(decode_field(field, stored)), pixels)


def test_names():
    assert Encoding().name == "as is"
    assert Encoding("npy", "cover=8x8", "zstd:3").name == "npy.zst at cover=8x8"
    assert Encoding("npy", compress="zstd:3").pack_options("img.jpg") == [
        "--encode",
        "npy",
        "--compress",
        "img.npy=zstd:3",
    ]
    assert [Encoding("npy").trains, Encoding("npz").trains, Encoding("npy", "cover=8x8").trains] == [False, False, True]
    assert [Encoding("jpg", "short=8").is_cropped, Encoding("jpg", "cover=8x8").is_cropped] == [False, True]


def test_transparent_images_are_compared_on_white():
    pixels, _ = photo()
    alpha = np.zeros(pixels.shape[:2], np.uint8)
    alpha[20:60, 30:90] = 255
    pixels[alpha == 0] = 0
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([pixels, alpha])).save(buffer, "PNG")
    found = trials(buffer.getvalue(), *EXACT, Encoding("jpg:q=90"))
    assert [trial.squared_error for trial in found[:-1]] == [0] * len(EXACT)
    assert found[-1].squared_error / found[-1].num_values < 255**2 / 10**3  # above 30 dB


def test_what_cannot_hold_an_image_is_told():
    buffer = io.BytesIO()
    Image.fromarray(np.arange(96 * 128, dtype=np.uint16).reshape(96, 128)).save(buffer, "PNG")
    as_is, jpeg, array = trials(buffer.getvalue(), Encoding(), Encoding("jpg:q=90"), Encoding("npy"))
    assert "more than 8 bits" in jpeg.reason
    assert as_is.num_bytes == len(buffer.getvalue())
    assert array.squared_error == 0


def test_animations_stay_as_they_are():
    frames = [Image.fromarray(photo()[0]).rotate(turn).convert("P") for turn in (0, 90)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert all(trial.is_kept for trial in trials(buffer.getvalue(), *EXACT, field="gif"))


class Beside(Encoding):
    """Calls a function beside what its steps do."""

    function = None

    def steps(self, field):
        steps = super().steps(field)
        return lambda *sample: (self.function(), steps(*sample))[1]


class Waiting(Beside):
    """Takes time in which other programs have the processor."""

    def function(self):
        time.sleep(0.5)


class Threaded(Beside):
    """Takes the processor in a thread, as encoders do that start some of their own."""

    def function(self):
        began = time.process_time()
        worker = threading.Thread(target=lambda: all(time.process_time() < began + 0.03 for _ in count()))
        worker.start()
        worker.join()


def test_the_time_of_a_busy_machine_does_not_count_and_that_of_threads_does():
    waited, threaded = trials(photo()[1], Waiting("npy"), Threaded("npy"))
    assert waited.encode_seconds < 0.5
    assert threaded.encode_seconds >= 0.03
