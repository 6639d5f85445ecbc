"""Colours of images that are stored anew: what they mean is in the pixels afterwards, not beside them.

- An ICC profile other than sRGB is applied (relative colorimetric, black point compensation); none is stored. A
  profile that is damaged, or for another kind of pixels, is ignored, as browsers do.
- CMYK and YCCK become RGB: by their profile, else by Pillow's plain conversion. So do palettes, and other models.
- Alpha stays where the format holds it; else the image is laid on white. A transparent colour counts as alpha.
- More than 8 bits a channel stay, for formats that hold them. 1 bit becomes grey.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np

_ALPHA = ("LA", "RGBA")
_DEEP = ("I;16", "I", "F")
_PLAIN = ("L", "RGB", *_ALPHA)
_COLOURS = {"LA": "L", "RGBA": "RGB"}  # a mode without what its profile does not speak of
_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_BLACK_POINT = 0x2000  # cmsFLAGS_BLACKPOINTCOMPENSATION in lcms2.h
_TINY_SRGB = ("c2", "c2ci", "uRGB")  # descriptions of small profiles that stand for sRGB


def unpacked(image: Any) -> Any:
    """Return a loaded PIL image with colours instead of numbers in a palette, so that it can be resized."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in {"PNG", "PPM"}):
        return _sixteen_bits(image)
    if mode in _DEEP:
        return image
    if mode == "1":
        return image.convert("L")
    if mode in {"P", "PA", "RGBa", "La"} or "transparency" in image.info:
        opaque = "transparency" not in image.info and mode == "P"
        return _keeping(image, "RGB" if opaque else "LA" if mode == "La" else "RGBA")
    return image


def in_srgb(image: Any) -> Any:
    """Return an unpacked image as L, LA, RGB or RGBA, in colours of sRGB; deep ones as they are."""
    if image.mode in _DEEP:
        return image
    image = _with_profile_applied(image)
    return image if image.mode in _PLAIN else image.convert("RGB")


def on_white(image: Any) -> Any:
    """Return an image in colours of sRGB, without alpha."""
    if image.mode not in _ALPHA:
        return image
    from PIL import Image

    ground = Image.new(image.mode[:-1], image.size, "white")
    ground.paste(image.convert(ground.mode), mask=image.getchannel("A"))
    return ground


def _keeping(image: Any, mode: str) -> Any:
    """Return an image in another mode, with its profile."""
    profile = image.info.get("icc_profile")
    image = image.convert(mode)
    image.info = {} if profile is None else {"icc_profile": profile}
    return image


def _sixteen_bits(image: Any) -> Any:
    """Return grey of 16 bits in the machine's order of bytes."""
    from PIL import Image

    if image.mode == "I;16":
        return image
    return Image.fromarray(np.clip(np.asarray(image), 0, 65535).astype(np.uint16))


def _with_profile_applied(image: Any) -> Any:
    profile = image.info.get("icc_profile")
    colours = _COLOURS.get(image.mode, image.mode)
    conversion = _conversion(profile, colours) if profile else None
    if conversion is None:
        return image
    from PIL import ImageCms

    converted: Any = ImageCms.applyTransform(image.convert(colours), conversion)
    if colours == "L":
        converted = converted.convert("L")
    if image.mode in _ALPHA:
        converted.putalpha(image.getchannel("A"))
    return converted


@lru_cache(maxsize=16)
def _conversion(profile: bytes, mode: str) -> Any:
    """Return the transform of a profile to sRGB; None if there is nothing to do."""
    from PIL import ImageCms

    if mode not in _SPACES:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        is_srgb = name in _TINY_SRGB or ("srgb" in name.lower() and "linear" not in name.lower())
        if source.profile.xcolor_space.strip() != _SPACES[mode] or is_srgb:
            return None
        return ImageCms.buildTransform(
            source,
            _srgb(),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            _BLACK_POINT,  # type: ignore[arg-type]  # Pillow 10 has no Flags
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@lru_cache(maxsize=1)
def _srgb() -> Any:
    from PIL import ImageCms

    return ImageCms.createProfile("sRGB")
