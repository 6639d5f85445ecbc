"""The PyTorch edge: datasets for `torch.utils.data.DataLoader`, by position or as a stream.

It only translates: the stream decides the order, the share of each rank and where to resume.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

from shardpack._dataloader import find_rank, find_worker
from shardpack.api import open as open_dataset
from shardpack.codecs.crop import Frame, RandomResizedCrop, frame_key
from shardpack.codecs.decode import ArrayDecoder, Decoder, ImageDecoder, LabelDecoder, needs_frame
from shardpack.codecs.framed_labels import follow_frame
from shardpack.dataset import Dataset
from shardpack.errors import DecodeError, MissingDependencyError, OptionError
from shardpack.order.options import DEFAULT_BLOCK_BYTES
from shardpack.read.sample import Sample
from shardpack.stream.limits import DEFAULT_MEMORY_BYTES
from shardpack.stream.mixed import open_mix
from shardpack.stream.options import Crop, Decode, LoaderOptions, Size, StreamOptions, Weights
from shardpack.stream.stream import Stream, open_stream
from shardpack.stream.worker_shares import WorkerShares

try:
    from torch.utils import data
except ImportError as missing:
    raise MissingDependencyError('shardpack.torch needs PyTorch; run pip install "shardpack[torch]"') from missing

__all__ = ["MapDataset", "StreamDataset"]

Location = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Weighted = Mapping[Dataset, float] | Sequence[tuple[Dataset, float]]
ItemTransform = Callable[[dict[str, Any]], Any]  # an item -> what the DataLoader collates


class MapDataset(data.Dataset[Any]):
    """Samples by position, for a DataLoader with a sampler. A batch is one `get_many`.

    An item is a dict of the key, as `__key__`, and the fields. Pickles as (location, options), so it can be
    passed to workers.

    Args:
        dataset: A `shardpack.Dataset` or a view, or its location for `shardpack.open`.
        fields: The fields to read; None for all.
        decode, size, min_size, masks, exif_transpose: As for `Dataset.loader`: None leaves payloads as bytes;
            "torchrgb", "rgb8", "pil" and so on decode images, and labels too.
        crop: "center" or `CenterCrop`, as for `Dataset.loader`. Random crops need an epoch: use a `StreamDataset`.
        transform: Function from a decoded item to what the DataLoader collates.
    """

    def __init__(
        self,
        dataset: Dataset | Location,
        *,
        fields: Sequence[str] | None = None,
        decode: Decode = None,
        size: Size = None,
        min_size: Size = None,
        crop: Crop = None,
        masks: Sequence[str] = (),
        exif_transpose: bool = False,
        transform: ItemTransform | None = None,
    ) -> None:
        self.dataset = _opened(dataset)
        self.dataset.get_many([], fields=fields)  # raises FieldNotFoundError for unknown fields now
        self._fields = None if fields is None else tuple(fields)
        how = LoaderOptions(
            decode=decode, size=size, min_size=min_size, crop=crop, masks=masks, exif_transpose=exif_transpose
        )  # fmt: skip
        if isinstance(how.images().crop, RandomResizedCrop):
            raise OptionError('a MapDataset knows no epoch to draw crops for; use a StreamDataset, or crop="center"')
        self._prepare = _Prepare(self._fields or self.dataset.fields, how, transform)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: int | str) -> Any:
        """Return one sample, decoded and transformed; `item` is a position or a key."""
        if self._fields is None:
            return self._prepare(self.dataset[item])
        return self._prepare(self.dataset.get_many([item], fields=self._fields)[0])

    def __getitems__(self, items: Sequence[int]) -> list[Any]:
        """Return a batch; a DataLoader calls this in place of `__getitem__`."""
        return [self._prepare(sample) for sample in self.dataset.get_many(items, fields=self._fields)]


class StreamDataset(data.IterableDataset[Any]):
    """One rank's share of an epoch: deterministic, of the same length on all ranks, exactly resumable.

    Give the same `batch_size` here and to the DataLoader:

        dataset = StreamDataset("out/", shuffle="blocks", seed=0, batch_size=64, transform=prepare)
        loader = DataLoader(dataset, batch_size=64, num_workers=4, persistent_workers=True)
        for epoch in range(10):
            dataset.set_epoch(epoch)
            for batch in loader: ...

    Each of K workers yields every K-th step as a whole, so that the DataLoader yields the steps of the stream in
    order, for any number of workers. If the two batch sizes differ, each sample still comes once, but the
    order depends on the number of workers and `state_after` counts wrongly. With `batched=True` the dataset
    yields each step as a list; give the DataLoader `batch_size=None` then, and a `collate_fn` such as
    `torch.utils.data.default_collate` if you want one.

    To stop and resume, with any number of workers and any world size that divides `partitions`:

        state = dataset.state_after(num_batches)    # batches that you have taken from this iteration
        dataset.load_state_dict(state)              # in a new process; the next iteration continues there

    The state is that of `Stream`: a dict for JSON, valid for every rank. torchdata's StatefulDataLoader works too:
    it calls `state_dict` and `load_state_dict` in its workers, and must resume with as many workers.

    Args:
        dataset: A `shardpack.Dataset` or a view, or its location for `shardpack.open`. Or datasets and
            their weights as for `shardpack.mix`: a dict, or a list of pairs.
        shuffle, seed, batch_size, tail, partitions, block_bytes, window_blocks, fields, memory_bytes: As for
            `Dataset.stream`, or `shardpack.mix`.
        balance, weights, num_samples: As for `Dataset.stream`; only for one dataset.
        stop: As for `shardpack.mix`; only for datasets with weights.
        decode, size, min_size, masks, exif_transpose, transform: As for `MapDataset`.
        crop, flip: As for `Dataset.loader`; the same pixels for any number of workers.
        batched: Whether to yield lists of samples, one per step.
        rank, world_size: Give both or none. None: those of torch.distributed if it is initialised, else the
            environment variables RANK and WORLD_SIZE, as torchrun sets them, else a single rank.
    """

    def __init__(
        self,
        dataset: Dataset | Location | Weighted,
        *,
        shuffle: str | bool = "none",
        seed: int = 0,
        batch_size: int | None = None,
        fields: Sequence[str] | None = None,
        decode: Decode = None,
        size: Size = None,
        min_size: Size = None,
        crop: Crop = None,
        flip: float = 0.0,
        masks: Sequence[str] = (),
        exif_transpose: bool = False,
        transform: ItemTransform | None = None,
        batched: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        tail: str = "pad",
        partitions: int | None = None,
        block_bytes: int | str = DEFAULT_BLOCK_BYTES,
        window_blocks: int | None = None,
        balance: str | None = None,
        weights: Weights = None,
        num_samples: int | None = None,
        memory_bytes: int | str = DEFAULT_MEMORY_BYTES,
        stop: str | int | None = None,
    ) -> None:
        rank, world_size = find_rank(rank, world_size)
        options = StreamOptions(
            shuffle=shuffle, seed=seed, rank=rank, world_size=world_size, batch_size=batch_size, tail=tail,
            partitions=partitions, block_bytes=block_bytes, window_blocks=window_blocks, fields=fields,
            memory_bytes=memory_bytes, balance=balance, weights=weights, num_samples=num_samples,
        )  # fmt: skip
        make: Callable[[], Stream]
        pairs = _weighted(dataset)
        if pairs is not None:
            if options.is_drawn or num_samples is not None:
                raise OptionError("balance, weights and num_samples are for one dataset; a mix has a weight for each")
            make = partial(open_mix, pairs, "first" if stop is None else stop, options)
        elif stop is not None:
            raise OptionError("stop is for several datasets with weights; the epoch of one dataset ends by itself")
        else:
            make = partial(open_stream, _opened(cast("Dataset | Location", dataset)), options)
        self._shares = WorkerShares(make, find_worker)
        how = LoaderOptions(
            decode=decode, size=size, min_size=min_size, crop=crop, flip=flip, masks=masks,
            exif_transpose=exif_transpose,
        )  # fmt: skip
        self._prepare = _Prepare(self._shares.stream.fields, how, transform)
        self._batched = batched

    def __len__(self) -> int:
        """Return the exact number of samples (of steps, if batched) of this rank in a whole epoch."""
        return self._shares.stream.num_steps if self._batched else len(self._shares.stream)

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return self._shares.epoch

    @property
    def batch_size(self) -> int:
        """Samples of this rank per step."""
        return self._shares.stream.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, also in persistent workers.

        Setting the current epoch changes nothing, so that the usual loop may call this after
        `load_state_dict` and still resume in the middle.
        """
        self._shares.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        parts: Iterator[Any] = self._shares.steps() if self._batched else self._shares.samples()
        stream = self._shares.stream  # which knows the epoch now
        prepare = partial(self._prepare, seed=stream.shuffle.seed, epoch=stream.epoch)
        return (list(map(prepare, step)) for step in parts) if self._batched else map(prepare, parts)

    def state_after(self, num_batches: int) -> dict[str, Any]:
        """Return the state after you have seen `num_batches` batches of the newest iteration.

        Batches count from where that iteration began, also if it was resumed. Batches that workers have
        fetched ahead do not count.

        Raises:
            OptionError: The iteration has fewer batches, or the dataset has no batch size.
        """
        return self._shares.state_after(num_batches)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the newest iterator, for loops without workers and for StatefulDataLoader.

        Raises:
            OptionError: Workers are reading, and this process is not one of them; use `state_after`.
        """
        return self._shares.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration, and only that one, begin where a state was taken.

        Raises:
            OptionError: The state belongs to other data or options, or does not fit this world size.
        """
        self._shares.load_state_dict(state)


class _Prepare:
    """Makes a sample into what the DataLoader collates. Pickles as options, as decoders hold modules and closures."""

    def __init__(self, fields: Sequence[str], how: LoaderOptions, transform: ItemTransform | None) -> None:
        self._options, self._transform = (fields, how), transform
        self._images = how.images()
        decoders = how.decoders(fields)
        images = {field: decode for field, decode in decoders.items() if isinstance(decode, ImageDecoder)}
        self._decoders: dict[str, Decoder] = {**images, **decoders}  # images first, since labels follow them
        self._framed = needs_frame(decoders, self._images)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Prepare, (*self._options, self._transform))

    def __call__(self, sample: Sample, *, seed: int = 0, epoch: int = 0) -> Any:
        item = {"__key__": sample.key, **sample}
        frame = self._images.frame(frame_key(seed, epoch, *sample.drawn_as)) if self._framed else None
        try:
            for field, decode in self._decoders.items():
                if field in sample:
                    item[field] = _decoded(field, sample[field], decode, frame)
        except (DecodeError, OptionError) as error:
            raise type(error)(error.args[0], key=sample.key) from error
        return item if self._transform is None else self._transform(item)


def _decoded(field: str, payload: bytes, decode: Decoder, frame: Frame | None) -> Any:
    if isinstance(decode, ImageDecoder):
        return decode(payload, None, frame)
    value = decode(payload)
    is_label = isinstance(decode, (ArrayDecoder, LabelDecoder))
    return value if frame is None or not is_label else follow_frame(field, value, payload, frame)


def _weighted(dataset: Dataset | Location | Weighted) -> tuple[tuple[Dataset, float], ...] | None:
    """Return datasets and their weights, or None for a single dataset or a location."""
    if isinstance(dataset, Mapping):
        return tuple(dataset.items())
    if isinstance(dataset, (list, tuple)) and any(isinstance(item, tuple) for item in dataset):
        return tuple(dataset)
    return None


def _opened(dataset: Dataset | Location) -> Dataset:
    return dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
