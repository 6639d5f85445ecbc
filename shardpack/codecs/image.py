"""Images as arrays, tensors and PIL images, by webdataset's decoding names.

    pil                      PIL image in the mode it is stored in (webdataset converts it to RGB)
    pill pilrgb pilrgba      PIL image in mode L, RGB, RGBA
    l8 rgb8 rgba8            uint8 array: H x W, H x W x 3, H x W x 4
    l rgb rgba               the same as float32, 0..1: divided by 255
    torchl8 torchrgb8 ...    tensors, channels first: H x W, 3 x H x W, 4 x H x W; `torch` is `torchrgb`

How unusual images are treated, everywhere in shardpack:

- Orientation: EXIF is applied only with `exif_transpose`, so that labels made for the stored pixels fit.
- 16-bit grey becomes 8-bit by its upper byte, as 16-bit colour does inside Pillow; `pil` keeps 16 bits.
  32-bit integers and floats have no agreed range: a DecodeError, except for `pil`.
- Alpha, and a transparent colour of a palette or PNG, is dropped, not blended, if the name has no alpha; an image
  without alpha is opaque.
- CMYK, YCCK: Pillow's plain conversion. ICC profiles are never applied.
- Animations and files with several pages: the first frame.
- The bytes decide the format, not the name, but only among the formats of `field_types.py`: a disguised EPS would
  start Ghostscript. More pixels than `PIL.Image.MAX_IMAGE_PIXELS` are a DecodeError and are not decoded.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.codecs.jxl import is_jxl, restore_jpeg
from shardpack.errors import DecodeError, MissingDependencyError, OptionError

Pixels = npt.NDArray[Any]
_ORIENTATION = 0x0112  # EXIF 2.32, 4.6.5: 1 is upright, 5 to 8 swap width and height
_SCALES = (8, 4, 2)  # supported by libjpeg-turbo and by Pillow's draft


@dataclass(frozen=True, slots=True)
class Form:
    """The result that a decoding name selects.

    Attributes:
        kind: "pil", "numpy" or "torch".
        mode: Pillow's mode, "L", "RGB" or "RGBA", or None for the stored one.
        floats: Whether pixels are float32 in 0..1 instead of uint8.
    """

    kind: str
    mode: str | None
    floats: bool = False

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of an image in this form."""
        if self.mode == "L":
            return (height, width)
        channels = len(self.mode or "")
        return (channels, height, width) if self.kind == "torch" else (height, width, channels)

    def empty(self, height: int, width: int, *batch: int) -> Pixels:
        """Return uninitialized memory for an image, or for a batch of images."""
        return np.empty((*batch, *self.shape(height, width)), np.float32 if self.floats else np.uint8)

    def channels_last(self, array: Pixels) -> Pixels:
        """Return a view of an image in this form with channels last, as Pillow has them."""
        return array.transpose(1, 2, 0) if self.kind == "torch" and array.ndim == 3 else array

    def finished(self, array: Pixels) -> Any:
        """Return an image or batch as users get it: for torch, a tensor that shares the array's memory."""
        return _torch().from_numpy(array) if self.kind == "torch" else array


FORMS = {
    "pil": Form("pil", None),
    **{f"pil{mode.lower()}": Form("pil", mode) for mode in ("L", "RGB", "RGBA")},
    **{f"{mode.lower()}8": Form("numpy", mode) for mode in ("L", "RGB", "RGBA")},
    **{mode.lower(): Form("numpy", mode, floats=True) for mode in ("L", "RGB", "RGBA")},
    **{f"torch{mode.lower()}8": Form("torch", mode) for mode in ("L", "RGB", "RGBA")},
    **{f"torch{mode.lower()}": Form("torch", mode, floats=True) for mode in ("L", "RGB", "RGBA")},
    "torch": Form("torch", "RGB", floats=True),
}


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Size and orientation of decoded images.

    Attributes:
        size: (height, width) to resize to, bilinear with antialiasing, without keeping the aspect ratio.
        min_size: (height, width) that `reduced` keeps at least; images are not resized to it.
        reduced: Let the JPEG decoder compute only half, a quarter or an eighth of width and height, if the
            result is at least `size` or `min_size`.
        exif_transpose: Rotate and flip the image according to its EXIF orientation before resizing.
        fast_jpeg: Use simplejpeg if it is installed and supports the file.
    """

    size: tuple[int, int] | None = None
    min_size: tuple[int, int] | None = None
    reduced: bool = True
    exif_transpose: bool = False
    fast_jpeg: bool = True

    def __post_init__(self) -> None:
        if self.size is not None and self.min_size is not None:
            raise OptionError("give size or min_size, not both")
        for name in ("size", "min_size"):
            object.__setattr__(self, name, as_pair(name, getattr(self, name)))

    def scale(self, height: int, width: int) -> int:
        """Return the factor by which a JPEG of this size is reduced while decoding: 1, 2, 4 or 8."""
        wanted = self.size or self.min_size
        if wanted is None or not self.reduced:
            return 1
        spare = min(height // wanted[0], width // wanted[1])
        return next((scale for scale in _SCALES if scale <= spare), 1)


def as_pair(name: str, value: Any) -> tuple[int, int] | None:
    """Return (height, width) of a pair, or of one number for a square.

    Raises:
        OptionError: The value is not a pair or number of pixels from 1 to 65535.
    """
    if value is None:
        return None
    pair = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(pair) != 2 or not all(isinstance(side, int) and 0 < side <= 65535 for side in pair):
        raise OptionError(f"{name} is {value!r}; expected (height, width) in pixels, or one number for a square")
    return pair


def form_of(name: str) -> Form:
    """Return the form that a decoding name selects.

    Raises:
        OptionError: The decoding name is unknown.
        MissingDependencyError: The form needs torch, which is not installed.
    """
    form = FORMS.get(name) if isinstance(name, str) else None
    if form is None:
        raise OptionError(f"unknown decoding name {name!r}; choose one of {', '.join(FORMS)}")
    if form.kind == "torch":
        _torch()
    return form


def decode_with_pillow(payload: bytes, form: Form, options: ImageOptions) -> Any:
    """Return an image as a loaded PIL image in the form's mode, with size and orientation as in the options.

    Raises:
        DecodeError: The image has too many pixels, or pixels that the mode cannot hold.
        Exception: Pillow raised an error of its own for garbage.
    """
    image = open_image(payload)
    turn, swaps = _turn(image) if options.exif_transpose else (None, False)
    wanted = options.size[::-1] if swaps and options.size is not None else options.size
    height, width = image.height, image.width
    scale = options.scale(width, height) if swaps else options.scale(height, width)
    image.draft("L" if form.mode == "L" else None, (width // scale, height // scale))
    image.load()
    image = _in_mode(image, form.mode)
    if wanted is not None:
        scale = scale if image.height < height else 1  # only JPEG has a draft
        image = resized(image, wanted, height / scale, width / scale)
    return image if turn is None else image.transpose(turn)


def resized(image: Any, wanted: tuple[int, int], height: float, width: float) -> Any:
    """Return a PIL image resized to (height, width).

    Args:
        image: The image as decoded, perhaps at reduced scale.
        wanted: (height, width) of the result.
        height, width: Size of the part to resize. If the full size is not a multiple of the scale, the
            last row and column are partly padding.
    """
    from PIL import Image

    if (image.height, image.width) == wanted:
        return image
    return image.resize(wanted[::-1], Image.Resampling.BILINEAR, box=(0, 0, width, height))


def open_image(payload: bytes) -> Any:
    """Return an opened PIL image whose pixels are not loaded yet.

    Raises:
        DecodeError: The image has more pixels than Pillow's limit, or is a JPEG XL that was not made from a JPEG.
        MissingDependencyError: The image is a JPEG XL, and imagecodecs is not installed.
        Exception: Pillow raised an error of its own for garbage.
    """
    from PIL import Image

    known = Image.registered_extensions()
    if is_jxl(payload) and ".jxl" not in known:
        payload = restore_jpeg(payload)
    formats = {known.get(f".{extension}", "") for extension in IMAGE_EXTENSIONS} & Image.OPEN.keys()
    image = Image.open(io.BytesIO(payload), formats=sorted(formats))
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise DecodeError(
            f"{image.width} x {image.height} pixels are more than Pillow's limit of {limit}; "
            "raise PIL.Image.MAX_IMAGE_PIXELS if you trust the image"
        )
    return image


def is_turned(payload: bytes) -> bool:
    """Return whether a JPEG's EXIF orientation is not upright."""
    return b"Exif\0" in payload and _turn(open_image(payload))[0] is not None


def _turn(image: Any) -> tuple[Any, bool]:
    """Return (the transposition that makes an image upright, or None; whether it swaps width and height)."""
    from PIL.Image import Transpose

    turns = {
        2: (Transpose.FLIP_LEFT_RIGHT, False),
        3: (Transpose.ROTATE_180, False),
        4: (Transpose.FLIP_TOP_BOTTOM, False),
        5: (Transpose.TRANSPOSE, True),
        6: (Transpose.ROTATE_270, True),
        7: (Transpose.TRANSVERSE, True),
        8: (Transpose.ROTATE_90, True),
    }
    return turns.get(image.getexif().get(_ORIENTATION), (None, False))


def _in_mode(image: Any, mode: str | None) -> Any:
    if mode is None or image.mode == mode:
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):  # "I": Pillow 10
        from PIL import Image

        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise DecodeError(f'pixels of mode {image.mode!r} have no agreed range; decode with "pil" and scale them')
    if mode != "RGBA":
        image.info.pop("transparency", None)  # Pillow would warn when dropping it
    return image.convert(mode)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError('decoding to tensors needs torch; pip install "shardpack[torch]"') from error
    return torch
