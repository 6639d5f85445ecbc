"""Samples as rows of a table: which columns there are, and what each row holds. For all formats that are tables.

__key__                    the key
image                      the image, if samples have one at most
<field> without its kind   each other payload: seg of seg.png, 0 of 0.jpg; the whole field where that is not unique
<name>                     each value of a label, by its type over all samples
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from shardpack.codecs.label_types import LabelType, storable
from shardpack.errors import ExportError, OptionError
from shardpack.export.exporter import Contents, ExportOptions
from shardpack.export.roles import Roles, refuse_unknown_drops, roles_of
from shardpack.read.sample import Sample

KEY, IMAGE = "__key__", "image"


class Row(NamedTuple):
    """What a sample has.

    Attributes:
        key: Its key.
        payloads: Column -> (field, payload), of its image and other payloads.
        values: Column -> value, as it is in the label.
    """

    key: str
    payloads: dict[str, tuple[str, bytes]]
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """The columns. Pickles; its `repr` tells all that decides about rows.

    Attributes:
        roles: What each field is.
        payloads: (field, column) of each payload but the image.
        types: (column, type) of each value of labels.
        always: The columns that each sample has.
        classes: Class names, if the column `label` is a number of a class, which then implies `class`.
        drop: Names of values that are left out.
    """

    roles: Roles
    payloads: tuple[tuple[str, str], ...]
    types: tuple[tuple[str, LabelType], ...]
    always: frozenset[str]
    classes: tuple[str, ...] | None
    drop: tuple[str, ...]

    def __repr__(self) -> str:
        always = sorted(self.always)
        return f"Table({self.roles}, {self.payloads}, {self.types}, {always}, {self.classes}, {self.drop})"

    @property
    def payload_columns(self) -> tuple[str, ...]:
        """Return the columns of payloads, the image first."""
        return (*((IMAGE,) if self.roles.image else ()), *(column for _, column in self.payloads))

    @property
    def sentence(self) -> str:
        """Return the columns, each with what it is: "__key__, image (jpg), label (int), box (object)"."""
        payloads = [f"{column} ({field})" for field, column in self.payloads]
        if self.roles.image:
            payloads.insert(0, f"{IMAGE} ({', '.join(self.roles.image)})")
        kinds = {name: kind.name for name, kind in self.types}
        if self.classes is not None:
            kinds["label"] = f"one of {len(self.classes):,} classes"
        return ", ".join([KEY, *payloads, *(f"{name} ({kind})" for name, kind in kinds.items())])

    def row_maker(self) -> Callable[[Sample], Row]:
        """Return the function that makes a row of a sample."""
        names = frozenset(name for name, _ in self.types)
        roles, drop, columns = self.roles, self.drop, dict(self.payloads)

        def row(sample: Sample) -> Row:
            if not sample.key.isascii():
                _check_unicode(sample.key)
            payloads = {columns[field]: (field, sample[field]) for field in columns if field in sample}
            if any(field in sample for field in roles.image):
                field = roles.image_of(sample)
                payloads[IMAGE] = field, sample[field]
            label = roles.label_of(sample, drop)
            return Row(sample.key, payloads, {name: value for name, value in label.items() if name in names})

        return row


def table_of(contents: Contents, options: ExportOptions, *, names_classes: bool = False) -> Table:
    """Return the columns of an export.

    Args:
        contents: The samples, with the types of their labels.
        options: What the user chose.
        names_classes: Whether the format has a place for class names, so that the name beside a label says nothing new.

    Raises:
        OptionError: A value of a label has the name of another column.
    """
    assert contents.labels is not None
    roles, labels = roles_of(contents), contents.labels
    refuse_unknown_drops(labels, options.drop)
    has_classes = names_classes and labels.has_classes
    types = {name: storable(kind) for name, kind in labels.types.items() if not (has_classes and name == "class")}
    payloads = _payload_columns(roles, taken={KEY, IMAGE, *types})
    columns = [KEY, *([IMAGE] if roles.image else []), *(column for _, column in payloads)]
    for name in types:
        if name in columns:
            raise OptionError(f"a value of the labels is called {name!r}, like a column; leave it out (--drop {name})")
    for name in columns:
        if columns.count(name) > 1:
            raise OptionError(f"two fields would be column {name!r}; choose the others (--fields)")
    return Table(
        roles,
        payloads,
        tuple(types.items()),
        frozenset(name for name in types if labels.counts[name] == contents.num_samples),
        contents.classes if has_classes else None,
        options.drop,
    )


def _payload_columns(roles: Roles, taken: set[str]) -> tuple[tuple[str, str], ...]:
    """Return (field, column) of each payload: the field without its last part, where nothing else is called so."""
    stems: Mapping[str, str] = {field: field.rpartition(".")[0] or field for field in roles.payloads}
    uses = Counter(stems.values())
    taken |= set(roles.payloads)
    return tuple((field, stem if uses[stem] == 1 and stem not in taken else field) for field, stem in stems.items())


def _check_unicode(key: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise ExportError("the key is not UTF-8; leave the sample out, or pack it under another key") from error
