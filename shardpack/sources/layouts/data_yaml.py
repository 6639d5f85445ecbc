"""What YOLO's data.yaml says: the names of the classes, where the splits are, and the shape of key points.

    path: ../datasets/coco8      train: images/train      val: images/val      odd: images/odd
    names: [person, bicycle]     or a map from numbers to names
    kpt_shape: [17, 3]

The paths are only compared with the folders that are there; nothing outside of the source is opened.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shardpack.errors import DecodeError, SourceError
from shardpack.sources.annotations.plain_yaml import MAX_BYTES, parse_yaml
from shardpack.sources.tree import Tree

SPLITS = ("train", "val", "valid", "validation", "test")
_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASS_LISTS = ("classes.txt", "obj.names", "_darknet.labels")
_MAX_CLASSES = 100_000


@dataclass(frozen=True, slots=True)
class DataYaml:
    """What the files beside the images say.

    Attributes:
        name: The file that says it; "" without a file.
        names: Class number -> its name; None if nothing says it.
        keypoints: (number of key points, numbers of each), or None.
        folders: Split -> its folders, or lists of its images, in the tree.
        note: What was taken otherwise than the file says; "" if nothing.
    """

    name: str = ""
    names: dict[int, str] | None = None
    keypoints: tuple[int, int] | None = None
    folders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    note: str = ""


def find_data_yaml(tree: Tree) -> DataYaml | None:
    """Return what the YAML file in the root says; of several, the one of a usual name. None without one.

    Raises:
        SourceError: It cannot be read, or its names, key points or paths are not of use.
    """
    folder = tree.folders.get("")
    names = [] if folder is None else tree.files.names[folder.first : folder.stop]
    usual = [name for name in _NAMES if tree.has(name)]
    others = [name for name in names if name.lower().endswith((".yaml", ".yml")) and name not in usual]
    for name in [*usual, *others]:
        try:
            content = parse_yaml(tree.read(name, max_bytes=MAX_BYTES))
        except DecodeError as error:
            if name in usual:
                raise SourceError(f"{name}: {error}") from error
            continue
        if "names" in content or "nc" in content or name in usual:
            return _data(tree, name, content)
    return None


def find_class_list(tree: Tree, folders: Iterable[str]) -> DataYaml | None:
    """Return the names of a list of classes, a name in each line, in the root or in one of some folders."""
    for folder in ("", *folders):
        for name in CLASS_LISTS:
            path = f"{folder}/{name}" if folder else name
            if tree.has(path):
                return DataYaml(path, _listed_names(tree, path))
    return None


def with_class_lists(tree: Tree, data: DataYaml, lists: Iterable[str]) -> DataYaml:
    """Return the data with names: its own, or else those of the first list of classes that has some.

    Raises:
        SourceError: A list says otherwise than these, or has a name twice.
    """
    named_by = data.name
    for path in lists:
        names = _listed_names(tree, path)
        if not names:
            continue
        if data.names is None:
            named_by, data = path, replace(data, name=data.name or path, names=names)
        elif any(data.names.get(number) != name for number, name in names.items()):
            raise SourceError(
                f"{named_by} and {path} number the classes differently; correct one, or leave it out with "
                f"--ignore {path}"
            )
    _check_unique(named_by, data.names or {})
    return data


def _listed_names(tree: Tree, path: str) -> dict[int, str]:
    lines = tree.read(path, max_bytes=MAX_BYTES).decode("utf-8-sig", "replace").splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return {number: line.strip() for number, line in enumerate(lines)}


def _check_unique(name: str, names: Mapping[int, str]) -> None:
    if len(set(names.values())) < len(names):
        twice = next(each for each in names.values() if list(names.values()).count(each) > 1)
        raise SourceError(f"{name}: two classes are called {twice!r}; rename one")


def _data(tree: Tree, name: str, content: Mapping[str, Any]) -> DataYaml:
    folders, notes = _folders(tree, name, content)
    note = f"{notes[0]}{f', and {len(notes) - 1} more' if len(notes) > 1 else ''}" if notes else ""
    return DataYaml(name, _names(name, content), _keypoints(name, content), folders, note)


def _folders(tree: Tree, name: str, content: Mapping[str, Any]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return (split -> its folders, what was taken otherwise than the file says).

    Raises:
        SourceError: A value is not a path, or none of the paths is there.
    """
    folders: dict[str, tuple[str, ...]] = {}
    missing: list[str] = []
    notes: list[str] = []
    root = content.get("path")
    root = root if isinstance(root, str) else ""
    own = [key for key, value in content.items() if value == f"images/{key}" and _is_place(tree, value)]  # our export's
    for split in dict.fromkeys((*SPLITS, *own)):
        value = content.get(split)
        paths = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(path, str) for path in paths):
            raise SourceError(f"{name}: {split} is {value!r}, expected a path or a list of paths")
        for path in paths:
            place, exact = _find(tree, path, root)
            said = f"{split}: {posixpath.join(root, path)!r}"
            if place is None:
                missing.append(said)
                continue
            folders[split] = (*folders.get(split, ()), place)
            notes += [] if exact else [f"{said} is {place!r} here"]
    if missing and not folders:
        raise SourceError(
            f"{name}: {missing[0]} is not a folder with images or a list of images below the source; put it there, or "
            "correct the path"
        )
    return folders, [*notes, *(f"{said} is not here" for said in missing)]


def _find(tree: Tree, path: str, root: str) -> tuple[str | None, bool]:
    """Return (the folder or list that a path means, whether it is where the file says).

    Downloaded sets name paths of the machine that they were made on, or begin them with "../"; then the
    longest end of the path that is there counts.
    """
    path = path.replace("\\", "/")
    for place, exact in ((posixpath.join(root, path), True), (path, not root)):
        clean = posixpath.normpath(place)
        if _is_place(tree, clean):
            return "" if clean == "." else clean, exact
    parts = [part for part in posixpath.normpath(path).split("/") if part not in ("..", "")]
    for first in range(len(parts)):
        place = "/".join(parts[first:])
        if first and place.lower() == "images":
            break  # that of all splits
        if _is_place(tree, place):
            return place, False
        if _is_place(tree, f"{place}/images"):  # `train: ../train`
            return f"{place}/images", False
    return None, False


def _is_place(tree: Tree, path: str) -> bool:
    if path.startswith(("/", "../")) or path == "..":
        return False
    if path.endswith(".txt"):
        return tree.has(path)
    prefix = "" if path == "." else f"{path}/"
    return any(folder.num_images for name, folder in tree.folders.items() if f"{name}/".startswith(prefix))


def _names(name: str, content: Mapping[str, Any]) -> dict[int, str] | None:
    value = content.get("names")
    if value is None:
        return None
    if isinstance(value, list):
        value = {str(number): each for number, each in enumerate(value)}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise SourceError(f"{name}: names is neither a list of names nor a map from numbers to names; write one")
    wrong = next((key for key in value if not key.isdecimal() or int(key) >= _MAX_CLASSES), None)
    if wrong is not None:
        raise SourceError(f"{name}: names has the class {wrong!r}, expected a number from 0 to {_MAX_CLASSES - 1:,}")
    names = {int(key): each for key, each in value.items()}
    _check_unique(name, names)
    count = content.get("nc")
    if isinstance(count, str) and count.isdecimal() and int(count) != len(names):
        raise SourceError(f"{name}: nc is {count}, but names has {len(names)} classes; correct one of the two")
    return names


def _keypoints(name: str, content: Mapping[str, Any]) -> tuple[int, int] | None:
    value = content.get("kpt_shape")
    if value is None:
        return None
    good = isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) and v.isdecimal() for v in value)
    if not good or int(value[1]) not in (2, 3) or not 0 < int(value[0]) <= 1000:
        raise SourceError(f"{name}: kpt_shape is {value!r}, expected [number of key points, 2 or 3]")
    return int(value[0]), int(value[1])
