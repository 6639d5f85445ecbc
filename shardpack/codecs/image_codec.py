"""`ImageCodec`: how images are stored when they are encoded anew.

    jpg[:q=90]            lossy, chroma at half resolution; no alpha
    webp[:q=85]           lossy
    webp:lossless         the pixels come back
    png                   the pixels come back; grey may have 16 bits
    avif[:q=75]           lossy, small, slow to make: needs a Pillow with AVIF, 11.3 or later
    npy                   pixels as an array: nothing to decode while training
    npy:rgb               the same, always H x W x 3 uint8, so that batches stack
    jxl                   a JPEG in a smaller form from which the very JPEG comes back; other images stay as they are

The same pixels give the same bytes with the same versions of the libraries, which `describe` names: each image is
encoded by one thread.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shardpack.codecs.arrays import encode_npy
from shardpack.codecs.colour import on_white
from shardpack.codecs.jxl import jxl_versions
from shardpack.codecs.pillow_versions import pillow_versions
from shardpack.errors import OptionError, SourceError

_QUALITIES = {"jpg": 90, "webp": 85, "avif": 75}  # of those that are lossy, unless another is asked for
CODEC_NAMES = ("jpg", "webp", "png", "avif", "npy", "jxl")
_CHOICES = "jpg[:q=90], webp[:q=85], webp:lossless, png, avif[:q=75], npy, npy:rgb, jxl"
_ALIASES = {"jpeg": "jpg"}
_OPTION = re.compile(r"([a-z0-9]+)(?::(?:q=([0-9]{1,3})|(lossless|rgb)))?")
_DEEP = ("I;16", "I", "F")
_MODES = {  # Pillow's modes that each holds as they are, besides RGB
    "jpg": ("L",),
    "webp": ("RGBA",),
    "png": ("L", "LA", "RGBA", "P", "1", "I;16"),
    "avif": ("RGBA",),
    "npy": ("L", "RGBA", *_DEEP),
}


@dataclass(frozen=True, slots=True)
class ImageCodec:
    """A format, and how images are encoded in it.

    Attributes:
        name: "jpg", "webp", "png", "avif", "npy" or "jxl": also the extension of its fields.
        quality: Quality of a lossy codec, 1 to 100; None for others.
        rgb: Whether arrays always have three channels.
    """

    name: str
    quality: int | None = None
    rgb: bool = False

    @classmethod
    def parse(cls, text: str) -> ImageCodec:
        """Return what "jpg", "jpg:q=90", "webp:lossless" and the like say.

        Raises:
            OptionError: It is not a codec, or not an option of it; names the choices.
            MissingDependencyError: A library that it needs is not installed.
        """
        found = _OPTION.fullmatch(text) if isinstance(text, str) else None
        name = _ALIASES.get(found[1], found[1]) if found else ""
        if found is None or name not in CODEC_NAMES:
            raise OptionError(f"unknown codec {text!r}; choose one of {_CHOICES}")
        quality, word = found[2], found[3]
        fits = {"lossless": name == "webp", "rgb": name == "npy", None: quality is None or name in _QUALITIES}[word]
        if not fits or not 1 <= int(quality or 1) <= 100:
            raise OptionError(
                f"codec {text!r} has an option that does not fit; choose one of {_CHOICES}, q from 1 to 100"
            )
        default = None if word == "lossless" else _QUALITIES.get(name)
        codec = cls(name, default if quality is None else int(quality), rgb=word == "rgb")
        codec.versions()  # raises if a library is missing
        return codec

    def __str__(self) -> str:
        if self.quality is not None:
            return f"{self.name}:q={self.quality}"
        return f"{self.name}:lossless" if self.name == "webp" else f"{self.name}{':rgb' * self.rgb}"

    @property
    def extension(self) -> str:
        """Last part of the name of a field that is stored so."""
        return self.name

    @property
    def lossy(self) -> bool:
        """Whether decoded pixels differ from those that were encoded."""
        return self.quality is not None

    def describe(self) -> Mapping[str, Any]:
        """Return what decides the bytes: the options and the versions of the libraries."""
        return {"codec": str(self), **self.versions()}

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries that decide the bytes.

        Raises:
            MissingDependencyError: One of them is not installed.
        """
        if self.name == "npy":
            return {}
        return jxl_versions() if self.name == "jxl" else pillow_versions({"png": "zlib"}.get(self.name, self.name))

    def encode(self, image: Any) -> bytes:
        """Return the payload of an image.

        Args:
            image: A loaded PIL image as `colour.plain` returns it, or, for `png` alone, also of mode P or 1; or an
                array that Pillow takes. Its metadata is not stored.

        Raises:
            SourceError: The codec cannot hold the image without losing bits.
            Exception: Pillow raised an error of its own, for sizes that the format cannot hold.
        """
        if isinstance(image, np.ndarray):
            from PIL import Image

            image = Image.fromarray(image)
        image = self._fitting(image)
        if self.name == "npy":
            return encode_npy(np.asarray(image))
        buffer = io.BytesIO()
        image.info = {name: image.info[name] for name in ("transparency",) if name in image.info and image.mode == "P"}
        image.save(buffer, **self._options())
        return buffer.getvalue()

    def _fitting(self, image: Any) -> Any:
        """Return an image in a mode that the codec holds."""
        mode, held = image.mode, _MODES.get(self.name, ())
        if mode == "RGB" or (mode in held and not self.rgb):
            return image
        if mode in _DEEP:
            kept = "png and npy hold 16 bits of grey, npy any numbers" if mode == "I;16" else "npy holds them"
            raise SourceError(
                f"pixels of mode {mode!r} have more than 8 bits, which {self} would lose; {kept}: encode them so, or "
                "leave the image as it is"
            )
        if mode in {"LA", "RGBA"} and ("RGBA" not in held or self.rgb):
            image = on_white(image)
            return image if image.mode in held and not self.rgb else image.convert("RGB")
        return image.convert("RGBA" if mode == "LA" else "RGB")

    def _options(self) -> dict[str, Any]:
        match self.name:
            case "jpg":
                return {"format": "JPEG", "quality": self.quality, "subsampling": "4:2:0"}
            case "webp" if self.lossy:
                return {"format": "WEBP", "quality": self.quality}
            case "webp":  # exact: colours below transparent pixels as well
                return {"format": "WEBP", "lossless": True, "exact": True}
            case "avif":  # threads and tiles change the bytes
                return {"format": "AVIF", "quality": self.quality, "max_threads": 1, "autotiling": False, "speed": 8}
        return {"format": "PNG"}
