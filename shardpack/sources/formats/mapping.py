"""How the columns of a row become a sample, in every format alike.

    bytes of an image, an array, sound   a field named by their first bytes: jpg
    several such columns                 the main one as above, the others with their column before: depth.png
    list of images                       0.jpg, 1.jpg, ...
    texts called annotations, captions   lists, if they are JSON of the shape of labels (`sources/label_text.py`)
    numbers, texts, lists, maps          one field json; NaN becomes null; lists of one unwrapped where all are lists
    the label column                     label in json, and class if the class names are known
    others called label or class         label_column, class_column: beside a label column that says something else
    arrays of two and more dimensions    npy, or png if raw pixels are wanted so
    other bytes                          a text in json if they are UTF-8, otherwise <column>.bin
    the key column                       the key, without the ending of an image; otherwise the number of the row

Which columns have a role is decided once, from the first rows of some units. No payload is changed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np

from shardpack.codecs.field_types import IMAGE_EXTENSIONS, SIGNATURES, is_image, is_mask
from shardpack.errors import OptionError, SourceError
from shardpack.format.naming import key_problem
from shardpack.sources.formats.importer import ROW_NUMBER, FormatOptions, Raw
from shardpack.sources.label_text import from_text, texts_among

Columns = Mapping[str, Any]

KEY_COLUMNS = ("__key__", "key", "image/filename", "filename", "file_name", "image_path", "path", "image_id", "id")
LABEL_COLUMNS = ("label", "image/class/label", "class_label", "class_id", "fine_label", "target", "class", "cls", "y")
MAIN_COLUMNS = ("image", "image/encoded", "jpg", "jpeg", "img", "png", "webp", "picture", "data")
_CAPTIONS = "captions"  # a list in the shape of labels, also of one
_NOT_IN_FIELD = re.compile(r"[^a-z0-9_-]+")
_OTHERS = {
    b"\x93NUMPY": "npy",
    b"fLaC": "flac",
    b"OggS": "ogg",
    b"ID3": "mp3",
    b"%PDF-": "pdf",
}
_HEIF = {b"avif": "avif", b"avis": "avif", **dict.fromkeys((b"heic", b"heix", b"mif1", b"msf1", b"hevc"), "heic")}
# The others of the same family share their signatures with these.
_IMAGES = ("jpg", "png", "gif", "tif", "jp2", "jxl")


def extension_of(payload: bytes | memoryview) -> str | None:
    """Return the name of a payload's kind, such as "jpg", by its first bytes; None if they tell nothing."""
    head = bytes(payload[:16])
    for extension in _IMAGES:
        if head.startswith(SIGNATURES[extension]):
            return extension
    if head[:4] == b"RIFF":
        return {b"WEBP": "webp", b"WAVE": "wav"}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _HEIF.get(head[8:12], "mp4")
    if head[:2] == b"BM" and len(payload) >= 14 and head[6:10] == b"\0\0\0\0":
        return "bmp"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b"\n", b" ", b"\t", b"\r"):
        return ("pbm", "pgm", "ppm")[(head[1] - ord("1")) % 3] if head[1:3].strip() else None
    return next((name for signature, name in _OTHERS.items() if head.startswith(signature)), None)


def field_name(column: str) -> str:
    """Return a column's name as the name of a field: lower case, without dots, slashes and blanks."""
    return _NOT_IN_FIELD.sub("_", column.lower()).strip("_") or "column"


@dataclass(frozen=True, slots=True)
class RowMapping:
    """The roles of columns. Pickles.

    Attributes:
        main: Column whose payload is named by its kind alone, or None.
        key_column: Column that holds the key; None for row numbers.
        label_column: Column that becomes `label`, or None.
        classes: Class names in the order of labels, or None.
        unwrap: Whether a list of one is its element: in formats that have nothing but lists.
        binary: Columns whose bytes are fields even where they are a text, since in other rows they are none.
        raw: Field of arrays that have the shape of an image.
        text_label: Whether the label column holds texts.
        class_list: Class names of the dataset, by which no column is named: those of a list beside an export.
    """

    main: str | None = None
    key_column: str | None = None
    label_column: str | None = None
    classes: tuple[str, ...] | None = None
    unwrap: bool = True
    binary: frozenset[str] = frozenset()
    raw: Raw = "npy"
    text_label: bool = False
    class_list: tuple[str, ...] | None = None

    def key(self, columns: Columns, number: str) -> str:
        """Return the key of a row; `number` is its row number, as text.

        Raises:
            SourceError: The key column is missing in the row, or holds neither a text nor an integer.
        """
        if self.key_column is None:
            return number
        value = self.value_of_key(columns)
        key = key_text(value)
        if key is None:
            raise SourceError(
                f"key column {self.key_column!r} holds {value!r:.60}, expected a text or an integer; "
                f"choose another key_column (--key-column), or {ROW_NUMBER!r} for row numbers"
            )
        return key

    def value_of_key(self, columns: Columns) -> Any:
        """Return what the key column holds in a row; None without such a column."""
        return None if self.key_column is None else _path_of(columns.get(self.key_column))

    def fields(self, columns: Columns) -> dict[str, Any]:
        """Return the fields of a row: payloads as bytes, values as `encode_field` takes them.

        Raises:
            SourceError: Two columns would have the same field, or a label has no class.
        """
        fields: dict[str, Any] = {}
        labels: dict[str, Any] = {}
        for column, value in columns.items():
            if value is None:
                continue
            payloads = self.payloads(column, value)
            for field, payload in payloads:
                if field in fields:
                    raise SourceError(f"two columns would be field {field!r}; rename one of them ({column!r})")
                fields[field] = payload
            if not payloads and column != self.key_column:
                found = self._labels_of(column, value)
                if twice := found.keys() & labels.keys():
                    raise SourceError(f"two columns would be {min(twice)!r} in json; rename one of them ({column!r})")
                labels |= found
        self._drop_repeated(labels, columns)
        if labels:
            if "json" in fields:
                raise SourceError("a column is a field 'json' already, where labels belong; rename it")
            fields["json"] = labels
        return fields

    def payloads(self, column: str, value: Any) -> list[tuple[str, Any]]:
        """Return (field, payload) of what a column holds in a row; nothing if that belongs to the labels."""
        name = "" if column == self.main else field_name(column)
        if self.raw == "png" and isinstance(value, np.ndarray) and (pixels := _pixels(value)) is not None:
            return [(f"{name}.png" if name else "png", pixels)]
        return _payloads(name, value, unwrap=self.unwrap, binary=column in self.binary)

    def _drop_repeated(self, labels: dict[str, Any], columns: Columns) -> None:
        """Drop what a column called label or class says if the label column says the same."""
        for column in ("label", "class"):
            new = self.name_in_json(column)
            if new != column and column in columns and labels.get(new) == labels.get(column):
                labels.pop(new, None)

    def name_in_json(self, column: str) -> str:
        """Return the name that a column other than the label has in json: its own, if the label does not take it."""
        if self.label_column is None or column == self.label_column:
            return column
        taken = ("label", "class") if self.classes is not None else ("class",) if self.text_label else ("label",)
        return f"{column}_column" if column in taken else column

    def _labels_of(self, column: str, value: Any) -> dict[str, Any]:
        """Return what a column is in json."""
        plain = plain_value(value, unwrap=self.unwrap)
        if column != self.label_column:
            named = from_text(column, plain)
            one_text = self.unwrap and column == _CAPTIONS and isinstance(named, str)
            return {self.name_in_json(column): [named] if one_text else named}
        if isinstance(plain, str) and self.classes and plain in self.classes:
            plain = self.classes.index(plain)
        if isinstance(plain, float) and plain.is_integer():
            plain = int(plain)
        if isinstance(plain, str):
            return {"class": plain}
        labels = {"label": plain}
        if self.classes is not None and isinstance(plain, int) and plain >= 0:  # below 0: not labelled
            if plain >= len(self.classes):
                raise SourceError(f"label {plain} in column {column!r} has no name: {len(self.classes)} classes")
            labels["class"] = self.classes[plain]
        return labels


def choose_mapping(
    rows: Sequence[Columns],
    options: FormatOptions,
    *,
    classes: tuple[str, ...] | None = None,
    unwrap: bool = True,
    splits: Sequence[str | None] | None = None,
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
    for option, column in (("key_column", options.key_column), ("label_column", options.label_column)):
        if column is not None and column != ROW_NUMBER and column not in columns:
            raise OptionError(f"{option} is {column!r}; the columns are {', '.join(columns) or 'none'}")
    payloads = [column for column in columns if any(_is_payload(row.get(column)) for row in rows)]
    main = next((column for column in MAIN_COLUMNS if column in payloads), None)
    if main is None:  # an image before anything else
        candidates = [column for column in payloads if not is_mask(f"{field_name(column)}.")]
        main = next((column for column in candidates if _is_image(rows, column)), next(iter(candidates), None))
    usual = LABEL_COLUMNS if options.class_list is None else ()  # columns of exports are called as in the labels
    label = options.label_column or next((column for column in usual if column in columns), None)
    if options.key_column is None:
        key = next((column for column in KEY_COLUMNS if column != label and _are_keys(rows, column, splits)), None)
        if key is None and main is not None and _are_keys(rows, main, splits):
            key = main
    else:
        key = None if options.key_column == ROW_NUMBER else options.key_column
    names = classes if classes is not None else options.classes
    text = label is not None and label not in payloads and any(_is_text(row.get(label), unwrap) for row in rows)
    binary = frozenset(payloads)
    mapping = RowMapping(main, key, label, names, unwrap=unwrap, binary=binary, raw=options.raw or "npy")
    return replace(mapping, text_label=text, class_list=options.class_list)


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


def key_text(value: Any) -> str | None:
    """Return the key that a text or integer stands for: a path loses the ending of an image; None for other values."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if _is_bytes(value):
        value = _text_of(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
        return None
    text = str(value).replace("\\", "/")
    while text.startswith(("./", "/")):
        text = text.partition("/")[2]
    stem, _, extension = text.rpartition(".")
    return stem if stem and extension.lower() in IMAGE_EXTENSIONS else text or None


def plain_value(value: Any, *, unwrap: bool = True) -> Any:
    """Return a value as JSON holds it: bytes as text, NaN as null, a list of one unwrapped if asked for."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    if unwrap and isinstance(value, (list, tuple)) and len(value) == 1:
        return plain_value(value[0])
    return _inner(value)


def _inner(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, (bytes, bytearray, memoryview)):
        text = _text_of(value)
        if text is None:
            raise SourceError(f"{len(value)} bytes inside a list or map are neither an image nor UTF-8; leave them out")
        return text
    if isinstance(value, Mapping):
        return {str(_inner(key)): _inner(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return _inner(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_inner(inner) for inner in value]
    return value


def _text_of(value: bytes | bytearray | memoryview) -> str | None:
    """Return bytes as text, if they are one."""
    try:
        text = bytes(value).decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _is_text(value: Any, unwrap: bool) -> bool:
    while unwrap and isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    return isinstance(value, str) or _is_bytes(value)


def _is_struct(value: Any) -> bool:
    """Return whether a value is an image with its path, as Hugging Face stores it."""
    if not isinstance(value, Mapping) or value.keys() != {"bytes", "path"}:
        return False
    return value["bytes"] is None or _is_bytes(value["bytes"])


def _path_of(value: Any) -> Any:
    return value["path"] if _is_struct(value) else value


def _is_bytes(value: Any) -> bool:
    return isinstance(value, (bytes, bytearray, memoryview))


def _is_payload(value: Any) -> bool:
    """Return whether a value is a field of its own instead of a part of the labels."""
    return bool(_payloads("", value))


def _payloads(name: str, value: Any, *, unwrap: bool = True, binary: bool = False) -> list[tuple[str, Any]]:
    """Return (field, payload) of a value whose field has this first part, or none; none for labels."""
    if _is_struct(value):
        value = value["bytes"] or None
    if isinstance(value, (list, tuple)):
        return _list_payloads(name, value, unwrap=unwrap, binary=binary)
    extension, payload = None, value
    if _is_bytes(value):
        extension = extension_of(value)
        if extension is None and (binary or _text_of(value) is None):
            extension = "bin"
        payload = bytes(value)
    elif isinstance(value, np.ndarray) and value.ndim > 1:
        extension = "npy"
    if extension is None:
        return []
    return [(f"{name}.{extension}" if name else extension, payload)]


def _pixels(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Return an array as the pixels of a PNG: height x width, perhaps x 1, 3 or 4; None for other arrays."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    grey, colours = array.ndim == 2, array.ndim == 3 and array.shape[2] in (3, 4)
    if array.dtype == np.uint8 and (grey or colours):
        return array
    return array if grey and array.dtype == np.uint16 else None


def _list_payloads(name: str, values: Sequence[Any], *, unwrap: bool, binary: bool) -> list[tuple[str, Any]]:
    if unwrap and len(values) == 1:
        return _payloads(name, values[0], binary=binary)
    if not all(_is_bytes(value) or _is_struct(value) for value in values):
        return []
    parts = [_payloads("", value, binary=binary) for value in values]
    if not all(parts):
        return []
    prefix = f"{name}." if name else ""
    return [(f"{prefix}{number}.{field}", payload) for number, [(field, payload)] in enumerate(parts)]


def _are_keys(rows: Sequence[Columns], column: str, splits: Sequence[str | None] | None) -> bool:
    """Return whether a column of some rows can be their keys: there, safe, and different within each split."""
    values = [_path_of(row.get(column)) for row in rows]
    if any(_is_bytes(value) and extension_of(value) for value in values):
        return False
    keys = [key_text(value) for value in values]
    safe = all(key is not None and key_problem(key) is None for key in keys)
    return safe and bool(keys) and len(set(zip(keys, splits or repeat(None), strict=False))) == len(keys)


def _is_image(rows: Sequence[Columns], column: str) -> bool:
    """Return whether a column holds images in any of some rows."""
    found = [field for row in rows for field, _ in _payloads("", row.get(column))]
    return any(is_image(field) for field in found)
