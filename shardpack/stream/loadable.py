"""`ds.loader(...)`: the method of datasets and views that makes a stream and its loader in one call."""

from __future__ import annotations

from collections.abc import Sequence

from shardpack.order.options import DEFAULT_BLOCK_BYTES
from shardpack.runtime.arguments import as_integer
from shardpack.stream.limits import DEFAULT_MEMORY_BYTES
from shardpack.stream.loader import Loader
from shardpack.stream.options import Crop, Decode, FieldsTransform, LoaderOptions, Size, StreamOptions, Weights
from shardpack.stream.stream import open_stream
from shardpack.stream.stream_input import Streamable


class Loadable:
    """The part of `Dataset` that streams decoded batches: one method with many options."""

    def loader(
        self: Streamable,
        batch_size: int,
        *,
        decode: Decode = None,
        size: Size = None,
        min_size: Size = None,
        crop: Crop = None,
        flip: float = 0.0,
        masks: Sequence[str] = (),
        reduced: bool = True,
        exif_transpose: bool = False,
        fast_jpeg: bool = True,
        fast_resize: bool = True,
        transform: FieldsTransform | None = None,
        threads: int | None = None,
        prefetch: int | None = None,
        on_error: str = "raise",
        drop_last: bool = False,
        fields: Sequence[str] | None = None,
        shuffle: str | bool = "none",
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        tail: str = "pad",
        partitions: int | None = None,
        block_bytes: int | str = DEFAULT_BLOCK_BYTES,
        window_blocks: int | None = None,
        balance: str | None = None,
        weights: Weights = None,
        num_samples: int | None = None,
        memory_bytes: int | str = DEFAULT_MEMORY_BYTES,
    ) -> Loader:
        """Return an iterable over decoded batches: threads read, decode, transform and stack ahead of you.

        A batch is a dict of `"__key__"`, a list of keys, and the fields. Arrays, tensors and numbers of one shape and
        type become one contiguous array (`cls`: int64); other values become a list, with None where a sample
        lacks the field. Order, ranks and resuming are those of `stream`. A mix has a loader too:
        `shardpack.mix(..., batch_size=64).loader(decode="rgb8")`.

        A batch is yours: its memory is used again only when nothing refers to its arrays any more, neither slices nor
        tensors made of them. So batches may be kept and changed, and dropping them early saves memory and time.

        Crops and mirrorings depend on seed, epoch and sample alone, and are the same for all images of a sample, masks
        included: for any number of threads and ranks, and after resuming.

        Args:
            batch_size: Samples per batch of this rank.
            decode: None leaves bytes. A name of webdataset's for all images: "rgb8" (uint8 H x W x 3),
                "rgb" (float32, 0..1), "torchrgb" (tensor 3 x H x W), "pil" (in the stored mode), and
                "l8", "rgba8" and so on. Or a mapping from field to such a name, to a function of the
                payload, or to None. Labels (json, txt, cls, npy) are then decoded too.
            size: (height, width), or one number for both; images are resized and decoded directly into the batch.
                Decoded labels with boxes follow, as they follow `crop`, `flip` and `exif_transpose`.
            min_size: Decode images no smaller than this, for a transform that crops. Labels stay as they are stored.
            crop: Which part of an image is resized to `size`; None for all of it. "random" is the usual crop for
                training, `RandomResizedCrop()`; "center" the usual one for evaluation, `CenterCrop()`, which for a size
                of 224 resizes the shorter side to 256. The classes are in `shardpack` and take other numbers.
            flip: Probability of mirroring a sample's images left to right; 0.5 is usual for training.
            masks: Image fields whose pixels are numbers of classes, besides those named `seg.*`, `mask.*` and
                `panoptic.*`, and besides palette images where several fields are images. They are resized by nearest
                neighbour, so that no new numbers arise.
            reduced: Whether to decode JPEGs at 1/2, 1/4 or 1/8 of their size where `size` or `min_size` allows it.
            exif_transpose: Whether to rotate images as their EXIF data say.
            fast_jpeg: Whether to use simplejpeg (the extra fast-jpeg) if it is installed.
            fast_resize: Whether to resize JPEGs with OpenCV (the extra fast-resize), if both are installed.
            transform: Function from one sample's decoded fields to the dict that is stacked. It gets a dict with
                "__key__" and "__seed__" (the same in every run, for random numbers), and runs in threads.
            threads: Number of threads that decode; by default the number of CPUs, at most 8. One more thread reads.
            prefetch: Batches built ahead of the one you hold; by default 2, or more for very small batches.
            on_error: "raise" a DecodeError that names the bad sample, or "skip" it and count it in `skipped`. A
                skipped sample is replaced by the next good one of its batch, so that ranks stay equal (with
                tail="exact" the batch is shorter). A transform may raise DecodeError to reject a sample.
            drop_last: Leave out the last step if it is shorter, over all ranks.
            fields: The fields to read; None for all.
            shuffle, seed, rank, world_size, tail, partitions, block_bytes, window_blocks, memory_bytes: See `stream`.
            balance, weights, num_samples: See `stream`. A sample that comes several times in an epoch is cropped and
                mirrored in another way each time.

        Raises:
            OptionError: An option is out of range, or options contradict each other.
            FieldNotFoundError: No sample of the dataset has one of the fields.
            MissingDependencyError: The name of a decoder needs torch, which is not installed.
        """
        stream = StreamOptions(
            shuffle=shuffle, seed=seed, rank=rank, world_size=world_size,
            batch_size=as_integer("batch_size", batch_size, minimum=1), tail=tail, partitions=partitions,
            block_bytes=block_bytes, window_blocks=window_blocks, fields=fields, memory_bytes=memory_bytes,
            balance=balance, weights=weights, num_samples=num_samples,
        )  # fmt: skip
        loader = LoaderOptions(
            decode=decode, size=size, min_size=min_size, crop=crop, flip=flip, masks=masks, reduced=reduced,
            exif_transpose=exif_transpose, fast_jpeg=fast_jpeg, fast_resize=fast_resize, transform=transform,
            threads=threads, prefetch=prefetch, on_error=on_error, drop_last=drop_last,
        )  # fmt: skip
        return open_stream(self, stream).loader_of(loader)
