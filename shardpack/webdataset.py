"""The webdataset edge: our samples into its pipelines, its samples into our shards.

Translates only. What a sample looks like, how values are encoded, and which rank this is are
webdataset's to say; order, shares and resume points are the stream's.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from shardpack.api import open as open_dataset
from shardpack.dataset import Dataset
from shardpack.errors import InvalidKeyError, MissingDependencyError, OptionError
from shardpack.stream.worker_shares import SplitStream, Worker
from shardpack.write.shard_writer import ShardWriter as Writer

try:
    from webdataset.utils import pytorch_worker_info
    from webdataset.writer import make_encoder
except ImportError as missing:
    raise MissingDependencyError(
        'shardpack.webdataset needs webdataset; run pip install "shardpack[webdataset]"'
    ) from missing

__all__ = ["Samples", "ShardWriter", "samples", "urls"]

Location = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def samples(dataset: Dataset | Location, **options: Any) -> Samples:
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
        options: As for `Dataset.stream`. Without `rank` and `world_size`, webdataset says which
            these are: RANK and WORLD_SIZE, or torch.distributed.
    """
    return Samples(dataset if isinstance(dataset, Dataset) else open_dataset(dataset), options)


def urls(dataset: Dataset | Location) -> list[str]:
    """Return the shards as `wds.WebDataset` takes them: all of them, in order; also of a view."""
    ds = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    return [f"{ds.location.rstrip('/')}/{shard.name}" for shard in ds.shards]


class Samples:
    """Samples as webdataset has them: a dict with `__key__`, `__url__` and the fields' bytes.

    Iterating, or calling, it begins the epoch, or goes on where a loaded state says. Made by `samples`.
    """

    def __init__(self, dataset: Dataset, options: Mapping[str, Any]) -> None:
        chosen = dict(options)
        if ("rank" in chosen) != ("world_size" in chosen):
            raise OptionError("only one of rank and world_size is given; give both or none")
        if "rank" not in chosen:
            chosen["rank"], chosen["world_size"], _, _ = pytorch_worker_info()
        self._urls = urls(dataset)
        self._first = dataset.manifest.starts[:-1]
        make = partial(dataset.stream, **chosen)
        self._split = SplitStream(make, _find_worker, counts_batches=chosen.get("batch_size") is not None)

    def __len__(self) -> int:
        """Return how many samples this rank gets in a whole epoch."""
        return len(self._split.stream)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._dicts(self._split.samples())

    def __call__(self) -> Iterator[dict[str, Any]]:
        """Return an iterator; how webdataset asks a first stage."""
        return iter(self)

    def _dicts(self, found: Iterator[Any]) -> Iterator[dict[str, Any]]:
        for sample in found:
            url = self._urls[bisect_right(self._first, sample.position) - 1]
            yield {"__key__": sample.key, "__url__": url, **sample}

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, also in persistent workers; see `Stream.set_epoch`."""
        self._split.set_epoch(epoch)

    def state_after(self, num_batches: int) -> dict[str, Any]:
        """Return the state when `num_batches` batches of `batch_size` have been seen of the newest iteration.

        Batches count from where that iteration began. There is no `state_dict`: stages behind this
        one hold samples back (`wds.batched` one), so only who takes the batches knows.

        Raises:
            OptionError: There are fewer batches, or `samples` was not told the batch size.
        """
        return self._split.state_after(num_batches)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration, and only that, begin where a state was taken; see `Stream.load_state_dict`."""
        self._split.load_state_dict(state)


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


def _find_worker() -> Worker | None:
    try:
        from torch.utils.data import get_worker_info
    except ImportError:
        return None
    info = get_worker_info()
    return None if info is None else Worker(info.id, info.num_workers, info.seed - info.id)
