"""`ImageStep`: images are resized and encoded anew on their way into a shard, each decoded once.

    payload --header--> StillImage --load--> pixels --resize--> part --in_srgb--> codec --> payload
                            |                                                                  |
                            +---------- Geometry: masks and labels follow ----------> fields --+

What becomes of colours is in `codecs/colour.py`, of masks and labels in `follow_image.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from shardpack.codecs.compression import split_compression
from shardpack.codecs.field_types import is_image, kind_of
from shardpack.codecs.geometry import Geometry
from shardpack.codecs.image import describe_error
from shardpack.codecs.image_codec import CODEC_NAMES, ImageCodec
from shardpack.codecs.jpeg_turbo import decoder_versions
from shardpack.codecs.pillow_versions import all_pillow_versions
from shardpack.codecs.resize import Resize
from shardpack.codecs.zstd import zstd_versions
from shardpack.errors import DecodeError, MissingDependencyError, OptionError, ShardpackError, SourceError
from shardpack.runtime.arguments import one_of
from shardpack.write.convert_image import ImageConversion
from shardpack.write.follow_image import (
    LABELS,
    Labels,
    check_mask_codec,
    check_no_coordinates,
    move_labels,
    move_mask,
)
from shardpack.write.image_fields import ImageFields
from shardpack.write.transform import Counts, Fields, KeyedFields

EVERY_IMAGE = "*"
MASKS, LABELS_MOVED = "mask.moved", "label.moved"


@dataclass(frozen=True, slots=True)
class ImageStep:
    """The step. It does nothing to samples without images, and nothing to video, audio, and files of medicine.

    Attributes:
        resize: None keeps sizes.
        codec: How images are encoded; None keeps the format of those that are resized.
        codecs: Field -> its own codec, also of masks.
        fields: Which fields are what.
        labels: "follow", or "keep" to leave labels as they are.
        first_frame: Whether of animations the first frame is taken; else they stay as they are.
        wanted: Names of the fields that stay in the end; None for all. Of others nothing needs to be known.
    """

    resize: Resize | None = None
    codec: ImageCodec | None = None
    codecs: Mapping[str, ImageCodec] = field(default_factory=dict)
    fields: ImageFields = field(default_factory=ImageFields)
    labels: Labels = "follow"
    first_frame: bool = False
    wanted: frozenset[str] | None = None

    @classmethod
    def parse(
        cls,
        resize: str | None = None,
        encode: str | Mapping[str, str] | None = None,
        *,
        image: Iterable[str] | str | None = None,
        nearest: Iterable[str] | str | None = None,
        keep: Iterable[str] | str | None = None,
        labels: Labels = "follow",
        first_frame: bool = False,
    ) -> ImageStep | None:
        """Return the step that options ask for; None if they ask for nothing.

        Args:
            resize: Such as "short=256"; see `codecs/resize.py`.
            encode: A codec such as "jpg:q=90" for images, see `codecs/image_codec.py`; or a dict from field to
                codec, in which "*" stands for every image that it does not name.
            image, nearest, keep: Names of fields; see `image_fields.py`.
            labels: "follow" or "keep".
            first_frame: As the attribute.

        Raises:
            OptionError: An option is unknown, or does not fit the others.
            MissingDependencyError: A codec needs a library that is not installed.
        """
        fields = ImageFields.of(image, nearest, keep)
        one_of("labels", labels, LABELS)
        if resize is None and encode is None:
            given = {"image": image, "nearest": nearest, "keep": keep, "first_frame": first_frame or None}
            given["labels"] = None if labels == "follow" else labels
            if name := next((name for name, value in given.items() if value), None):
                raise OptionError(f"{name} is for resize and encode; give one of them, or leave it out")
            return None
        by_field = encode if isinstance(encode, Mapping) else {} if encode is None else {EVERY_IMAGE: encode}
        codecs = {name: ImageCodec.parse(text) for name, text in by_field.items()}
        codec = codecs.pop(EVERY_IMAGE, None)
        for name, own in codecs.items():
            if not isinstance(name, str) or not (is_image(name) or kind_of(name) == "npy"):
                raise OptionError(f"encode names {name!r}, which has no ending of an image, such as jpg")
            if fields.is_named_mask(name):
                check_mask_codec(name, own)
            if name in fields.keep:
                raise OptionError(f"{name!r} is named by both encode and keep; leave one out")
        if resize is not None and any(found.name == "jxl" for found in (codec, *codecs.values()) if found):
            raise OptionError(
                "jxl keeps a JPEG as it is, so it cannot be resized; choose another codec, or one of both"
            )
        return cls(None if resize is None else Resize.parse(resize), codec, codecs, fields, labels, bool(first_frame))

    def named(self) -> frozenset[str]:
        """Return the fields that the options name."""
        return self.fields.image | self.fields.nearest | self.fields.keep | frozenset(self.codecs)

    def may_change(self, name: str) -> bool:
        """Return whether a field may be an image or a mask by its name, also one that is compressed."""
        return is_image(split_compression(name)[0]) or self.fields.is_named_mask(name)

    def recorded(self) -> dict[str, Any]:
        """Return the options, for the manifest: only those that say something."""
        codecs = {EVERY_IMAGE: self.codec, **self.codecs}
        said = {
            "resize": None if self.resize is None else str(self.resize),
            "encode": {name: str(codec) for name, codec in sorted(codecs.items()) if codec is not None} or None,
            **self.fields.describe(),
            "labels": None if self.labels == "follow" else self.labels,
            "first_frame": self.first_frame or None,
        }
        return {name: value for name, value in said.items() if value is not None}

    def versions(self) -> dict[str, str]:
        """Return the versions of all libraries that decide pixels and bytes."""
        found = {**all_pillow_versions(), **decoder_versions(), **_versions_of_labels()}
        for codec in (self.codec, *self.codecs.values()):
            found.update({} if codec is None else codec.versions())
        return found

    def describe(self) -> Mapping[str, Any]:
        """Return the options, the filter, and the versions."""
        return {"step": "image", **self.recorded(), "filter": "bicubic", "versions": self.versions()}

    def __call__(self, key: str, fields: Fields, counts: Counts, /) -> Iterable[KeyedFields]:
        """Return the sample with its images changed, and masks and labels after them.

        Raises:
            OptionError: It is not clear what to do with a field.
            MissingDependencyError: A field needs a library that is not installed.
            DecodeError: An image or label does not decode; names key and file.
            SourceError: An image cannot be stored as asked without losing bits, or masks and labels cannot follow.
        """
        fields = self._needed(fields)
        images, masks = self.fields.parts(fields)
        if not images and not masks:
            return ((key, fields),)
        conversion = ImageConversion(self.resize, self.first_frame)
        stored: dict[str, tuple[str, Any]] = {}  # field -> (name, value) in its place
        geometries = set()
        for name in images:
            with _named(key, name):
                codec = self.codecs.get(name, self.codec)
                new_name, value, geometry = conversion.convert(name, fields[name], codec, counts)
            stored[name] = new_name, value
            geometries.add(geometry)
        changed = any(not geometry.is_unchanged for geometry in geometries)
        leader = geometries.pop() if len(geometries) == 1 else None
        for name in masks:
            with _named(key, name):
                if changed and leader is None:
                    raise SourceError("masks can follow only one image, and the sample has several of different sizes")
                stored[name] = self._mask(name, fields[name], leader, counts)
        if changed and self.labels == "follow":
            for name, value in fields.items():
                if name not in stored and name not in self.fields.keep and not is_image(name):
                    with _named(key, name):
                        stored[name] = name, _label(name, value, leader, counts)
        return ((key, _joined(fields, stored, key)),)

    def _needed(self, fields: Fields) -> Fields:
        """Return the fields without those that are dropped later; images among these stay if no other one leads."""
        if self.wanted is None:
            return fields
        made = {_stem(name) for name in self.wanted if name not in fields and _has_pixels(name)}  # jpg, out of png
        stay = {name for name in fields if name in self.wanted or (_has_pixels(name) and _stem(name) in made)}
        if not any(self.fields.may_be_image(name, fields[name]) for name in stay):
            stay.update(filter(is_image, fields))  # masks and labels follow one of them
        return {name: value for name, value in fields.items() if name in stay or name in self.fields.image}

    def _mask(self, name: str, value: Any, leader: Geometry | None, counts: Counts) -> tuple[str, Any]:
        codec = self.codecs.get(name)
        if codec is not None:
            check_mask_codec(name, codec)
        moved = move_mask(name, value, leader, self.resize, codec)
        counts[MASKS] += moved[1] is not value
        return moved


def _has_pixels(name: str) -> bool:
    return is_image(name) or kind_of(name) == "npy"


def _stem(name: str) -> str:
    return name.removesuffix(kind_of(name))


def _label(name: str, value: Any, leader: Geometry | None, counts: Counts) -> Any:
    if leader is None:
        check_no_coordinates(name, value)
        return value
    moved = move_labels(name, value, leader)
    counts[LABELS_MOVED] += moved is not value
    return moved


def _joined(fields: Fields, replaced: Mapping[str, tuple[str, Any]], key: str) -> dict[str, Any]:
    """Return all fields under their new names, in their order."""
    joined: dict[str, Any] = {}
    for name, value in fields.items():
        new_name, new_value = replaced.get(name, (name, value))
        if new_name in joined or (new_name != name and new_name in fields):
            raise OptionError(
                f"sample {key!r} has a field {new_name!r} already, which {name!r} would be stored as; choose another "
                f"codec for it (--encode {name}=CODEC)"
            )
        joined[new_name] = new_value
    return joined


def stored_names(name: str) -> set[str]:
    """Return all names that a field may have after the step, whatever its options are."""
    if not (is_image(name) or kind_of(name) == "npy"):
        return {name}
    return {name, *(name.removesuffix(kind_of(name)) + codec for codec in CODEC_NAMES)}


@contextmanager
def _named(key: str, name: str) -> Iterator[None]:
    """Name sample and file in errors that are raised within."""
    path = f"{key}.{name}"
    try:
        yield
    except MissingDependencyError:
        raise
    except ShardpackError as error:
        raise type(error)(str(error.args[0]), key=key, path=path) from error
    except Exception as error:  # decoders raise many kinds of errors for garbage
        raise DecodeError(f"field {name!r} does not decode: {describe_error(error)}", key=key, path=path) from error


def _versions_of_labels() -> dict[str, str]:
    """Return what compresses labels anew, if it is there."""
    try:
        return zstd_versions()
    except MissingDependencyError:
        return {}
