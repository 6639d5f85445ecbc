"""Cut a series of samples into shards: each shard is ended by the limit that is reached first.

Who makes the shards, and what becomes of them, the caller says: `ShardWriter` numbers them through and delivers each,
a chunk (`pack_chunk.py`) makes its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any, NamedTuple, TypeVar
from weakref import WeakMethod

from shardpack.errors import SourceError
from shardpack.format.naming import PLAIN_KEY, check_key
from shardpack.format.tar_header import END_OF_ARCHIVE
from shardpack.write.sample_shape import SampleShape, shape_of
from shardpack.write.shard_in_progress import ShardInProgress
from shardpack.write.sharding import ShardLimits

Result = TypeVar("Result")


class Prepared(NamedTuple):
    """A sample that can be written; it takes `num_bytes` of a tar."""

    key: str
    shape: SampleShape
    payloads: Sequence[bytes]
    num_bytes: int


class ShardSeries:
    """Shards, one after another. A sample that is refused changes nothing.

    Attributes:
        open: The shard that is being filled; None before the first sample, and between shards.
    """

    def __init__(
        self,
        limits: ShardLimits,
        *,
        buffer_bytes: int,
        start: Callable[[], ShardInProgress],
        flush: Callable[[ShardInProgress], None],
        finish: Callable[[ShardInProgress], None],
    ) -> None:
        """Cut at `limits`.

        Args:
            limits: When a shard is full.
            buffer_bytes: How many bytes of samples wait until `flush` is called.
            start: Returns the next shard.
            flush: Calls `flush` of the shard.
            finish: Calls `finish` of the shard, which is full.

        Methods of the owner do not keep it alive, so that an owner that is dropped ends at once.
        """
        self.open: ShardInProgress | None = None
        self._limits, self._room = limits, limits.max_bytes - len(END_OF_ARCHIVE)
        self._buffer_bytes = buffer_bytes
        self._start, self._flush, self._finish = _weak(start), _weak(flush), _weak(finish)
        self._shapes: dict[tuple[Any, ...], SampleShape] = {}

    def prepare(self, key: str, fields: Mapping[str, Any]) -> Prepared:
        """Return the sample, checked and its values encoded.

        Raises:
            InvalidKeyError: Readers would split the key or a field differently.
            FormatError: The sample has more fields than an index may have.
            OptionError: A field cannot store its value.
            MissingDependencyError: A field needs a library that is not installed.
            SourceError: The sample does not fit in a shard.
        """
        if not PLAIN_KEY.fullmatch(key):
            check_key(key)
        names = tuple(fields)
        shape = self._shapes.get(names)
        if shape is None:
            shape = self._shapes[names] = shape_of(names, key=key)
        payloads = shape.payloads(fields)
        needed = shape.tar_bytes(key, payloads)
        if needed > self._room and not self._limits.allow_oversized:
            raise SourceError(
                f"sample takes {needed} bytes of a shard of {self._limits.max_bytes}; "
                "raise max_shard_bytes (--max-shard-bytes), or pass allow_oversized=True (--allow-oversized)",
                key=key,
            )
        return Prepared(key, shape, payloads, needed)

    def add(self, sample: Prepared) -> None:
        """Add a prepared sample to the shard that is open, or to the next one.

        Raises:
            DuplicateKeyError: The shard has the key already.
            FormatError: The samples of the shard have more different fields than an index may have.
        """
        shard, needed = self.open, sample.num_bytes
        if shard is not None:
            is_full = shard.num_bytes + needed > self._room or len(shard.keys) == self._limits.max_samples
            if is_full:
                self.finish()
                shard = None
        if shard is None:
            shard = self.open = self._start()
        if shard.waiting_bytes + needed > self._buffer_bytes:
            self._flush(shard)
        shard.add(sample.key, sample.shape, sample.payloads, needed)

    def finish(self) -> None:
        """End the shard that is open, if there is one."""
        if self.open is not None:
            self._finish(self.open)
            self.open = None

    def discard(self) -> None:
        """Discard the shard that is open, if there is one."""
        if self.open is not None:
            self.open.discard()
            self.open = None

    @property
    def encoded(self) -> set[str]:
        """Names of the fields that came as values instead of bytes."""
        return set().union(*(shape.encoded for shape in self._shapes.values()))


def _weak(function: Callable[..., Result]) -> Callable[..., Result]:
    """Return a function that calls this one; if it is a method, its object lives no longer for that."""
    if not isinstance(function, MethodType):
        return function
    method: WeakMethod[Callable[..., Result]] = WeakMethod(function)

    def call(*arguments: Any) -> Result:
        living = method()
        assert living is not None
        return living(*arguments)

    return call
