"""SPEC 7 once more, in plain Python, written from its text alone: slow, and with no array in sight."""

from __future__ import annotations

from collections.abc import Sequence

MASK = 2**64 - 1
G = 0x9E3779B97F4A7C15


def mix64(v: int) -> int:
    v = (v ^ v >> 30) * 0xBF58476D1CE4E5B9 & MASK
    v = (v ^ v >> 27) * 0x94D049BB133111EB & MASK
    return v ^ v >> 31


def derive_key(*numbers: int) -> int:
    k = 0
    for x in numbers:
        k = mix64(k * G + x + G & MASK)
    return k


def permutation(count: int, k: int) -> list[int]:
    return sorted(range(count), key=lambda i: mix64((i + 1) * G + k & MASK))


def shuffled(x: int, count: int, k: int) -> int:
    if count <= 4096:
        return permutation(count, k)[x]
    bits = (count - 1).bit_length()
    lb = bits // 2
    hb = bits - lb
    while True:
        low, high = x % 2**lb, x // 2**lb
        for i in (1, 3, 5):
            high ^= mix64(low + k + i * G & MASK) % 2**hb
            low ^= mix64(high + k + (i + 1) * G & MASK) % 2**lb
        x = high * 2**lb + low
        if x < count:
            return x


class Deal:
    """Partitions, steps and ranks: SPEC 7.4."""

    def __init__(self, num_items: int, partitions: int, global_batch: int, tail: str):
        self.num_items, self.partitions, self.tail = num_items, partitions, tail
        self.q = global_batch // partitions
        self.s, self.l = num_items // partitions, num_items % partitions

    def start(self, p: int) -> int:
        return p * self.s + max(0, p - (self.partitions - self.l))

    def length(self, p: int) -> int:
        if self.tail == "pad":
            return self.s + 1 if self.l > 0 else self.s
        if self.tail == "drop":
            return self.s
        return self.start(p + 1) - self.start(p)

    def steps(self, rank: int, world_size: int) -> list[list[tuple[int, int]]]:
        """For each step the (partition, place) of a rank."""
        owned = [p for p in range(self.partitions) if p % world_size == rank]
        full = self.length(0) // self.q
        steps = [
            [(p, self.start(p) + o) for p in owned for o in range(t * self.q, (t + 1) * self.q)] for t in range(full)
        ]
        left = [(p, self.start(p) + o) for p in owned for o in range(full * self.q, self.length(p))]
        return steps + [left] * bool(left)


def block_order(
    segments: Sequence[tuple[int, int]], deal: Deal, *, seed: int, epoch: int, block_bytes: int, window_blocks: int
) -> dict[tuple[int, int], int]:
    """Items by (partition, place), SPEC 7.3; a segment is (items, bytes)."""
    blocks, first = [], 0
    for n, num_bytes in segments:
        b = min(n, max(1, (num_bytes + block_bytes // 2) // block_bytes))
        blocks += [list(range(first + j * n // b, first + (j + 1) * n // b)) for j in range(b)]
        first += n
    arranged, starts = [], []
    for i in permutation(len(blocks), derive_key(3, seed, epoch)):
        starts.append(len(arranged))
        arranged += blocks[i]
    found = {}
    for p in range(deal.partitions):
        begin, cut, end = deal.start(p), deal.start(p + 1), deal.start(p) + deal.length(p)
        if begin == cut:
            found.update({(p, place): arranged[place] for place in range(begin, end)})
            continue
        holding = max(i for i, start in enumerate(starts) if start <= begin)
        windows = [begin] + [s for s in starts[holding + window_blocks :: window_blocks] if s < cut]
        for w, f in enumerate(windows):
            c = ([*windows, end])[w + 1] - f
            k = derive_key(4, seed, epoch, p, w)
            found.update({(p, f + x): arranged[f + shuffled(x, c, k)] for x in range(c)})
    return found


def epoch_order(
    segments: Sequence[tuple[int, int]],
    mode: str,
    deal: Deal,
    *,
    seed: int,
    epoch: int,
    block_bytes: int,
    window_blocks: int,
) -> dict[tuple[int, int], int]:
    """Items by (partition, place) for every mode."""
    places = {(p, deal.start(p) + o) for p in range(deal.partitions) for o in range(deal.length(p))}
    if mode == "none":
        return {(p, n): n for p, n in places}
    if mode == "global":
        return {(p, n): shuffled(n, deal.num_items, derive_key(5, seed, epoch)) for p, n in places}
    if mode == "shards":
        firsts = [sum(n for n, _ in segments[:i]) for i in range(len(segments))]
        order = permutation(len(segments), derive_key(2, seed, epoch))
        arranged = [firsts[i] + j for i in order for j in range(segments[i][0])]
        return {(p, n): arranged[n] for p, n in places}
    return block_order(segments, deal, seed=seed, epoch=epoch, block_bytes=block_bytes, window_blocks=window_blocks)
