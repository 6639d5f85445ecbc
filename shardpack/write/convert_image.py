"""`ImageConversion`: one image, resized and encoded anew, or left as it is where that serves as well."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from shardpack.codecs.colour import in_srgb, unpacked
from shardpack.codecs.field_types import kind_of
from shardpack.codecs.geometry import UPRIGHT, Geometry, turned_size
from shardpack.codecs.image_codec import ImageCodec
from shardpack.codecs.jxl import pack_jpeg
from shardpack.codecs.resize import MAX_SIDE, Cutout, Resize
from shardpack.codecs.still_image import StillImage, max_pixels, orientation_of, pil_copy, resized, upright
from shardpack.errors import SourceError
from shardpack.write.transform import Counts

ENCODED = "image.encoded"  # encoded anew
UNCHANGED = "image.unchanged"  # nothing to do: upright, and not larger than asked
KEPT = "image.kept"  # would not have become smaller
ANIMATED = "image.animated"  # has several frames or pages
RESTORED = "image.restored"  # a JPEG out of a JPEG XL
GROWN = "image.grown"  # of those encoded: are larger now, as was asked for
BYTES_BEFORE, BYTES_AFTER = "image.bytes_before", "image.bytes_after"  # of all images that came as bytes

_SAME_NAME = {"jpg": ("jpg", "jpeg", "jfif")}
_OWN = {"jpg": "jpg", "avif": "avif", "webp": "webp"}  # codec by the format of an image that is resized; else png
_PLAIN_PALETTES = ("P", "1")  # modes that a PNG holds as well


class Converted(NamedTuple):
    """What is stored in place of an image, under which name, and what happened to its pixels."""

    name: str
    value: Any
    geometry: Geometry


@dataclass(frozen=True, slots=True)
class ImageConversion:
    """How images are resized; how they are encoded, each call says.

    Attributes:
        resize: None keeps sizes.
        first_frame: Whether of animations the first frame is taken; else they stay as they are.
    """

    resize: Resize | None
    first_frame: bool

    def convert(self, name: str, value: Any, codec: ImageCodec | None, counts: Counts) -> Converted:
        """Return what takes the place of the field `name`.

        Args:
            name: Name of the field.
            value: Its payload; or an array or PIL image, by a function of the user.
            codec: None keeps the format of an image that is resized, or writes PNG for formats that are only read;
                without a resize, it leaves the image as it is.
            counts: Gets what was done.

        Raises:
            SourceError: The image cannot be stored as asked without losing bits.
            DecodeError: It has too many pixels, or is a JPEG XL that was not made from a JPEG.
            MissingDependencyError: A library is not installed.
            Exception: Pillow raised an error of its own for garbage.
        """
        if not isinstance(value, (bytes, bytearray, memoryview)):
            return self._from_pixels(name, value, codec, counts)
        payload = bytes(value)
        still = StillImage.open(payload)
        if still.is_animated and not self.first_frame:
            done, made = ANIMATED, None
        elif codec is not None and codec.name == "jxl":
            done, made = _to_jxl(name, payload, still)
        else:
            done, made = self._encoded(name, payload, still, codec)
        made = made or Converted(name, value, Geometry.unchanged(still.height, still.width))
        counts[done] += 1
        counts[GROWN] += len(made.value) > len(payload)
        counts[BYTES_BEFORE] += len(payload)
        counts[BYTES_AFTER] += len(made.value)
        return made

    def _encoded(
        self, name: str, payload: bytes, still: StillImage, codec: ImageCodec | None
    ) -> tuple[str, Converted | None]:
        """Return (what was done, the result); no result leaves the image as it is."""
        geometry = self._geometry(still)
        same_pixels = geometry.is_unchanged and not still.is_animated
        if codec is None and (same_pixels or not (self.resize or still.is_animated)):  # nothing is asked of it
            return UNCHANGED, None
        to_jpeg = codec is not None and codec.name == "jpg"
        if still.is_jxl and to_jpeg and (same_pixels or self.resize is None):  # its orientation stays in it
            unchanged = Geometry.unchanged(still.height, still.width)
            return RESTORED, Converted(_renamed(name, "jpg"), still.payload, unchanged)
        codec = codec or _own_codec(still)
        encoded = codec.encode(_pixels(still, geometry, codec))
        if same_pixels and len(encoded) >= len(payload) and _may_stay(still, codec):
            return KEPT, None
        return ENCODED, Converted(_renamed(name, codec.extension), encoded, geometry)

    def _geometry(self, still: StillImage) -> Geometry:
        upright = still.geometry()
        return still.geometry(self._target(upright.target.height, upright.target.width))

    def _target(self, height: int, width: int) -> Cutout:
        """Return what becomes of an upright image of a size.

        Raises:
            SourceError: It would become too large.
        """
        if self.resize is None:
            return Cutout.unchanged(height, width)
        target = self.resize.target(height, width)
        if target.height * target.width > max_pixels() or max(target.height, target.width) > MAX_SIDE:
            raise SourceError(
                f"image would become {target.width} x {target.height} pixels by {self.resize}; choose another size"
            )
        return target

    def _from_pixels(self, name: str, value: Any, codec: ImageCodec | None, counts: Counts) -> Converted:
        image = pil_copy(value)
        height, width, orientation = image.height, image.width, orientation_of(image)
        target = self._target(*turned_size(height, width, orientation))
        geometry = Geometry(height, width, target, orientation)
        if codec is not None and codec.name == "jxl":
            raise SourceError("jxl is made of JPEGs, not of pixels; return bytes, or choose another codec")
        counts[ENCODED] += 1
        if codec is None and geometry.is_unchanged:  # encoded as other values of its field are
            return Converted(name, value, geometry)
        if orientation != UPRIGHT:
            image = upright(image)
        if codec is None:
            return Converted(name, resized(unpacked(image), target), geometry)
        payload = codec.encode(in_srgb(resized(unpacked(image), target)))
        return Converted(_renamed(name, codec.extension), payload, geometry)


def _to_jxl(name: str, payload: bytes, still: StillImage) -> tuple[str, Converted | None]:
    packed = None if still.is_jxl or still.extension != "jpg" else pack_jpeg(payload)
    if packed is None or len(packed) >= len(payload):
        still.opened.load()  # raises if it is damaged
        return KEPT, None
    return ENCODED, Converted(_renamed(name, "jxl"), packed, Geometry.unchanged(still.height, still.width))


def _pixels(still: StillImage, geometry: Geometry, codec: ImageCodec) -> Any:
    """Return the image as it is to be encoded: upright, resized, in colours of sRGB."""
    if bits := still.lost_bits:
        raise SourceError(
            f"image has {bits} bits a channel, of which only 8 can be read here; convert it, or keep its field as it "
            "is with keep (--keep)"
        )
    image, scale = still.load(geometry.target)
    if (
        codec.name == "png"
        and geometry.is_unchanged
        and image.mode in _PLAIN_PALETTES
        and "icc_profile" not in image.info
    ):
        return image.copy()
    return in_srgb(resized(unpacked(image), geometry.target, scale))


def _own_codec(still: StillImage) -> ImageCodec:
    """Return the codec of the image's own format, if it can be written."""
    name = _OWN.get(still.extension, "png")
    return _codec("webp:lossless" if name == "webp" and not still.is_lossy else name)


_codec = cache(ImageCodec.parse)  # which looks versions up


def _may_stay(still: StillImage, codec: ImageCodec) -> bool:
    """Return whether the image as it is serves as well as the one that was encoded from the same pixels."""
    if codec.lossy:
        return still.is_lossy
    return codec.extension == still.extension and not still.is_lossy


def _renamed(name: str, extension: str) -> str:
    kind = kind_of(name)
    return name if kind in _SAME_NAME.get(extension, (extension,)) else name.removesuffix(kind) + extension
