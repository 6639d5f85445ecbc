"""Batches of arrays out of maps are the batches made of samples; they hold memory of their own."""

from __future__ import annotations

import io

import numpy as np
import pytest

import shardpack
from shardpack.codecs.arrays import encode_npy
from shardpack.codecs.decode import ArrayDecoder
from shardpack.errors import DecodeError
from shardpack.stream import loader as loader_module
from shardpack.stream.array_batch import ArrayBatch, array_batch, has_only_arrays
from shardpack.stream.batch_builder import BatchBuilder, BatchSpec
from tests.read.datasets import write


def spec(*fields, transform=None, **decoders):
    decoders = {name: ArrayDecoder(name) for name in fields} | decoders
    return BatchSpec(fields, decoders, transform, skip=False, replace=True, seed=0, epoch=0)


def opened(folder, arrays, **options):
    some = {f"k/{i:03d}": one if isinstance(one, dict) else {"npy": one} for i, one in enumerate(arrays)}
    return shardpack.open(write(folder / "out", some, **options))


@pytest.fixture
def made(monkeypatch):
    """The builders that loaders make, by their class."""
    found = []
    for one in (ArrayBatch, BatchBuilder):
        init = one.__init__

        def noted(self, *args, _init=init, **named):
            found.append(type(self).__name__)
            _init(self, *args, **named)

        monkeypatch.setattr(one, "__init__", noted)
    return found


def batches(ds, monkeypatch=None, **options):
    """Return the batches of a loader; with `monkeypatch`, made of samples."""
    if monkeypatch is not None:
        with monkeypatch.context() as patch:
            patch.setattr(loader_module, "has_only_arrays", lambda _: False)
            return batches(ds, **options)
    return list(ds.loader(4, decode="rgb8", **options))


def assert_same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert list(a) == list(b)
        for name in a:
            assert type(a[name]) is type(b[name])
            if isinstance(a[name], np.ndarray):
                assert a[name].dtype == b[name].dtype
                np.testing.assert_array_equal(a[name], b[name])
            else:
                assert repr(a[name]) == repr(b[name])


def fortran(array):
    """Return an npy in Fortran order, as `numpy.save` writes it."""
    file = io.BytesIO()
    np.save(file, np.asfortranarray(array))
    return file.getvalue()


RNG = np.random.default_rng(5)
ALIKE = {
    "uint8": [encode_npy(RNG.integers(0, 256, (5, 4, 3), np.uint8)) for _ in range(11)],
    "float": [encode_npy(RNG.random((7,), np.float32)) for _ in range(11)],
    "long": [encode_npy(RNG.integers(0, 9, (300, 400), np.int64)) for _ in range(11)],
    "scalars": [encode_npy(np.array(i)) for i in range(11)],
    "with more bytes behind": [encode_npy(np.full(3, i)) + b"more" * (i % 3) for i in range(11)],
    "two fields": [{"npy": encode_npy(np.full(3, i)), "b.npy": encode_npy(np.full((2, 2), -i))} for i in range(11)],
}
OTHERS = {
    "Fortran order": [fortran(RNG.random((3, 4))) for _ in range(11)],
    "the other byte order": [encode_npy(np.full(3, i, ">i4")) for i in range(11)],
    "empty": [encode_npy(np.empty((0, 3))) for _ in range(11)],
    "one shape apart": [encode_npy(np.full(3 + (i == 6), i)) for i in range(11)],
    "one dtype apart": [encode_npy(np.full(3, i, np.int32 if i == 6 else np.float32)) for i in range(11)],
    "labels too": [{"npy": encode_npy(np.full(3, i)), "json": b"%d" % i} for i in range(11)],
    "numbers too": [{"npy": encode_npy(np.full(3, i)), "bin": b"%d" % i} for i in range(11)],
}


@pytest.mark.parametrize("shuffle", ["none", "blocks"])
@pytest.mark.parametrize("name", ALIKE)
def test_arrays_stored_alike_are_copied_without_samples(tmp_path, monkeypatch, made, name, shuffle):
    ds = opened(tmp_path, ALIKE[name], max_shard_samples=4)
    copied = batches(ds, shuffle=shuffle)
    assert set(made) == {"ArrayBatch"}
    assert_same(copied, batches(ds, monkeypatch, shuffle=shuffle))


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_decoded_as_samples(tmp_path, monkeypatch, made, name):
    ds = opened(tmp_path, OTHERS[name])
    mixed = batches(ds)
    assert "BatchBuilder" in made
    assert_same(mixed, batches(ds, monkeypatch))


def test_the_field_of_arrays_alone_is_copied(tmp_path, monkeypatch, made):
    ds = opened(tmp_path, OTHERS["labels too"])
    copied = batches(ds, fields=["npy"])
    assert set(made) == {"ArrayBatch"}
    assert_same(copied, batches(ds, monkeypatch, fields=["npy"]))


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_bad_array_is_an_error_of_its_sample(tmp_path, on_error):
    arrays = [encode_npy(np.full(3, i)) for i in range(8)]
    arrays[6] = arrays[6][:-1]
    loader = opened(tmp_path, arrays).loader(4, decode="rgb8", on_error=on_error)
    if on_error == "raise":
        with pytest.raises(DecodeError, match="cut short") as caught:
            list(loader)
        assert caught.value.key == "k/006"
    else:
        assert [batch["npy"][:, 0].tolist() for batch in loader] == [[0, 1, 2, 3], [4, 5, 7, 7]]
        assert loader.skipped.num_samples == 1


def test_a_loader_resumes_in_a_batch_and_keeps_its_epoch(tmp_path):
    ds = opened(tmp_path, ALIKE["float"])
    stream = ds.stream(shuffle="blocks", batch_size=4)
    whole = list(stream.loader(decode="rgb8"))
    taken = iter(stream)
    for _ in range(6):
        next(taken)
    other = ds.stream(shuffle="blocks", batch_size=4)
    loader = other.loader(decode="rgb8")
    loader.load_state_dict(stream.state_dict())
    rest = iter(loader)
    loader.set_epoch(3)
    first = next(rest)
    assert first["__key__"] == whole[1]["__key__"][2:]
    np.testing.assert_array_equal(first["npy"], whole[1]["npy"][2:])
    assert_same(list(rest), whole[2:])


def test_batches_that_are_kept_stay_as_they_are(tmp_path):
    values = [RNG.integers(0, 256, (300, 400), np.uint8) for _ in range(40)]
    loader = opened(tmp_path, [encode_npy(value) for value in values]).loader(4, decode="rgb8")
    kept = list(loader)
    for _ in loader:
        pass
    np.testing.assert_array_equal(np.concatenate([batch["npy"] for batch in kept]), values)


def test_what_is_more_than_arrays_is_not_copied():
    assert has_only_arrays(spec("npy", "b.npy"))
    assert not has_only_arrays(spec("npy", transform=dict))
    assert not has_only_arrays(spec("npy", "cls", cls=int))
    assert not has_only_arrays(spec())


def test_it_keeps_nothing_of_a_batch(tmp_path):
    step = next(iter(opened(tmp_path, ALIKE["float"]).stream(batch_size=4).mapped_steps(0)))
    builder = array_batch(spec("npy"), step)
    assert len(builder) == 4
    builder.build_items(range(2, 4))
    builder.build_items(range(2))
    batch = builder.build()
    assert batch["__key__"] == step.keys()
    assert batch["npy"].shape == (4, 7)
    assert not builder.columns
    assert not builder.copies
