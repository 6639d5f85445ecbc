"""Arrays and PIL images to image payloads, for samples that are written from code. Pixels never change silently.

    png    lossless. uint8 H x W, H x W x 3, H x W x 4; uint16 H x W; bool H x W as 1 bit. PIL: 1, L, LA, P (the
           palette stays), RGB, RGBA, I;16
    jpg    quality 95, chroma at half resolution. uint8 H x W, H x W x 3. PIL: L, RGB, CMYK
    webp   lossless, for pixels that must come back as they were. uint8 H x W x 3, H x W x 4. PIL: RGB, RGBA

What would have to be converted is refused, with the conversion to make. ICC profile and EXIF of a PIL image are kept
as they are, as its pixels are; other metadata is dropped. Of an animation the current frame is stored. The
bytes are the same for the same versions of Pillow and of the libraries it was built with.
"""

from __future__ import annotations

import io
from typing import Any

from shardpack.codecs.pillow_versions import all_pillow_versions
from shardpack.errors import OptionError

FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "jfif": "JPEG", "webp": "WEBP"}
JPEG_QUALITY = 95

_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": JPEG_QUALITY, "subsampling": "4:2:0"},
    "WEBP": {"lossless": True, "exact": True},  # exact: colours below transparent pixels as well
}
_MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
}
_SHAPES = {
    "PNG": "uint8 H x W, H x W x 3 or H x W x 4, uint16 H x W, or bool H x W",
    "JPEG": "uint8 H x W or H x W x 3",
    "WEBP": "uint8 H x W x 3 or H x W x 4",
}
_ALPHA = ("LA", "PA", "La", "RGBA", "RGBa")
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_KEPT = ("icc_profile", "exif", "transparency")


def is_image_value(value: Any) -> bool:
    """Return whether a value is what `encode_image` takes: a PIL image, or an array."""
    from PIL import Image

    return isinstance(value, Image.Image) or hasattr(value, "__array__")


def encode_image(kind: str, value: Any) -> bytes:
    """Return the payload of an image.

    Args:
        kind: One of `FORMATS`.
        value: A PIL image, or an array.

    Raises:
        OptionError: The format cannot hold the pixels as they are; says what to convert them to.
        Exception: Pillow raised an error of its own, for an image it cannot load.
    """
    from PIL import Image

    name = FORMATS[kind]
    is_pil = isinstance(value, Image.Image)
    image = value.copy() if is_pil else _from_array(name, value)
    if image.mode not in _MODES[name]:
        raise OptionError(_mode_problem(name, image))
    if name != "PNG" and "transparency" in image.info:
        raise OptionError(
            f"{name.lower()} cannot hold a transparent colour; delete image.info['transparency'], or store a png"
        )
    image.info = {key: image.info[key] for key in _KEPT if key in image.info}
    kept = {key: image.info[key] for key in _KEPT[:2] if image.info.get(key)}
    buffer = io.BytesIO()
    image.save(buffer, name, **_OPTIONS[name], **kept)
    return buffer.getvalue()


def versions() -> dict[str, str]:
    """Return the versions that decide the bytes of an image: of Pillow, and of the encoders it was built with."""
    found = all_pillow_versions()
    return {name: found[name] for name in ("pillow", "jpg", "zlib", "webp") if name in found}


def _from_array(name: str, value: Any) -> Any:
    import numpy as np
    from PIL import Image

    if isinstance(value, np.ma.MaskedArray):
        raise OptionError("a masked array would lose its mask; store value.filled(...)")
    pixels = np.asarray(value)
    depth = pixels.dtype.newbyteorder("=")
    grey = pixels.ndim == 2
    colours = pixels.shape[2] if pixels.ndim == 3 else 0
    if depth == np.uint8 and (grey or colours in (3, 4)):
        fits = name == "PNG" or (name == "JPEG" and colours != 4) or (name == "WEBP" and not grey)
    else:
        fits = name == "PNG" and grey and depth in (np.uint16, np.bool_)
    if not fits or not pixels.size:
        raise OptionError(
            f"got an array of {depth} {' x '.join(map(str, pixels.shape)) or 'without shape'}; {name.lower()} "
            f"holds {_SHAPES[name]}: convert the array, or store it as npy"
        )
    if depth == np.bool_:
        return Image.fromarray(pixels.astype(np.uint8) * 255).convert("1", dither=Image.Dither.NONE)
    return Image.fromarray(np.ascontiguousarray(pixels, dtype=depth))


def _mode_problem(name: str, image: Any) -> str:
    mode, known = image.mode, ", ".join(_MODES[name])
    if mode in _ALPHA:
        advice = 'drop the alpha with image.convert("RGB"), or store a png of mode RGBA'
    elif mode in _DEEP:
        advice = 'more than 8 bits a pixel are kept by "png" (mode I;16, or a uint16 array) and "npy"'
    else:
        advice = 'convert it with image.convert("RGB"), or store a png'
    return f"{name.lower()} cannot hold mode {mode!r} as it is, only {known}; {advice}"
