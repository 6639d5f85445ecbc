"""The shard index of wids, `shardindex.json`: the tars of a dataset and how many samples each has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from shardpack.errors import InvalidKeyError
from shardpack.export.exporter import Exportable, ExportOptions
from shardpack.export.indexes.index_source import IndexSource
from shardpack.export.indexes.shard_members import ShardMembers
from shardpack.export.indexes.tar_files import write_bytes
from shardpack.export.staging import ExportFiles
from shardpack.format.tar_header import MAX_NAME_BYTES
from shardpack.runtime.progress import Progress

INDEX_NAME = "shardindex.json"


@dataclass(frozen=True, slots=True)
class WidsShard:
    """One tar as wids lists it."""

    url: str
    num_samples: int
    num_bytes: int
    md5: str | None = None


def index_name(split: str | None) -> str:
    """Return the name of the index of a split; None for the whole dataset."""
    return INDEX_NAME if split is None else f"shardindex-{split}.json"


def encode(shards: Iterable[WidsShard], *, name: str, base: str | None) -> bytes:
    """Return the index of some tars.

    Args:
        shards: The tars.
        name: Name of the dataset.
        base: Folder or URL of the tars; None if they are where the index is.
    """
    listed = [
        {
            "url": shard.url,
            **({} if shard.md5 is None else {"md5sum": shard.md5}),
            "nsamples": shard.num_samples,
            "filesize": shard.num_bytes,
        }
        for shard in sorted(shards, key=lambda shard: shard.url)
    ]
    document: dict[str, Any] = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": listed, "name": name}
    if base is not None:
        document["base"] = base
    return json.dumps(document, indent=2).encode()


def check_names(members: ShardMembers) -> None:
    """Raise InvalidKeyError if wids would take a member for another: it reads the first 100 bytes of a name alone."""
    for name in members.names:
        if len(name) > MAX_NAME_BYTES or len(name.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES:
            raise InvalidKeyError(
                f"wids reads only the first {MAX_NAME_BYTES} bytes of a name, and this one is longer; "
                "pack the dataset with shorter keys",
                shard=members.shard,
                key=name,
            )


@dataclass(frozen=True, slots=True)
class WidsExporter:
    """One index of all tars, and one for each split."""

    takes: ClassVar[frozenset[str]] = frozenset(("hashes",))
    source: IndexSource
    hashes: bool
    beside: bool

    @classmethod
    def of(cls, dataset: Exportable, options: ExportOptions, *, beside: bool) -> WidsExporter:
        """Return the exporter of a dataset; errors as of `IndexSource`."""
        return cls(IndexSource(dataset, options, to="wids", beside=beside), options.hashes, beside)

    @property
    def names(self) -> Sequence[str]:
        """Names of all files."""
        return list(map(index_name, self._parts()))

    def _parts(self) -> dict[str | None, Sequence[str]]:
        """Return split -> its tars; None stands for the whole dataset."""
        parts: dict[str | None, Sequence[str]] = {None: self.source.names}
        parts.update(self.source.splits.items())
        return parts

    def write(self, files: ExportFiles, progress: Progress) -> None:
        """Write all files.

        Raises:
            InvalidKeyError: wids would read a name wrongly.
        """
        source = self.source
        hashes = source.hasher(progress)
        shards = {}
        for number, (info, members) in enumerate(zip(source.shards, source.members(progress), strict=True)):
            check_names(members)
            md5 = hashes(number).md5 if self.hashes else None
            shards[info.name] = WidsShard(info.name, info.num_samples, info.num_bytes, md5)
        base = None if self.beside else source.tars_url
        for split, tars in self._parts().items():
            name = source.title if split is None else f"{source.title}-{split}"
            content = encode([shards[tar] for tar in tars], name=name, base=base)
            write_bytes(files, index_name(split), content)
