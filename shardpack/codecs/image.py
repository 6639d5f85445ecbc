"""Images as arrays, tensors and PIL images, by webdataset's decoding names.

    pil                      PIL image in the mode it is stored in (webdataset converts it to RGB)
    pill pilrgb pilrgba      PIL image in mode L, RGB, RGBA
    l8 rgb8 rgba8            uint8 array: H x W, H x W x 3, H x W x 4
    l rgb rgba               the same as float32, 0..1: divided by 255
    torchl8 torchrgb8 ...    tensors, channels first: H x W, 3 x H x W, 4 x H x W; `torch` is `torchrgb`

How unusual images are treated, everywhere in shardpack:

- Orientation: EXIF is applied only with `exif_transpose`, so that labels made for the stored pixels fit; but Pillow
  always applies that of a TIFF.
- 16-bit grey becomes 8-bit by its upper byte, as 16-bit colour does inside Pillow; `pil` keeps 16 bits.
  32-bit integers and floats have no agreed range: a DecodeError, except for `pil`.
- Alpha, and a transparent colour of a palette or PNG, is dropped, not blended, if the name has no alpha; an image
  without alpha is opaque.
- CMYK, YCCK: Pillow's plain conversion. ICC profiles are never applied.
- Animations and files with several pages: the first frame.
- Masks, whose pixels are numbers of classes: resized by nearest neighbour, so that no new numbers arise; one channel of
  an image with a palette is the number in the palette, and 16 bits are a DecodeError, except for `pil`.
- The bytes decide the format, not the name, but only among the formats of `field_types.py`: a disguised EPS would
  start Ghostscript. More pixels than `PIL.Image.MAX_IMAGE_PIXELS` are a DecodeError and are not decoded.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.codecs.crop import FieldFrame
from shardpack.codecs.field_types import IMAGE_EXTENSIONS, kind_of
from shardpack.codecs.geometry import UPRIGHT, turned_size
from shardpack.codecs.image_options import ImageOptions, ImagePlan
from shardpack.codecs.jxl import is_jxl, restore_jpeg
from shardpack.errors import DecodeError, MissingDependencyError, OptionError

Pixels = npt.NDArray[Any]
_WITH_PALETTE = ("P", "PA")
_ORIENTATION = 0x0112  # EXIF 2.32, 4.6.5: 1 is upright, 5 to 8 swap width and height


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

    @property
    def dtype(self) -> type[np.generic]:
        """Type of the pixels."""
        return np.float32 if self.floats else np.uint8

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


def decode_with_pillow(payload: bytes, form: Form, options: ImageOptions, frame: FieldFrame | None = None) -> Any:
    """Return an image as a loaded PIL image in the form's mode, with size, part and orientation as in the options.

    Raises:
        DecodeError: The image has too many pixels, or pixels that the mode cannot hold, or does not fit the frame.
        Exception: Pillow raised an error of its own for garbage.
    """
    image = open_image(payload)
    turns_itself = image.format == "TIFF"
    if turns_itself:
        image.load()  # the size is that of the upright image only then
    wants_turn = options.exif_transpose and not turns_itself
    orientation = image.getexif().get(_ORIENTATION, UPRIGHT) if wants_turn else UPRIGHT
    turn = transposition(orientation)
    stored = image.size
    orientation = orientation if turn is not None else UPRIGHT
    plan = options.plan(*turned_size(image.height, image.width, orientation), frame, orientation)
    scale = plan.scale if turn is None else _dividing(plan.scale, stored)
    if not options.is_mask:
        image.draft("L" if form.mode == "L" else None, (stored[0] // scale, stored[1] // scale))
    image.load()
    if image.size == stored:  # only JPEG has a draft
        scale = 1
    is_mask = image.mode in _WITH_PALETTE if options.is_mask is None else options.is_mask
    image = _in_mode(image, form.mode, is_mask=is_mask)
    if turn is not None:
        image = image.transpose(turn)
    return shown(image, plan, scale, is_mask=is_mask)


def _dividing(scale: int, size: tuple[int, int]) -> int:
    """Return the scale, halved until it divides both sides: else the last pixels would be first after turning."""
    while size[0] % scale or size[1] % scale:
        scale //= 2
    return scale


def shown(image: Any, plan: ImagePlan, scale: int, *, is_mask: bool = False) -> Any:
    """Return the part of a PIL image that is shown, resized and mirrored.

    Args:
        image: The image, upright, as decoded.
        plan: What to do with it.
        scale: The scale at which it was decoded. If the full size is not a multiple of it, the last row and
            column are partly padding.
        is_mask: Whether pixels are taken from the nearest neighbour.
    """
    from PIL import Image

    if plan.size is not None:
        part = plan.part_at(scale)
        if part != (0, 0, *image.size) or plan.size != image.size[::-1]:
            method = Image.Resampling.NEAREST if is_mask else Image.Resampling.BILINEAR
            image = image.resize(plan.size[::-1], method, box=part)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if plan.mirrored else image


def decode_problem(field: str, payload: bytes) -> str | None:
    """Return why the first frame of an image does not decode with Pillow, or None.

    An image in a format that the installed Pillow cannot read has no problems. More pixels than
    `PIL.Image.MAX_IMAGE_PIXELS` are a problem, and are not decoded. Costs as much as decoding.

    Args:
        field: Field name; a field that is not an image has no problems.
        payload: The whole payload.
    """
    extension = kind_of(field)
    if extension not in IMAGE_EXTENSIONS or not _formats([extension]):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `open_image` compares the size
            with open_image(payload, [extension]) as image:
                image.load()
    except DecodeError as error:
        return f"does not decode: {error}"
    except Exception as error:  # noqa: BLE001 -- decoders raise many kinds of errors for garbage (SyntaxError, IndexError)
        return f"does not decode: {describe_error(error, extension)}"
    return None


def describe_error(error: Exception, kind: str = "image") -> str:
    """Return what a decoder's error says of a payload; Pillow's own text would name the address of a buffer."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"Pillow knows no {kind} that begins like this"
    return f"{type(error).__name__}: {error}"


def open_image(payload: bytes, extensions: Iterable[str] = IMAGE_EXTENSIONS) -> Any:
    """Return an opened PIL image whose pixels are not loaded yet.

    Args:
        payload: The image.
        extensions: The formats to try. Only images are: trying all would let a disguised EPS start Ghostscript.

    Raises:
        DecodeError: The image has more pixels than Pillow's limit, or is a JPEG XL that was not made from a JPEG.
        MissingDependencyError: The image is a JPEG XL, and imagecodecs is not installed.
        Exception: Pillow raised an error of its own for garbage.
    """
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    if is_jxl(payload) and not _formats(["jxl"]):
        payload = restore_jpeg(payload, limit or float("inf"))
    image = Image.open(io.BytesIO(payload), formats=_formats(extensions))
    if limit is not None and image.width * image.height > limit:
        raise DecodeError(
            f"{image.width} x {image.height} pixels are more than Pillow's limit of {limit}; "
            "raise PIL.Image.MAX_IMAGE_PIXELS if you trust the image"
        )
    return image


def _formats(extensions: Iterable[str]) -> list[str]:
    """Return Pillow's names for the formats of some extensions, of those that it can open."""
    from PIL import Image

    known = Image.registered_extensions()
    return sorted({known.get(f".{extension}", "") for extension in extensions} & Image.OPEN.keys())


def is_turned(payload: bytes) -> bool:
    """Return whether a JPEG's EXIF orientation is not upright."""
    return b"Exif\0" in payload and transposition(open_image(payload).getexif().get(_ORIENTATION, UPRIGHT)) is not None


def transposition(orientation: int) -> Any:
    """Return the transposition that makes an image upright; None for upright ones and for unknown numbers."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return turns.get(orientation)


def _in_mode(image: Any, mode: str | None, *, is_mask: bool) -> Any:
    if mode is None or image.mode == mode:
        return image
    if is_mask and image.mode == "P" and mode == "L":
        from PIL import Image

        return Image.fromarray(np.asarray(image))  # the numbers of the colours
    if is_mask and image.mode.startswith("I"):
        raise DecodeError(f'a mask of mode {image.mode!r} has more than 8 bits, which would be lost; decode with "pil"')
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
