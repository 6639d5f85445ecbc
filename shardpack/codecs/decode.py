"""Field payloads to Python values, by the last part of the field's name or by a decoding name.

These functions run in the thread that calls them: for `ds[i]` and `get_many` the caller's, for a loader one of
its decoding threads (`stream/loader.py`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from shardpack.codecs.field_types import IMAGE_EXTENSIONS, kind_of
from shardpack.codecs.image import Form, ImageOptions, Pixels, decode_with_pillow, form_of, is_turned, open_image
from shardpack.codecs.jpeg_turbo import decode_jpeg, installed
from shardpack.errors import DecodeError, FieldNotFoundError, OptionError

Decoder = Callable[[bytes], Any]


def decode_field(field: str, payload: bytes) -> Any:
    """Return a payload as a Python value.

    `json` becomes a JSON value, `txt` a str, `cls` an int, `npy` a numpy array (without pickle), and images
    a loaded `PIL.Image.Image` in the mode, depth and orientation they are stored in (the bytes decide
    the format, so a PNG may be named jpg). Other fields, `.pkl` and `.pth` included, stay bytes: decoding
    never runs code from a payload.

    Raises:
        DecodeError: The payload is not what its field name says.
    """
    kind = kind_of(field)
    decode = _DECODERS.get(kind)
    if decode is None:
        return payload
    try:
        return decode(payload)
    except Exception as error:
        # Decoders raise many kinds of errors (PIL: SyntaxError, OSError, struct.error, ...).
        raise _decode_error(field, kind, error) from error


def _decode_error(field: str, what: str, error: Exception) -> DecodeError:
    return DecodeError(
        f'field {field!r} does not decode as {what}: {type(error).__name__}: {error}; look at it with "shardpack cat"'
    )


def _image(payload: bytes) -> Any:
    image = open_image(payload)
    image.load()
    return image


def _npy(payload: bytes) -> Any:
    import numpy as np

    return np.load(io.BytesIO(payload), allow_pickle=False)


_LABELS: dict[str, Decoder] = {
    "json": json.loads,
    "txt": lambda payload: payload.decode(),
    "cls": int,
    "npy": _npy,
}
_DECODERS: dict[str, Decoder] = {**_LABELS, **dict.fromkeys(IMAGE_EXTENSIONS, _image)}


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
        self._simplejpeg = installed() if options.fast_jpeg and self.form.kind != "pil" else None

    def out_rows(self, count: int) -> Pixels | None:
        """Return memory for a batch of images, or None if their shape is not known beforehand."""
        size = self._options.size
        return None if size is None or self.form.kind == "pil" else self.form.empty(*size, count)

    def __call__(self, payload: bytes, out: Pixels | None = None) -> Any:
        """Return the image, written into `out` if given, which is one of the `out_rows`.

        Raises:
            DecodeError: The payload is not an image, or the form cannot hold it.
        """
        try:
            if self.form.kind == "pil":
                return decode_with_pillow(payload, self.form, self._options)
            return self._array(payload, out)
        except Exception as error:
            raise _decode_error(self._field, self._name, error) from error

    def _array(self, payload: bytes, out: Pixels | None) -> Any:
        form, options = self.form, self._options
        straight = out if form.kind == "numpy" and not form.floats else None
        pixels = None
        if self._simplejpeg is not None and not (options.exif_transpose and is_turned(payload)):
            pixels = decode_jpeg(self._simplejpeg, payload, form, options, straight)
        if pixels is None:
            import numpy as np

            pixels = np.asarray(decode_with_pillow(payload, form, options))
        return _placed(pixels, form, out)


def _placed(pixels: Pixels, form: Form, out: Pixels | None) -> Any:
    import numpy as np

    if out is None:
        out = form.empty(*pixels.shape[:2])
        result = form.finished(out)
    else:
        result = out
        if np.may_share_memory(pixels, out):  # already decoded into its row
            return result
    target = form.channels_last(out)
    if form.floats:
        np.divide(pixels, np.float32(255), out=target)
    else:
        target[...] = pixels
    return result


def field_decoders(
    fields: Iterable[str], decode: str | Mapping[str, str | Decoder | None] | None, options: ImageOptions
) -> dict[str, Decoder]:
    """Return the decoder of each field; fields that stay bytes have none.

    Args:
        fields: All fields of the dataset.
        decode: None leaves everything as bytes. A decoding name applies to all images. A mapping gives each
            field a decoding name, a function of the payload (its errors become DecodeErrors), or None;
            images it does not name stay bytes. Labels (json, txt, cls, npy) that a mapping does not name
            are decoded as by `decode_field`, also if `decode` is a decoding name.
        options: Options for images that are decoded by name.

    Raises:
        OptionError: A decoding name is unknown, or `decode` is of another type.
        FieldNotFoundError: The mapping names a field that the dataset lacks.
    """
    fields = tuple(fields)
    if decode is None:
        return {}
    if isinstance(decode, str):
        form_of(decode)  # an unknown name is an error even without images
        decode = {field: decode for field in fields if kind_of(field) in IMAGE_EXTENSIONS}
    if not isinstance(decode, Mapping):
        raise OptionError(f"decode is {decode!r}; expected a decoding name, or a mapping from field to one")
    for field in decode:
        if field not in fields:
            raise FieldNotFoundError(f"decode names field {field!r}; there are: {', '.join(fields) or 'none'}")
    labels = {field: partial(decode_field, field) for field in fields if kind_of(field) in _LABELS}
    decoders: dict[str, Decoder | None] = {**labels, **{f: _chosen(f, how, options) for f, how in decode.items()}}
    return {field: function for field, function in decoders.items() if function is not None}


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
