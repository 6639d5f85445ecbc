"""What is shown of a balanced or weighted epoch is what the stream gives."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.errors import OptionError
from shardpack.inspect.drawn_stats import drawn_path, drawn_stats
from shardpack.inspect.order_stats import order_stats
from tests.stream.drawn import CLASS, DS, NAMES, SAMPLES, WEIGHT, opened, positions

ASKED = {
    "balance": {"balance": "class", "num_samples": 96, "batch_size": 8},
    "weights": {"weights": {"cat": 5, "dog": 1, "owl": 2}, "num_samples": 200, "batch_size": 10, "seed": 3},
    "two ranks": {"balance": "class", "world_size": 2, "rank": 1, "batch_size": 7, "partitions": 14},
}


@pytest.mark.parametrize("kind", ASKED)
@pytest.mark.parametrize("epoch", [0, 3])
def test_counts_are_those_of_the_stream(kind, epoch):
    stream = opened(**ASKED[kind])
    stream.set_epoch(epoch)
    found = drawn_stats(stream)
    whole = opened(**{**ASKED[kind], "rank": 0, "world_size": 1, "batch_size": None, "partitions": 1, "tail": "exact"})
    whole.set_epoch(epoch)
    everything = np.array(positions(whole))
    steps = [[sample.position for sample in step] for step in stream.steps()]
    measured = [np.bincount(CLASS[step], minlength=3) for step in steps if len(step) == stream.batch_size]
    times = np.bincount(everything, minlength=SAMPLES)
    assert found.epoch_samples == len(everything)
    assert (found.measured_batches, found.measured_batch_size) == (len(measured), stream.batch_size)
    for number, one in enumerate(found.classes):
        counts = [batch[number] for batch in measured]
        assert (one.name, one.samples) == (NAMES[number], int((number == CLASS).sum()))
        assert one.drawn == int((CLASS[everything] == number).sum())
        assert (one.batch_least, one.batch_most) == (min(counts), max(counts))
        assert one.batch_mean == pytest.approx(np.mean(counts))
        own = times[number == CLASS]
        assert one.least_repeats <= own.min() <= own.max() <= one.most_repeats <= own.max() + 1
    assert found.least_repeats <= times.min() <= times.max() <= found.most_repeats
    assert found.never_drawn <= int((times == 0).sum())


def test_samples_with_weights_of_their_own_have_no_classes():
    stream = opened(weights="weight", num_samples=100)
    found = drawn_stats(stream)
    times = np.bincount(positions(stream), minlength=SAMPLES)
    assert found.classes == ()
    assert (found.least_repeats, found.most_repeats) == (0, times.max())
    assert found.never_drawn == int((WEIGHT == 0).sum())


def test_the_path_is_that_of_the_stream():
    stream = opened(balance="class", batch_size=4)
    stream.set_epoch(2)
    x, y = drawn_path(stream)
    found = positions(stream)
    assert y.tolist() == [found[place] for place in x.tolist()]


def test_streams_of_other_kinds_are_refused():
    with pytest.raises(OptionError, match="neither balanced nor weighted"):
        drawn_stats(DS.stream(shuffle="blocks"))
    with pytest.raises(OptionError, match="no shuffle to measure"):
        order_stats(opened(balance="class"))
    with pytest.raises(OptionError, match="no samples for this rank"):
        drawn_stats(opened(balance="class", num_samples=1, rank=0, world_size=2, tail="drop"))
