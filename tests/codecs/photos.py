"""Images made in code: smooth, as photos are, so that lossy codecs and resizers stay close to them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


def smooth(height=60, width=90, channels=3, seed=0):
    """Return uint8 (height, width, channels), or (height, width) for one channel."""
    rng = np.random.default_rng(seed)
    small = rng.integers(30, 220, (4, 6, channels), dtype=np.uint8)
    image = Image.fromarray(small.squeeze()).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def encoded(image, extension="jpg", *, orientation=None, **options):
    """Return the payload of an array or PIL image."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    if extension == "jpg":
        options = {"quality": 95, **options}
    buffer = io.BytesIO()
    image.save(buffer, {"jpg": "jpeg", "tif": "tiff", "jp2": "jpeg2000"}.get(extension, extension), **options)
    return buffer.getvalue()


def decoded(payload):
    """Return (loaded PIL image) of a payload."""
    image = Image.open(io.BytesIO(payload))
    image.load()
    return image


def animation(extension="gif", frames=3, **options):
    first, *others = [Image.fromarray(smooth(20, 30, seed=number)) for number in range(frames)]
    return encoded(first, extension, save_all=True, append_images=others, **options)


def png_of_16_bit_colour(height=3, width=4):
    """Pillow cannot write one."""
    import struct
    import zlib

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + bytes(at % 256 for at in range(6 * width)) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def psnr(one, other):
    error = np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2)
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)
