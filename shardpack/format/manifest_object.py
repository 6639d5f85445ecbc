"""JSON objects of the manifest whose values are checked as they are read (SPEC 6.1)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from shardpack.errors import CorruptManifestError, UnsupportedVersionError
from shardpack.format.container import IGNORED
from shardpack.format.layout import MANIFEST_PATH
from shardpack.format.shard_info import MAX_COUNT
from shardpack.runtime.words import a_type

_CHECKSUM = re.compile(r"[0-9a-f]{8}", re.ASCII)
_GENERATION = re.compile(r"[0-9]{6,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ManifestObject:
    """A JSON object of the manifest; `what` names it in errors, `written_by` the version that is needed."""

    values: Mapping[str, Any]
    what: str
    written_by: str = "the version that wrote it"

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Raise UnsupportedVersionError if it has a name that is not known here."""
        for name in self.values:
            if name not in known and not name.startswith(IGNORED):
                raise UnsupportedVersionError(
                    f"{MANIFEST_PATH} has {name[:40]!r} in {self.what}, which this version of shardpack does not know; "
                    f"upgrade shardpack to {self.written_by}, or later"
                )

    def of_type(self, name: str, kind: type) -> Any:
        """Return a value of this very type."""
        value = self.values.get(name)
        if type(value) is not kind:
            raise self.bad(name)
        return value

    def number(self, name: str, *, least: int = 0, most: int = MAX_COUNT) -> int:
        """Return an integer from `least` to `most`."""
        value = self.values.get(name)
        if type(value) is not int or not least <= value <= most:
            raise self.bad(name)
        return value

    def text(self, name: str, pattern: re.Pattern[str]) -> str:
        """Return a string that matches a pattern as a whole."""
        value = self.values.get(name)
        if type(value) is not str or pattern.fullmatch(value) is None:
            raise self.bad(name)
        return value

    def checksum(self, name: str = "crc32c") -> int:
        """Return a CRC32C."""
        return int(self.text(name, _CHECKSUM), 16)

    def strings(self, name: str) -> tuple[str, ...]:
        """Return a list of strings."""
        values: list[Any] = self.of_type(name, list)
        if not all(type(value) is str for value in values):
            raise self.bad(name)
        return tuple(values)

    def counts(self, name: str) -> dict[str, int]:
        """Return an object whose values are integers from 1."""
        counts: dict[str, Any] = self.of_type(name, dict)
        if not all(type(count) is int and 1 <= count <= MAX_COUNT for count in counts.values()):
            raise self.bad(name)
        return counts

    def object(self, name: str) -> ManifestObject:
        """Return an object."""
        return ManifestObject(self.of_type(name, dict), name, self.written_by)

    def objects(self, name: str) -> list[ManifestObject]:
        """Return a list of objects."""
        values = self.of_type(name, list)
        if not all(type(value) is dict for value in values):
            raise self.bad(name)
        return [ManifestObject(value, name, self.written_by) for value in values]

    def some_objects(self, name: str) -> list[ManifestObject]:
        """Return a list of objects that has some, or is not there."""
        if name not in self.values:
            return []
        objects = self.objects(name)
        if not objects:
            raise self.bad(name)
        return objects

    def file_name(self, prefix: str, suffix: str = ".index") -> str:
        """Return the name of a file in `.shardpack`, which is prefix, generation, checksum: it stays inside."""
        name, ending = self.of_type("name", str), f"-{self.checksum():08x}{suffix}"
        inner = name[len(prefix) : len(name) - len(ending)]
        if name != f"{prefix}{inner}{ending}" or _GENERATION.fullmatch(inner) is None:
            raise self.bad("name")
        return str(name)

    def bad(self, name: str) -> CorruptManifestError:
        """Return the error for a value that is missing or wrong."""
        if name not in self.values:
            return broken_manifest(f"lacks {name!r} in {self.what}")
        return broken_manifest(f"has a bad {name} in {self.what}: {shown(self.values[name])}")


def shown(value: Any) -> str:
    """Return what errors say of a value: the start of it, or its type."""
    return repr(value)[:80] if isinstance(value, (str, int, float)) else a_type(value)


def broken_manifest(what: str) -> CorruptManifestError:
    """Return the error that says what is wrong with a manifest."""
    return CorruptManifestError(f'{MANIFEST_PATH} {what}; restore it, or make it again with "shardpack repair"')
