"""Which foreign formats there are, which one a path holds, and the options that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Literal, Protocol, cast, get_args

from shardpack.errors import OptionError, SourceError
from shardpack.runtime.arguments import one_of
from shardpack.sources.class_list import MAX_BYTES, read_class_lists
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.row_source import RowSource

ROW_NUMBER = ":row"  # as key column: the number of the row instead of any column
Unpickle = Literal["numpy", "plain"]
Raw = Literal["png", "npy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatOptions:
    """How rows become samples; each format takes those that mean something for it.

    Attributes:
        key_column: Column whose values are the keys; ":row" for row numbers; None to choose by the first rows.
        label_column: Column that becomes `label` and `class` of the JSON labels; None to choose by its name.
        split: The only named split to read; None for all.
        classes: Class names in the order of labels, where the format has none.
        class_list: Class names of the dataset, from the list beside an export: its columns are called as in the
            labels, and none is named by the list.
        unpickle: What pickled values may hold: "plain" (numbers, texts, bytes and what contains them) or "numpy"
            (arrays besides); None refuses them.
        raw: Field for raw pixels: "png", lossless, or "npy", as they are; None where the format leaves no choice.
    """

    key_column: str | None = None
    label_column: str | None = None
    split: str | None = None
    classes: tuple[str, ...] | None = None
    class_list: tuple[str, ...] | None = None
    unpickle: Unpickle | None = None
    raw: Raw | None = None

    def __post_init__(self) -> None:
        one_of("unpickle", self.unpickle, (*get_args(Unpickle), None))
        one_of("raw", self.raw, (*get_args(Raw), None))

    def text(self) -> str:
        """Return all of it as text, for the version of a source."""
        return repr(self)

    def refuse(self, kind: str, *names: str) -> None:
        """Raise OptionError if one of these options is given, which means nothing for a format."""
        for name in names:
            if getattr(self, name) is not None:
                raise OptionError(f"{name} (--{name.replace('_', '-')}) is not for {kind}; leave it out")


class Importer(Protocol):
    """What the module of a format defines."""

    def detect(self, found: FoundFiles) -> bool:
        """Return whether these are files of the format, by names and first bytes; cheap, and imports no library."""
        ...

    def open(self, found: FoundFiles, options: FormatOptions) -> RowSource:
        """Return the rows; reads what describes the files, a few rows, and columns of which all values count.

        Raises:
            SourceError: A file is damaged, or not of the format.
            OptionError: An option is missing or does not fit.
            MissingDependencyError: The library of the format is not installed.
        """
        ...


# Name, as in `--from NAME` -> module.
FORMATS: dict[str, str] = {
    "arrow": "arrow",
    "beton": "beton",
    "cifar": "cifar",
    "deep_lake": "deep_lake",
    "hdf5": "hdf5",
    "hugging_face": "hugging_face",
    "idx": "idx",
    "lance": "lance",
    "lmdb": "lmdb",
    "mds": "mds",
    "msgpack": "message_pack",
    "npz": "npz",
    "parquet": "parquet",
    "recordio": "recordio",
    "tfrecord": "tfrecord",
}


def importer_of(name: str) -> Importer:
    """Return the importer of a format.

    Raises:
        OptionError: No format has this name.
    """
    if name not in FORMATS:
        raise OptionError(f"no format is called {name!r}; choose one of {', '.join(FORMATS)}")
    return cast("Importer", import_module(f"shardpack.sources.formats.{FORMATS[name]}"))


def find_format(found: FoundFiles) -> str | None:
    """Return the name of the format that these files are of, or None.

    Raises:
        SourceError: They may be of several formats.
    """
    if not found.names:
        return None
    names: Sequence[str] = [name for name in FORMATS if importer_of(name).detect(found)]
    if len(names) > 1:
        raise SourceError(
            f"{found.location!r} holds files of several formats: {', '.join(names)}; "
            f"choose with source_format={names[0]!r} (--from {names[0]})"
        )
    return names[0] if names else None


def open_format(name: str, found: FoundFiles, options: FormatOptions) -> RowSource:
    """Return the rows of files in a format, with the class names of an export beside them.

    Raises as `importer_of`, `read_class_lists` and `Importer.open`.
    """
    importer = importer_of(name)
    if not found.is_file:
        lists, classes = read_class_lists(found.names, partial(found.read, max_bytes=MAX_BYTES))
        found = replace(found, names=tuple(each for each in found.names if each not in lists)) if lists else found
        if options.classes is None:
            options = replace(options, class_list=classes)
    return importer.open(found, options)
