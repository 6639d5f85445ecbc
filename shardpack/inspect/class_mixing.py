"""Measure how well batches mix samples: the entropy of their classes, and how far apart neighbours were stored.

    positions of batches --keys or json--> classes --> mean entropy of a batch

Reads indexes, and payloads only if classes come from the json field.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np

from shardpack.codecs.compression import split_compression
from shardpack.errors import FieldNotFoundError
from shardpack.read.read_many import read_samples
from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Progress

LABELS_AT_ONCE = 1024
TRUE_SHUFFLE_DISTANCE = 1 - math.sqrt(0.5)  # median of |a - b| of two uniform random numbers


def neighbour_distance(items: Integers, batch: int, total: int) -> float:
    """Return the median distance between neighbours in the batches, relative to that of a true shuffle.

    Args:
        items: (batches * batch) stored order numbers of the samples, batch after batch.
        batch: Samples per batch.
        total: Samples in the dataset or view.
    """
    if batch < 2:
        return 0.0
    return float(np.median(np.abs(np.diff(items.reshape(-1, batch), axis=1)))) / (total * TRUE_SHUFFLE_DISTANCE)


def stretches(total: int, length: int, limit: int) -> Integers:
    """Return the numbers in up to `limit` evenly spread stretches of 0 .. total - 1.

    Each stretch has `length` numbers and starts at a multiple of it.
    """
    available = max(1, total // length)
    count = max(1, min(limit, available))
    begin = np.arange(count) * available // count * length
    return (begin[:, None] + np.arange(length)).reshape(-1)


def class_entropies(
    parts: list[Integers],
    size: int,
    class_from: str,
    cache: ShardCache,
    progress: Progress,
) -> tuple[list[float], int]:
    """Return the mean class entropy (0 to 1) of the batches of each part, and the number of classes.

    With fewer than two classes the list of entropies is empty.

    Args:
        parts: Each (batches * size) positions of samples.
        size: Samples per batch.
        class_from: "key" takes the first folder of the key as the class; "json" takes the `label` of the
            json field, or the whole field if it is not an object.
        cache: The open shards of the dataset.
        progress: Called as progress("measure", samples done, total samples).

    Raises:
        FieldNotFoundError: `class_from` is "json" and the dataset has no json field.
        DecodeError: A json field is not valid JSON.
    """
    positions, where = np.unique(np.concatenate(parts), return_inverse=True)
    classes = _CLASS_FROM[class_from](cache, positions, lambda done: progress("measure", done, len(positions)))
    known = {name: code for code, name in enumerate(dict.fromkeys(classes))}
    codes = np.array([known[name] for name in classes], np.int64)[where.reshape(-1)]
    num_classes = len(known.keys() - {None})
    if num_classes < 2 or size < 2:
        return [], num_classes
    ends = np.cumsum([len(part) for part in parts])[:-1]
    most = math.log(min(len(known), size))
    return [_entropy(part.reshape(-1, size), len(known)) / most for part in np.split(codes, ends)], num_classes


def _entropy(batches: Integers, kinds: int) -> float:
    """Return the mean entropy of the rows, in nats."""
    total = 0.0
    for batch in batches:
        parts = np.bincount(batch, minlength=kinds) / len(batch)
        parts = parts[parts > 0]
        total -= float((parts * np.log(parts)).sum())
    return total / len(batches)


def _key_classes(cache: ShardCache, positions: Integers, done: Callable[[int], None]) -> list[str | None]:
    classes: list[str | None] = []
    for number, begin, end in cache.shard_list.runs(positions):
        shard = cache.get(number)
        for position in positions[begin:end].tolist():
            folder, slash, _ = shard.keys.text_at(position).partition("/")
            classes.append(folder if slash else None)
        done(end)
    return classes


def _json_classes(cache: ShardCache, positions: Integers, done: Callable[[int], None]) -> list[str | None]:
    fields = tuple(name for name in cache.manifest.samples_per_field if split_compression(name)[0] == "json")
    if not fields:
        raise FieldNotFoundError("no field 'json' to take classes from; take them from the keys (--class-from key)")
    classes: list[str | None] = []
    for begin in range(0, len(positions), LABELS_AT_ONCE):
        for sample in read_samples(cache, positions[begin : begin + LABELS_AT_ONCE], fields):
            value = next(map(sample.decode, sample), None)
            label = value.get("label") if isinstance(value, dict) else value
            classes.append(None if label is None else json.dumps(label, sort_keys=True))
        done(len(classes))
    return classes


_CLASS_FROM = {"key": _key_classes, "json": _json_classes}
CLASS_FROM = tuple(_CLASS_FROM)
