"""COCO's annotation files: instances, key points, captions and panoptic segments of the same images, joined.

    {"images": [{"id": 7, "file_name": "a.jpg", "width": 640, "height": 480}],
     "annotations": [{"id": 1, "image_id": 7, "category_id": 18, "bbox": [1, 2, 30, 40]},     instances, key points
                     {"id": 2, "image_id": 7, "caption": "a dog"},                            captions
                     {"image_id": 7, "file_name": "a.png", "segments_info": [{"id": 3, "category_id": 18, ...}]}],
     "categories": [{"id": 18, "name": "dog"}]}

The label of a.jpg is made of parts that are JSON text already, so that they take no more memory than they are long:

    {"id":7,"width":640,"height":480,"captions":["a dog"],
     "annotations":[{"label":0,"class":"dog","id":1,"category_id":18,"bbox":[1,2,30,40]}],"segments_info":[...]}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shardpack.errors import DecodeError, SourceError
from shardpack.runtime.words import a_type
from shardpack.sources.annotations.json_stream import stream_lists
from shardpack.sources.json_labels import compact_json
from shardpack.sources.label_shape import Object

_OTHER_KINDS = ("captions_", "panoptic_")
_KEY_POINTS = ("keypoints", "num_keypoints")
_PARTS = ("annotations", "captions", "segments_info")  # of a label; an image may have names like these

Id = int | str
Part = tuple[Any, bytes]  # (category id, JSON text without braces) of an annotation or segment


@dataclass(slots=True)
class CocoImage:
    """What files say of one image.

    Attributes:
        file_name: Its path, as the files have it.
        where: The record, for messages: "instances.json: images[3]".
        record: JSON text of the other names of its record, without braces.
        objects: Its annotations.
        captions: Texts.
        segments: The segments of its panoptic image.
        panoptic: Path of its panoptic image; "" without one.
        repeated: Whether another image has its id.
        problem: Why its label cannot be written; "" if it can.
        taken: Names of its record that are those of parts of a label.
        classed: Name of an annotation with a category that is one of ours, "label" or "class"; "" without.
    """

    file_name: str
    where: str
    record: bytes
    objects: list[Part] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    segments: list[Part] = field(default_factory=list)
    panoptic: str = ""
    repeated: bool = False
    problem: str = ""
    taken: tuple[str, ...] = ()
    classed: str = ""


class CocoLabels:
    """The labels of the images that some annotation files describe together.

    Attributes:
        images: Image id -> what is known of it.
        more_images: Further images with the id of another one, in the order of the file.
        categories: Category id -> its name, in the order of the files; None without categories.
        problems: (record, reason) of what belongs to no image.
        kinds: What there is: "annotations", "captions", "segments".
    """

    def __init__(self) -> None:
        self.images: dict[Id, CocoImage] = {}
        self.more_images: list[CocoImage] = []
        self.categories: dict[Id, str] | None = None
        self.problems: list[tuple[str, str]] = []
        self.kinds: set[str] = set()
        self._held: dict[tuple[Any, Any], tuple[str, Object, bytes]] = {}  # (image id, id) -> annotation

    def add(self, path: str, data: bytes, *, hold: bool = False) -> None:
        """Add what a file says.

        Args:
            path: Its name, for messages.
            data: Its content.
            hold: Whether its annotations have key points for those of the same id in the files to come.

        Raises:
            SourceError: The file does not have the structure of COCO; names the wrong part.
        """
        early: list[tuple[str, Object]] = []  # annotations in front of their images
        categories: list[Object] | None = None
        own: set[Id] = set()
        last = ""  # part and number of what came last of the annotations
        for part, number, record in _records(path, data):
            where = f"{path}: {part}[{number}]"
            if part == "categories":
                categories = [*(categories or ()), record] if number >= 0 else []
            elif part == "images":
                self._add_image(where, record, own)
            else:
                last = where
                self._take(where, record, early if not own else None, hold=hold)
        for where, record in early:
            self._add_annotation(where, record)
        if last.endswith("[-1]") and not path.rpartition("/")[2].startswith(_OTHER_KINDS):
            self.kinds.add("annotations")  # each image has an empty list
        if categories is not None:
            self._add_categories(path, categories)

    def _take(self, where: str, record: Object, early: list[tuple[str, Object]] | None, *, hold: bool) -> None:
        """Add an annotation now, or with those of `early`, or hold it."""
        if not record:
            return
        if hold and isinstance(record.get("id"), (int, str)):
            self._hold(where, record)
        elif early is not None:
            early.append((where, record))
        else:
            self._add_annotation(where, record)

    def finish(self) -> None:
        """Add the annotations that were held, and that no other file has."""
        for where, held, text in self._held.values():
            if (image := self._image_of(where, held)) is not None:
                self.kinds.add("annotations")
                image.classed = image.classed or held["classed"]
                image.objects.append((held.get("category_id"), text + held["text"]))
        self._held = {}

    def label(self, image: CocoImage, number_of: Mapping[Any, int]) -> bytes:
        """Return the label of an image.

        Args:
            image: The image.
            number_of: Category id -> number of its class.

        Raises:
            SourceError: An annotation has an unknown category, or a value that JSON cannot represent.
        """
        if image.problem:
            raise SourceError(image.problem)
        self._refuse_taken(image)
        parts = [image.record] if image.record else []
        if "captions" in self.kinds:
            parts.append(b'"captions":%b' % compact_json(image.captions))
        if "annotations" in self.kinds:
            parts.append(b'"annotations":[%b]' % b",".join(self._classed(image.objects, number_of)))
        if image.panoptic:
            parts.append(b'"segments_info":[%b]' % b",".join(self._classed(image.segments, number_of)))
        return b"{%b}" % b",".join(parts)

    def _refuse_taken(self, image: CocoImage) -> None:
        """Refuse names of the source that would be in the label twice."""
        ours = {*(self.kinds - {"segments"}), *(("segments_info",) if image.panoptic else ())}
        for name in image.taken:
            if name in ours:
                raise SourceError(f"its record has a {name!r}, as our label has; rename it in {image.where}")
        if image.classed and self.categories is not None:
            raise SourceError(
                f"one of its annotations has a {image.classed!r}, as our label has for its category; rename it"
            )

    def _classed(self, objects: Sequence[Part], number_of: Mapping[Any, int]) -> Iterator[bytes]:
        for category, text in objects:
            if category is None or self.categories is None:
                yield b"{%b}" % text
            elif not isinstance(category, (int, str)) or category not in self.categories:
                raise SourceError(f"its category_id {category!r} is not the id of a category; correct the annotation")
            else:
                name = compact_json(self.categories[category])
                yield b'{"label":%d,"class":%b,%b}' % (number_of[category], name, text)

    def _add_image(self, where: str, record: Object, own: set[Id]) -> None:
        if not record:
            return
        image_id, file_name = record["id"], record.pop("file_name")
        known = self.images.get(image_id)
        if known is not None and image_id not in own and known.file_name == file_name:
            own.add(image_id)  # the same image in another file
            return
        own.add(image_id)
        image = CocoImage(file_name, where, b"")
        image.taken = tuple(name for name in _PARTS if name in record)
        image.record = _text(record, image)
        if known is None:
            self.images[image_id] = image
        else:
            image.repeated = known.repeated = True
            self.more_images.append(image)

    def _image_of(self, where: str, record: Object) -> CocoImage | None:
        image_id = record.pop("image_id")
        image = self.images.get(image_id)
        if image is None:
            reason = f"its image_id {image_id!r} is not the id of an image; repair it, or remove the annotation"
            self.problems.append((where, reason))
        return image

    def _hold(self, where: str, record: Object) -> None:
        """Keep an annotation with key points as two texts: the key points, and the rest in case it is alone."""
        image = CocoImage("", where, b"")
        points = {name: record.pop(name) for name in _KEY_POINTS if name in record}
        rest = {name: value for name, value in record.items() if name != "image_id"}
        held = {"image_id": record["image_id"], "category_id": record.get("category_id"), "text": _text(rest, image)}
        text = _text(points, image)
        if image.problem:
            raise SourceError(f"{where}: {image.problem}")
        held["classed"] = _classed_name(rest)
        key = record["image_id"], record["id"]
        if key in self._held:
            raise SourceError(
                f"{where}: image {key[0]!r} has the annotation id {key[1]!r} twice, also in {self._held[key][0]}; "
                "give each annotation an id of its own"
            )
        self._held[key] = where, held, text + b"," if text else b""

    def _take_held(self, image_id: Id, record: Object) -> bytes | None:
        """Return the key points that were held for an annotation: of the same id, image and category."""
        key = image_id, record.get("id")
        if not self._held or not isinstance(key[1], (int, str)) or key not in self._held:
            return None
        if self._held[key][1]["category_id"] != record.get("category_id"):
            return None
        return self._held.pop(key)[2]

    def _add_annotation(self, where: str, record: Object) -> None:
        image_id = record["image_id"]
        image = self._image_of(where, record)
        if image is None:
            return
        if isinstance(record.get("segments_info"), list):
            self.kinds.add("segments")
            image.panoptic = str(record.get("file_name", ""))
            segments = [segment for segment in record["segments_info"] if isinstance(segment, dict)]
            image.classed = next(filter(None, map(_classed_name, segments)), image.classed)
            image.segments += [(segment.get("category_id"), _text(segment, image)) for segment in segments]
        elif isinstance(record.get("caption"), str) and "category_id" not in record:
            self.kinds.add("captions")
            image.captions.append(record["caption"].strip())
        else:
            self.kinds.add("annotations")
            held = self._take_held(image_id, record)
            if held is not None:
                for name in _KEY_POINTS:
                    record.pop(name, None)
            image.classed = image.classed or _classed_name(record)
            text = _text(record, image)
            image.objects.append((record.get("category_id"), text if held is None else held + text))

    def _add_categories(self, path: str, records: Sequence[Object]) -> None:
        ids = [record["id"] for record in records]
        known = {} if self.categories is None else self.categories
        if len(set(ids)) != len(ids) or len({type(each) for each in [*ids, *known]}) > 1:
            raise SourceError(f"{path} is not a COCO file: category ids must be different, and of one type; repair it")
        for record in records:
            name = known.setdefault(record["id"], record["name"])
            if name != record["name"]:
                raise SourceError(
                    f"{path}: category {record['id']!r} is {record['name']!r}, but {name!r} in another file; "
                    "rename one, or pack the files one by one (--annotations)"
                )
        self.categories = known


def _classed_name(record: Object) -> str:
    """Return the name of an annotation with a category that would be in its label twice; "" without."""
    if record.get("category_id") is None:
        return ""
    return "label" if "label" in record else "class" if "class" in record else ""


def _text(record: Object, image: CocoImage) -> bytes:
    """Return the JSON text of an object without its braces; what cannot be written is a problem of the image."""
    try:
        return compact_json(record)[1:-1]
    except SourceError as error:
        image.problem = str(error)
        return b""


# -- structure ------------------------------------------------------------------------------------

_NEEDED: dict[str, dict[str, Any]] = {
    "images": {"id": (int, str), "file_name": str},
    "annotations": {"image_id": (int, str)},
    "categories": {"id": (int, str), "name": str},
}


def _records(path: str, data: bytes) -> Iterator[tuple[str, int, Object]]:
    """Yield (part, number, record) of a file, checked; each part begins with the number -1 and an empty record."""
    found: list[str] = []
    try:
        for part, number, value in stream_lists(data, _NEEDED):
            if number < 0:
                if not isinstance(value, list):
                    raise SourceError(
                        f"{path} is not a COCO file: expected a list {part!r}, got {type(value).__name__}; name another"
                    )
                found.append(part)
                yield part, number, {}
            else:
                yield part, number, _checked(path, part, number, value)
    except DecodeError as error:
        raise SourceError(
            f"cannot read the annotations {path!r}: {error}; repair it, or choose a layout without annotations"
        ) from error
    needed = ["images"] if path.rpartition("/")[2].startswith("image_info") else ["images", "annotations"]
    for part in needed:
        if part not in found:
            has = ", ".join(map(repr, found)) or "none of the lists of COCO"
            raise SourceError(f"{path} is not a COCO file: expected a list {part!r}; it has {has}; name another")


def _checked(path: str, part: str, number: int, value: Any) -> Object:
    if not isinstance(value, dict):
        raise SourceError(
            f"{path} is not a COCO file: {part}[{number}] is {a_type(value)}, expected an object; repair it"
        )
    for name, types in _NEEDED[part].items():
        if not isinstance(value.get(name), types):
            raise SourceError(
                f"{path} is not a COCO file: {part}[{number}] needs a {name!r}, got {value.get(name)!r}; repair it"
            )
    return value
