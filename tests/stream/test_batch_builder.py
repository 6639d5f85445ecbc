"""One batch: built item by item in any order, bad samples replaced or left out, seeds that tell samples apart."""

from __future__ import annotations

import random

import pytest

from shardpack.errors import DecodeError
from shardpack.read.sample import Sample
from shardpack.stream.batch_builder import BatchBuilder, BatchSpec


def samples(count, sources=None):
    made = []
    for i in range(count):
        sample = Sample(cls=b"%d" % i)
        sample.position, sample.key = i, f"k{i}"
        if sources:
            sample.source = sources[i]
        made.append(sample)
    return made


def spec(decode=int, transform=None, **options):
    options = {"skip": False, "replace": True, "seed": 0, "epoch": 0, **options}
    return BatchSpec(("cls",), {"cls": decode}, transform, **options)


def built(spec, some, order=None):
    builder = BatchBuilder(spec, [*some])
    for i in order or range(len(some)):
        builder.build_item(i)
    return builder.build(), builder


def test_items_may_be_built_in_any_order():
    order = list(range(9))
    random.Random(3).shuffle(order)
    batch, _ = built(spec(), samples(9), order)
    assert batch["__key__"] == [f"k{i}" for i in range(9)]
    assert batch["cls"].tolist() == list(range(9))


def rejecting(*numbers):
    def decode(payload):
        if int(payload) in numbers:
            raise DecodeError("not this one")
        return int(payload)

    return decode


def test_bad_samples_are_named_replaced_or_left_out():
    with pytest.raises(DecodeError, match="not this one") as caught:
        built(spec(rejecting(2)), samples(4))
    assert caught.value.key == "k2"
    batch, builder = built(spec(rejecting(2, 3), skip=True), samples(4))
    assert batch["cls"].tolist() == [0, 1, 0, 0]
    assert [key for key, _ in builder.skipped] == ["k2", "k3"]
    batch, _ = built(spec(rejecting(2, 3), skip=True, replace=False), samples(4))
    assert batch["cls"].tolist() == [0, 1]
    with pytest.raises(DecodeError, match="none of the 2 samples of a batch is good"):
        built(spec(rejecting(0, 1), skip=True), samples(2))


def test_seeds_tell_samples_epochs_and_datasets_apart():
    def seeds(some, **options):
        batch, _ = built(spec(transform=lambda fields: {"seed": str(fields["__seed__"])}, **options), some)
        return batch["seed"]

    plain = seeds(samples(3))
    assert len(set(plain)) == 3
    assert plain == seeds(samples(3))
    others = [
        seeds(samples(3), epoch=1),
        seeds(samples(3), seed=1),
        seeds(samples(3, [0] * 3)),
        seeds(samples(3, [1] * 3)),
    ]
    assert len({seed for some in [plain, *others] for seed in some}) == 15
