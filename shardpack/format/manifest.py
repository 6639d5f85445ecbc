"""The manifest, `.shardpack/manifest.json`, which names every other file of a dataset (SPEC 6).

It is small for any number of shards, as the shard table lists them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from shardpack.errors import CorruptManifestError, UnsupportedVersionError
from shardpack.format.checksum import crc32c
from shardpack.format.container import IGNORED, MAX_HEADER_BYTES
from shardpack.format.layout import MANIFEST_PATH, REJECTED_PATH, NamedFile, file_path, manifest_path
from shardpack.format.paged import AnySegment, Segment
from shardpack.format.shard_info import MAX_COUNT
from shardpack.format.split_names import split_names_problem
from shardpack.format.strict_json import strict_json_object

FORMAT_NAME = "shardpack"
FORMAT_VERSION = 1
MAX_MANIFEST_BYTES = 16 << 20
MAX_LOCATION_LENGTH = 1024
OWN_FOLDER = "."  # location of tars in the dataset's own folder

_CHECKSUM_LINE = re.compile(rb'  "crc32c": "([0-9a-f]{8})"\n\}\n\Z')
_CHECKSUM_LINE_BYTES = 25
_CHECKSUM = re.compile(r"[0-9a-f]{8}", re.ASCII)
_FINGERPRINT = re.compile(r"[0-9a-f]{16}", re.ASCII)
# Where shards are: a URL with a host and without user, query and fragment; or a path with "/" as separator.
_LETTER = r"[^\\\x00-\x1f\x7f\ud800-\udfff]"
_URL = rf"[a-z][a-z0-9+.-]*://(?:(?![\s/@?#]){_LETTER})+(?:/(?:(?![?#]){_LETTER})*)?"
_LOCATION = re.compile(rf"{_URL}|(?!.*://){_LETTER}+")


@dataclass(frozen=True, slots=True)
class TableSegment(Segment):
    """One segment of the shard table, as the manifest names it."""

    num_shards: int
    num_samples: int


@dataclass(frozen=True, slots=True)
class KeySegment(Segment):
    """One segment of the key index, as the manifest names it."""

    num_keys: int


@dataclass(frozen=True, slots=True)
class SplitsFile:
    """The file of named splits, as the manifest names it; `samples` maps each split to its size, in their order."""

    name: str
    num_bytes: int
    crc32c: int
    samples: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Parent:
    """The manifest that this one was derived from."""

    generation: int
    num_bytes: int
    crc32c: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The manifest of one generation of a dataset.

    Attributes:
        generation: 1 when packed, incremented by each edit.
        fingerprint: Identifies the shards' contents (`fingerprint.chain`).
        num_samples, num_bytes, num_shards: Totals over all shards.
        samples_per_field: How many samples have each field, fields sorted.
        locations: Where the tars are: paths relative to the dataset's folder, or URLs. A shard refers to
            its location by index into this tuple.
        table_segments, key_segments: Segments of the shard table and of the key index, in order.
        unique_keys: Whether each key names one sample.
        classes: Class names in label order, or None.
        splits: The file of named splits; None if there are none.
        packed_with: Version of shardpack and options that determined the bytes.
        parent: The previous generation, or None.
    """

    generation: int = 1
    fingerprint: str
    num_samples: int
    num_bytes: int
    num_shards: int
    samples_per_field: Mapping[str, int]
    locations: tuple[str, ...] = (OWN_FOLDER,)
    table_segments: tuple[TableSegment, ...]
    key_segments: tuple[KeySegment, ...]
    unique_keys: bool = True
    classes: tuple[str, ...] | None = None
    splits: SplitsFile | None = None
    packed_with: Mapping[str, Any] = field(default_factory=dict)
    parent: Parent | None = None

    def option(self, name: str) -> Any:
        """Return an option that the dataset was packed with, as JSON has it; None if that is not recorded."""
        options = self.packed_with.get("options")
        return options.get(name) if isinstance(options, dict) else None

    @property
    def files(self) -> tuple[NamedFile, ...]:
        """All files that it names: segments of the shard table and of the key index, splits."""
        return (*self.table_segments, *self.key_segments, *([] if self.splits is None else [self.splits]))

    @property
    def metadata_paths(self) -> list[str]:
        """Paths of the manifest and of all files that belong to it, except shards and their indexes."""
        return [*map(file_path, self.files), REJECTED_PATH, manifest_path(self.generation), MANIFEST_PATH]


def is_location(text: str) -> bool:
    """Return whether a manifest may name this location."""
    return len(text) <= MAX_LOCATION_LENGTH and _LOCATION.fullmatch(text) is not None


# --- Writing -----------------------------------------------------------------------------------


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the JSON text: names in fixed order, one per line, with its own checksum as the last line."""
    parent = manifest.parent
    values: dict[str, Any] = {
        "format": FORMAT_NAME,
        "version": FORMAT_VERSION,
        "generation": manifest.generation,
        "fingerprint": manifest.fingerprint,
        "num_samples": manifest.num_samples,
        "num_bytes": manifest.num_bytes,
        "num_shards": manifest.num_shards,
        "samples_per_field": dict(sorted(manifest.samples_per_field.items())),
        "locations": list(manifest.locations),
        "shards": [_as_json(segment) for segment in manifest.table_segments],
        "keys": [_as_json(segment) for segment in manifest.key_segments],
        "unique_keys": manifest.unique_keys,
        "classes": None if manifest.classes is None else list(manifest.classes),
        "splits": None if manifest.splits is None else _as_json(manifest.splits),
        "packed_with": dict(manifest.packed_with),
        "parent": None if parent is None else _as_json(parent),
    }
    lines = [f'  "{name}": {_compact(value)},\n' for name, value in values.items() if value is not None]
    # Lone surrogates stand for bytes of file names that are not UTF-8; they become JSON escapes.
    text = ("{\n" + "".join(lines)).encode("utf-8", "backslashreplace")
    return text + f'  "crc32c": "{crc32c(text):08x}"\n}}\n'.encode()


def _as_json(value: Segment | SplitsFile | Parent) -> dict[str, Any]:
    values = asdict(value)
    return {name: f"{number:08x}" if "crc32c" in name else number for name, number in values.items()}


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


# --- Reading -----------------------------------------------------------------------------------


def parse_manifest(text: bytes) -> Manifest:
    """Return the manifest in `text`, checked.

    Raises:
        CorruptManifestError: A rule of SPEC 6.1 is broken.
        UnsupportedVersionError: The manifest was written by a newer version of the format.
    """
    values = _checked_json(text)
    top = _Object(values, "manifest", _packed_with_version(values))
    top.refuse_unknown(_NAMES)
    manifest = Manifest(
        generation=top.number("generation", least=1),
        fingerprint=top.text("fingerprint", _FINGERPRINT),
        num_samples=top.number("num_samples"),
        num_bytes=top.number("num_bytes"),
        num_shards=top.number("num_shards"),
        samples_per_field=_counts(top),
        locations=_locations(top),
        table_segments=tuple(_segment(one, TableSegment, "shards") for one in top.objects("shards")),
        key_segments=tuple(_segment(one, KeySegment, "keys") for one in top.objects("keys")),
        unique_keys=top.of_type("unique_keys", bool),
        classes=_classes(top),
        splits=_splits(top),
        packed_with=top.of_type("packed_with", dict),
        parent=_parent(top),
    )
    _check(manifest)
    return manifest


_REQUIRED = (
    "format", "version", "generation", "fingerprint", "num_samples", "num_bytes", "num_shards", "samples_per_field",
    "locations", "shards", "keys", "unique_keys", "packed_with", "crc32c",
)  # fmt: skip
_NAMES = frozenset((*_REQUIRED, "classes", "splits", "parent"))


def _checked_json(text: bytes) -> dict[str, Any]:
    """Return the JSON object, after checking its length, checksum, format and version."""
    if len(text) > MAX_MANIFEST_BYTES:
        raise CorruptManifestError(f"{MANIFEST_PATH} has {len(text)} bytes, limit {MAX_MANIFEST_BYTES}; restore it")
    try:
        values = strict_json_object(text)
    except ValueError as error:
        raise _broken(f"is {error}") from error
    if values.get("format") != FORMAT_NAME:
        raise CorruptManifestError(
            f'{MANIFEST_PATH} is not a shardpack manifest: it lacks "format": "{FORMAT_NAME}"; open another folder'
        )
    line = _CHECKSUM_LINE.search(text[-_CHECKSUM_LINE_BYTES:])
    computed = crc32c(text[:-_CHECKSUM_LINE_BYTES])
    if line is None or int(line[1], 16) != computed:
        raise _broken(f"was changed after it was written, or is damaged: its checksum would be {computed:08x}")
    version = values.get("version")
    if type(version) is not int or version < 1:
        raise _broken("has no format version")
    if version > FORMAT_VERSION:
        raise UnsupportedVersionError(
            f"{MANIFEST_PATH} has version {_shown(version)}, this shardpack reads up to {FORMAT_VERSION}; "
            "upgrade shardpack"
        )
    return values


def _packed_with_version(values: Mapping[str, Any]) -> str:
    packed_with = values.get("packed_with")
    version = packed_with.get("shardpack") if isinstance(packed_with, dict) else None
    return f"{version:.20}" if isinstance(version, str) else "the version that wrote it"


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object of the manifest whose values are checked as they are read."""

    values: Mapping[str, Any]
    what: str
    written_by: str = "the version that wrote it"

    def refuse_unknown(self, known: Collection[str]) -> None:
        for name in self.values:
            if name not in known and not name.startswith(IGNORED):
                raise UnsupportedVersionError(
                    f"{MANIFEST_PATH} has {name[:40]!r} in {self.what}, which this version of shardpack does not know; "
                    f"upgrade shardpack to {self.written_by}, or later"
                )

    def of_type(self, name: str, kind: type) -> Any:
        value = self.values.get(name)
        if type(value) is not kind:
            raise self.bad(name)
        return value

    def number(self, name: str, *, least: int = 0) -> int:
        value = self.values.get(name)
        if type(value) is not int or not least <= value <= MAX_COUNT:
            raise self.bad(name)
        return value

    def text(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self.values.get(name)
        if type(value) is not str or pattern.fullmatch(value) is None:
            raise self.bad(name)
        return value

    def objects(self, name: str) -> list[_Object]:
        values = self.of_type(name, list)
        if not all(type(value) is dict for value in values):
            raise self.bad(name)
        return [_Object(value, name, self.written_by) for value in values]

    def bad(self, name: str) -> CorruptManifestError:
        if name not in self.values:
            return _broken(f"lacks {name!r} in {self.what}")
        return _broken(f"has a bad {name} in {self.what}: {_shown(self.values[name])}")


_SEGMENT_NAME = re.compile(r"[a-z]+-[0-9]{6,18}-[0-9a-f]{8}\.index", re.ASCII)  # keeps the path inside the dataset


def _segment(source: _Object, kind: type[AnySegment], what: str) -> AnySegment:
    numbers = {"shards": ("num_shards", "num_samples"), "keys": ("num_keys",)}[what]
    source.refuse_unknown({"name", "num_bytes", "crc32c", "head_bytes", "head_crc32c", *numbers})
    checksum = source.text("crc32c", _CHECKSUM)
    segment = kind(
        name=source.text("name", _SEGMENT_NAME),
        num_bytes=source.number("num_bytes"),
        crc32c=int(checksum, 16),
        head_bytes=source.number("head_bytes"),
        head_crc32c=int(source.text("head_crc32c", _CHECKSUM), 16),
        **{name: source.number(name, least=1) for name in numbers},
    )
    if not (segment.name.startswith(f"{what}-") and segment.name.endswith(f"-{checksum}.index")):
        raise source.bad("name")
    if segment.head_bytes > segment.num_bytes:
        raise source.bad("head_bytes")
    return segment


def _splits(source: _Object) -> SplitsFile | None:
    if "splits" not in source.values:
        return None
    file = _Object(source.of_type("splits", dict), "splits", source.written_by)
    file.refuse_unknown(("name", "num_bytes", "crc32c", "samples"))
    checksum = file.text("crc32c", _CHECKSUM)
    name, samples = file.text("name", _SEGMENT_NAME), file.of_type("samples", dict)
    if not (name.startswith("splits-") and name.endswith(f"-{checksum}.index")):
        raise file.bad("name")
    counts = samples.values()
    if not samples or split_names_problem(samples) or not all(type(n) is int and 1 <= n <= MAX_COUNT for n in counts):
        raise file.bad("samples")
    return SplitsFile(name, file.number("num_bytes"), int(checksum, 16), samples)


def _counts(source: _Object) -> dict[str, int]:
    counts: dict[str, Any] = source.of_type("samples_per_field", dict)
    if not all(type(count) is int and 1 <= count <= MAX_COUNT for count in counts.values()):
        raise source.bad("samples_per_field")
    return dict(sorted(counts.items()))


def _locations(source: _Object) -> tuple[str, ...]:
    locations: list[Any] = source.of_type("locations", list)
    if not locations or not all(type(text) is str and is_location(text) for text in locations):
        raise source.bad("locations")
    return tuple(locations)


def _classes(source: _Object) -> tuple[str, ...] | None:
    if "classes" not in source.values:
        return None
    classes: list[Any] = source.of_type("classes", list)
    if not all(type(name) is str for name in classes):
        raise source.bad("classes")
    return tuple(classes)


def _parent(source: _Object) -> Parent | None:
    if "parent" not in source.values:
        return None
    parent = _Object(source.of_type("parent", dict), "parent", source.written_by)
    parent.refuse_unknown(("generation", "num_bytes", "crc32c"))
    return Parent(
        parent.number("generation", least=1), parent.number("num_bytes"), int(parent.text("crc32c", _CHECKSUM), 16)
    )


def _check(manifest: Manifest) -> None:
    totals = {
        "num_shards": sum(segment.num_shards for segment in manifest.table_segments),
        "num_samples": sum(segment.num_samples for segment in manifest.table_segments),
    }
    for name, total in totals.items():
        if getattr(manifest, name) != total:
            raise _broken(f"does not add up: {name} is {getattr(manifest, name)}, its segments add up to {total}")
    if sum(segment.num_keys for segment in manifest.key_segments) != manifest.num_samples:
        raise _broken(
            f"does not add up: it has {manifest.num_samples} samples, its key segments have another number of keys"
        )
    if max(manifest.samples_per_field.values(), default=0) > manifest.num_samples or (
        bool(manifest.samples_per_field) != bool(manifest.num_samples)
    ):
        raise _broken("has a bad samples_per_field: a number above num_samples, or no field")
    if manifest.splits is not None and sum(manifest.splits.samples.values()) > manifest.num_samples:
        raise _broken("has a bad samples in splits: more than num_samples")
    if manifest.splits is not None and manifest.splits.num_bytes > MAX_HEADER_BYTES + 8 + 18 * manifest.num_samples:
        raise _broken("has a bad num_bytes in splits: more than a range for every sample takes")
    if manifest.parent is not None and manifest.parent.generation >= manifest.generation:
        raise _broken("has a parent that is not an earlier generation")


def _shown(value: Any) -> str:
    return repr(value)[:80] if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"


def _broken(what: str) -> CorruptManifestError:
    return CorruptManifestError(f'{MANIFEST_PATH} {what}; restore it, or rebuild it with "shardpack index --force"')
