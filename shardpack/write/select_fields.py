"""Which fields of the source are packed, and under which names. No payload changes, so a listing plans exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shardpack.codecs.field_types import SIGNATURES, is_image, kind_of
from shardpack.errors import OptionError, SourceError
from shardpack.format.naming import check_field
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.write.transform import Counts, Fields, KeyedFields


@dataclass(frozen=True, slots=True)
class SelectFields:
    """Keeps some fields, then renames some.

    Attributes:
        fields: Names of those that stay, sorted, as they are before they are renamed; None for all.
        renamed: Old name -> new name.
    """

    fields: tuple[str, ...] | None = None
    renamed: Mapping[str, str] | None = None

    @classmethod
    def parse(cls, fields: Any, rename_field: Any) -> SelectFields | None:
        """Return what the options of `pack` say; None if they change nothing.

        Raises:
            OptionError: They do not name fields, or rename to a name twice.
            InvalidKeyError: A new name is not one that every reader splits alike.
        """
        if fields is not None and (isinstance(fields, str) or not _are_names(fields) or not fields):
            raise OptionError(f"fields is {fields!r}, expected names of fields such as ['jpg', 'json']")
        if rename_field is not None and not (
            isinstance(rename_field, Mapping) and _are_names([*rename_field, *rename_field.values()])
        ):
            raise OptionError(f'rename_field is {rename_field!r}, expected a dict such as {{"png": "seg.png"}}')
        renamed = dict(rename_field or {})
        for old, new in renamed.items():
            check_field(new)
            if fields is not None and old not in fields:
                raise OptionError(f"rename_field names {old!r}, which is not among fields; add it there")
        if len(set(renamed.values())) < len(renamed):
            raise OptionError(f"rename_field gives two fields one name: {renamed!r}")
        if fields is None and not renamed:
            return None
        return cls(None if fields is None else tuple(sorted(set(fields))), renamed)

    def named(self) -> set[str]:
        """Return the fields that the options name."""
        return {*(self.fields or ()), *(self.renamed or ())}

    def recorded(self) -> dict[str, Any]:
        """Return the options, for the manifest."""
        return {
            "fields": None if self.fields is None else list(self.fields),
            "rename_field": dict(sorted((self.renamed or {}).items())) or None,
        }

    def images_of_other_kinds(self) -> list[tuple[str, str]]:
        """Return (old name, new name) of the images that get the ending of another format, but keep their bytes."""
        pairs = [(old, new) for old, new in (self.renamed or {}).items() if is_image(old) and is_image(new)]
        return [(old, new) for old, new in pairs if SIGNATURES[kind_of(old)] != SIGNATURES[kind_of(new)]]

    def describe(self) -> Mapping[str, Any]:
        """Return the options."""
        return {"step": "select_fields", **self.recorded()}

    def __call__(self, key: str, fields: Fields, _: Counts, /) -> Iterable[KeyedFields]:
        """Return the sample with the fields that stay, under their new names.

        Raises:
            SourceError: None stays, or two would have one name.
        """
        kept = self.new_names(fields)
        if not kept:
            raise SourceError(f"it has none of the fields {', '.join(self.fields or ())}")
        if len(set(kept.values())) < len(kept):
            raise SourceError(f"{_clash(kept)}; rename the other one, too, or leave it out")
        return ((key, {new: fields[old] for old, new in kept.items()}),)

    def new_names(self, names: Iterable[str]) -> dict[str, str]:
        """Return old name -> new name of the fields that stay."""
        renamed = self.renamed or {}
        return {name: renamed.get(name, name) for name in names if self.fields is None or name in self.fields}

    def of_listing(self, listing: Listing, problems: Problems) -> Listing:
        """Return a listing with the members that stay; samples without any are recorded as problems.

        Raises:
            OptionError: A field that is named is in no sample.
            SourceError: Two fields of a sample would have one name.
        """
        unknown = sorted(self.named() - set(listing.fields))
        if unknown:
            raise OptionError(f"no sample has a field {unknown[0]!r}; the fields are {', '.join(listing.fields)}")
        kept = self.new_names(listing.fields)
        new_fields = tuple(sorted(set(kept.values())))
        code_of = np.full(len(listing.fields), -1, np.int64)
        for code, name in enumerate(listing.fields):
            if name in kept:
                code_of[code] = new_fields.index(kept[name])
        codes = code_of[listing.field_code]
        owners = listing.owners(np.arange(len(codes)))
        stays = np.flatnonzero(codes >= 0)
        order = stays[np.lexsort((codes[stays], owners[stays]))]
        owners, codes = owners[order], codes[order]
        twice = np.flatnonzero((owners[1:] == owners[:-1]) & (codes[1:] == codes[:-1]))
        if len(twice):
            raise SourceError(
                f"{_clash(kept)}; rename the other one, too, or leave it out", key=listing.keys[int(owners[twice[0]])]
            )
        counts = np.bincount(owners, minlength=listing.num_samples)
        selected = replace(
            listing,
            fields=new_fields,
            start=np.concatenate(([0], np.cumsum(counts))),
            field_code=codes.astype(np.uint16),
            size=listing.size[order],
            mtime_ns=listing.mtime_ns[order],
            payload=[listing.payload[member] for member in order.tolist()],
            crc32c=None if listing.crc32c is None else listing.crc32c[order],
        )
        reason = f"it has none of the fields {', '.join(self.fields or ())}"
        return problems.reject_samples(selected, dict.fromkeys(np.flatnonzero(counts == 0).tolist(), reason))


def _are_names(names: Any) -> bool:
    return isinstance(names, Sequence) and all(isinstance(name, str) for name in names)


def _clash(kept: Mapping[str, str]) -> str:
    new = next(new for new in kept.values() if list(kept.values()).count(new) > 1)
    olds = ", ".join(repr(old) for old, name in kept.items() if name == new)
    return f"the fields {olds} would all be named {new!r}"
