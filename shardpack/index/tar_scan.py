"""From the bytes of a tar to its index, wherever they come from: parser, grouping, end of the archive.

full_scan     a local file, from end to end
header_scan   ranges of a store, with or without the payloads
frame_scan    frames of a compressed file, decompressed
"""

from __future__ import annotations

from collections.abc import Sequence

from shardpack.format.tar_parser import Member, TarParser
from shardpack.index.grouping import MAX_MEMBERS, Grouping, IndexedTar


class TarScan:
    """One tar while it is read from its start.

    Attributes:
        parser, grouping: For a scan that goes on in another way.
    """

    def __init__(
        self, name: str, *, ignore: Sequence[str], plain_name: str | None = None, max_members: int = MAX_MEMBERS
    ) -> None:
        """Begin a scan.

        Args:
            name: Name of the file.
            ignore: Patterns of members to ignore.
            plain_name: Name of the tar inside, if the file is compressed.
            max_members: Largest number of members.
        """
        self.parser = TarParser(plain_name or name)
        self.grouping = Grouping(name, ignore, max_members=max_members)

    @property
    def ended(self) -> bool:
        """Whether the end of the archive was reached; what follows it is not parsed."""
        return self.parser.finished

    def feed(self, data: bytes | memoryview) -> list[Member]:
        """Take the next bytes; return the members that begin in them.

        Raises:
            CorruptShardError: The bytes break a rule of tars or of samples, or the archive ends without a sample.
            FormatError: The tar has more different fields than an index can hold.
        """
        members: list[Member] = []
        if self.ended:
            return members
        add = self.grouping.add
        for event in self.parser.feed(data):
            add(event)
            if event.__class__ is Member:
                members.append(event)
        if self.parser.finished and self.grouping.is_empty:
            raise self.grouping.no_samples()  # at once: what follows may be endless
        return members

    def finish(self, *, num_bytes: int, shard_crc32c: int | None) -> IndexedTar:
        """Return the index, when all was read; the arguments are those of `Grouping.finish`."""
        return self.grouping.finish(self.parser.close(), num_bytes=num_bytes, shard_crc32c=shard_crc32c)
