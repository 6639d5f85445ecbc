"""How much a stream reads at once, reads ahead and holds."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from shardpack.runtime.arguments import as_integer
from shardpack.runtime.sizes import parse_bytes

CHUNK_BYTES = 4 << 20  # per chunk, estimated from the dataset's mean sample
MAX_PART_BYTES = 4 << 20  # of payloads that become samples at once; a larger sample comes alone
DEFAULT_MEMORY_BYTES = 1 << 30  # of loads, per rank


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Limits of a stream.

    Attributes:
        memory_bytes: Bytes of loads that are kept or in progress.
        threads: Threads that read ahead, at most.
        part_samples: Samples cut at once, at most; so few that they stay in the processor's caches.
        planned_samples: Samples whose order is computed at once: 0.1 us each, 0.3 us in runs of a tenth of that.
    """

    memory_bytes: int = DEFAULT_MEMORY_BYTES
    threads: int = 16
    part_samples: int = 2048
    planned_samples: int = 8192


@dataclass(frozen=True, slots=True)
class ReaderSetup:
    """How one reader reads, within the limits of its stream.

    Attributes:
        memory_bytes: Bytes of loads that are kept or in progress.
        load_bytes: Approximate length of a load.
        depth: Loads and chunks in progress ahead of the consumer; 0 reads each chunk when it is asked for.
        threads: Threads that read ahead.
        part_samples: Samples cut at once.
        neighbours: Whether the samples of a chunk mostly follow one another in their shard.
        views: Whether payloads in a map are views of it instead of bytes.
    """

    memory_bytes: int = DEFAULT_MEMORY_BYTES
    load_bytes: int = CHUNK_BYTES
    depth: int = 0
    threads: int = 16
    part_samples: int = 2048
    neighbours: bool = False
    views: bool = False


def read_limits(memory_bytes: int | str) -> ReadLimits:
    """Return the limits for a number of bytes, or for a size like "512MiB".

    Raises:
        OptionError: `memory_bytes` is not a positive size.
    """
    return ReadLimits(memory_bytes=as_integer("memory_bytes", parse_bytes(memory_bytes), minimum=1))


class MemoryBudget:
    """A number of bytes that may be held at a time. Thread-safe."""

    def __init__(self, num_bytes: int) -> None:
        self._left = num_bytes
        self._num_holders = 0
        self._lock = threading.Lock()

    def take(self, num_bytes: int) -> bool:
        """Take bytes and return True, if as many are left or nothing is held; else return False."""
        with self._lock:
            if num_bytes > self._left and self._num_holders:
                return False
            self._left -= num_bytes
            self._num_holders += 1
            return True

    def give_back(self, num_bytes: int) -> None:
        """Return what one call of `take` took."""
        with self._lock:
            self._left += num_bytes
            self._num_holders -= 1
