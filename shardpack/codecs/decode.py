"""Decode field payloads to Python values, by the last part of the field's name or by a decoding name.

These functions run in the thread that calls them: for `ds[i]` and `get_many` the caller's, for a loader one of
its decoding threads (`stream/loader.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from shardpack.codecs import opencv
from shardpack.codecs.arrays import RowCopies, decode_npz, gather, row_copies, view_npy
from shardpack.codecs.collate import Empty
from shardpack.codecs.compression import check_installed, decompress, split_compression
from shardpack.codecs.crop import FieldFrame, Frame
from shardpack.codecs.field_types import IMAGE_EXTENSIONS, is_mask, kind_of
from shardpack.codecs.image import Form, Pixels, decode_with_pillow, describe_error, form_of, is_turned, open_image
from shardpack.codecs.image_options import ImageOptions
from shardpack.codecs.jpeg_turbo import decode_jpeg, installed
from shardpack.codecs.message_pack import decode_msgpack, msgpack_module
from shardpack.errors import DecodeError, FieldNotFoundError, MissingDependencyError, OptionError

Decoder = Callable[[bytes], Any]


def can_decode(field: str) -> bool:
    """Return whether `decode_field` knows what to make of a field."""
    return _plain_kind(field) in _DECODERS


def decode_field(field: str, payload: bytes | memoryview) -> Any:
    """Return a payload as a Python value, by the last part of the field's name.

    `json` becomes a JSON value, `txt` a str, `cls` an int, `npy` a numpy array, read-only, that is a view of the
    payload, `npz` a dict of arrays, `msgpack` what MessagePack holds, and images a loaded `PIL.Image.Image` in the
    mode, depth and orientation they are stored in (the bytes decide the format, so a PNG may be named jpg). With
    `.zst` or `.gz` behind, such as `json.zst`, the payload is decompressed first. Decoding never runs code from
    a payload.

    Raises:
        DecodeError: The payload is not what its field name says, or the name says nothing that is decoded, such as
            `bin`, `pkl` and `pth`.
        MissingDependencyError: The field needs a library that is not installed.
    """
    kind, suffix = _kind_and_compression(field)
    decode = _DECODERS.get(kind)
    if decode is None:
        raise DecodeError(
            f"field {field!r} has no decoder, which exist for {', '.join(_LABELS)} and images ({SHOWN_IMAGES}), "
            f"also with .zst or .gz behind; its stored bytes are sample[{field!r}]"
        )
    try:
        if decode is view_npy and suffix is None:
            return view_npy(payload)
        return decode(bytes(payload) if suffix is None else decompress(suffix, payload))
    except MissingDependencyError:
        raise
    except Exception as error:
        # Decoders raise many kinds of errors (PIL: SyntaxError, OSError, struct.error, ...).
        raise _decode_error(field, kind if suffix is None else f"{kind}.{suffix}", error) from error


@lru_cache(maxsize=1024)
def _kind_and_compression(field: str) -> tuple[str, str | None]:
    plain, suffix = split_compression(field)
    return kind_of(plain), suffix


def _decode_error(field: str, what: str, error: Exception) -> DecodeError:
    return DecodeError(
        f'field {field!r} does not decode as {what}: {describe_error(error)}; look at it with "shardpack cat"'
    )


def _image(payload: bytes) -> Any:
    image = open_image(payload)
    image.load()
    return image


SHOWN_IMAGES = "jpg, png, webp, ..."
_LABELS: dict[str, Decoder] = {
    "json": json.loads,
    "txt": lambda payload: payload.decode(),
    "cls": int,
    "npy": view_npy,
    "npz": decode_npz,
    "msgpack": decode_msgpack,
}
_DECODERS: dict[str, Decoder] = {**_LABELS, **dict.fromkeys(IMAGE_EXTENSIONS, _image)}


class LabelDecoder:
    """Decodes one field as `decode_field` does. Thread-safe."""

    def __init__(self, field: str) -> None:
        self._field = field

    def __call__(self, payload: bytes) -> Any:
        """Return the label.

        Raises:
            DecodeError: The payload is not what the field's name says.
        """
        return decode_field(self._field, payload)


class ArrayDecoder:
    """Decodes the arrays of one `npy` field into memory of their own, or into rows of a batch. Thread-safe.

    Args:
        field: Name of the field.
        cv2: The module that copies many arrays at once, or None for NumPy.
    """

    def __init__(self, field: str, cv2: Any = None) -> None:
        self._field, self._suffix = field, split_compression(field)[1]
        self._gather = gather if cv2 is None else partial(opencv.gather, cv2)

    def out_rows(self, count: int, payload: bytes | memoryview, empty: Empty = np.empty) -> Pixels | None:
        """Return memory for a batch of arrays like the one in `payload`; None if that does not decode."""
        try:
            first = decode_field(self._field, payload)
        except DecodeError:  # raised again where the sample is decoded
            return None
        return empty((count, *first.shape), first.dtype.newbyteorder("="))

    def __call__(self, payload: bytes, out: Pixels | None = None) -> Any:
        """Return the array: `out`, if that has its shape and dtype, else a copy.

        Raises:
            DecodeError: The payload is not an array.
        """
        array = decode_field(self._field, payload)
        if out is None or out.shape != array.shape:
            return np.array(array)
        if out.dtype != array.dtype and out.dtype != array.dtype.newbyteorder("="):
            return np.array(array)
        np.copyto(out, array)
        return out

    def row_copies(self, payloads: Sequence[bytes | memoryview], rows: Pixels) -> RowCopies | None:
        """Return how to copy arrays that are stored alike into the rows of a batch; else None: decode each of them."""
        return None if self._suffix is not None else row_copies(payloads, rows, self._gather)

    def finished(self, rows: Any) -> Any:
        """Return a batch, or an array of it, as users get it."""
        return rows


class ImageDecoder:
    """Decodes the images of one field into one form. Thread-safe.

    Args:
        field: Name of the field, for errors.
        name: A decoding name, one of `image.FORMS`.
        options: Size and orientation.

    Raises:
        OptionError: The decoding name is unknown.
        MissingDependencyError: The decoding name needs torch, which is not installed.
    """

    def __init__(self, field: str, name: str, options: ImageOptions) -> None:
        self.form: Form = form_of(name)
        self._field, self._name, self._options = field, name, options
        self._suffix = split_compression(field)[1]
        self._simplejpeg = installed() if options.fast_jpeg and self.form.kind != "pil" else None
        self._cv2 = opencv.installed() if options.fast_resize and self._simplejpeg is not None else None

    def out_rows(self, count: int, payload: bytes = b"", empty: Empty = np.empty) -> Pixels | None:  # noqa: ARG002 -- as `ArrayDecoder`
        """Return memory for a batch of images, or None if their shape is not known beforehand."""
        size = self._options.size
        if size is None or self.form.kind == "pil":
            return None
        return empty((count, *self.form.shape(*size)), self.form.dtype)

    def finished(self, rows: Any) -> Any:
        """Return a batch, or an image of it, as users get it."""
        return self.form.finished(rows)

    def __call__(self, payload: bytes, out: Pixels | None = None, frame: Frame | None = None) -> Any:
        """Return the image, written into `out` if given, which is one of the `out_rows`.

        Args:
            payload: The payload as it is stored.
            out: Memory for the image.
            frame: Which part of the sample's images is shown; as `ImageOptions.frame` makes it.

        Raises:
            DecodeError: The payload is not an image, or the form cannot hold it, or it does not fit the frame.
        """
        own = None if frame is None else frame.of(self._field)
        try:
            if self._suffix is not None:
                payload = decompress(self._suffix, payload)
            if self.form.kind == "pil":
                return decode_with_pillow(payload, self.form, self._options, own)
            return self._array(payload, out, own)
        except Exception as error:
            raise _decode_error(self._field, self._name, error) from error

    def _array(self, payload: bytes, out: Pixels | None, frame: FieldFrame | None) -> Any:
        form, options = self.form, self._options
        straight = out if form.kind == "numpy" and not form.floats else None
        pixels = None
        if self._simplejpeg is not None and not (options.exif_transpose and is_turned(payload)):
            pixels = decode_jpeg(
                self._simplejpeg, payload, form, options, cv2=self._cv2, frame=frame, out=straight
            )  # fmt: skip
        if pixels is None:
            pixels = np.asarray(decode_with_pillow(payload, form, options, frame))
        return _placed(pixels, form, out)


def _placed(pixels: Pixels, form: Form, out: Pixels | None) -> Any:
    import numpy as np

    if out is None:
        out = np.empty(form.shape(*pixels.shape[:2]), form.dtype)
        result = form.finished(out)
    else:
        result = out
        if np.may_share_memory(pixels, out):  # already decoded into its row
            return result
    if form.floats:
        scale = np.float32(255)
        if out.ndim == 3 and form.kind == "torch":  # plane by plane: twice as fast
            for number, plane in enumerate(out):
                np.divide(pixels[..., number], scale, out=plane)
        else:
            np.divide(pixels, scale, out=out)
    else:
        form.channels_last(out)[...] = pixels
    return result


def field_decoders(
    fields: Iterable[str],
    decode: str | Mapping[str, str | Decoder | None] | None,
    options: ImageOptions,
    masks: Collection[str] = (),
) -> dict[str, Decoder]:
    """Return the decoder of each field; fields that stay bytes have none.

    Args:
        fields: All fields of the dataset.
        decode: None leaves everything as bytes. A decoding name applies to all images. A mapping gives each
            field a decoding name, a function of the stored payload (its errors become DecodeErrors), or None;
            images it does not name stay bytes. Labels (json, txt, cls, npy, npz, msgpack) that a mapping does not
            name are decoded as by `decode_field`, also if `decode` is a decoding name; arrays of npy are copies.
        options: Options for images that are decoded by name.
        masks: Images whose pixels are numbers of classes, besides those whose name says so, and images with a
            palette where several images are decoded.

    Raises:
        OptionError: A decoding name is unknown, `decode` is of another type, or there is nothing to crop or resize.
        FieldNotFoundError: The mapping names a field that the dataset lacks.
        MissingDependencyError: A field needs a library that is not installed.
    """
    fields = tuple(fields)
    if decode is None and not options.cuts:
        if options.size is not None:
            raise OptionError('size is for images that are decoded by name; give decode="rgb8", for example')
        return {}
    decode = _by_field(fields, decode)
    named = [field for field, how in decode.items() if isinstance(how, str)]
    if others := set(masks).difference(named):
        raise OptionError(f"masks names field {min(others)!r}, which is not decoded by name")
    if options.cuts:
        _check_all_move(decode, named)
    labels = {
        field: _label(field, options) for field in fields if _plain_kind(field) in _LABELS and field not in decode
    }
    decoders: dict[str, Decoder | None] = {**labels}
    for field, how in decode.items():
        marked = True if field in masks or is_mask(field) else None if len(named) > 1 else False
        decoders[field] = _chosen(field, how, replace(options, is_mask=marked))
    return {field: function for field, function in decoders.items() if function is not None}


def needs_frame(decoders: Mapping[str, Decoder], options: ImageOptions) -> bool:
    """Return whether images have to be decoded with a `Frame`: to be cut, or because labels follow them."""
    if options.cuts or not options.moves_labels:
        return options.cuts
    kinds = set(map(type, decoders.values()))
    return ImageDecoder in kinds and not kinds.isdisjoint((LabelDecoder, ArrayDecoder))


def _by_field(fields: Sequence[str], decode: Any) -> Mapping[str, Any]:
    if isinstance(decode, str):
        form_of(decode)  # an unknown name is an error even without images
        return {field: decode for field in fields if _plain_kind(field) in IMAGE_EXTENSIONS}
    if decode is not None and not isinstance(decode, Mapping):
        raise OptionError(f"decode is {decode!r}; expected a decoding name, or a mapping from field to one")
    for field in decode or ():
        if field not in fields:
            raise FieldNotFoundError(f"decode names field {field!r}; there are: {', '.join(fields) or 'none'}")
    return decode or {}


def _check_all_move(decode: Mapping[str, Any], named: Sequence[str]) -> None:
    if not named:
        raise OptionError('crop and flip are for images that are decoded by name; give decode="rgb8", for example')
    for field, how in decode.items():
        if callable(how) and _plain_kind(field) in IMAGE_EXTENSIONS:
            raise OptionError(
                f"field {field!r} is decoded by a function, so that crop and flip do not reach it; decode it by name, "
                "or crop all images in a transform"
            )


def _plain_kind(field: str) -> str:
    return _kind_and_compression(field)[0]


def _label(field: str, options: ImageOptions) -> Decoder:
    kind = _plain_kind(field)
    check_installed(split_compression(field)[1])
    if kind == "msgpack":
        msgpack_module()
    if kind == "npy":
        return ArrayDecoder(field, opencv.installed() if options.fast_resize else None)
    return LabelDecoder(field)


def _chosen(field: str, how: Any, options: ImageOptions) -> Decoder | None:
    if how is None:
        return None
    if not callable(how):
        return ImageDecoder(field, how, options)

    def guarded(payload: bytes) -> Any:
        try:
            return how(payload)
        except Exception as error:
            raise _decode_error(field, getattr(how, "__name__", type(how).__name__), error) from error

    return guarded
