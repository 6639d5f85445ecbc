"""MessagePack payloads, by the library of the extra `msgpack`."""

from __future__ import annotations

from typing import Any

from shardpack.codecs.dict_keys import dict_keys
from shardpack.errors import MissingDependencyError, OptionError


def encode_msgpack(value: Any) -> bytes:
    """Return a value as MessagePack: what JSON can hold, bytes, and maps whose keys are texts, bytes or numbers.

    Raises:
        MissingDependencyError: msgpack is not installed.
        OptionError: The key of a map is a tuple, which would become an array and could not be decoded.
        Exception: The library raised an error of its own, for a value that MessagePack cannot hold.
    """
    payload: bytes = msgpack_module().packb(value, use_bin_type=True)
    for keys in dict_keys(value):
        arrays = [key for key in keys if isinstance(key, tuple)]
        if arrays:
            raise OptionError(
                f"the key {arrays[0]!r} of a map would become an array, which cannot be a key when it is read; "
                "use a text"
            )
    return payload


def decode_msgpack(payload: bytes) -> Any:
    """Return the value of a payload. Never runs code: extension types stay `msgpack.ExtType`.

    Raises:
        MissingDependencyError: msgpack is not installed.
        Exception: The library raised an error of its own for garbage.
    """
    return msgpack_module().unpackb(payload, raw=False, strict_map_key=False)


def msgpack_module() -> Any:
    """Return the module msgpack.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import msgpack
    except ImportError as error:
        raise MissingDependencyError('msgpack fields need msgpack; run pip install "shardpack[msgpack]"') from error
    return msgpack
