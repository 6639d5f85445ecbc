"""Which encoding pays: pure decisions over measured encodings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardpack.inspect.encoding_trial import Encoding
from shardpack.inspect.epoch_time import Epoch

VISIBLE_LOSS_DB = 35.0  # below it, trained eyes see differences; lossy encodings below it are not recommended
WORTH_CONVERTING = 0.85  # of the epoch or the bytes: with less gain, images stay as they are
AS_FAST = 1.05  # epochs that differ by less are equal, as measurements are no better

_MIB = 1 << 20
_FEWEST_SHARDS = 64  # so that workers and ranks get equal parts, and packing runs in parallel
_SMALLEST_SHARD, _LARGEST_SHARD = 16 * _MIB, 256 * _MIB

PLACES = ("disk", "bucket", "memory")


@dataclass(frozen=True, slots=True)
class Measured:
    """An encoding with its figures, per image.

    Attributes:
        encoding: What was tried.
        images: How many images were tried.
        kept: How many of them stay as they are, since they would become larger.
        num_bytes: Mean stored bytes.
        encode_seconds, decode_seconds: Means of one core's time. Decoding is to pixels of the size for training.
        encode_seconds_all, decode_seconds_all: With all cores at work, as seconds per image of the whole machine.
        psnr: Peak signal-to-noise ratio in dB of the stored pixels; None if they are exact.
        epochs: By place ("disk", "bucket", "memory") the epoch over all images.
    """

    encoding: Encoding
    images: int
    kept: int
    num_bytes: float
    encode_seconds: float
    decode_seconds: float
    encode_seconds_all: float
    decode_seconds_all: float
    psnr: float | None
    epochs: dict[str, Epoch]

    @property
    def name(self) -> str:
        """Name of the encoding, and its size."""
        return self.encoding.name


def recommend(
    measured: Sequence[Measured], place: str, *, lossless: bool = False, centre_crop: bool = False
) -> tuple[Measured, str]:
    """Return the encoding that pays, and the reason in one sentence.

    It is the fastest one for an epoch at that place; of equally fast ones the smallest; and none at all if images as
    they are come close to it. The first of `measured` must be the images as they are.

    Args:
        measured: All encodings.
        place: "disk", "bucket" or "memory".
        lossless: Consider only encodings that keep every pixel, at full size.
        centre_crop: Consider those as well that keep only the centre of each image, for training without random crops.
    """
    as_is = measured[0]
    able = [as_is]
    able += [one for one in measured[1:] if _is_eligible(one, lossless=lossless, centre_crop=centre_crop)]
    fastest = min(one.epochs[place].seconds for one in able)
    best = min((one for one in able if one.epochs[place].seconds <= AS_FAST * fastest), key=lambda one: one.num_bytes)
    now, then = as_is.epochs[place], best.epochs[place]
    faster = then.seconds <= WORTH_CONVERTING * now.seconds
    smaller = then.seconds <= AS_FAST * now.seconds and best.num_bytes <= WORTH_CONVERTING * as_is.num_bytes
    where = {"disk": "from disk", "bucket": "from a bucket", "memory": "from memory"}[place]
    if best is as_is or not (faster or smaller):
        gain = f"{1 - WORTH_CONVERTING:.0%}"
        kind = "that keeps every pixel" if lossless else "to train with"
        reason = (
            f"{where} an epoch waits for the {now.bottleneck} for {format_seconds(now.seconds)}, and no other encoding "
            f"{kind} makes it {gain} shorter, or the bytes {gain} less without making it longer"
        )
        return as_is, reason + ("" if lossless or centre_crop else _crop_hint(measured, place))
    loss = "stored pixels are exact" if best.psnr is None else f"stored pixels differ by {best.psnr:.1f} dB"
    if best.encoding.resize:
        loss += f"; training at a larger size than {best.encoding.resize} needs the originals"
    share = best.num_bytes / as_is.num_bytes
    return best, (
        f"{where} an epoch takes {format_seconds(then.seconds)} ({then.bottleneck}) instead of "
        f"{format_seconds(now.seconds)} ({now.bottleneck}), and images {share:.2f} of the bytes; {loss}"
    )


def _crop_hint(measured: Sequence[Measured], place: str) -> str:
    """Return that storing only the centre of each image would pay, and the option for it; empty if it would not."""
    cropped = [
        one for one in measured if one.encoding.is_cropped and _is_eligible(one, lossless=False, centre_crop=True)
    ]
    if not cropped:
        return ""
    best = min(cropped, key=lambda one: one.epochs[place].seconds)
    seconds = best.epochs[place].seconds
    if seconds > WORTH_CONVERTING * measured[0].epochs[place].seconds:
        return ""
    return f"; without random crops, {best.name} would make it {format_seconds(seconds)} (--centre-crop)"


def _is_eligible(one: Measured, *, lossless: bool, centre_crop: bool) -> bool:
    if one.kept == one.images:  # differs from images as they are by noise alone
        return False
    if not one.encoding.trains or (one.encoding.is_cropped and not centre_crop):
        return False
    if lossless:
        return one.psnr is None and not one.encoding.resize
    return one.psnr is None or one.psnr >= VISIBLE_LOSS_DB


def shard_bytes(total_bytes: float) -> int:
    """Return a length of shards: 16 MiB to 256 MiB, a power of two, at least 64 shards if that is possible."""
    size = _LARGEST_SHARD
    while size > _SMALLEST_SHARD and total_bytes < _FEWEST_SHARDS * size:
        size //= 2
    return size


def format_seconds(seconds: float) -> str:
    """Return a short time: "12 ms", "3.5 s", "12 min", "3.2 h"."""
    for unit, factor, digits in (("h", 3600, 1), ("min", 60, 1), ("s", 1, 1)):
        if seconds >= factor:
            return f"{seconds / factor:.{digits}f} {unit}"
    return f"{seconds * 1e3:.3g} ms"
