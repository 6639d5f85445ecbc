"""Keys and fields: which sample a member belongs to, and which keys every tar reader splits alike (SPEC 2.1, 2.4, 2.5).

The reference is `webdataset` 1.0.2, `tariterators.base_plus_ext`; the tests compare with the library itself.
"""

from __future__ import annotations

import re
from urllib.parse import quote_from_bytes, unquote

from shardpack.errors import InvalidKeyError

# A longer name would need a pax header that readers, ours included, refuse as too long.
MAX_KEY_BYTES = 65_535
MAX_FIELD_BYTES = 255

# A member's sample key ends at the first dot of its last path component. As in webdataset, a hidden
# file in a directory without a dot still matches ("a/.h.jpg" -> key "a/"), and "." does not match a line
# break. Reading follows these quirks; writing refuses such keys.
_SPLIT = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")
_META = re.compile(r"__[^/]*__($|/)")

# The safe subset, which webdataset, DALI, Energon, Hugging Face datasets, wids and Ray all split alike:
# printable ASCII without the space, as DALI's text index breaks at spaces and outside ASCII.
_SAFE_KEY = re.compile(r"(?:[!-.0-~]+/)*[!-\-0-~]+")
_SAFE_FIELD = re.compile(r"[!-\-0-@\[-~]+(?:\.[!-\-0-@\[-~]+)*")
# Keys that are safe and that escaping leaves unchanged: printable ASCII without "%", no component that begins
# with "." or "_", no dot in the last one. Matches nearly all keys in 0.2 us, and none that has a `key_problem`.
PLAIN_KEY = re.compile(
    rf"(?!.{{{MAX_KEY_BYTES + 1}}})" + r"(?:[!-$&-\-0-^`-~][!-$&-.0-~]*/)*[!-$&-\-0-^`-~][!-$&-\-0-~]*"
)
# A slash between two components that are not empty; any other slash is escaped.
_SEPARATOR = re.compile(rb"(?<=[^/])/(?!\Z)")
_ESCAPE_OR_UPPER = re.compile(r"%[0-9A-F]{2}|[A-Z]")
_NEVER_ESCAPED = bytes(byte for byte in range(0x21, 0x7F) if byte not in b"%/").decode()


def split_name(name: str) -> tuple[str, str] | None:
    """Return (key, field) of a member name, or None if the member does not belong to a sample.

    The field is in lower case. Names whose first component is `__something__` are metadata; names
    without a dot in the last component have no field.
    """
    match = _SPLIT.fullmatch(name)
    if match is None or (name.startswith("__") and _META.match(name)):
        return None
    return match[1], match[2].lower()


def key_problem(key: str) -> str | None:
    """Return why some reader would split or drop this key, or None if all readers agree on it."""
    if not _SAFE_KEY.fullmatch(key):
        return _unsafe_reason(key)
    if key[0] in "_." or "/." in key or "/__" in key:
        head, _, last = key.rpartition("/")
        if last.startswith("__"):
            return "its last component starts with '__', which Hugging Face datasets drops"
        if _META.match(key):
            return "its first component is '__...__', which webdataset skips"
        if any(part in (".", "..") for part in head.split("/")):
            return "it has a '.' or '..' component"
    return f"it is longer than {MAX_KEY_BYTES} bytes" if len(key) > MAX_KEY_BYTES else None


def _unsafe_reason(key: str) -> str:
    last = key.rpartition("/")[2]
    if not last or key.startswith("/") or "//" in key:
        return "it has an empty component"
    if "." in last:
        return "its last component has a dot, where readers split the name"
    return "it has a space, a control character or a character outside ASCII"


def check_key(key: str) -> None:
    """Raise InvalidKeyError unless every reader splits this key alike."""
    problem = key_problem(key)
    if problem:
        raise InvalidKeyError(
            f"unsafe key: {problem}; rename it, or pass rename_keys (--rename-keys) to escape it reversibly",
            key=key,
        )


def check_field(field: str, *, key: str | None = None) -> None:
    """Raise InvalidKeyError unless the field is printable ASCII in lower case, such as "seg.png".

    Names that begin with "__" are refused, too: webdataset uses them for itself, and drops a
    sample whose `__bad__` is not empty.
    """
    if not _SAFE_FIELD.fullmatch(field) or field.startswith("__") or len(field) > MAX_FIELD_BYTES:
        raise InvalidKeyError(
            f"unsafe field name {field!r}: expected lower-case printable ASCII like 'jpg' or 'seg.png', "
            f"at most {MAX_FIELD_BYTES} bytes, not beginning with '__'; rename it",
            key=key,
        )


def key_bytes(key: str) -> bytes:
    """Return a key as it is stored: UTF-8; a lone surrogate stands for a byte that is not UTF-8.

    Raises:
        UnicodeEncodeError: The key has a surrogate that stands for no byte; no sample has such a key.
    """
    return key.encode("utf-8", "surrogateescape")


def key_text(raw: bytes) -> str:
    """Return a stored key or member name as text; the inverse of `key_bytes`."""
    return raw.decode("utf-8", "surrogateescape")


def escape_key(key: str | bytes, *, escape_upper: bool = False) -> str:
    """Return a safe key that `unescape_key` turns back into `key` exactly.

    Unsafe characters and "%" are percent-encoded (RFC 3986, section 2.1). A file name that is not UTF-8
    is given as bytes, from `os.fsencode`. `escape_upper` also encodes upper case, for keys that a
    file system without case would confuse.

    Raises:
        InvalidKeyError: The key is empty, its escaped form is too long, or it cannot be encoded as UTF-8.
    """
    try:
        raw = key_bytes(key) if isinstance(key, str) else key
    except UnicodeEncodeError as error:
        raise InvalidKeyError(f"key is not valid text: {error.reason}; rename it", key=ascii(key)) from error
    if not escape_upper and b"%" not in raw and raw.isascii() and key_problem(raw.decode()) is None:
        return raw.decode()
    *folders, last = (_escape_component(part, escape_upper) for part in _SEPARATOR.split(raw))
    last = last.replace(".", "%2E")
    if last.startswith("__"):
        last = "%5F" + last[1:]
    folders = [part.replace(".", "%2E") if part in (".", "..") else part for part in folders]
    if folders and _META.match(folders[0]):
        folders[0] = "%5F" + folders[0][1:]
    escaped = "/".join([*folders, last])
    if not 0 < len(escaped) <= MAX_KEY_BYTES:
        raise InvalidKeyError(
            f"key of {len(raw)} bytes cannot be escaped: expected 1 to {MAX_KEY_BYTES} bytes; rename it"
        )
    return escaped


def _escape_component(part: bytes, escape_upper: bool) -> str:
    escaped = quote_from_bytes(part, safe=_NEVER_ESCAPED)
    if escape_upper:
        # Upper case inside an escape such as %2F stays.
        escaped = _ESCAPE_OR_UPPER.sub(lambda m: m[0] if len(m[0]) > 1 else f"%{ord(m[0]):02X}", escaped)
    return escaped


def unescape_key(key: str) -> str:
    """Return the original of an escaped key; bytes that are not UTF-8 become what `os.fsdecode` makes of them."""
    return unquote(key, encoding="utf-8", errors="surrogateescape")
