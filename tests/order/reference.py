"""SPEC 7 once more, in plain Python, written from its text alone: slow, and with no array in sight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

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


class Plain:
    """Partitions, steps and ranks: SPEC 7.4."""

    def __init__(self, num_items: int, partitions: int, global_batch: int, tail: str):
        self.num_items, self.partitions, self.tail = num_items, partitions, tail
        self.q = global_batch // partitions
        self.s, self.l = num_items // partitions, num_items % partitions

    def start(self, p: int) -> int:
        return p * self.s + max(0, p - (self.partitions - self.l))

    def steps(self, rank: int, world_size: int) -> list[list[tuple[int, int]]]:
        """For each step the (partition, slot) of a rank."""
        owned = [p for p in range(self.partitions) if p % world_size == rank]
        full = self.s // self.q
        steps = [
            [(p, self.start(p) + o) for p in owned for o in range(t * self.q, (t + 1) * self.q)] for t in range(full)
        ]
        left = [(p, slot) for p in owned for slot in range(self.start(p) + full * self.q, self.start(p + 1))]
        longer = [p for p in owned if p >= self.partitions - self.l]
        if self.tail == "pad" and len(longer) * world_size < self.l:
            p = self.partitions - self.l + rank % self.l
            left.append((p, self.start(p) + self.s))
        if self.tail == "drop" and len(longer) * world_size > self.l:
            left.pop()
        return steps + [left] * bool(left)


def block_order(
    segments: Sequence[tuple[int, int]], plain: Plain, *, seed: int, epoch: int, block_bytes: int, window_blocks: int
) -> dict[int, int]:
    """Items by slot, SPEC 7.3; a segment is (items, bytes)."""
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
    each = -(-window_blocks // plain.partitions)
    for p in range(plain.partitions):
        begin, end = plain.start(p), plain.start(p + 1)
        if plain.s == 0:
            found.update({slot: arranged[slot] for slot in range(begin, end)})
            continue
        holding = max(i for i, start in enumerate(starts) if start <= begin)
        windows = [begin] + [s for s in starts[holding + each :: each] if s < end]
        pieces = sum(s < end for s in starts[holding:])
        if pieces % each and len(windows) > 1:
            windows.pop()  # too short by itself
        for w, f in enumerate(windows):
            c = ([*windows, end])[w + 1] - f
            k = derive_key(4, seed, epoch, p, w)
            found.update({f + x: arranged[f + shuffled(x, c, k)] for x in range(c)})
    return found


def epoch_order(
    segments: Sequence[tuple[int, int]],
    mode: str,
    plain: Plain,
    *,
    seed: int,
    epoch: int,
    block_bytes: int,
    window_blocks: int,
) -> dict[int, int]:
    """Items by slot for every mode."""
    slots = range(plain.num_items)
    if mode == "none":
        return {n: n for n in slots}
    if mode == "global":
        return {n: shuffled(n, plain.num_items, derive_key(5, seed, epoch)) for n in slots}
    if mode == "shards":
        firsts = [sum(n for n, _ in segments[:i]) for i in range(len(segments))]
        order = permutation(len(segments), derive_key(2, seed, epoch))
        arranged = [firsts[i] + j for i in order for j in range(segments[i][0])]
        return {n: arranged[n] for n in slots}
    return block_order(segments, plain, seed=seed, epoch=epoch, block_bytes=block_bytes, window_blocks=window_blocks)


def mixture(weights: Sequence[Fraction], seed: int, partitions: int, items: int) -> list[list[tuple[int, int]]]:
    """(dataset, number) of the first items of each partition: SPEC 7.6."""
    shares = [round(2**32 * w / sum(weights)) for w in weights]
    left: list[tuple[int, int, Any]] = [(u, k, k) for k, u in enumerate(shares)]  # weight, age, dataset or fork
    forks = 0
    while len(left) > 1:
        a, b, *left = sorted(left, key=lambda branch: branch[:2])
        ratio = (2**33 * a[0] + a[0] + b[0]) // (2 * (a[0] + b[0]))
        k = derive_key(7, seed, forks)
        phases = [(i * 2**32 + (k >> 32)) // partitions for i in permutation(partitions, k)]
        left.append((a[0] + b[0], len(shares) + forks, (ratio, phases, a[2], b[2])))
        forks += 1
    found = []
    for p in range(partitions):
        numbers: dict[Any, int] = {}
        sequence = []
        for _ in range(items):
            at = left[0][2]
            while isinstance(at, tuple):
                ratio, phases, first, second = at
                m = numbers.get(id(at), 0)
                numbers[id(at)] = m + 1
                goes_left = (ratio * (m + 1) + phases[p]) // 2**32 > (ratio * m + phases[p]) // 2**32
                at = first if goes_left else second
            sequence.append((at, numbers.get(at, 0)))
            numbers[at] = numbers.get(at, 0) + 1
        found.append(sequence)
    return found


def drawn(strata, fractions, seed):
    """The number of each item's split, or -1: SPEC 7.8."""
    parts = [Fraction(text) for text in (fractions.split() if isinstance(fractions, str) else fractions)]
    parts.append(1 - sum(parts))
    order = permutation(len(strata), derive_key(9, seed))
    owed, result = [Fraction(0)] * len(parts), [-1] * len(strata)
    for stratum in sorted(set(strata)):
        items = [item for item in order if strata[item] == stratum]
        quotas = [len(items) * part for part in parts]
        shares = [int(quota) for quota in quotas]
        owed = [before + quota - share for before, quota, share in zip(owed, quotas, shares, strict=True)]
        up = sorted((p for p in range(len(parts)) if quotas[p] % 1), key=lambda p: (-owed[p], p))
        for part in up[: len(items) - sum(shares)]:
            shares[part] += 1
            owed[part] -= 1
        given = [number for number, share in enumerate(shares) for _ in range(share)]
        for item, number in zip(items, given, strict=True):
            result[item] = -1 if number == len(parts) - 1 else number
    return result


def walk(x: int, count: int, k: int) -> int:
    """Steps 1 to 3 of SPEC 7.2 for a count of any size."""
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


def place(p: int, partitions: int) -> int:
    """The place of a partition in a step: SPEC 7.7."""
    factors, left = [], partitions
    for f in range(2, partitions + 1):
        while left % f == 0:
            factors.append(f)
            left //= f
    x = 0
    for f in factors:
        x, p = x * f + p % f, p // f
    return x


def slot_number(p: int, o: int, plain: Plain, global_batch: int) -> int:
    if o == plain.s:
        return plain.s * plain.partitions + p - (plain.partitions - plain.l)
    t = o // plain.q
    each = plain.q if t < plain.s // plain.q else plain.s % plain.q
    return t * global_batch + place(p, plain.partitions) * each + o % plain.q


def golden_step(total: int) -> int:
    g = total * 0x9E3779B9 // 2**32
    while math.gcd(g, total) != 1:
        g += 1
    return g


def quotas(u: Sequence[int], n: int, epoch: int) -> list[int]:
    total = sum(u)
    shift = epoch * golden_step(total) % total
    bounds = [(sum(u[:c]) * n + shift) // total for c in range(len(u) + 1)]
    return [b - a for a, b in pairwise(bounds)]


def class_draws(u: Sequence[int], n: int, seed: int, epoch: int) -> list[tuple[int, int]]:
    """(class, item of the class over all epochs) of each number of a slot: SPEC 7.7, slot after slot."""
    own = quotas(u, n, epoch)
    before = [sum(quotas(u, n, e)[c] for e in range(epoch)) for c in range(len(u))]
    tiers = [[c for c in range(len(u)) if u[c] == value] for value in sorted(set(u))]
    left: list[tuple[int, int, Any]] = [(u[tier[0]] * len(tier), k, k) for k, tier in enumerate(tiers)]
    size = {k: sum(own[c] for c in tier) for k, tier in enumerate(tiers)}
    forks = 0
    while len(left) > 1:
        a, b, *left = sorted(left, key=lambda branch: branch[:2])
        fork = (forks, a[2], b[2])
        size[fork] = size[a[2]] + size[b[2]]
        left.append((a[0] + b[0], len(tiers) + forks, fork))
        forks += 1
    taken: dict[Any, int] = {}
    found = []
    for _ in range(n):
        at = left[0][2]
        while isinstance(at, tuple):
            m = taken.get(at, 0)
            taken[at] = m + 1
            f, first, second = at
            few, many = (first, second) if size[first] <= size[second] else (second, first)
            a, h = size[few], size[at]
            if a == 0:
                at = many
                continue
            i = m * a // h
            begin, end = ((k * h + a - 1) // a for k in (i, i + 1))
            k = derive_key(10, seed, epoch, f)
            at = few if m == begin + mix64(k + (i + 1) * G & MASK) % (end - begin) else many
        m = taken.get(at, 0)
        taken[at] = m + 1
        tier = tiers[at]
        w, r = n * u[tier[0]] // sum(u), len(tier)
        j = min(m // r, w)
        among = tier if j < w else [c for c in tier if own[c] > w]
        c = among[walk(m - j * r, len(among), derive_key(11, seed, epoch, at, j))]
        found.append((c, before[c] + j))
    return found


def class_sample(c: int, item: int, count: int, seed: int) -> int:
    return walk(item % count, count, derive_key(12, seed, c, item // count))


def sample_weights(weights: Sequence[float]) -> list[int]:
    if max(weights) <= 2**30 and all(weight == int(weight) for weight in weights):
        return [int(weight) for weight in weights]
    return [round(weight / max(weights) * 2**30) for weight in weights]


def weighted_item(weights: Sequence[float], n: int, slot: int, seed: int, epoch: int) -> int:
    """The item at a slot of an order by sample: SPEC 7.7."""
    w = sample_weights(weights)
    total = sum(w)
    d = shuffled(slot, n, derive_key(13, seed, epoch))
    y = ((d + 1) * total - epoch * golden_step(total) % total - 1) // n
    return next(i for i in range(len(w)) if sum(w[:i]) <= y < sum(w[: i + 1]))
