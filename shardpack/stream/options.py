"""The options of streams and loaders as values: made once from the keyword arguments of a public call, then passed on.

What each option means is explained where users see it: `Dataset.stream` and `Dataset.loader`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shardpack.codecs.crop import CenterCrop, RandomResizedCrop, as_crop
from shardpack.codecs.decode import Decoder, field_decoders
from shardpack.codecs.image_options import ImageOptions, as_pair
from shardpack.order.options import DEFAULT_BLOCK_BYTES, Shuffle, as_shuffle
from shardpack.stream.limits import DEFAULT_MEMORY_BYTES, ReadLimits, read_limits

Fields = dict[str, Any]
FieldsTransform = Callable[[Fields], Mapping[str, Any]]  # a sample's decoded fields -> the fields to stack
Decode = str | Mapping[str, str | Decoder | None] | None
Size = int | tuple[int, int] | None
Weights = Mapping[Any, float] | str | None
Crop = str | RandomResizedCrop | CenterCrop | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """The keyword arguments of `Dataset.stream`. Pickles."""

    shuffle: str | bool = "none"
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    batch_size: int | None = None
    tail: str = "pad"
    partitions: int | None = None
    block_bytes: int | str = DEFAULT_BLOCK_BYTES
    window_blocks: int | None = None
    balance: str | None = None
    weights: Weights = None
    num_samples: int | None = None
    fields: Sequence[str] | None = None
    memory_bytes: int | str = DEFAULT_MEMORY_BYTES

    @property
    def is_drawn(self) -> bool:
        """Whether epochs are balanced or weighted."""
        return self.balance is not None or self.weights is not None

    def as_shuffle(self) -> Shuffle:
        """Return how each epoch is shuffled.

        Raises:
            OptionError: One of the options is out of range.
        """
        shuffle = "global" if self.is_drawn else self.shuffle
        return as_shuffle(shuffle, self.seed, self.block_bytes, self.window_blocks, world_size=self.world_size)

    def read_limits(self) -> ReadLimits:
        """Return the limits of reading.

        Raises:
            OptionError: `memory_bytes` is not a positive size.
        """
        return read_limits(self.memory_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderOptions:
    """The keyword arguments of `Stream.loader`."""

    decode: Decode = None
    size: Size = None
    min_size: Size = None
    crop: Crop = None
    flip: float = 0.0
    masks: Sequence[str] = ()
    reduced: bool = True
    exif_transpose: bool = False
    fast_jpeg: bool = True
    fast_resize: bool = True
    transform: FieldsTransform | None = None
    threads: int | None = None
    prefetch: int | None = None
    on_error: str = "raise"
    drop_last: bool = False

    def images(self) -> ImageOptions:
        """Return how images are decoded.

        Raises:
            OptionError: One of the options is out of range, or options contradict each other.
        """
        return ImageOptions(
            size=as_pair("size", self.size),
            min_size=as_pair("min_size", self.min_size),
            crop=as_crop(self.crop, as_pair("size", self.size)),
            flip=self.flip,
            reduced=self.reduced,
            exif_transpose=self.exif_transpose,
            fast_jpeg=self.fast_jpeg,
            fast_resize=self.fast_resize,
        )

    def decoders(self, fields: Sequence[str]) -> dict[str, Decoder]:
        """Return the decoder of each field that is decoded.

        Raises:
            OptionError: One of the options is out of range, or options contradict each other.
            FieldNotFoundError: `decode` names a field that is missing.
            MissingDependencyError: The name of a decoder needs torch, which is not installed.
        """
        masks = (self.masks,) if isinstance(self.masks, str) else self.masks
        return field_decoders(fields, self.decode, self.images(), masks)
