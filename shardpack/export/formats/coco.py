"""COCO: images, and one file of annotations for each split.

    OUT/images/[<split>/]<key>.jpg
    OUT/annotations/instances_<split>.json          without splits: instances_default.json
    OUT/annotations/person_keypoints_<split>.json   instead, if annotations have key points
    OUT/annotations/captions_<split>.json           if samples have captions

`file_name` is relative to the folder of the split's images. Numbers of categories are those of the source, if each
belongs to one class; otherwise they are `label` + 1. The ids of images and annotations are those of the source, if all
have one of their own; otherwise they count from 1. What else a label says is kept in the record of its image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

from shardpack.errors import ExportError, OptionError
from shardpack.export.exporter import Contents, ExportOptions, Limits, NamedBy, Note, Part
from shardpack.export.files import path_parts, within_split
from shardpack.export.formats.coco_file import CocoFile, categories_of, has_own_ids
from shardpack.export.pixel_labels import (
    annotations_of,
    area_of,
    box_of,
    label_number,
    members_of_annotations,
    size_of,
)
from shardpack.export.roles import Roles, refuse_unknown_drops, roles_of_image_files
from shardpack.export.staging import ExportFiles
from shardpack.read.sample import Sample

_NO_SPLIT = "default"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Row:
    path: list[str]
    image: bytes
    record: Object  # of the image, without its id and file name
    own_id: Any
    annotations: list[Object]
    captions: list[str]


@dataclass(frozen=True, slots=True)
class CocoExporter:
    """Writes COCO. What begins with `has` is whether any sample has that."""

    takes: ClassVar[frozenset[str]] = frozenset()
    named_by: ClassVar[NamedBy | None] = "image"
    sequential: ClassVar[bool] = False
    typed: ClassVar[bool] = True
    names_classes: ClassVar[bool] = True
    limits: ClassVar[Limits] = Limits(max_bytes=64 << 20, max_samples=1000)

    roles: Roles
    classes: tuple[str, ...] | None
    drop: tuple[str, ...]
    has_annotations: bool
    has_keypoints: bool
    has_captions: bool

    @classmethod
    def prepare(cls, contents: Contents, options: ExportOptions) -> CocoExporter:
        """Decide about the files; see `Exporter.prepare`."""
        roles = roles_of_image_files("coco", contents, options)
        assert contents.labels is not None
        refuse_unknown_drops(contents.labels, options.drop)
        if "file_name" in contents.labels.types:
            raise OptionError(
                "a value of the labels is called 'file_name', as in coco; leave it out (--drop file_name)"
            )
        return cls(
            roles,
            contents.classes,
            options.drop,
            has_annotations="annotations" in contents.labels.types,
            has_keypoints="keypoints" in members_of_annotations(contents),
            has_captions="captions" in contents.labels.types,
        )

    @property
    def fields(self) -> tuple[str, ...]:
        return self.roles.fields

    @property
    def sentence(self) -> str:
        kind = "key points and boxes" if self.has_keypoints else "boxes" if self.has_annotations else "no boxes"
        return f"images, with {kind}" + (", and captions" if self.has_captions else "")

    def row_maker(self) -> Callable[[Sample], _Row]:
        """Return the function that makes records of a sample."""
        return self._row

    def _row(self, sample: Sample) -> _Row:
        field = self.roles.image_of(sample)
        label = self.roles.label_of(sample, self.drop)
        size = size_of(label, sample[field])
        captions = label.get("captions", [])
        if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
            raise ExportError("captions are not a list of texts; correct the label, or leave the sample out")
        left = {name: value for name, value in label.items() if name not in ("id", "annotations", "captions")}
        return _Row(
            path_parts(sample.key, field),
            sample[field],
            {**left, "width": size.width, "height": size.height},
            label.get("id"),
            [self._annotation(one) for one in annotations_of(label)],
            captions,
        )

    def _annotation(self, annotation: Mapping[str, Any]) -> Object:
        """Return an annotation with all that readers ask for, but for its ids."""
        number = label_number(annotation, self.classes)
        if number is None and not isinstance(annotation.get("category_id"), int):
            raise ExportError("an annotation has neither a label nor a category_id; correct the label")
        made = {name: value for name, value in annotation.items() if name not in ("label", "class")}
        if (box := box_of(annotation)) is not None:
            made["bbox"] = box
            made["area"] = area_of(annotation, box)
        made.setdefault("iscrowd", 0)
        return {**made, "label": number, "class": annotation.get("class")}

    def write(self, part: Part, rows: Iterator[_Row], files: ExportFiles) -> Note:
        """Write the images, and records as lines of JSON for `finish`."""
        top = ["images"] if part.split is None else ["images", part.split]
        categories: set[tuple[Any, Any, Any]] = set()
        has_captions = False
        with open(files.scrap(f"{part.number:06d}.jsonl"), "w", encoding="utf-8") as lines:
            for row in rows:
                path = within_split(row.path, part.split)
                with open(files.create(*top, *path), "wb") as image:
                    image.write(row.image)
                for one in row.annotations:
                    categories.add((one.get("category_id"), one["label"], one["class"]))
                has_captions = has_captions or bool(row.captions)
                record = {"file_name": "/".join(path), **row.record}
                lines.write(json.dumps([record, row.own_id, row.annotations, row.captions]) + "\n")
        return {"categories": sorted(categories, key=repr), "has_captions": has_captions}

    def finish(self, parts: Sequence[Part], notes: Sequence[Note], files: ExportFiles) -> None:
        """Write the files of annotations."""
        seen = {tuple(category) for note in notes for category in note["categories"]}
        categories = categories_of(seen, self.classes)
        kind = "person_keypoints" if self.has_keypoints else "instances"
        for split, group in groupby(zip(parts, notes, strict=True), key=lambda pair: pair[0].split):
            own = list(group)
            lines = [files.scrap(f"{part.number:06d}.jsonl") for part, _ in own]
            name = split or _NO_SPLIT
            ids = has_own_ids(lines)
            with CocoFile(files.create("annotations", f"{kind}_{name}.json"), lines, ids) as file:
                file.write_images()
                file.write_annotations(categories)
                file.write_categories(categories)
            if any(note["has_captions"] for _, note in own):
                with CocoFile(files.create("annotations", f"captions_{name}.json"), lines, ids) as file:
                    file.write_images()
                    file.write_captions()
