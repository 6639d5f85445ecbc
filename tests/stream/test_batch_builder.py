"""One batch: built item by item in any order, bad samples replaced or left out, seeds that tell samples apart."""

from __future__ import annotations

import random

import numpy as np
import pytest

from shardpack.codecs.arrays import encode_npy
from shardpack.codecs.decode import ArrayDecoder
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
        builder.build_items(range(i, i + 1))
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


def arrays(*values):
    made = []
    for i, value in enumerate(values):
        sample = Sample(npy=encode_npy(np.asarray(value)))
        sample.position, sample.key = i, f"k{i}"
        made.append(sample)
    return made


def array_spec(**options):
    options = {"transform": None, "skip": False, "replace": True, "seed": 0, "epoch": 0, **options}
    return BatchSpec(("npy",), {"npy": ArrayDecoder("npy")}, **options)


@pytest.mark.parametrize("shape", [(2, 3), (4,), (), (0, 2)])
def test_arrays_of_one_shape_are_read_into_the_batch(shape):
    wanted = np.random.default_rng(0).integers(0, 99, (5, *shape)).astype(">i4")
    batch, builder = built(array_spec(), arrays(*wanted))
    assert batch["npy"] is builder.out_rows["npy"]
    assert batch["npy"].dtype == np.dtype("i4"), "the machine's own byte order"
    np.testing.assert_array_equal(batch["npy"], wanted)


def test_arrays_of_other_shapes_make_a_list():
    values = [np.zeros((2, 2)), np.ones((2, 2)), np.ones(3)]
    batch, _ = built(array_spec(), arrays(*values))
    assert [value.tolist() for value in batch["npy"]] == [value.tolist() for value in values]
    batch, _ = built(array_spec(), arrays(np.zeros(2), np.ones(2, np.int8)))
    assert [value.dtype.name for value in batch["npy"]] == ["float64", "int8"]


def test_bad_arrays_are_replaced():
    some = arrays([1, 2], [3, 4], [5, 6])
    for bad in range(3):
        broken = [Sample(sample) for sample in some]
        broken[bad]["npy"] = b"garbage"
        batch, builder = built(array_spec(skip=True), broken)
        expected = [[1, 2], [3, 4], [5, 6]]
        expected[bad] = expected[(bad + 1) % 3]
        assert batch["npy"].tolist() == expected
        assert len(builder.skipped) == 1


@pytest.mark.parametrize("odd", range(6))
def test_runs_in_which_one_array_is_of_another_shape(odd):
    values = [np.full((2, 2), i) for i in range(6)]
    values[odd] = np.full(3, odd)
    builder = BatchBuilder(array_spec(), arrays(*values))
    for run in (range(3, 6), range(3)):
        builder.build_items(run)
    batch = builder.build()
    assert [value.tolist() for value in batch["npy"]] == [value.tolist() for value in values]


def test_runs_of_arrays_are_copied_into_the_batch():
    values = np.arange(24).reshape(6, 2, 2)
    builder = BatchBuilder(array_spec(), arrays(*values))
    for run in (range(4, 6), range(4)):
        builder.build_items(run)
    batch = builder.build()
    assert batch["npy"] is builder.out_rows["npy"]
    assert np.array_equal(batch["npy"], values)


def test_a_transform_may_change_its_arrays():
    def halve(fields):
        fields["npy"] //= 2
        return fields

    batch, _ = built(array_spec(transform=halve), arrays([2, 4], [6, 8]))
    assert batch["npy"].tolist() == [[1, 2], [3, 4]]


def test_a_batch_in_which_some_have_no_array():
    batch, _ = built(array_spec(), [*arrays([1, 2]), Sample(txt=b"")])
    assert batch["npy"][1] is None
    assert batch["npy"][0].tolist() == [1, 2]
