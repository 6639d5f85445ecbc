"""JPEG decoding with simplejpeg (libjpeg-turbo), from the extra `fast-jpeg`: faster than Pillow.

Decodes only files for which the result is that of Pillow: baseline and progressive, grey, YCbCr and
RGB, undamaged; others are left to Pillow. Both use the accurate integer DCT and fancy upsampling: pixels
are equal if both are built on the same libjpeg-turbo, and differ by a step or two otherwise. The GIL is
released while decoding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shardpack.codecs import opencv
from shardpack.codecs.crop import FieldFrame
from shardpack.codecs.image import Form, Pixels, shown
from shardpack.codecs.image_options import ImageOptions, ImagePlan

_COLORSPACES = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGBA"}
_RESIZED = {"L": "GRAY", "RGB": "RGBX", "RGBA": "RGBX"}  # Pillow's own memory layout, which it need not copy


def installed() -> Any:
    """Return the module simplejpeg, or None if it is not installed."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


def decode_jpeg(
    simplejpeg: Any,
    payload: bytes,
    form: Form,
    options: ImageOptions,
    *,
    cv2: Any = None,
    frame: FieldFrame | None = None,
    out: Pixels | None = None,
) -> Any:
    """Return a JPEG's pixels, uint8, H x W or H x W x channels, or None if Pillow has to decode it.

    Args:
        simplejpeg: The module.
        payload: An image of any format.
        form: Only its mode is used.
        options: All but `exif_transpose` is applied.
        cv2: The module that resizes, or None for Pillow.
        frame: Which part is shown, and whether mirrored.
        out: Contiguous memory to use for pixels of its shape, if that saves a copy.
    """
    plan = _plan(simplejpeg, payload, form, options, frame)
    if plan is None:
        return None
    height, width = plan.decoded_size
    is_shown = plan.size in (None, (height, width)) and plan.shows_all
    with_pillow = not is_shown and (cv2 is None or not opencv.suits(plan))
    has_place = is_shown and out is not None and out.shape[:2] == (height, width) and not plan.mirrored
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            payload,
            (_RESIZED if with_pillow else _COLORSPACES)[form.mode or ""],
            buffer=out if has_place else None,
            **({"min_height": height, "min_width": width} if plan.scale > 1 else {}),
        )
    except ValueError:  # damaged or unsupported: Pillow decides
        return None
    if pixels.shape[:2] != (height, width):
        return None
    if form.mode == "L":
        pixels = pixels[..., 0]
    if with_pillow:
        return _shown_by_pillow(pixels, form, plan)
    if not is_shown:
        return opencv.shown(cv2, pixels, plan, out)
    return pixels[:, ::-1] if plan.mirrored else pixels


def _plan(
    simplejpeg: Any, payload: bytes, form: Form, options: ImageOptions, frame: FieldFrame | None
) -> ImagePlan | None:
    """Return what to do with a file that decodes here as it does with Pillow; None for others."""
    from PIL import Image

    if payload[:3] != b"\xff\xd8\xff" or options.is_mask:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(payload)
    except ValueError:
        return None
    known = colours in ("Gray", "YCbCr") or (colours == "RGB" and form.mode != "L")
    if not known or height * width > (Image.MAX_IMAGE_PIXELS or height * width):
        return None
    return options.plan(height, width, frame)


def _shown_by_pillow(pixels: Pixels, form: Form, plan: ImagePlan) -> Pixels:
    from PIL import Image

    mode = "L" if form.mode == "L" else "RGBX"
    image = Image.frombuffer(mode, pixels.shape[1::-1], pixels, "raw", mode, 0, 1)
    return np.asarray(shown(image, plan, plan.scale).convert(form.mode))


def decode_reduced(payload: bytes, mode: str, height: int, width: int, scale: int) -> Any:
    """Return a JPEG as a PIL image, reduced by 1, 2, 4 or 8; None if Pillow has to decode it.

    Args:
        payload: A JPEG of a known size.
        mode: Pillow's mode of it; only L and RGB are decoded.
        height, width: Size of the JPEG.
        scale: What to divide height and width by; they are rounded up.
    """
    simplejpeg = installed()
    if simplejpeg is None or mode not in {"L", "RGB"}:
        return None
    from PIL import Image

    size = (-(-height // scale), -(-width // scale))
    reduced = {"min_height": size[0], "min_width": size[1]} if scale > 1 else {}
    try:
        # Not as RGBX, which Pillow need not copy: it resizes three channels in 0.8 of the time of four.
        pixels = simplejpeg.decode_jpeg(payload, _COLORSPACES[mode], **reduced)
    except ValueError:  # damaged or unsupported: Pillow decides
        return None
    if pixels.shape[:2] != size:
        return None
    return Image.frombuffer(mode, size[::-1], pixels, "raw", mode, 0, 1)


def decoder_versions() -> dict[str, str]:
    """Return the version that decides pixels; nothing where Pillow decodes all."""
    simplejpeg = installed()
    return {} if simplejpeg is None else {"simplejpeg": str(simplejpeg.__version__)}
