"""Field payloads to Python values, by the last part of the field's name."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from shardpack.codecs.kinds import IMAGE_EXTENSIONS
from shardpack.errors import DecodeError


def decode_field(field: str, payload: bytes) -> Any:
    """Return a payload as a Python value.

    `json` gives what JSON gives, `txt` a str, `cls` an int, `npy` a numpy array (no pickle),
    pictures a loaded `PIL.Image.Image` in the mode, depth and orientation they are stored in
    (also a PNG named jpg: what it is decides, not what it is called). Anything else, `.pkl` and
    `.pth` among it, stays bytes: nothing here can run code.

    Raises:
        DecodeError: The payload is not what its name says.
    """
    kind = field.rpartition(".")[2]
    decode = _DECODERS.get(kind)
    if decode is None:
        return payload
    try:
        return decode(payload)
    except Exception as error:
        # Decoders raise whatever they like (PIL: SyntaxError, OSError, struct.error, ...).
        raise DecodeError(
            f"field {field!r} does not decode as {kind}: {type(error).__name__}: {error}; "
            'look at it with "shardpack cat"'
        ) from error


def _image(payload: bytes) -> Any:
    from PIL import Image

    # Only the formats we know: an EPS in disguise would start Ghostscript.
    known = Image.registered_extensions()
    kinds = {known.get(f".{extension}", "") for extension in IMAGE_EXTENSIONS}
    image = Image.open(io.BytesIO(payload), formats=sorted(kinds & Image.OPEN.keys()))
    image.load()
    return image


def _npy(payload: bytes) -> Any:
    import numpy as np

    return np.load(io.BytesIO(payload), allow_pickle=False)


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "json": json.loads,
    "txt": lambda payload: payload.decode(),
    "cls": int,
    "npy": _npy,
    **dict.fromkeys(IMAGE_EXTENSIONS, _image),
}
