"""Which member belongs to which sample, and which keys every reader cuts alike (SPEC 2.1, 2.4, 2.5).

Truth: `webdataset` 1.0.2, `tariterators.base_plus_ext`; the judge in the tests is the library itself.
"""

from __future__ import annotations

import re
from urllib.parse import quote_from_bytes, unquote

from shardpack.errors import InvalidKeyError

# A name beyond this would need a pax header that readers, ours among them, refuse as too long.
MAX_KEY_BYTES = 65_535
MAX_FIELD_BYTES = 255

# A member's sample key ends at the first dot of its last path component. As in webdataset, a
# hidden file below a dotless directory still matches ("a/.h.jpg" -> key "a/"), and "." is no line
# break: reading follows these quirks, writing refuses such keys.
_SPLIT = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")
_META = re.compile(r"__[^/]*__($|/)")

# Safe subset: what webdataset, DALI, Energon, HF datasets, wids and Ray all split alike.
# Printable ASCII without the space; DALI's text index breaks at blanks and outside ASCII.
_SAFE_KEY = re.compile(r"(?:[!-.0-~]+/)*[!-\-0-~]+")
_SAFE_FIELD = re.compile(r"[!-\-0-@\[-~]+(?:\.[!-\-0-@\[-~]+)*")
# Safe and unchanged by escaping: printable ASCII but "%", no component that begins with "." or "_",
# no dot in the last. Says yes to nearly all keys at 0.2 us each, and never to one that `key_problem` minds.
PLAIN_KEY = re.compile(
    rf"(?!.{{{MAX_KEY_BYTES + 1}}})" + r"(?:[!-$&-\-0-^`-~][!-$&-.0-~]*/)*[!-$&-\-0-^`-~][!-$&-\-0-~]*"
)
# The slashes that part two components, neither of them empty; any other slash is escaped.
_SEPARATOR = re.compile(rb"(?<=[^/])/(?!\Z)")
_SHARD_FILE = re.compile(r"shard-\d{6,}\.tar|\.shardpack/index/shard-\d{6,}\.index", re.ASCII)
_ESCAPE_OR_UPPER = re.compile(r"%[0-9A-F]{2}|[A-Z]")
_NEVER_ESCAPED = bytes(byte for byte in range(0x21, 0x7F) if byte not in b"%/").decode()


def shard_name(number: int) -> str:
    """Return the name that a packer gives a shard; numbers are without a gap."""
    return f"shard-{number:06d}.tar"


def is_packer_name(name: str) -> bool:
    """Return whether this is the path that a packer gives a shard, or its index."""
    return _SHARD_FILE.fullmatch(name) is not None


def split_name(name: str) -> tuple[str, str] | None:
    """Return (key, field) of a member name, or None if the member belongs to no sample.

    The field is lower case. Names whose first component is `__something__` are metadata,
    and names with no dot in the last component belong to no sample.
    """
    match = _SPLIT.fullmatch(name)
    if match is None or (name.startswith("__") and _META.match(name)):
        return None
    return match[1], match[2].lower()


def key_problem(key: str) -> str | None:
    """Return why some reader would cut or lose this key, or None if all agree on it."""
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
        return "its last component has a dot, where readers cut the key"
    return "it has a blank, a control character or a character outside ASCII"


def check_key(key: str) -> None:
    """Raise InvalidKeyError unless every reader would cut this key alike."""
    problem = key_problem(key)
    if problem:
        raise InvalidKeyError(
            f"unsafe key: {problem}; rename it, or pass rename_keys (--rename-keys) to escape it reversibly",
            key=key,
        )


def check_field(field: str, *, key: str | None = None) -> None:
    """Raise InvalidKeyError unless the field is lower case, printable ASCII, such as "seg.png".

    Names with "__" in front are refused too: webdataset keeps its own notes under them, and
    drops a sample whose `__bad__` is not empty.
    """
    if not _SAFE_FIELD.fullmatch(field) or field.startswith("__") or len(field) > MAX_FIELD_BYTES:
        raise InvalidKeyError(
            f"unsafe field name {field!r}: expected lower-case printable ASCII like 'jpg' or 'seg.png', "
            f"at most {MAX_FIELD_BYTES} bytes, without '__' in front; rename it",
            key=key,
        )


def escape_key(key: str | bytes, *, escape_upper: bool = False) -> str:
    """Return a safe key that `unescape_key` turns back into `key` exactly.

    Percent-encoding (RFC 3986 section 2.1) of whatever is unsafe, and of "%" itself. Bytes that
    are no UTF-8 come from `os.fsencode`. `escape_upper` also hides upper case, for keys that a
    case-folding file system would confuse.

    Raises:
        InvalidKeyError: The key is empty, longer than any key may be, or a string that no bytes stand for.
    """
    try:
        raw = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
    except UnicodeEncodeError as error:
        raise InvalidKeyError(f"key is no text: {error.reason}; rename it", key=ascii(key)) from error
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
        # Upper case inside an escape such as %2F must stay.
        escaped = _ESCAPE_OR_UPPER.sub(lambda m: m[0] if len(m[0]) > 1 else f"%{ord(m[0]):02X}", escaped)
    return escaped


def unescape_key(key: str) -> str:
    """Return the original of an escaped key; undecodable bytes come back as `os.fsdecode` gives them."""
    return unquote(key, encoding="utf-8", errors="surrogateescape")
