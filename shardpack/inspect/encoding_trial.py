"""Try encodings on images: the bytes, the time to encode and to decode, and what is lost.

    image --steps--> stored field --decoder of the loader--> pixels for training
                          `--decoded whole--> pixels, compared with those before encoding

One image is tried in all encodings before the next, so that a machine that gets slower slows all of them alike.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from shardpack.codecs.colour import in_srgb, on_white, unpacked
from shardpack.codecs.compression import split_compression
from shardpack.codecs.decode import decode_field, field_decoders
from shardpack.codecs.field_types import kind_of
from shardpack.codecs.image_options import ImageOptions
from shardpack.codecs.still_image import StillImage, pil_copy
from shardpack.errors import DecodeError, MissingDependencyError, ShardpackError, SourceError
from shardpack.write.compress_fields import CompressFields
from shardpack.write.image_step import ImageStep
from shardpack.write.transform import Counts, Fields, KeyedFields, Pipeline, Step


@dataclass(frozen=True, slots=True)
class Encoding:
    """A form in which images can be stored.

    Attributes:
        encode: As in `pack(encode=...)`, or "npz"; None leaves the image as it is.
        resize: As in `pack(resize=...)`; None keeps the size.
        compress: As in `pack(compress={field: ...})`, of the encoded image.
    """

    encode: str | None = None
    resize: str | None = None
    compress: str | None = None

    @property
    def name(self) -> str:
        """What people call it, and its size, such as "jpg:q=90 at short=256"."""
        what = (self.encode or "as is") + (".zst" if self.compress else "")
        return f"{what} at {self.resize}" if self.resize else what

    @property
    def extension(self) -> str | None:
        """Last part of the field that is stored, before it is compressed; None if that stays as it is."""
        return None if self.encode is None else self.encode.partition(":")[0]

    @property
    def trains(self) -> bool:
        """Whether `pack` writes it, and the loader makes batches of it: arrays must all have the size for training."""
        return self.encode != "npz" and (self.extension != "npy" or self.resize is not None)

    @property
    def is_cropped(self) -> bool:
        """Whether only the centre of each image is kept."""
        return self.resize is not None and self.resize.startswith("cover=")

    def pack_options(self, field: str) -> list[str]:
        """Return the options of `shardpack pack` that store the images of a field so."""
        options = ["--resize", self.resize] if self.resize else []
        if self.encode is None:
            return options
        options += ["--encode", self.encode]
        stored = field.removesuffix(kind_of(field)) + (self.extension or "")
        return options + (["--compress", f"{stored}={self.compress}"] if self.compress else [])

    def missing(self) -> str | None:
        """Return why it cannot be tried here: the library that is missing; None if nothing is."""
        try:
            self.steps("jpg")
        except MissingDependencyError as error:
            return str(error)
        return None

    def steps(self, field: str) -> Step:
        """Return what samples with an image pass through to be stored so.

        Raises:
            MissingDependencyError: A library is not installed.
        """
        if self.encode is None:
            return Pipeline()
        image = ImageStep.parse(self.resize, "npy" if self.encode == "npz" else self.encode, image=field)
        assert image is not None
        steps: list[Step] = [image]
        if self.encode == "npz":
            steps.append(_Npz())
        if self.compress is not None:
            stored = field.removesuffix(kind_of(field)) + (self.extension or "")
            steps.append(CompressFields.parse({stored: self.compress}))
        return Pipeline(tuple(steps))


class _Npz:
    """A step that makes a compressed npz of every npy, as `numpy.savez_compressed` does."""

    def __call__(self, key: str, fields: Fields, _: Counts, /) -> Iterable[KeyedFields]:
        (field, payload), *_rest = fields.items()
        if kind_of(field) != "npy":  # an animation, which stays as it is
            return ((key, fields),)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, image=decode_field(field, payload))
        return ((key, {field.removesuffix("npy") + "npz": buffer.getvalue()}),)

    def describe(self) -> dict[str, str]:
        return {"step": "npz"}


@dataclass(frozen=True, slots=True)
class TrialTask:
    """An image to try encodings on; pickles to about the image.

    Attributes:
        name: Path or key.
        field: Field of the image.
        payload: The image.
        encodings: What is tried.
        train_size: Height and width of the pixels that training takes.
    """

    name: str
    field: str
    payload: bytes
    encodings: tuple[Encoding, ...]
    train_size: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What one image took in one encoding.

    Attributes:
        num_bytes: Stored bytes.
        encode_seconds, decode_seconds: Processor time of all threads, so that it does not count what a busy machine
            does in between. Decoding is to pixels for training.
        squared_error: Sum of the squared differences of 8-bit pixel values.
        num_values: How many pixel values were compared.
        is_kept: Whether the image stays as it is, since it would become larger.
    """

    num_bytes: int
    encode_seconds: float
    decode_seconds: float
    squared_error: float
    num_values: int
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Unfit:
    """An encoding that cannot hold an image, such as JPEG for 16 bits; `reason` says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Damaged:
    """An image that does not decode; `reason` says why."""

    reason: str


def run_trials(task: TrialTask) -> list[Trial | Unfit] | Damaged:
    """Return what the image took in each encoding."""
    references: dict[str | None, Any] = {}  # by resize: pixels before they are encoded
    try:
        _trial(task, task.encodings[0], references)  # the first one would pay for what is loaded and cached
        return [_trial(task, encoding, references) for encoding in task.encodings]
    except ShardpackError as error:
        return Damaged(str(error.args[0]))


def _trial(task: TrialTask, encoding: Encoding, references: dict[str | None, Any]) -> Trial | Unfit:
    """Raise ShardpackError if the image does not decode."""
    if encoding.resize not in references:
        references[encoding.resize] = _pixels(*_stored(task, Encoding("npy", encoding.resize))[0])
    try:
        (field, payload), encode_seconds = _stored(task, encoding)
    except (SourceError, DecodeError) as error:  # it has decoded above
        return Unfit(str(error.args[0]))
    decode = field_decoders([field], "rgb8", ImageOptions(size=(task.train_size,) * 2, exif_transpose=True))[field]
    began = time.process_time()
    decode(payload)
    decode_seconds = time.process_time() - began
    difference = np.float32(0)
    if encoding.encode is not None:
        difference = _pixels(field, payload).astype(np.float32) - references[encoding.resize]
    return Trial(
        num_bytes=len(payload),
        encode_seconds=encode_seconds,
        decode_seconds=decode_seconds,
        squared_error=float(np.square(difference, dtype=np.float64).sum()),
        num_values=difference.size,
        is_kept=payload == task.payload,
    )


def _stored(task: TrialTask, encoding: Encoding) -> tuple[tuple[str, bytes], float]:
    """Return ((field, payload), processor time) of an image as it is stored in an encoding."""
    steps = encoding.steps(task.field)
    began = time.process_time()
    ((_, fields),) = steps(task.name, {task.field: task.payload}, Counter())
    seconds = time.process_time() - began
    ((field, payload),) = fields.items()
    return (field, payload), seconds


def _pixels(field: str, payload: bytes) -> Any:
    """Return an image or array as pack stores it without alpha: H x W x 3, upright, in sRGB, on white."""
    kind = kind_of(split_compression(field)[0])
    if kind in {"npy", "npz"}:
        array = decode_field(field, payload)
        array = array["image"] if kind == "npz" else array
        if array.ndim == 3 and array.shape[2] == 4:
            array = np.asarray(on_white(pil_copy(array)))
    else:
        still = StillImage.open(payload)
        image, _ = still.load(still.geometry().target)
        array = np.asarray(on_white(in_srgb(unpacked(image))))
    return np.repeat(array[:, :, None], 3, axis=2) if array.ndim == 2 else array
