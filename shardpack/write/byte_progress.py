"""`ByteProgress`: how far a run is, in bytes, while its units are made in any order."""

from __future__ import annotations

from collections.abc import Hashable

from shardpack.runtime.progress import Progress


class ByteProgress:
    """Counts the bytes of units, shards or chunks, of which some tell how far they are. Not thread-safe.

    Args:
        progress: Called as progress("pack", bytes done, total bytes).
        total_bytes: Of all units.
    """

    def __init__(self, progress: Progress, total_bytes: int) -> None:
        self._progress, self._total_bytes = progress, total_bytes
        self._done_bytes = 0
        self._begun_bytes: dict[Hashable, int] = {}  # unit that is not finished -> what it has told

    def expect(self, num_bytes: int) -> None:
        """Set the total to what is done and so many bytes more: others make the rest."""
        self._total_bytes = self._done_bytes + num_bytes

    def advance(self, unit: Hashable, num_bytes: int) -> None:
        """Count bytes of a unit that is being made."""
        self._begun_bytes[unit] = self._begun_bytes.get(unit, 0) + num_bytes
        self._count(num_bytes)

    def finish(self, unit: Hashable, num_bytes: int) -> None:
        """Count the rest of a unit that has so many bytes in all."""
        self._count(num_bytes - self._begun_bytes.pop(unit, 0))

    def _count(self, num_bytes: int) -> None:
        self._done_bytes += num_bytes
        self._total_bytes = max(self._total_bytes, self._done_bytes)  # units that others made are beyond it
        self._progress("pack", self._done_bytes, self._total_bytes)
