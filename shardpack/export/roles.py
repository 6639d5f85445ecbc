"""What the fields of samples are to a format: the image, labels, other payloads; and what it cannot hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shardpack.codecs.compression import split_compression
from shardpack.codecs.decode import decode_field
from shardpack.codecs.field_types import IMAGE_EXTENSIONS, LABEL_FIELDS, is_image, kind_of
from shardpack.errors import ExportError, OptionError
from shardpack.export.exporter import Contents, ExportOptions, LabelSurvey
from shardpack.read.sample import Sample


@dataclass(frozen=True, slots=True)
class Roles:
    """What each field is.

    Attributes:
        image: Fields of which each sample has at most one: its image, such as ("jpg", "png").
        labels: Fields that hold a label: json, cls, txt, also compressed and with more names before.
        payloads: All others: masks, second images, arrays, bytes.
    """

    image: tuple[str, ...]
    labels: tuple[str, ...]
    payloads: tuple[str, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(sorted((*self.image, *self.labels, *self.payloads)))

    def image_of(self, sample: Sample) -> str:
        """Return the field that is the image of a sample.

        Raises:
            ExportError: The sample has none, or several.
        """
        found = [field for field in self.image if field in sample]
        if len(found) != 1:
            has = ", ".join(found) or "none"
            raise ExportError(f"expected one image, as {' or '.join(self.image)}; got {has}", key=sample.key)
        return found[0]

    def label_of(self, sample: Sample, drop: Collection[str] = (), dropped: set[str] | None = None) -> dict[str, Any]:
        """Return the values of all labels of a sample, by name, but for those to `drop`.

        Those of an object in `json` have the names that they have there. `cls` is the `label`, unless there is a
        `json`. Any other label has the name of its field. `dropped` receives the names that were left out.

        Raises:
            DecodeError: A label is not what its name says.
            ExportError: Two labels give one name to different values.
        """
        values: dict[str, Any] = {}
        for field in self.labels:
            if field not in sample:
                continue
            value, plain = decode_field(field, sample[field]), split_compression(field)[0]
            named = value if plain == "json" and isinstance(value, Mapping) else {self._name(plain): value}
            for name, one in named.items():
                if name in values:
                    raise ExportError(f"two labels are called {name!r}; leave one field out", key=sample.key)
                if name not in drop:
                    values[name] = one
                elif dropped is not None:
                    dropped.add(name)
        return values

    def _name(self, plain: str) -> str:
        has_json = any(split_compression(field)[0] == "json" for field in self.labels)
        return "label" if plain == "cls" and not has_json else plain


def roles_of(contents: Contents) -> Roles:
    """Return what each field of the samples is; several images that samples have together are payloads."""
    counts = contents.samples_per_field
    labels = tuple(field for field in contents.fields if kind_of(split_compression(field)[0]) in LABEL_FIELDS)
    image = tuple(field for field in contents.fields if field in IMAGE_EXTENSIONS)
    if sum(counts[field] for field in image) > contents.num_samples:
        image = ()
    return Roles(image, labels, tuple(field for field in contents.fields if field not in {*labels, *image}))


def roles_of_image_files(to: str, contents: Contents, options: ExportOptions) -> Roles:
    """Return what each field is to a format that writes a file for each image, and has nothing but images and labels.

    Raises:
        OptionError: An option does not apply to such a format, samples have no image or several, or a field is neither.
    """
    if options.max_file_bytes is not None or options.max_file_samples is not None:
        raise OptionError(f"max_file_bytes and max_file_samples do not apply to {to}; leave them out")
    roles = roles_of(contents)
    require_image(to, contents, roles)
    refuse_lost(to, contents, (*roles.image, *roles.labels))
    return roles


def require_image(to: str, contents: Contents, roles: Roles) -> None:
    """Refuse samples that have no image, or several.

    Raises:
        OptionError: The message says which fields there are to choose from.
    """
    if roles.image:
        return
    images = [field for field in contents.fields if is_image(field)]
    if not images:
        has = ", ".join(contents.fields) or "none"
        raise OptionError(
            f"{to} is for images, and the samples have none: their fields are {has}; choose another format"
        )
    raise OptionError(
        f"{to} holds one image a sample, and the samples have {', '.join(images)}; choose one of them with fields "
        f"(--fields {','.join([images[0], *roles.labels])})"
    )


def refuse_unknown_drops(labels: LabelSurvey, drop: Iterable[str]) -> None:
    """Refuse to leave out values that no label has: what was meant would be exported.

    Raises:
        OptionError: No label has a value of such a name; the message lists those that are there.
    """
    unknown = [name for name in drop if name not in labels.dropped]
    if unknown:
        has = ", ".join(sorted({*labels.types, *labels.dropped})) or "none"
        raise OptionError(f"no label has a value {unknown[0]!r} to leave out (--drop); the values are {has}")


def refuse_lost(to: str, contents: Contents, held: Iterable[str]) -> None:
    """Refuse to leave out fields that the user has not left out.

    Raises:
        OptionError: A field of the samples is not in `held`; the message names the option that leaves it out.
    """
    held = set(held)
    lost = [f"{name} (of {count:,} samples)" for name, count in contents.samples_per_field.items() if name not in held]
    if lost:
        rest = ",".join(field for field in contents.fields if field in held)
        raise OptionError(
            f"{to} cannot hold {', '.join(lost)}; to leave that out, choose the other fields (--fields {rest})"
        )
