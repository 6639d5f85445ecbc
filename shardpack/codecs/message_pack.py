"""MessagePack payloads, by the library of the extra `msgpack`."""

from __future__ import annotations

from typing import Any

from shardpack.errors import MissingDependencyError


def encode_msgpack(value: Any) -> bytes:
    """Return a value as MessagePack: what JSON can hold, bytes, and maps with keys of any such type.

    Raises:
        MissingDependencyError: msgpack is not installed.
        Exception: The library raised an error of its own, for a value that MessagePack cannot hold.
    """
    payload: bytes = msgpack_module().packb(value, use_bin_type=True)
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
