"""Which of several tiers each slot goes to: spread evenly at every scale, at random otherwise (SPEC 7.7).

A binary tree of forks has the tiers as its leaves (a Huffman code, as in `order/mixture.py`). A fork knows how many of
its items go to each side. It cuts them into as many cells as the fewer ones are, and sends one of every cell there,
at random:

    items of a fork, 3 to the left and 7 to the right     . . l .   . l .   l . .

So any stretch has the right shares to within one item a fork, and counts over the whole are exact.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from shardpack.order.permutation import FORK_CHOICE, GOLDEN, derive_key, mix64
from shardpack.runtime.arrays import Integers


class Tree:
    """The shape of the tree, for any number of items. Immutable.

    Attributes:
        children: (f, 2) left and right branch of each fork: the number of a fork, or ~number of a tier.
        root: The branch at the top.
        depth: Forks between the top and the deepest tier.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        """Build the tree of tiers with these weights."""
        # Forks are numbered as they are made; the older of two equal branches comes first.
        branches = [(weight, number, ~number) for number, weight in enumerate(weights)]
        heapq.heapify(branches)
        depths = {~number: 0 for number in range(len(weights))}
        children: list[tuple[int, int]] = []
        while len(branches) > 1:
            (left, _, first), (right, _, second) = heapq.heappop(branches), heapq.heappop(branches)
            fork = len(children)
            children.append((first, second))
            depths[fork] = 1 + max(depths[first], depths[second])
            heapq.heappush(branches, (left + right, len(weights) + fork, fork))
        self.children = np.array(children, np.int64).reshape(-1, 2)
        self.root = branches[0][2]
        self.depth = depths[self.root]


class Forks:
    """The forks of one epoch. Immutable and thread-safe."""

    def __init__(self, tree: Tree, counts: Sequence[int], seed: int, epoch: int) -> None:
        """Divide as many items as the sum of `counts`, which are those of each tier."""
        self._tree = tree
        totals: list[int] = []  # (f)
        fewer: list[int] = []  # (f) items that go to the side with fewer
        side: list[int] = []  # (f) which side that is
        for left, right in tree.children.tolist():
            sizes = [totals[branch] if branch >= 0 else counts[~branch] for branch in (left, right)]
            totals.append(sum(sizes))
            fewer.append(min(sizes))
            side.append(int(sizes[1] < sizes[0]))
        self._total, self._fewer, self._side = (np.array(column, np.int64) for column in (totals, fewer, side))
        self._key = np.array([derive_key(FORK_CHOICE, seed, epoch, fork) for fork in range(len(totals))], np.uint64)

    def items(self, numbers: Integers) -> tuple[Integers, Integers]:
        """Return (n) the tiers of (n) items, and (n) their numbers within the tier."""
        branch, number = np.full(len(numbers), self._tree.root), numbers.copy()
        for _ in range(self._tree.depth):
            at = np.flatnonzero(branch >= 0)
            fork = branch[at]
            goes_to_fewer, number[at] = self._split(fork, number[at])
            branch[at] = self._tree.children[fork, np.where(goes_to_fewer, self._side[fork], 1 - self._side[fork])]
        return ~branch, number

    def _split(self, fork: Integers, number: Integers) -> tuple[np.ndarray, Integers]:
        """Return (n) whether items go to the side with fewer, and (n) their numbers on their side."""
        total, fewer = self._total[fork], self._fewer[fork]
        cells = np.maximum(fewer, 1)
        cell = number * fewer // total
        begin, end = (cell * total + cells - 1) // cells, ((cell + 1) * total + cells - 1) // cells
        keys = self._key[fork] + (cell + 1).astype(np.uint64) * np.uint64(GOLDEN)
        chosen = begin + (mix64(keys) % (end - begin).astype(np.uint64)).astype(np.int64)
        chosen[fewer == 0] = -1
        before = np.where((chosen < number) & (fewer > 0), cell + 1, cell)
        is_chosen = chosen == number
        return is_chosen, np.where(is_chosen, cell, number - before)
