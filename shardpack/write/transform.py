"""Transforms: functions that a sample passes through before it is written to a shard.

A transform may change a sample, drop it, or turn it into several. It must be picklable and deterministic, because it
may run in any process, and again after a kill.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, starmap
from typing import Any, Protocol

from shardpack.format.naming import escape_key

Fields = Mapping[str, Any]


class SampleTransform(Protocol):
    """A function from one sample to the samples that are written in its place."""

    def __call__(self, key: str, fields: Fields, /) -> Iterable[tuple[str, Fields]]: ...


def rename_key(key: str, fields: Fields, /) -> Iterable[tuple[str, Fields]]:
    """Return the sample with a safe key, which `unescape_key` turns back into the original."""
    return ((escape_key(key), fields),)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Transforms in a row: each gets the samples that the one before returns."""

    steps: tuple[SampleTransform, ...]

    def __call__(self, key: str, fields: Fields, /) -> Iterable[tuple[str, Fields]]:
        samples: Iterable[tuple[str, Fields]] = ((key, fields),)
        for step in self.steps:
            samples = chain.from_iterable(starmap(step, samples))
        return samples
