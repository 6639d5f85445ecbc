"""JPEG decoding with simplejpeg (libjpeg-turbo), from the extra `fast-jpeg`: faster than Pillow.

Decodes only files for which the result is that of Pillow: baseline and progressive, grey, YCbCr and
RGB, undamaged; others are left to Pillow. Both use the accurate integer DCT and fancy upsampling: pixels
are equal if both are built on the same libjpeg-turbo, and differ by a step or two otherwise. The GIL is
released while decoding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shardpack.codecs.image import Form, ImageOptions, Pixels, resized

_COLORSPACES = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGBA"}
_RESIZED = {"L": "GRAY", "RGB": "RGBX", "RGBA": "RGBX"}  # Pillow's own memory layout, which it need not copy


def installed() -> Any:
    """Return the module simplejpeg, or None if it is not installed."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


def decode_jpeg(simplejpeg: Any, payload: bytes, form: Form, options: ImageOptions, out: Pixels | None) -> Any:
    """Return a JPEG's pixels, uint8, H x W or H x W x channels, or None if Pillow has to decode it.

    Args:
        simplejpeg: The module.
        payload: An image of any format.
        form: Only its mode is used.
        options: All but `exif_transpose` is applied.
        out: Contiguous memory to use for pixels of its shape that need not be resized.
    """
    from PIL import Image

    assert form.mode is not None
    if payload[:3] != b"\xff\xd8\xff":
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(payload)
        known = colours in ("Gray", "YCbCr") or (colours == "RGB" and form.mode != "L")
        if not known or height * width > (Image.MAX_IMAGE_PIXELS or height * width):
            return None
        scale = options.scale(height, width)
        reduced = {"min_height": -(-height // scale), "min_width": -(-width // scale)} if scale > 1 else {}
        size = (-(-height // scale), -(-width // scale))
        if options.size in (None, size):
            buffer = out if out is not None and out.shape[:2] == size else None
            decoded: Pixels = simplejpeg.decode_jpeg(payload, _COLORSPACES[form.mode], buffer=buffer, **reduced)
            return decoded[..., 0] if form.mode == "L" else decoded
        pixels = simplejpeg.decode_jpeg(payload, _RESIZED[form.mode], **reduced)
    except ValueError:  # damaged or unsupported: Pillow decides
        return None
    if pixels.shape[:2] != size:
        return None
    mode = "L" if form.mode == "L" else "RGBX"
    image = Image.frombuffer(mode, size[::-1], pixels, "raw", mode, 0, 1)
    image = resized(image, options.size, height / scale, width / scale)
    return np.asarray(image.convert(form.mode))


def decode_reduced(payload: bytes, mode: str, height: int, width: int, scale: int) -> Any:
    """Return a JPEG as a PIL image, reduced by 1, 2, 4 or 8; None if Pillow has to decode it.

    Args:
        payload: A JPEG of a known size.
        mode: Pillow's mode of it; only L and RGB are decoded, RGB as RGBX, which Pillow need not copy.
        height, width: Of the JPEG.
        scale: What to divide height and width by; they are rounded up.
    """
    simplejpeg = installed()
    if simplejpeg is None or mode not in {"L", "RGB"}:
        return None
    from PIL import Image

    size = (-(-height // scale), -(-width // scale))
    reduced = {"min_height": size[0], "min_width": size[1]} if scale > 1 else {}
    layout = "L" if mode == "L" else "RGBX"
    try:
        pixels = simplejpeg.decode_jpeg(payload, _RESIZED[mode], **reduced)
    except ValueError:  # damaged or unsupported: Pillow decides
        return None
    if pixels.shape[:2] != size:
        return None
    return Image.frombuffer(layout, size[::-1], pixels, "raw", layout, 0, 1)


def decoder_versions() -> dict[str, str]:
    """Return the version that decides pixels; nothing where Pillow decodes all."""
    simplejpeg = installed()
    return {} if simplejpeg is None else {"simplejpeg": str(simplejpeg.__version__)}
