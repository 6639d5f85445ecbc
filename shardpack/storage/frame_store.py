"""A store that shows compressed shards as the plain tars they hold, so that readers need not know of compression.

    plain range --columns `frame_data`, `frame_start`--> frames --> range of the file --store below--> decompressed

All offsets and lengths here are those of the plain tar. One sample is in one frame, so it is still one range.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from shardpack.errors import CorruptShardError
from shardpack.format.frames import HOP_BYTES, Frames
from shardpack.storage.base_store import Wrapper, raise_truncated
from shardpack.storage.coalesce import MergeLimits, coalesce
from shardpack.storage.frame_decoder import FrameDecoder
from shardpack.storage.protocols import Ranges, Store, Version

KEPT_BYTES = 4 << 20  # a longer frame is not kept: many threads may read
_READ_BYTES = 128 << 10  # of the file that `each_part` reads at once: they stay in the processor's caches


class _Last(threading.local):
    """The frame that a thread has decompressed last: reading on costs nothing for the samples that share it.

    More of them would save little, and take memory that the processor's caches hold: a frame costs a third more then.
    """

    frames: Frames | None = None
    number = 0
    plain = b""


@dataclass(frozen=True, slots=True)
class _Stored:
    """Bytes of a file from `begin` on, which are whole frames."""

    path: str
    frames: Frames
    begin: int
    data: memoryview

    def frame(self, number: int) -> memoryview:
        """Return one frame."""
        return self.run(number, number + 1)

    def run(self, first: int, stop: int) -> memoryview:
        """Return adjacent frames."""
        starts = self.frames.stored_at
        return self.data[starts[first] - self.begin : starts[stop] - self.begin]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to read of one file for some ranges of the plain tar, and which request holds the frames of each."""

    wanted: Ranges
    frames: Frames
    requests: Ranges
    owner: list[int]


def _plan(wanted: Ranges, frames: Frames, limits: MergeLimits) -> _Plan:
    starts, lengths = np.array(wanted.starts, np.int64), np.array(wanted.lengths, np.int64)
    if len(starts) and ((starts < 0).any() or int((starts + lengths).max()) > frames.plain_bytes):
        worst = int(np.argmax(starts + lengths))
        raise_truncated(wanted.path, int(starts[worst]), int(lengths[worst]), frames.plain_bytes)
    data = frames.plain.view(np.int64)
    offsets = frames.stored.view(np.int64)
    first = np.minimum(np.searchsorted(data, starts, side="right") - 1, len(frames) - 1)
    stop = np.maximum(np.searchsorted(data, starts + lengths, side="left"), first + 1)
    begins = offsets[first]
    merged = coalesce(begins, np.where(lengths > 0, offsets[stop] - begins, 0), limits=limits)
    return _Plan(
        wanted, frames, Ranges(wanted.path, merged.starts.tolist(), merged.lengths.tolist()), merged.owner.tolist()
    )


def _frame_numbers(path: str, frames: Frames, start: int, length: int) -> tuple[int, int]:
    """Return the frames that hold a range: the first, and the one behind the last."""
    plain_at = frames.plain_at
    if start < 0 or start + length > plain_at[-1]:
        raise_truncated(path, start, length, plain_at[-1])
    return frames.holding(start, length)


class FrameStore(Wrapper):
    """Shows the compressed shards of a store as plain tars. Safe in threads."""

    def __init__(self, base: Store, frames: Mapping[str, Frames], *, kept_bytes: int = KEPT_BYTES) -> None:
        """Read the shards of `base` whose frames are given by their names; a thread keeps up to `kept_bytes`."""
        super().__init__(base)
        self._frames, self._kept_bytes = frames, kept_bytes
        self._decoder = FrameDecoder()
        self._last = _Last()

    def __reduce__(self) -> tuple[type[FrameStore], tuple[Store, Mapping[str, Frames]]]:
        return (FrameStore, (self._base, self._frames))

    # One range

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """Return a range. Costs one range of the store below; none where its frame was read just before."""
        if not length:
            return b""
        frames = self._frames[path]
        plain_at = frames.plain_at
        number = bisect_right(plain_at, start, 1, len(plain_at) - 1) - 1
        begin, end = plain_at[number], plain_at[number + 1]
        if begin <= start and start + length <= end:
            last = self._last
            if last.frames is frames and last.number == number:
                plain = last.plain
            else:
                last.frames, last.plain = None, b""  # so that its memory, which the caches hold, is used again
                first = frames.stored_at[number]
                stop = frames.stored_at[number + 1]
                if stop - first > end - begin + HOP_BYTES:
                    plain = self._read_before_gap(path, frames, number)
                else:
                    data = self._base.get_range(path, start=first, length=stop - first)
                    plain = self._decoder.decode(data, end - begin, path, first)
                if end - begin <= self._kept_bytes:
                    last.frames, last.number, last.plain = frames, number, plain
            return plain[start - begin : start - begin + length]
        return self._read_long(path, frames, start, length)

    def _read_before_gap(self, path: str, frames: Frames, number: int) -> bytes:
        """Return one frame, without reading long skippable frames behind it."""
        begin, plain_bytes = frames.stored_at[number], frames.plain_at[number + 1] - frames.plain_at[number]
        with suppress(CorruptShardError):  # it may be longer than libzstd would make it
            data = self._base.get_range(path, start=begin, length=frames.stop_of(number) - begin)
            return self._decoder.decode(data, plain_bytes, path, begin)
        data = self._base.get_range(path, start=begin, length=frames.stored_at[number + 1] - begin)
        return self._decoder.decode(data, plain_bytes, path, begin)

    def _read_long(self, path: str, frames: Frames, start: int, length: int) -> bytes:
        first, stop = _frame_numbers(path, frames, start, length)
        if any(first <= number < stop for number in frames.gaps):
            plain = b"".join([self._read_before_gap(path, frames, number) for number in range(first, stop)])
            return plain[start - frames.plain_at[first] :][:length]
        begin, end = frames.stored_at[first], frames.stored_at[stop]
        data = self._base.get_range(path, start=begin, length=end - begin)
        return self._decode_long(_Stored(path, frames, begin, memoryview(data)), start, length)

    def _decode_long(self, stored: _Stored, start: int, length: int) -> bytes:
        """Return a range out of frames that were read."""
        path, frames = stored.path, stored.frames
        first, stop = _frame_numbers(path, frames, start, length)
        begin = frames.stored_at[first]
        return self._decoder.decode_run(
            stored.run(first, stop),
            (frames.stored[first:stop] - np.uint64(begin)).tolist(),
            np.diff(frames.plain[first : stop + 1]).tolist(),
            skip=start - frames.plain_at[first],
            length=length,
            path=path,
            offset=begin,
        )

    def _frame(self, path: str, frames: Frames, number: int, data: bytes | memoryview) -> bytes:
        """Return what a frame holds that was read, and keep it for the samples that share it."""
        last = self._last
        if last.frames is frames and last.number == number:
            return last.plain
        last.frames, last.plain = None, b""
        begin, end = frames.plain_at[number : number + 2]
        plain = self._decoder.decode(data, end - begin, path, frames.stored_at[number])
        if end - begin <= self._kept_bytes:
            last.frames, last.number, last.plain = frames, number, plain
        return plain

    # Many ranges

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return the ranges; see `get_many`."""
        if self._frames[path].gaps:
            return super().get_ranges(path, starts=starts, lengths=lengths)
        return self.get_many([Ranges(path, starts, lengths)])[0]

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        """Return the ranges of all objects, all read at once; frames near each other are one range of the file."""
        if any(self._frames[ranges.path].gaps for ranges in wanted):
            return super().get_many(wanted)
        plans = [_plan(ranges, self._frames[ranges.path], self._base.merge_limits) for ranges in wanted]
        found = self._base.get_many([plan.requests for plan in plans])
        return [self._cut(plan, buffers) for plan, buffers in zip(plans, found, strict=True)]

    def _cut(self, plan: _Plan, buffers: Sequence[bytes]) -> list[bytes]:
        """Return the ranges of a plan, in the order asked; frames are decompressed in the order of the file."""
        wanted, frames, path = plan.wanted, plan.frames, plan.wanted.path
        stored = [
            _Stored(path, frames, begin, memoryview(data))
            for begin, data in zip(plan.requests.starts, buffers, strict=True)
        ]
        results = [b""] * len(wanted.starts)
        for at in np.argsort(wanted.starts, kind="stable").tolist():
            start, length = wanted.starts[at], wanted.lengths[at]
            if not length:
                continue
            number = bisect_right(frames.plain_at, start) - 1
            begin, end = frames.plain_at[number : number + 2]
            if start + length > end:
                results[at] = self._decode_long(stored[plan.owner[at]], start, length)
                continue
            plain = self._frame(path, frames, number, stored[plan.owner[at]].frame(number))
            results[at] = plain[start - begin : start - begin + length]
        return results

    # One frame after the other

    def each_part(self, path: str, edges: Sequence[int]) -> Iterator[bytes]:
        """Yield the ranges between edges. Where they are frames, a range of the file brings several of them."""
        frames = self._frames[path]
        first, stop = frames.holding(edges[0], edges[-1] - edges[0])
        if frames.gaps or frames.plain_at[first : stop + 1].tolist() != edges:
            yield from super().each_part(path, edges)
            return
        stored, decode, at = frames.stored_at[first : stop + 1].tolist(), self._decoder.decode, 0
        while at < len(edges) - 1:
            begin = stored[at]
            end = max(at + 1, bisect_right(stored, begin + _READ_BYTES) - 1)
            try:
                data = memoryview(self._base.get_range(path, start=begin, length=stored[end] - begin))
            except CorruptShardError:  # the file is truncated: frames before that are still there
                yield from super().each_part(path, edges[at:])
                return
            for number in range(at, end):
                frame = data[stored[number] - begin : stored[number + 1] - begin]
                yield decode(frame, edges[number + 1] - edges[number], path, stored[number])
            at = end

    # What is there

    def size(self, path: str) -> int:
        """Return the length of the plain tar, by the index."""
        return self._frames[path].plain_bytes

    def version(self, path: str) -> Version:
        return replace(self._base.version(path), size=self.size(path))

    def is_cached(self, path: str, start: int) -> bool:
        """Return whether the frame at an offset of the plain tar could be read without waiting."""
        frames = self._frames[path]
        return self._base.is_cached(path, frames.stored_at[max(0, bisect_right(frames.plain_at, start) - 1)])

    def prefetch(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> None:
        """Announce the frames that hold ranges."""
        stored = [self._frames[path].stored_range(a, n) for a, n in zip(starts, lengths, strict=True)]
        self._base.prefetch(path, starts=[one.start for one in stored], lengths=[one.length for one in stored])

    def close(self) -> None:
        self._last = _Last()
        super().close()
