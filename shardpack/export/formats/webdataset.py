"""WebDataset tars under names of the user's, plain also where the shards are compressed.

    OUT/<pattern>        by default <split>-000000.tar; without splits train-000000.tar

Members are those of the shards: `<key>.<field>`, the fields of a sample side by side and sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from shardpack.errors import InvalidKeyError, OptionError
from shardpack.export.exporter import Contents, ExportOptions, Limits, NamedBy, Note, Part
from shardpack.export.files import path_parts
from shardpack.export.staging import ExportFiles
from shardpack.format.tar_header import BLOCK, END_OF_ARCHIVE, header
from shardpack.read.sample import Sample
from shardpack.runtime.sizes import DEFAULT_MAX_SHARD_BYTES, parse_bytes

_PATTERN, _SPLIT, _NO_SPLIT = "{split}-%06d.tar", "{split}", "train"


@dataclass(frozen=True, slots=True)
class WebDatasetExporter:
    """Writes tars."""

    takes: ClassVar[frozenset[str]] = frozenset({"pattern"})
    named_by: ClassVar[NamedBy | None] = "key"
    sequential: ClassVar[bool] = False
    typed: ClassVar[bool] = False
    names_classes: ClassVar[bool] = False

    fields: tuple[str, ...]
    pattern: str
    per_split: bool

    @classmethod
    def prepare(cls, contents: Contents, options: ExportOptions) -> WebDatasetExporter:
        """Check the pattern; see `Exporter.prepare`."""
        if options.drop:
            raise OptionError("drop does not apply to webdataset, which keeps labels as they are; leave it out")
        pattern = _PATTERN if options.pattern is None else options.pattern
        exporter = cls(contents.fields, pattern, _SPLIT in pattern)
        names = [exporter.name(Part(number, split, number, 9, 0, 1, 1)) for number in (7, 8) for split in ("a", "b")]
        others = pattern.replace(_SPLIT, "")  # "{spilt}" would be a name, and not the split
        if (
            len(set(names)) < (4 if exporter.per_split else 2)
            or not pattern.endswith(".tar")
            or set("{}") & set(others)
        ):
            raise _bad_pattern(pattern)
        try:
            path_parts(names[0].removesuffix(".tar"), "tar")
        except InvalidKeyError as error:
            raise OptionError(f"pattern is {pattern!r}; expected names of files below the folder") from error
        return exporter

    @property
    def limits(self) -> Limits:
        return Limits(max_bytes=parse_bytes(DEFAULT_MAX_SHARD_BYTES))

    @property
    def sentence(self) -> str:
        return f"tars are called {self.pattern}, with {', '.join(self.fields)} of each sample"

    def row_maker(self) -> Callable[[Sample], bytes]:
        """Return the function that makes the members of a sample."""
        return _members

    def name(self, part: Part) -> str:
        """Return the name of the tar of a part."""
        number = part.index if self.per_split else part.number
        try:
            return self.pattern.replace(_SPLIT, part.split or _NO_SPLIT) % number
        except (TypeError, ValueError) as error:
            raise _bad_pattern(self.pattern) from error

    def write(self, part: Part, rows: Iterator[bytes], files: ExportFiles) -> Note:
        """Write one tar."""
        with open(files.create(self.name(part)), "wb", buffering=1 << 20) as file:
            file.writelines(rows)
            file.write(END_OF_ARCHIVE)
        return {}

    def finish(self, parts: Sequence[Part], notes: Sequence[Note], files: ExportFiles) -> None:
        """Write nothing else."""


def _members(sample: Sample) -> bytes:
    parts = []
    for field, payload in sample.items():
        name = f"{sample.key}.{field}".encode("utf-8", "surrogateescape")
        parts += [header(name, len(payload)), payload, bytes(-len(payload) % BLOCK)]
    return b"".join(parts)


def _bad_pattern(pattern: str) -> OptionError:
    return OptionError(f'pattern is {pattern!r}; expected a name with one number, such as "{{split}}-%06d.tar"')
