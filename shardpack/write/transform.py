"""Steps: what a sample passes through before it is written to a shard, each as one value that pickles.

    sample -> user's transform -> resize and encode -> rename, select fields -> compress fields -> shard

A step may change a sample, drop it, or turn it into several. The same sample gives the same result in any process, and
again after a kill. What decides the result, and is not the sample, is in `describe`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from shardpack.format.naming import escape_key

Fields = Mapping[str, Any]  # field -> bytes, or a value that `encode_field` stores
KeyedFields = tuple[str, Fields]
Counts = Counter[str]  # what happened -> how often, such as "image.kept" -> 12; of a shard, and added up for a report

ENCODED = "encoded."  # and the name of a field: how many of its values were made bytes here


class Step(Protocol):
    """A function from one sample to those that are written in its place."""

    def __call__(self, key: str, fields: Fields, counts: Counts, /) -> Iterable[KeyedFields]:
        """Return the samples in place of this one; none drops it.

        Args:
            key: Key of the sample.
            fields: Its fields; they must not be changed, but copied.
            counts: Numbers for the report are added here, under names of this step. They are integers, and belong to
                the shard: a run that continues another one reports the same sums.

        Raises:
            MissingDependencyError: The run cannot go on as it was asked for: it ends, whatever `on_error` says.
            OptionError: It is not clear what to do with this sample. The message names the options that say so; the
                sample follows `on_error`.
            Exception: Any other error is a problem of this sample, which is named, and follows `on_error`.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return what decides the result, as JSON: the options, and the versions of all libraries that make bytes.

        It is kept in the manifest. A run is continued only by one with the same description.
        """
        ...


@dataclass(frozen=True, slots=True)
class RenameKeys:
    """Gives a sample a safe key, which `unescape_key` turns back into the original."""

    def __call__(self, key: str, fields: Fields, _: Counts, /) -> Iterable[KeyedFields]:
        """Return the sample with its new key."""
        return ((escape_key(key), fields),)

    def describe(self) -> Mapping[str, Any]:
        """Return the name of the step."""
        return {"step": "rename_keys"}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Steps in a row: each gets the samples that the one before returns."""

    steps: tuple[Step, ...] = ()

    def __call__(self, key: str, fields: Fields, counts: Counts, /) -> Iterable[KeyedFields]:
        """Return the samples that the last step returns."""
        samples: Iterable[KeyedFields] = ((key, fields),)
        for step in self.steps:
            samples = [made for key, fields in samples for made in step(key, fields, counts)]
        return samples

    def describe(self) -> Mapping[str, Any]:
        """Return the description of each step."""
        return {"steps": [dict(step.describe()) for step in self.steps]}
