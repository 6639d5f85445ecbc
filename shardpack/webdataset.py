"""The webdataset edge: samples of shardpack for its pipelines, and its samples into shards of shardpack.

It only translates. webdataset decides what a sample looks like and how values are encoded; the stream decides the
order, the share of each rank and where to resume.
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
from shardpack.format.whole_tars import what_tars_lack
from shardpack.order.options import DEFAULT_BLOCK_BYTES
from shardpack.stream.limits import DEFAULT_MEMORY_BYTES
from shardpack.stream.options import StreamOptions, Weights
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

_KEPT_URLS = 4096  # at least the shards that an epoch mixes at a time

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
    balance: str | None = None,
    weights: Weights = None,
    num_samples: int | None = None,
    fields: Sequence[str] | None = None,
    memory_bytes: int | str = DEFAULT_MEMORY_BYTES,
) -> Samples:
    """Return the first stage of a `wds.DataPipeline`; it replaces shard list, splitters and tar reader.

        stage = samples("out/", shuffle="blocks", seed=0, batch_size=64)
        pipeline = wds.DataPipeline(stage, wds.decode("pil"), wds.to_tuple("jpg", "json"), wds.batched(64))
        loader = wds.WebLoader(pipeline, batch_size=None, num_workers=4)
        for epoch in range(10):
            stage.set_epoch(epoch)
            for batch in loader: ...

    Each of K workers yields every K-th step of `batch_size` samples: with `wds.batched` of the same size, the
    loader yields the steps of the stream in order, for any number of workers. Do not add `wds.shuffle`, which
    changes that order, or `wds.split_by_node`: samples are already divided among ranks and workers.

    Args:
        dataset: A `shardpack.Dataset` or a view, or its location for `shardpack.open`.
        shuffle, seed, batch_size, tail, partitions, block_bytes, window_blocks, fields, memory_bytes: As for
            `Dataset.stream`.
        balance, weights, num_samples: As for `Dataset.stream`.
        rank, world_size: Give both or none. None: those of torch.distributed if it is initialised, else the
            environment variables RANK and WORLD_SIZE, else a single rank.
    """
    rank, world_size = find_rank(rank, world_size)
    ds = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    options = StreamOptions(
        shuffle=shuffle, seed=seed, rank=rank, world_size=world_size, batch_size=batch_size, tail=tail,
        partitions=partitions, block_bytes=block_bytes, window_blocks=window_blocks, fields=fields,
        memory_bytes=memory_bytes, balance=balance, weights=weights, num_samples=num_samples,
    )  # fmt: skip
    return Samples(ds, partial(open_stream, ds, options))


def urls(dataset: Dataset | Location) -> list[str]:
    """Return the URLs of all shards in order, for `wds.WebDataset`; for a view, of those that hold its samples.

    Packed shards of a split, `urls(ds.split("train"))`, hold its samples and no others.

    Raises:
        OptionError: The dataset has deleted samples, which its tars still hold, or layers, which they lack.
    """
    ds = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    if lack := what_tars_lack(ds.manifest):
        raise OptionError(
            f'urls name whole tars, and {lack}; pack what is visible first: "shardpack pack DS OUT", or use samples()'
        )
    return [ds.shard_url(number) for number in ds.shard_numbers()]


class Samples:
    """Samples in the form of webdataset: a dict of `__key__`, `__url__` and the bytes of the fields.

    Iterating it, or calling it, begins the epoch or continues from a loaded state. Made by `samples`.
    """

    def __init__(self, dataset: Dataset, make_stream: Callable[[], Stream]) -> None:
        self._dataset = dataset
        self._shares = WorkerShares(make_stream, find_worker)

    def __len__(self) -> int:
        """Return the number of samples of this rank in a whole epoch."""
        return len(self._shares.stream)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._dicts(self._shares.samples())

    def __call__(self) -> Iterator[dict[str, Any]]:
        """Return an iterator; webdataset calls its first stage."""
        return iter(self)

    def _dicts(self, found: Iterator[Any]) -> Iterator[dict[str, Any]]:
        url_of, locate = lru_cache(_KEPT_URLS)(self._dataset.shard_url), self._dataset.shards.locate
        for sample in found:
            yield {"__key__": sample.key, "__url__": url_of(locate(sample.stored_position)), **sample}

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, also in persistent workers; see `Stream.set_epoch`."""
        self._shares.set_epoch(epoch)

    def state_after(self, num_batches: int) -> dict[str, Any]:
        """Return the state after you have seen `num_batches` batches of `batch_size` of the newest iteration.

        Batches count from where that iteration began. This class has no `state_dict`, because later stages
        hold samples back (`wds.batched` does): only the consumer of the batches can count them.

        Raises:
            OptionError: The iteration has fewer batches, or `samples` was given no batch size.
        """
        return self._shares.state_after(num_batches)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration, and only that one, begin where a state was taken; see `Stream.load_state_dict`."""
        self._shares.load_state_dict(state)


class ShardWriter:
    """Takes samples as `wds.ShardWriter` does, and writes a shardpack dataset with its indexes.

    webdataset encodes the values. Differences: limits are hard, a field or key that readers would split
    differently is an error, shards are named `shard-000000.tar` and so on for any pattern, and if the `with`
    block raises, nothing is published.

    Args:
        pattern: A folder, or a pattern such as "out/train-%06d.tar", of which only the folder is used.
        maxcount: Maximum number of samples per shard.
        maxsize: Maximum bytes of a finished shard; a larger sample gets a shard of its own.
        encoder: As for `wds.TarWriter`: True to encode by field name, False for bytes only, a dict of
            encoders, or a function of the sample.
        verbose: Accepted so that old calls work; nothing is printed.
        options: Options of `shardpack.ShardWriter`: `rename_keys`, `force`, `allow_oversized`.
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
        """Add one sample: `__key__` and the fields; other names that begin with "_" are left out.

        Raises:
            InvalidKeyError: `__key__` is missing, or readers would split it or a field differently.
            OptionError: webdataset cannot encode a value for its field.
        """
        if "__key__" not in sample:
            raise InvalidKeyError("a sample lacks __key__; give it one that is unique in the dataset")
        key = sample["__key__"]
        try:
            encoded = self._encode(dict(sample))
        except Exception as error:  # encoders raise anything: AssertionError, KeyError, OSError
            raise OptionError(f"sample cannot be encoded: {type(error).__name__}: {error}", key=str(key)) from error
        self._writer.write(key, {field: value for field, value in encoded.items() if not field.startswith("_")})

    def close(self) -> None:
        """Publish the dataset; see `shardpack.ShardWriter.close`."""
        self._writer.close()
