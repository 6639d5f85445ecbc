"""A dataset card of Hugging Face, `README.md`: which tars make which split, and what the fields are.

With it `load_dataset` finds splits and types by itself, also where samples lack fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

from shardpack.errors import OptionError
from shardpack.export.exporter import Exportable, ExportOptions
from shardpack.export.indexes.index_source import IndexSource
from shardpack.export.indexes.tar_files import write_bytes
from shardpack.export.staging import ExportFiles
from shardpack.runtime.progress import Progress
from shardpack.runtime.sizes import format_bytes

CARD_NAME = "README.md"
_IMAGES = frozenset((
    "apng", "avif", "bmp", "gif", "ico", "jfif", "jp2", "jpe", "jpeg", "jpg", "png", "ppm", "pgm", "pbm", "tga",
    "tif", "tiff", "webp",
))  # fmt: skip
_TYPES = {
    **dict.fromkeys(("json", "jsn"), "json"),
    **dict.fromkeys(("txt", "text", "transcript"), "string"),
    **dict.fromkeys(("cls", "cls2", "index", "inx", "id"), "int64"),
    **dict.fromkeys(_IMAGES, "image"),
}
# What Hugging Face decodes to values whose types only they show: features are then left to it.
_UNKNOWN = frozenset(("npy", "npz", "mp", "msg", "cbor", "pth", "ten", "tb"))
_COMPRESSED = frozenset(("zst", "gz"))
_SIZES = {
    10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M",
    10**8: "10M<n<100M", 10**9: "100M<n<1B",
}  # fmt: skip
_MAX_CLASSES = 1000  # that the text lists
_NOT_WORD = re.compile(r"[^A-Za-z0-9_.]")
_GLOB = re.compile(r"[][*?{}!]")


@dataclass(frozen=True, slots=True)
class CardSplit:
    """One split: its tars, and what is in them."""

    name: str
    tars: Sequence[str]
    num_samples: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class CardContents:
    """What a card says of a dataset."""

    title: str
    splits: Sequence[CardSplit]
    tars: Sequence[str]
    num_samples: int
    num_bytes: int
    samples_per_field: Mapping[str, int]
    classes: Sequence[str] | None


def encode(contents: CardContents) -> bytes:
    """Return the card."""
    return "\n".join(["---", *_front_matter(contents), "---", "", *_text(contents), ""]).encode()


def feature_type(field: str) -> str | None:
    """Return what Hugging Face makes of a field: the name of a type; None if only the values tell."""
    parts = field.split(".")
    ending = parts[-2] if parts[-1] in _COMPRESSED and len(parts) > 1 else parts[-1]
    return None if ending in _UNKNOWN else _TYPES.get(ending, "binary")


def tar_patterns(tars: Sequence[str], among: Sequence[str]) -> list[str]:
    """Return patterns that match these tars, and no other of the dataset: one with `*` if there is one."""
    heads = {tar.rpartition("/")[0] for tar in tars}
    if len(heads) == 1 and tars and not any(_GLOB.search(tar) for tar in tars):
        names = [tar.rpartition("/")[2] for tar in tars]
        head = heads.pop()
        stems = {name.partition("-")[0] for name in names}
        glob = f"{stems.pop()}-*.tar" if len(stems) == 1 and all("-" in name for name in names) else "*.tar"
        pattern = f"{head}/{glob}" if head else glob
        matched = [tar for tar in among if fnmatchcase(tar, pattern) and tar.count("/") == pattern.count("/")]
        if sorted(matched) == sorted(tars):
            return [pattern]
    return [_GLOB.sub(lambda found: f"[{found[0]}]", tar) for tar in tars]


def _front_matter(contents: CardContents) -> list[str]:
    lines = ["configs:", "- config_name: default", "  data_files:"] if contents.tars else []
    for split in contents.splits if contents.tars else ():
        patterns = [json.dumps(pattern, ensure_ascii=False) for pattern in tar_patterns(split.tars, contents.tars)]
        lines.append(f"  - split: {json.dumps(hub_name(split.name), ensure_ascii=False)}")
        lines += (
            [f"    path: {patterns[0]}"] if len(patterns) == 1 else ["    path:", *(f"    - {p}" for p in patterns)]
        )
    lines.append("dataset_info:")
    types = {field: feature_type(field) for field in contents.samples_per_field}
    if None not in types.values():
        lines.append("  features:")
        for name, kind in [*types.items(), ("__key__", "string"), ("__url__", "string")]:
            lines += [f"  - name: {json.dumps(name, ensure_ascii=False)}", f"    dtype: {kind}"]
    lines.append("  splits:")
    for split in contents.splits:
        lines += [
            f"  - name: {json.dumps(hub_name(split.name), ensure_ascii=False)}",
            f"    num_bytes: {split.num_bytes}",
        ]
        lines.append(f"    num_examples: {split.num_samples}")
    lines += [f"  download_size: {contents.num_bytes}", f"  dataset_size: {contents.num_bytes}"]
    return [*lines, "size_categories:", f"- {_size_category(contents.num_samples)}"]


def hub_name(split: str) -> str:
    """Return a split's name as Hugging Face allows it: letters, digits and `_`."""
    return _NOT_WORD.sub("_", split)


def _check_hub_names(splits: Iterable[str]) -> None:
    """Raise OptionError if two splits have one name on the Hub."""
    first: dict[str, str] = {}
    for name in splits:
        if (other := first.setdefault(hub_name(name), name)) != name:
            raise OptionError(f"splits {other!r} and {name!r} are both {hub_name(name)!r} to Hugging Face; rename one")


def _size_category(num_samples: int) -> str:
    return next((name for limit, name in _SIZES.items() if num_samples < limit), "n>1B")


def _text(contents: CardContents) -> list[str]:
    counted = f"{contents.num_samples:,} samples in {len(contents.tars):,} tars, {format_bytes(contents.num_bytes)}"
    lines = [f"# {contents.title}", "", counted + ".", "", "| split | samples | tars |", "| --- | --- | --- |"]
    lines += [f"| {split.name} | {split.num_samples:,} | {len(split.tars):,} |" for split in contents.splits]
    missing = contents.num_samples - sum(split.num_samples for split in contents.splits)
    if missing:
        lines += ["", f"Samples in no split: {missing:,}."]
    lines += ["", "| field | samples |", "| --- | --- |"]
    lines += [f"| `{field}` | {count:,} |" for field, count in contents.samples_per_field.items()]
    if contents.classes:
        shown = [f"{number} {_plain(name)}" for number, name in enumerate(contents.classes[:_MAX_CLASSES])]
        more = f", and {len(contents.classes) - _MAX_CLASSES:,} more" if len(contents.classes) > _MAX_CLASSES else ""
        lines += ["", f"Classes, by label: {', '.join(shown)}{more}."]
    return lines


def _plain(name: str) -> str:
    """Return a name as Markdown shows it: on one line, without marks."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(name.split()))


@dataclass(frozen=True, slots=True)
class CardExporter:
    """The card of a dataset. In a folder of its own it is to be put beside the tars."""

    takes: ClassVar[frozenset[str]] = frozenset()
    source: IndexSource
    names: Sequence[str] = (CARD_NAME,)

    @classmethod
    def of(cls, dataset: Exportable, options: ExportOptions, *, beside: bool) -> CardExporter:
        """Return the exporter of a dataset; errors as of `IndexSource`."""
        return cls(IndexSource(dataset, options, to="hf-card", beside=beside))

    def write(self, files: ExportFiles, progress: Progress) -> None:  # noqa: ARG002 - it takes no time
        """Write the card."""
        source = self.source
        _check_hub_names(source.splits)
        info = {shard.name: shard for shard in source.shards}
        splits = [
            CardSplit(name, tars, sum(info[tar].num_samples for tar in tars), sum(info[tar].num_bytes for tar in tars))
            for name, tars in (source.splits or {"train": source.names}).items()
        ]
        manifest = source.manifest
        contents = CardContents(
            title=source.title,
            splits=splits,
            tars=source.names,
            num_samples=manifest.num_samples,
            num_bytes=manifest.num_bytes,
            samples_per_field=manifest.samples_per_field,
            classes=source.classes,
        )
        write_bytes(files, CARD_NAME, encode(contents))
