"""What Megatron-Energon reads beside and above the tars of a dataset, version 7.

<tar>.idx               begin of each sample, and the end of the data: unsigned 64-bit integers, little-endian
.nv-meta/.info.json     the samples in each tar; their order numbers the tars
.nv-meta/split.yaml     the tars of each split
.nv-meta/dataset.yaml   how samples are read: raw, for the user's own cooker
.nv-meta/index.uuid     changes with the samples
.nv-meta/index.sqlite   where each sample and each of its parts is, by key (`energon_tables.py`)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from xxhash import xxh3_128_digest

from shardpack.errors import InvalidKeyError
from shardpack.export.exporter import Exportable, ExportOptions
from shardpack.export.indexes.brace_names import collapse
from shardpack.export.indexes.energon_tables import write_tables
from shardpack.export.indexes.header_names import left_out
from shardpack.export.indexes.index_source import IndexSource
from shardpack.export.indexes.shard_members import ShardMembers
from shardpack.export.indexes.tar_files import distinct, write_bytes, write_each
from shardpack.export.staging import ExportFiles
from shardpack.format.naming import split_name
from shardpack.runtime.progress import Progress

ENERGON_VERSION = "7.4.1"  # whose files these are
FOLDER = ".nv-meta"
_TABLES_NAME = f"{FOLDER}/index.sqlite"
_PLAIN_YAML = re.compile(r"[A-Za-z_][\w./{}-]*", re.ASCII)
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))  # that YAML takes for other values
_SPLIT_NAMES = {"valid": "val", "validation": "val"}  # what Energon's loaders ask for by default


def index_name(shard: str) -> str:
    """Return the name of a tar's index."""
    folder, slash, name = shard.rpartition("/")
    stem = name.rpartition(".")[0] or name
    return f"{folder}{slash}{stem}.tar.idx"


def encode(members: ShardMembers) -> bytes:
    """Return the index of one tar."""
    return members.sample_starts().astype("<u8").tobytes()


def info_json(samples: Mapping[str, int]) -> bytes:
    """Return `.info.json`: tar -> its number of samples, in the order of the dataset."""
    return json.dumps({"energon_version": ENERGON_VERSION, "shard_counts": dict(samples)}, indent=2).encode()


def split_yaml(shards: Sequence[str], splits: Mapping[str, Sequence[str]]) -> bytes:
    """Return `split.yaml`: split -> its tars. Without splits, all tars are for training.

    `valid` and `validation` become `val`, which Energon's loaders expect.
    """
    parts: dict[str, list[str]] = {}
    for name, tars in splits.items():
        parts.setdefault(_SPLIT_NAMES.get(name, name), []).extend(tars)
    parts = parts or {"train": list(shards), "val": [], "test": []}
    lines = ["split_parts:"]
    for name, tars in parts.items():
        lines += [f"  {_yaml(name)}:", *(f"  - {_yaml(pattern)}" for pattern in collapse(tars))]
        if not tars:
            lines[-1] += " []"
    return "\n".join([*lines, "exclude: []", ""]).encode()


def dataset_yaml() -> bytes:
    """Return `dataset.yaml` of samples whose fields stay as they are stored."""
    return b"__module__: megatron.energon\n__class__: CrudeWebdataset\n"


def index_uuid(fingerprint: str) -> bytes:
    """Return a UUID of version 4 that depends on the content of the dataset alone."""
    return str(UUID(bytes=xxh3_128_digest(f"energon {fingerprint}".encode()), version=4)).encode()


def _yaml(text: str) -> str:
    """Return a string of a block of YAML, quoted where it would be something else without quotes."""
    plain = _PLAIN_YAML.fullmatch(text) and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class EnergonExporter:
    """The indexes of the tars, and `.nv-meta/`."""

    takes: ClassVar[frozenset[str]] = frozenset()
    source: IndexSource
    indexes: Sequence[str]

    @classmethod
    def of(cls, dataset: Exportable, options: ExportOptions, *, beside: bool) -> EnergonExporter:
        """Return the exporter of a dataset; errors as of `IndexSource`."""
        source = IndexSource(dataset, options, to="energon", beside=beside)
        return cls(source, distinct(map(index_name, source.names), source.names))

    @property
    def names(self) -> Sequence[str]:
        """Names of all files."""
        return [*self.indexes, *self._small(), _TABLES_NAME]

    def _small(self) -> dict[str, bytes]:
        source = self.source
        counts = {shard.name: shard.num_samples for shard in source.shards}
        files = {
            ".info.json": info_json(counts),
            "split.yaml": split_yaml(source.names, source.splits),
            "dataset.yaml": dataset_yaml(),
            "index.uuid": index_uuid(source.manifest.fingerprint),
        }
        return {f"{FOLDER}/{name}": content for name, content in files.items()}

    def write(self, files: ExportFiles, progress: Progress) -> None:
        """Write all files.

        Raises:
            DuplicateKeyError: A key names two samples.
            InvalidKeyError: A tar of another tool holds files that Energon would take for samples, and we do not.
        """
        for name, content in self._small().items():
            write_bytes(files, name, content)
        checked = self._checked(progress) if self.source.was_indexed else self.source.members(progress)
        shards = write_each(files, self.indexes, checked, lambda _, members: encode(members))
        write_tables(files.create(_TABLES_NAME), shards)

    def _checked(self, progress: Progress) -> Iterator[ShardMembers]:
        """Yield the members of each tar, unless more files of it would be samples to Energon."""
        for members in self.source.members(progress):
            for name in left_out(members, self.source.store()):
                if split_name(name) is not None:
                    raise InvalidKeyError(
                        "this file is ignored here, and Energon would take it for a sample; write tars without it: "
                        '"shardpack pack DS OUT"',
                        shard=members.shard,
                        key=name,
                    )
            yield members
