"""Which fields of a sample are images to change, which are masks that follow, and which stay as they are.

    seg.png, mask.png, panoptic.png; those named by `nearest`          masks
    named by `keep`                                                    left alone
    named by `image`, or the only one that is left                     images
    several left, some of them with a palette                          those with a palette are masks

More than one left is a question to the user: left and right eye, depth, thumbnail, ... all look alike from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shardpack.codecs.compression import split_compression
from shardpack.codecs.field_types import is_image, is_mask, kind_of
from shardpack.codecs.still_image import StillImage
from shardpack.errors import OptionError


@dataclass(frozen=True, slots=True)
class ImageFields:
    """What users said about fields.

    Attributes:
        image: Images: resized and encoded.
        nearest: Masks: resized by nearest neighbour, and never lossy.
        keep: Neither.
    """

    image: frozenset[str] = frozenset()
    nearest: frozenset[str] = frozenset()
    keep: frozenset[str] = frozenset()

    @classmethod
    def of(cls, image: Any = None, nearest: Any = None, keep: Any = None) -> ImageFields:
        """Return names that were given as one text, as several, or not at all.

        Raises:
            OptionError: A name is not a text, not that of an image, or has two parts to play.
        """
        found = cls(_names("image", image), _names("nearest", nearest), _names("keep", keep))
        for name in found.image:
            if not is_image(name):
                raise OptionError(f"image names {name!r}, which has no ending of an image, such as jpg")
        for name in found.nearest:
            if not (is_image(name) or kind_of(name) == "npy"):
                raise OptionError(f"nearest names {name!r}, which has no ending of an image or array, such as png, npy")
        twice = found.image & found.nearest | found.image & found.keep | found.nearest & found.keep
        if twice:
            raise OptionError(f"{min(twice)!r} is named by two of image, nearest and keep; name each field once")
        return found

    def describe(self) -> Mapping[str, Any]:
        """Return what was said."""
        said = {"image": self.image, "nearest": self.nearest, "keep": self.keep}
        return {name: sorted(fields) for name, fields in said.items() if fields}

    def parts(self, fields: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """Return (names of the images, names of the masks) of a sample.

        Raises:
            OptionError: It is not clear which field is the image.
        """
        names = [name for name in fields if name not in self.keep]
        masks = [name for name in names if self.is_named_mask(name)]
        images = [name for name in names if name in self.image]
        left = [name for name in names if is_image(name) and name not in self.image and name not in masks]
        for name in names:
            plain, suffix = split_compression(name)
            if suffix is not None and is_image(plain):
                raise OptionError(
                    f"field {name!r} is a compressed image, which cannot be resized; say that it stays as it is "
                    f"(--keep {name}), or decompress it in a transform"
                )
        if not images and len(left) == 1:
            return left, masks
        with_palette = [name for name in left if _has_palette(fields[name])]
        unknown = [name for name in left if name not in with_palette]
        if not images and len(unknown) == 1:
            images, unknown = unknown, []
        if unknown or (with_palette and not images):
            raise OptionError(
                f"a sample has the image fields {', '.join(map(repr, [*images, *left]))}, and it is not clear what to "
                f"do with {', '.join(map(repr, unknown or left))}; {_advice(unknown or left)}"
            )
        return images, [*masks, *with_palette]

    def may_be_image(self, name: str, value: Any) -> bool:
        """Return whether a field can be the image that others follow."""
        if not is_image(name) or name in self.keep or self.is_named_mask(name):
            return False
        return name in self.image or not _has_palette(value)

    def is_named_mask(self, name: str) -> bool:
        """Return whether a field is a mask by its name, or because it was said to be one."""
        if name in self.image:
            return False
        return name in self.nearest or (is_mask(name) and (is_image(name) or kind_of(name) == "npy"))


def _advice(names: Iterable[str]) -> str:
    name = next(iter(names))
    return (
        f"say which is the image that is resized and encoded (--image {name}), which is a mask that is resized by "
        f"nearest neighbour (--nearest {name}), and which stays as it is (--keep {name})"
    )


def _has_palette(value: Any) -> bool:
    if not isinstance(value, bytes):
        return getattr(value, "mode", "") == "P"
    try:
        return StillImage.open(value).has_palette
    except Exception:  # noqa: BLE001 -- told where it is decoded
        return False


def _names(option: str, value: Any) -> frozenset[str]:
    if value is None:
        return frozenset()
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else ("",)
    if not all(isinstance(name, str) and name for name in names):
        raise OptionError(f"{option} is {value!r}, expected the name of a field, or several names")
    return frozenset(names)
