"""YOLO: images, a text file of lines for each, and data.yaml.

    OUT/images/<split>/<key>.jpg     OUT/labels/<split>/<key>.txt     OUT/data.yaml         without splits: train

    detect    class, centre x and y, width, height of the box
    segment   class, x and y of each point of the polygon; several polygons of one object are joined by a line
    pose      class, box, then x, y and visibility of each key point

All positions are shares of the width and height of the image. Class numbers are `label`, their names the classes of
the dataset. What these lines cannot hold is refused, unless it is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from shardpack.codecs.geometry import UPRIGHT
from shardpack.errors import ExportError, OptionError
from shardpack.export.exporter import Contents, ExportOptions, Limits, NamedBy, Note, Part
from shardpack.export.files import path_parts, within_split
from shardpack.export.formats.coco_file import refuse_two_names
from shardpack.export.formats.yolo_lines import TASKS, YoloLines
from shardpack.export.pixel_labels import annotations_of, label_number, members_of_annotations, size_of
from shardpack.export.roles import Roles, refuse_unknown_drops, roles_of_image_files
from shardpack.export.staging import ExportFiles
from shardpack.read.sample import Sample
from shardpack.runtime.arguments import one_of
from shardpack.sources.class_list import names_lines

_NO_SPLIT = "train"
_KEYS = {"valid": "val", "validation": "val"}  # split -> how data.yaml calls it
_HELD = frozenset({"annotations", "width", "height"})
# Of annotations: what the lines hold, or what follows from it.
_HELD_OF_EACH = frozenset(
    {"bbox", "label", "class", "category_id", "segmentation", "keypoints", "num_keypoints", "area", "iscrowd", "id"}
)
CROWD = "crowd"  # dropped: annotations of groups


@dataclass(frozen=True, slots=True)
class _Row:
    path: list[str]
    image: bytes
    text: str | None
    num_crowds: int  # annotations that were left out
    names: dict[int, str]
    num_keypoints: int | None


@dataclass(frozen=True, slots=True)
class YoloExporter:
    """Writes YOLO."""

    takes: ClassVar[frozenset[str]] = frozenset({"task"})
    named_by: ClassVar[NamedBy | None] = "path"
    sequential: ClassVar[bool] = False
    typed: ClassVar[bool] = True
    names_classes: ClassVar[bool] = True
    limits: ClassVar[Limits] = Limits(max_bytes=64 << 20, max_samples=1000)

    roles: Roles
    classes: tuple[str, ...] | None
    task: str
    drops_crowds: bool

    @classmethod
    def prepare(cls, contents: Contents, options: ExportOptions) -> YoloExporter:
        """Decide about the task; see `Exporter.prepare`."""
        roles = roles_of_image_files("yolo", contents, options)
        assert contents.labels is not None
        if "annotations" not in contents.labels.types:
            raise OptionError(
                "yolo is for boxes, polygons and key points, and no label has annotations; for classes of images, "
                "export to folder"
            )
        members = members_of_annotations(contents)
        of_each = [f"annotations.{name}" for name in sorted(members)]
        refuse_unknown_drops(contents.labels, [name for name in options.drop if name not in {CROWD, *of_each}])
        lost = sorted(contents.labels.types.keys() - _HELD)
        lost += [f"annotations.{name}" for name in sorted(members.keys() - _HELD_OF_EACH)]
        lost = [name for name in lost if name not in options.drop]
        if lost:
            raise OptionError(
                f"yolo cannot hold {', '.join(lost)} of the labels; leave that out (--drop {','.join(lost)})"
            )
        return cls(roles, contents.classes, _task_of(members.keys(), options.task), CROWD in options.drop)

    @property
    def fields(self) -> tuple[str, ...]:
        return self.roles.fields

    @property
    def sentence(self) -> str:
        what = {"detect": "boxes", "segment": "polygons", "pose": "boxes and key points"}[self.task]
        return f"images, and {what} of {len(self.classes or ()):,} classes" + (
            "; crowds are left out" if self.drops_crowds else ""
        )

    def row_maker(self) -> Callable[[Sample], _Row]:
        """Return the function that makes the lines of a sample."""
        return self._row

    def _row(self, sample: Sample) -> _Row:
        field = self.roles.image_of(sample)
        label = self.roles.label_of(sample)
        path = path_parts(sample.key, field)
        if "images" in path[:-1]:
            raise ExportError("readers of yolo find labels by the last folder called 'images', which is in the key")
        annotations = annotations_of(label)
        kept = [one for one in annotations if not (self.drops_crowds and one.get("iscrowd"))]
        size = size_of(label, sample[field])
        if kept and size.orientation != UPRIGHT:
            raise ExportError(
                f"the image has EXIF orientation {size.orientation}, and readers of yolo differ in what they make of "
                "it; store it upright first, such as with: shardpack pack DS OUT --encode jpg:q=95"
            )
        lines = YoloLines(self.task, size.width, size.height)
        names: dict[int, str] = {}
        for one in kept:
            number = label_number(one, self.classes)
            if number is None:
                raise ExportError("an annotation has no label; correct it, or leave the sample out")
            if isinstance(one.get("class"), str):
                refuse_two_names(number, names.setdefault(number, one["class"]), one["class"])
            lines.add(number, one)
        text = None if label.get("annotations") is None else lines.text()
        return _Row(path, sample[field], text, len(annotations) - len(kept), names, lines.num_keypoints)

    def write(self, part: Part, rows: Iterator[_Row], files: ExportFiles) -> Note:
        """Write images and labels."""
        split = part.split or _NO_SPLIT
        names: dict[int, str] = {}
        counts: set[int] = set()
        num_crowds = 0
        for row in rows:
            path = within_split(row.path, part.split)
            with open(files.create("images", split, *path), "wb") as image:
                image.write(row.image)
            stem = path[-1].rpartition(".")[0]
            if row.text is not None:
                with open(files.create("labels", split, *path[:-1], f"{stem}.txt"), "w", encoding="utf-8") as label:
                    label.write(row.text)
            for number, name in row.names.items():
                refuse_two_names(number, names.setdefault(number, name), name)
            num_crowds += row.num_crowds
            if row.num_keypoints is not None:
                counts.add(row.num_keypoints)
        return {
            "names": sorted(names.items()),
            "keypoints": sorted(counts),
            "left_out": {"crowd annotations": num_crowds} if num_crowds else {},
        }

    def finish(self, parts: Sequence[Part], notes: Sequence[Note], files: ExportFiles) -> None:
        """Write data.yaml."""
        names: dict[int, str] = dict(enumerate(self.classes or ()))
        for note in notes:
            for number, name in note["names"]:
                refuse_two_names(number, names.setdefault(number, name), name)
        counts = {count for note in notes for count in note["keypoints"]}
        if len(counts) > 1:
            raise ExportError(
                f"yolo needs as many key points in each annotation; these have {', '.join(map(str, sorted(counts)))}"
            )
        splits = list(dict.fromkeys(part.split or _NO_SPLIT for part in parts))
        keys = [_KEYS.get(split.lower(), split) for split in splits]
        if len(set(keys)) < len(keys):
            keys = splits
        # No `path`: Ultralytics then takes the folder of this file, and "." for the folder that it is run in.
        lines = [f"{key}: images/{split}" for key, split in zip(keys, splits, strict=True)]
        lines += [f"kpt_shape: [{count}, 3]" for count in counts]
        # Numbers without a name get one: readers count them.
        lines += names_lines(names.get(number, str(number)) for number in range(max(names, default=-1) + 1))
        with open(files.create("data.yaml"), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


def _task_of(members: Any, asked: str | None) -> str:
    """Return the task: the one that was asked for, or the one whose lines hold all that annotations say.

    Raises:
        OptionError: There are polygons and key points.
    """
    if asked is not None:
        return one_of("task", asked, TASKS)
    has_polygons, has_keypoints = "segmentation" in members, "keypoints" in members
    if has_polygons and has_keypoints:
        raise OptionError(
            "annotations have polygons and key points, of which yolo holds one; choose task='detect', 'segment' or "
            "'pose' (--task)"
        )
    return "segment" if has_polygons else "pose" if has_keypoints else "detect"
