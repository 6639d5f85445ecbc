"""Extended headers of a tar member: pax records and GNU long names (SPEC 2.3).

Rules of this file: it knows no archive and no offsets; contents go in, a name and a size come out. What GNU tar,
bsdtar and Python's tarfile read differently raises `ValueError` with the reason; the parser adds shard and offset.
"""

from __future__ import annotations

# Extended headers hold names, not data: a longer one is an attack, damage, or file attributes, which are not read.
MAX_EXTENDED_BYTES = 1 << 20

PAX, GLOBAL, LONG_NAME, LONG_LINK = b"x", b"g", b"L", b"K"
# Typeflag -> kind ("X" is Solaris for "x").
EXTENDED = {b"x": PAX, b"X": PAX, b"g": GLOBAL, b"L": LONG_NAME, b"K": LONG_LINK}

_PLACING = frozenset((b"path", b"size"))  # pax keywords that change which bytes a member is
_MAX_SIZE_DIGITS = 19


class ExtendedHeaders:
    """The extended headers of one member: its name and size, if they set them.

    Attributes:
        path: Name in a pax header, or b"".
        long_name: Name in a GNU header, or b"".
        size: Size in a pax header, or None.
        is_sparse: Whether a pax header says that the member is sparse.
    """

    __slots__ = ("_kinds", "is_sparse", "long_name", "path", "size")

    def __init__(self) -> None:
        self._kinds: set[bytes] = set()
        self.path = self.long_name = b""
        self.size: int | None = None
        self.is_sparse = False

    def __bool__(self) -> bool:
        return bool(self._kinds)

    @property
    def name(self) -> bytes:
        """The name, or b"" if no extended header sets it."""
        return self.path or self.long_name

    def check_order(self, kind: bytes) -> None:
        """Raise ValueError if a header of this kind may not follow those added so far."""
        if kind in self._kinds or (kind == GLOBAL and self._kinds):
            raise ValueError("tar has two extended headers of one kind, or a global one, before one member")

    def add(self, kind: bytes, content: bytes, padding: bytes) -> None:
        """Add a header: its content, and the padding after it.

        Raises:
            ValueError: Tar readers would not agree on what the header says.
        """
        if kind in (PAX, GLOBAL):
            self._add_records(kind, content, padding)
        else:
            self._kinds.add(kind)
            if kind == LONG_NAME:
                self._add_long_name(content, padding)
        if self.path and self.long_name:
            raise ValueError("tar member has two long names, one pax and one GNU")

    def _add_long_name(self, content: bytes, padding: bytes) -> None:
        # tarfile and GNU tar read up to the NUL, bsdtar up to the size.
        if b"\0" not in content and padding[:1] not in (b"", b"\0"):
            raise ValueError("tar has a GNU long name that continues beyond its size")
        self.long_name = content.rstrip(b"\0")
        if not self.long_name:
            raise ValueError("tar has an empty GNU long name")
        if b"\0" in self.long_name:
            raise ValueError("tar member name has a NUL")

    def _add_records(self, kind: bytes, content: bytes, padding: bytes) -> None:
        if padding[:1] not in (b"", b"\0"):  # tarfile reads records there
            raise ValueError("tar has a pax header that continues beyond its size")
        records = parse_records(content)
        is_sparse = any(keyword.startswith(b"GNU.sparse") for keyword in records)
        if kind == GLOBAL:
            if is_sparse or not _PLACING.isdisjoint(records):
                raise ValueError("tar has a global pax header that sets path or size")
            return
        self._kinds.add(kind)
        self.is_sparse = is_sparse
        self.path = records.get(b"path", b"")
        if b"\0" in self.path:
            raise ValueError("tar member name has a NUL")
        size = records.get(b"size")
        if size is not None:
            if not size.isdigit() or len(size) > _MAX_SIZE_DIGITS:
                raise ValueError(f"tar has a bad pax size {size[:20]!r}")
            self.size = int(size)


def parse_records(content: bytes) -> dict[bytes, bytes]:
    """Return the records of a pax header, the last one per keyword (POSIX.1-2017, pax, "pax Header Block").

    Raises:
        ValueError: A record is malformed, or sets path or size to nothing.
    """
    records: dict[bytes, bytes] = {}
    at, stop = 0, len(content.rstrip(b"\0"))
    while at < stop:
        digits, space, _ = content[at : at + 8].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record = content[at : at + length]
        keyword, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not keyword or not equals or len(record) < length or record[-1:] != b"\n":
            raise ValueError("tar has a malformed pax header")
        if not value and keyword in _PLACING:  # POSIX: deletes the value of the ustar header, which leaves none
            raise ValueError(f"tar has a pax header with an empty {keyword.decode()}")
        records[keyword] = value
        at += length
    return records
