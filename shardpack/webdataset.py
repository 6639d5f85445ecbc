"""The webdataset edge: our samples into its pipelines, its samples into our shards.

Translates only. What a sample looks like, how values are encoded, and which rank this is are
webdataset's to say; order, shares and resume points are the stream's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from shardpack._dataloader import find_rank, find_worker
from shardpack.api import open as open_dataset
from shardpack.dataset import Dataset
from shardpack.errors import InvalidKeyError, MissingDependencyError, OptionError
from shardpack.order.options import DEFAULT_BLOCK_BYTES
from shardpack.stream.limits import DEFAULT_MEMORY_BYTES
from shardpack.stream.options import StreamOptions
from shardpack.stream.stream import Stream, open_stream
from shardpack.stream.worker_shares import WorkerShares
from shardpack.write.shard_writer import ShardWriter as Writer

try:
    from webdataset.writer import make_encoder
except ImportError as missing:
    raise MissingDependencyError(
        'shardpack.webdataset needs webdataset; run pip install "shardpack[webdataset]"'
    ) from missing

__all__ = ["Samples", "ShardWriter", "samples", "urls"]

_KEPT_URLS = 4096  # of the shards that an epoch mixes at a time

Location = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def samples(
    dataset: Dataset | Location,
    *,
    shuffle: str | bool = "none",
    seed: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
    batch_size: int | None = None,
    tail: str = "pad",
    partitions: int | None = None,
    block_bytes: int | str = DEFAULT_BLOCK_BYTES,
    window_blocks: int | None = None,
    fields: Sequence[str] | None = None,
    memory_bytes: int | str = DEFAULT_MEMORY_BYTES,
) -> Samples:
    """Return the first stage of a `wds.DataPipeline`, in place of shard list, splitters and tar reader.

        stage = samples("out/", shuffle="blocks", seed=0, batch_size=64)
        pipeline = wds.DataPipeline(stage, wds.decode("pil"), wds.to_tuple("jpg", "json"), wds.batched(64))
        loader = wds.WebLoader(pipeline, batch_size=None, num_workers=4)
        for epoch in range(10):
            stage.set_epoch(epoch)
            for batch in loader: ...

    Each worker yields whole steps of `batch_size` samples, every K-th one: with `wds.batched` of
    the same size, what comes out of the loader are the stream's steps, in order, for any number of
    workers. A `wds.shuffle` after it would give that up; so would `wds.split_by_node`: ranks and
    workers are split here already.

    Args:
        dataset: A `shardpack.Dataset`, also a view, or where `shardpack.open` finds one.
        shuffle, seed, batch_size, tail, partitions, block_bytes, window_blocks, fields, memory_bytes: As for
            `Dataset.stream`.
        rank, world_size: Give both or none. None asks torch.distributed if it is initialised, then
            the environment variables RANK and WORLD_SIZE; else there is one rank.
    """
    rank, world_size = find_rank(rank, world_size)
    ds = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    options = StreamOptions(
        shuffle=shuffle, seed=seed, rank=rank, world_size=world_size, batch_size=batch_size, tail=tail,
        partitions=partitions, block_bytes=block_bytes, window_blocks=window_blocks, fields=fields,
        memory_bytes=memory_bytes,
    )  # fmt: skip
    return Samples(ds, partial(open_stream, ds, options))


def urls(dataset: Dataset | Location) -> list[str]:
    """Return the shards as `wds.WebDataset` takes them: all of them, in order; also of a view."""
    ds = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    return [ds.shard_url(number) for number in range(len(ds.shards))]


class Samples:
    """Samples as webdataset has them: a dict with `__key__`, `__url__` and the fields' bytes.

    Iterating, or calling, it begins the epoch, or goes on where a loaded state says. Made by `samples`.
    """

    def __init__(self, dataset: Dataset, make_stream: Callable[[], Stream]) -> None:
        self._dataset = dataset
        self._shares = WorkerShares(make_stream, find_worker)

    def __len__(self) -> int:
        """Return how many samples this rank gets in a whole epoch."""
        return len(self._shares.stream)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._dicts(self._shares.samples())

    def __call__(self) -> Iterator[dict[str, Any]]:
        """Return an iterator; how webdataset asks a first stage."""
        return iter(self)

    def _dicts(self, found: Iterator[Any]) -> Iterator[dict[str, Any]]:
        url_of, locate = lru_cache(_KEPT_URLS)(self._dataset.shard_url), self._dataset.shards.locate
        for sample in found:
            yield {"__key__": sample.key, "__url__": url_of(locate(sample.position)), **sample}

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, also in persistent workers; see `Stream.set_epoch`."""
        self._shares.set_epoch(epoch)

    def state_after(self, num_batches: int) -> dict[str, Any]:
        """Return the state when `num_batches` batches of `batch_size` have been seen of the newest iteration.

        Batches count from where that iteration began. There is no `state_dict`: stages behind this
        one hold samples back (`wds.batched` one), so only who takes the batches knows.

        Raises:
            OptionError: There are fewer batches, or `samples` got no batch size.
        """
        return self._shares.state_after(num_batches)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration, and only that, begin where a state was taken; see `Stream.load_state_dict`."""
        self._shares.load_state_dict(state)


class ShardWriter:
    """Takes the samples that `wds.ShardWriter` takes; leaves a shardpack dataset, indexes and all.

    Values are encoded by webdataset itself. Unlike there: the caps are hard, a name or a key that readers
    would cut differently is an error, shards are called `shard-000000.tar` whatever the pattern,
    and if the block raises nothing is published.

    Args:
        pattern: A folder, or a pattern such as "out/train-%06d.tar" of which the folder counts.
        maxcount: Most samples in a shard.
        maxsize: Most bytes of a finished shard; a larger sample gets a shard of its own.
        encoder: As for `wds.TarWriter`: True for encoding by field name, False for bytes only, a
            dict of encoders, or a function of the sample.
        verbose: Taken for the sake of old calls; nothing is printed.
        options: Of `shardpack.ShardWriter`: `rename_keys`, `force`, `allow_oversized`.
    """

    def __init__(
        self,
        pattern: str | os.PathLike[str],
        maxcount: int = 100_000,
        maxsize: float = 3e9,
        *,
        encoder: bool | dict[str, Callable[[Any], bytes]] | Callable[[dict[str, Any]], dict[str, Any]] | None = True,
        verbose: int = 0,  # noqa: ARG002 - see above
        **options: Any,
    ) -> None:
        path = os.fspath(pattern)
        folder = os.path.dirname(path) or os.curdir if path.endswith(".tar") or "%" in path else path
        self._encode = make_encoder(encoder)
        options = {"allow_oversized": True, **options}
        self._writer = Writer(folder, max_shard_samples=maxcount, max_shard_bytes=int(maxsize), **options)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self.close()
        else:
            self._writer.abort()

    def write(self, sample: Mapping[str, Any]) -> None:
        """Add one sample: `__key__`, and fields by extension; other names that begin with "_" are left out.

        Raises:
            InvalidKeyError: There is no `__key__`, or readers would cut it or a field differently.
            OptionError: A value is nothing that webdataset encodes for its field.
        """
        if "__key__" not in sample:
            raise InvalidKeyError("a sample without __key__; give it one, unique in the dataset")
        key = sample["__key__"]
        try:
            encoded = self._encode(dict(sample))
        except Exception as error:  # encoders raise whatever they like: AssertionError, KeyError, OSError
            raise OptionError(f"sample cannot be encoded: {type(error).__name__}: {error}", key=str(key)) from error
        self._writer.write(key, {field: value for field, value in encoded.items() if not field.startswith("_")})

    def close(self) -> None:
        """Publish the dataset; see `shardpack.ShardWriter.close`."""
        self._writer.close()
