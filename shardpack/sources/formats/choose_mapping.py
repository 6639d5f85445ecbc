"""Which columns of rows have a role, chosen once, by the first rows of some units; and what is said of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

from shardpack.codecs.field_types import is_image, is_mask
from shardpack.errors import OptionError
from shardpack.format.naming import key_problem
from shardpack.sources.formats.importer import ROW_NUMBER, FormatOptions
from shardpack.sources.formats.mapping import Columns, RowMapping, field_name
from shardpack.sources.formats.row_values import (
    extension_of,
    is_bytes,
    is_payload,
    is_text,
    key_text,
    path_of,
    payloads_of,
    plain_value,
)
from shardpack.sources.label_text import texts_among

_OF_EXPORTS = "__key__"
KEY_COLUMNS = (_OF_EXPORTS, "key", "image/filename", "filename", "file_name", "image_path", "path", "image_id", "id")
LABEL_COLUMNS = ("label", "image/class/label", "class_label", "class_id", "fine_label", "target", "class", "cls", "y")
MAIN_COLUMNS = ("image", "image/encoded", "jpg", "jpeg", "img", "png", "webp", "picture", "data")

Splits = Sequence[str | None] | None


def choose_mapping(
    rows: Sequence[Columns],
    options: FormatOptions,
    *,
    classes: tuple[str, ...] | None = None,
    unwrap: bool = True,
    splits: Splits = None,
) -> RowMapping:
    """Return the roles of columns, chosen by some rows.

    Args:
        rows: A few rows, of several units where there are several.
        options: Columns that the user has named.
        classes: Class names that the format knows.
        unwrap: As in `RowMapping`.
        splits: The split of each row: in others, a key may come again.

    Raises:
        OptionError: A column that the user has named is in none of the rows.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    _check_named(options, columns)
    payloads = [column for column in columns if any(is_payload(row.get(column)) for row in rows)]
    main = _main_column(rows, columns, payloads)
    label = options.label_column
    if label is None and options.class_list is None:  # columns of exports are called as in the labels
        label = _first(LABEL_COLUMNS, columns)
    in_json = [] if label is None or label in payloads else [row.get(label) for row in rows]
    return RowMapping(
        main=main,
        key_column=_key_column(rows, options.key_column, label=label, main=main, splits=splits),
        label_column=label,
        classes=classes if classes is not None else options.classes,
        unwrap=unwrap,
        binary=frozenset(payloads),
        raw=options.raw or "npy",
        text_label=any(is_text(value, unwrap=unwrap) for value in in_json),
        class_list=options.class_list,
    )


def _check_named(options: FormatOptions, columns: Sequence[str]) -> None:
    for option, column in (("key_column", options.key_column), ("label_column", options.label_column)):
        if column is not None and column != ROW_NUMBER and column not in columns:
            raise OptionError(f"{option} is {column!r}; the columns are {', '.join(columns) or 'none'}")


def _first(usual: Iterable[str], columns: Sequence[str]) -> str | None:
    return next((column for column in usual if column in columns), None)


def _main_column(rows: Sequence[Columns], columns: Sequence[str], payloads: Sequence[str]) -> str | None:
    """Return the column whose payload is named by its kind alone: an image before anything else, but no mask.

    Beside `__key__`, as exports have it, that is a column of a usual name only: the others are called like fields.
    """
    if (usual := _first(MAIN_COLUMNS, payloads)) is not None:
        return usual
    if _OF_EXPORTS in columns:
        return None
    candidates = [column for column in payloads if not is_mask(f"{field_name(column)}.")]
    images = (column for column in candidates if _is_image(rows, column))
    return next(images, next(iter(candidates), None))


def _key_column(
    rows: Sequence[Columns], named: str | None, *, label: str | None, main: str | None, splits: Splits
) -> str | None:
    """Return the column of the keys: the one that the user named, or one of a usual name that can be."""
    if named is not None:
        return None if named == ROW_NUMBER else named
    usual = [column for column in KEY_COLUMNS if column != label]
    return next((column for column in (*usual, main) if column and _are_keys(rows, column, splits)), None)


def _are_keys(rows: Sequence[Columns], column: str, splits: Splits) -> bool:
    """Return whether a column of some rows can be their keys: there, safe, and different within each split."""
    values = [path_of(row.get(column)) for row in rows]
    if any(is_bytes(value) and extension_of(value) for value in values):
        return False
    keys = [key_text(value) for value in values]
    safe = all(key is not None and key_problem(key) is None for key in keys)
    return safe and bool(keys) and len(set(zip(keys, splits or repeat(None), strict=False))) == len(keys)


def _is_image(rows: Sequence[Columns], column: str) -> bool:
    """Return whether a column holds images in any of some rows."""
    found = [field for row in rows for field, _ in payloads_of("", row.get(column))]
    return any(is_image(field) for field in found)


def describe_mapping(mapping: RowMapping, rows: Sequence[Columns]) -> str:
    """Return what a sample will be, in words: "jpg (image/encoded) + json (3 columns); key: image/filename"."""
    fields: dict[str, str] = {}
    in_json: dict[str, None] = {}
    for row in rows:
        for column, value in row.items():
            if value is None:
                continue
            payloads = mapping.payloads(column, value)
            for field, _ in payloads:
                fields.setdefault(field, column)
            if not payloads and column != mapping.key_column:
                in_json[column] = None
    said = [f"{field} ({column})" for field, column in sorted(fields.items())]
    if in_json:
        some = f"{len(in_json)} columns" if len(in_json) > 1 else next(iter(in_json))
        label = f"; label: {mapping.label_column}" if mapping.label_column in in_json else ""
        renamed = [
            f"; {name} as {new} where it differs" for name in in_json if (new := mapping.name_in_json(name)) != name
        ]
        values = (
            {name: plain_value(row[name], unwrap=mapping.unwrap) for name in in_json if name in row} for row in rows
        )
        texts = f"; {texts}" if (texts := texts_among(values)) else ""
        said.append(f"json ({some}{label}{texts}{''.join(renamed)})")
    return f"{' + '.join(said) or 'nothing'}; key: {mapping.key_column or 'row number'}"
