"""The text of the manifest, JSON that ends with its own checksum (SPEC 6.1): encode, and parse with every check."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from shardpack.errors import CorruptManifestError, UnsupportedVersionError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import MANIFEST_PATH
from shardpack.format.manifest import MAX_MANIFEST_BYTES, KeySegment, Manifest, SplitsFile, TableSegment, is_location
from shardpack.format.manifest_files import (
    deleted_files,
    layer_refs,
    parent_of,
    segment,
    splits_file,
    table_files,
)
from shardpack.format.manifest_object import ManifestObject, broken_manifest, shown
from shardpack.format.strict_json import strict_json_object

FORMAT_NAME = "shardpack"
FORMAT_VERSION = 1

_CHECKSUM_LINE = re.compile(rb'  "crc32c": "([0-9a-f]{8})"\n\}\n\Z')
_CHECKSUM_LINE_BYTES = 25
_FINGERPRINT = re.compile(r"[0-9a-f]{16}", re.ASCII)


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
        "shards": _all_as_json(manifest.table_segments),
        "keys": _all_as_json(manifest.key_segments),
        "unique_keys": manifest.unique_keys,
        "classes": None if manifest.classes is None else list(manifest.classes),
        "splits": None if manifest.splits is None else _splits_as_json(manifest.splits),
        "deleted": _all_as_json(manifest.deleted) or None,
        "layers": _all_as_json(manifest.layers) or None,
        "table": _all_as_json(manifest.table) or None,
        "packed_with": dict(manifest.packed_with),
        "parent": None if parent is None else _with_hexadecimal(asdict(parent)),
    }
    lines = [f'  "{name}": {_compact(value)},\n' for name, value in values.items() if value is not None]
    # Lone surrogates stand for bytes of file names that are not UTF-8; they become JSON escapes.
    text = ("{\n" + "".join(lines)).encode("utf-8", "backslashreplace")
    return text + f'  "crc32c": "{crc32c(text):08x}"\n}}\n'.encode()


def _splits_as_json(splits: SplitsFile) -> dict[str, Any]:
    values = _with_hexadecimal(asdict(splits))
    if splits.appended is None:
        del values["appended"]
    return values


def _all_as_json(entries: Iterable[Any]) -> list[dict[str, Any]]:
    return [_with_hexadecimal(asdict(entry)) for entry in entries]


def _with_hexadecimal(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of an entry as JSON has them: checksums as text, also those of a file within it."""
    return {
        name: f"{value:08x}"
        if name in ("crc32c", "head_crc32c")
        else (_with_hexadecimal(value) if name == "positions" else value)
        for name, value in values.items()
    }


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
    top = ManifestObject(values, "manifest", _packed_with_version(values))
    top.refuse_unknown(_NAMES)
    manifest = Manifest(
        generation=top.number("generation", least=1),
        fingerprint=top.text("fingerprint", _FINGERPRINT),
        num_samples=top.number("num_samples"),
        num_bytes=top.number("num_bytes"),
        num_shards=top.number("num_shards"),
        samples_per_field=dict(sorted(top.counts("samples_per_field").items())),
        locations=_locations(top),
        table_segments=tuple(segment(one, TableSegment) for one in top.objects("shards")),
        key_segments=tuple(segment(one, KeySegment) for one in top.objects("keys")),
        unique_keys=top.of_type("unique_keys", bool),
        classes=top.strings("classes") if "classes" in values else None,
        splits=splits_file(top),
        deleted=deleted_files(top),
        layers=layer_refs(top),
        table=table_files(top),
        packed_with=top.of_type("packed_with", dict),
        parent=parent_of(top),
    )
    _check(manifest)
    return manifest


_REQUIRED = (
    "format", "version", "generation", "fingerprint", "num_samples", "num_bytes", "num_shards", "samples_per_field",
    "locations", "shards", "keys", "unique_keys", "packed_with", "crc32c",
)  # fmt: skip
_NAMES = frozenset((*_REQUIRED, "classes", "splits", "deleted", "layers", "table", "parent"))


def _checked_json(text: bytes) -> dict[str, Any]:
    """Return the JSON object, after checking its length, checksum, format and version."""
    if len(text) > MAX_MANIFEST_BYTES:
        raise CorruptManifestError(f"{MANIFEST_PATH} has {len(text)} bytes, limit {MAX_MANIFEST_BYTES}; restore it")
    try:
        values = strict_json_object(text)
    except ValueError as error:
        raise broken_manifest(f"is {error}") from error
    if values.get("format") != FORMAT_NAME:
        raise CorruptManifestError(
            f'{MANIFEST_PATH} is not a shardpack manifest: it lacks "format": "{FORMAT_NAME}"; open another folder'
        )
    line = _CHECKSUM_LINE.search(text[-_CHECKSUM_LINE_BYTES:])
    computed = crc32c(text[:-_CHECKSUM_LINE_BYTES])
    if line is None or int(line[1], 16) != computed:
        raise broken_manifest(f"was changed after it was written, or is damaged: its checksum would be {computed:08x}")
    version = values.get("version")
    if type(version) is not int or version < 1:
        raise broken_manifest("has no format version")
    if version > FORMAT_VERSION:
        raise UnsupportedVersionError(
            f"{MANIFEST_PATH} has version {shown(version)}, this shardpack reads up to {FORMAT_VERSION}; "
            "upgrade shardpack"
        )
    return values


def _packed_with_version(values: Mapping[str, Any]) -> str:
    packed_with = values.get("packed_with")
    version = packed_with.get("shardpack") if isinstance(packed_with, dict) else None
    return f"{version:.20}" if isinstance(version, str) else "the version that wrote it"


def _locations(top: ManifestObject) -> tuple[str, ...]:
    locations = top.strings("locations")
    if not locations or not all(map(is_location, locations)):
        raise top.bad("locations")
    return locations


def _check(manifest: Manifest) -> None:
    totals = {
        "num_shards": sum(segment.num_shards for segment in manifest.table_segments),
        "num_samples": sum(segment.num_samples for segment in manifest.table_segments),
    }
    for name, total in totals.items():
        if getattr(manifest, name) != total:
            raise broken_manifest(
                f"does not add up: {name} is {getattr(manifest, name)}, its segments add up to {total}"
            )
    if sum(segment.num_keys for segment in manifest.key_segments) != manifest.num_samples:
        raise broken_manifest(
            f"does not add up: it has {manifest.num_samples} samples, its key segments have another number of keys"
        )
    if max(manifest.samples_per_field.values(), default=0) > manifest.num_samples or (
        bool(manifest.samples_per_field) != bool(manifest.num_samples)
    ):
        raise broken_manifest("has a bad samples_per_field: a number above num_samples, or no field")
    if manifest.parent is not None and manifest.parent.generation >= manifest.generation:
        raise broken_manifest("has a parent that is not an earlier generation")
