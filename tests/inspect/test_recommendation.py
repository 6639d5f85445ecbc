"""The recommended encoding is the one that pays; images stay as they are where none does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.inspect.encoding_trial import Encoding
from shardpack.inspect.epoch_time import Hardware
from shardpack.inspect.recommendation import PLACES, Measured, format_seconds, recommend, shard_bytes

HARDWARE = Hardware(disk=2e9, network=125e6)


def measured(num_bytes, decode_ms, psnr=None, *, hardware=HARDWARE, kept=0, **encoding):
    return Measured(
        encoding=Encoding(**encoding),
        images=10,
        kept=kept,
        num_bytes=num_bytes,
        encode_seconds=0.01,
        decode_seconds=decode_ms / 1e3,
        encode_seconds_all=0.005,
        decode_seconds_all=decode_ms / 2e3,
        psnr=psnr,
        epochs=hardware.epochs(num_bytes, decode_ms / 2e3, 1000),
    )


AS_IS = measured(100_000, 1.5)
SMALL_JPEG = measured(18_000, 0.4, 37.0, encode="jpg:q=90", resize="short=256")
ARRAY = measured(150_000, 0.06, encode="npy", resize="short=256")
CENTRE = measured(150_000, 0.06, encode="npy:rgb", resize="cover=224x224")
WEBP = measured(60_000, 3.0, 38.0, encode="webp")
POOR = measured(9_000, 0.3, 31.0, encode="jpg:q=50", resize="short=256")
LOSSLESS = measured(90_000, 1.6, encode="jxl")
NPZ = measured(5, 0.001, encode="npz")


def test_fewer_bytes_where_the_network_is_what_an_epoch_waits_for():
    best, reason = recommend([AS_IS, WEBP, ARRAY, SMALL_JPEG, POOR, NPZ], "bucket")
    assert best is SMALL_JPEG
    assert reason == (
        "from a bucket an epoch takes 200 ms (CPU) instead of 800 ms (network), and images 0.18 of the bytes; "
        "stored pixels differ by 37.0 dB; training at a larger size than short=256 needs the originals"
    )


def test_less_to_decode_where_that_is_what_an_epoch_waits_for():
    assert recommend([AS_IS, WEBP, ARRAY, SMALL_JPEG], "memory")[0] is ARRAY


def test_only_the_centre_is_kept_where_training_takes_nothing_else():
    measured_ones = [AS_IS, CENTRE, SMALL_JPEG]
    assert recommend(measured_ones, "memory")[0] is SMALL_JPEG
    assert recommend(measured_ones, "memory", centre_crop=True)[0] is CENTRE


def test_storing_the_centre_is_mentioned_where_it_alone_would_pay():
    cropped = "; without random crops, npy:rgb at cover=224x224 would make it 30 ms (--centre-crop)"
    best, reason = recommend([AS_IS, CENTRE], "memory")
    assert best is AS_IS
    none = "no other encoding to train with makes it 15% shorter, or the bytes 15% less without making it longer"
    assert reason.endswith(none + cropped)
    assert "centre" not in recommend([AS_IS, CENTRE], "bucket")[1]
    assert recommend([AS_IS, CENTRE], "memory", lossless=True)[1].endswith("making it longer")


def test_images_stay_as_they_are_where_nothing_pays():
    slow_gpu = Hardware(disk=2e9, network=125e9, gpu_images=100)
    as_is = measured(100_000, 1.5, hardware=slow_gpu)
    others = [measured(99_000, 0.1, 40.0, hardware=slow_gpu, encode="jpg:q=95")]
    best, reason = recommend([as_is, *others], "disk")
    assert best is as_is
    assert "waits for the GPU for 10.0 s" in reason


def test_an_encoding_that_changes_no_image_is_none():
    kept = measured(100_000, 0.5, kept=10, encode="jpg:q=90")
    assert recommend([AS_IS, kept], "memory")[0] is AS_IS


def test_fewer_bytes_are_worth_it_where_the_epoch_is_no_faster():
    slow_gpu = Hardware(disk=2e9, network=125e9, gpu_images=100)
    as_is = measured(100_000, 1.5, hardware=slow_gpu)
    half = measured(50_000, 1.5, 40.0, hardware=slow_gpu, encode="webp")
    assert recommend([as_is, half], "disk")[0] is half


def test_lossless_keeps_every_pixel():
    assert recommend([AS_IS, WEBP, SMALL_JPEG, ARRAY, LOSSLESS], "bucket", lossless=True)[0] is AS_IS
    smaller = measured(40_000, 1.6, encode="jxl")
    assert recommend([AS_IS, WEBP, SMALL_JPEG, ARRAY, smaller], "bucket", lossless=True)[0] is smaller


figures = st.builds(
    measured, st.floats(1, 1e7), st.floats(1e-3, 100), st.one_of(st.none(), st.floats(20, 60)), encode=st.just("webp")
)


@given(st.builds(measured, st.floats(1, 1e7), st.floats(1e-3, 100)), st.lists(figures), st.sampled_from(PLACES))
def test_it_is_never_slower_nor_larger_for_nothing(as_is, others, place):
    best, _ = recommend([as_is, *others], place)
    assert best.psnr is None or best.psnr >= 35
    now, then = as_is.epochs[place].seconds, best.epochs[place].seconds
    assert best is as_is or then <= 0.85 * now or (then <= 1.05 * now and best.num_bytes <= 0.85 * as_is.num_bytes)


@pytest.mark.parametrize(
    ("total", "expected"), [(0, 16 << 20), (1 << 30, 16 << 20), (4 << 30, 64 << 20), (1 << 40, 256 << 20)]
)
def test_length_of_shards(total, expected):
    assert shard_bytes(total) == expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0123, "12.3 ms"), (3.46, "3.5 s"), (720, "12.0 min"), (11520, "3.2 h"), (0.0002, "0.2 ms")]
)
def test_times(seconds, text):
    assert format_seconds(seconds) == text
