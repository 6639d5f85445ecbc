"""JPEGs by simplejpeg (libjpeg-turbo), the extra `fast-jpeg`: pixels without Pillow's detours.

Only what it certainly does as Pillow does: baseline and progressive, grey, YCbCr and RGB, not
damaged. Everything else is left to Pillow. Both decode with the accurate integer DCT and fancy
upsampling; where they are built on the same libjpeg-turbo the pixels are equal, and else differ by
a step or two. Releases the GIL while it decodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shardpack.codecs.image import Form, ImageOptions, Pixels, resized

_COLORSPACES = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGBA"}
_RESIZED = {"L": "GRAY", "RGB": "RGBX", "RGBA": "RGBX"}  # as Pillow keeps pixels: it need not copy them


def installed() -> Any:
    """Return the module simplejpeg, or None."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


def decode_jpeg(simplejpeg: Any, payload: bytes, form: Form, options: ImageOptions, out: Pixels | None) -> Any:
    """Return a JPEG's pixels, H x W or H x W x channels, uint8; None if Pillow should do it.

    Args:
        simplejpeg: The module.
        payload: Any image.
        form: Its mode counts.
        options: All but `exif_transpose`, which is for the caller to see to.
        out: Where pixels may be put if they need not be resized: contiguous, of the shape they have.
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
            found: Pixels = simplejpeg.decode_jpeg(payload, _COLORSPACES[form.mode], buffer=buffer, **reduced)
            return found[..., 0] if form.mode == "L" else found
        pixels = simplejpeg.decode_jpeg(payload, _RESIZED[form.mode], **reduced)
    except ValueError:  # damaged, or of a kind it does not know: Pillow has the last word
        return None
    if pixels.shape[:2] != size:
        return None
    mode = "L" if form.mode == "L" else "RGBX"
    image = Image.frombuffer(mode, size[::-1], pixels, "raw", mode, 0, 1)
    image = resized(image, options.size, height / scale, width / scale)
    return np.asarray(image.convert(form.mode))
