"""Arrays out of pickles: those of numbers come back, and nothing of NumPy's own unpickling is reached."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from shardpack.errors import SourceError
from shardpack.sources.unpickle import unpickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
DTYPES = ["u1", "i1", "<i4", ">i4", "<f4", ">f8", "f2", "?", "<u8"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_reads_arrays_of_numbers(dtype, order, protocol):
    array = np.asarray(np.arange(24).reshape(2, 3, 4), dtype=dtype, order=order)
    value = unpickle(pickle.dumps({b"data": array, "twice": array}, protocol), "numpy", name="x")
    assert value[b"data"].dtype == array.dtype
    assert np.array_equal(value[b"data"], array)
    assert value["twice"] is value[b"data"]


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_reads_arrays_under_both_names_of_their_module(core):
    dumped = pickle.dumps(np.arange(3, dtype="u1"), 2).replace(b"numpy._core", core).replace(b"numpy.core", core)
    assert unpickle(dumped, "numpy", name="x").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "array",
    [np.array([object()]), np.array(["text"]), np.zeros(2, [("a", "u1")]), np.array(["2020"], "M8[D]")],
    ids=["objects", "text", "structure", "dates"],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_of_other_things_than_numbers_are_refused(array, protocol):
    dumped = pickle.dumps(array if array.dtype != object else np.array([None]), protocol)
    with pytest.raises(SourceError, match="expected numbers"):
        unpickle(dumped, "numpy", name="x")


def _array_state(shape, dtype="u1", content=b"", state=(3, "|", None, None, None, -1, -1, 0)):
    """Return a pickle of an array with this state, as NumPy 2 writes it."""
    parts = [pickle.dumps(part, 2)[2:-1] for part in (dtype, state, shape, content)]
    made = b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R"
    typed = b"cnumpy\ndtype\n" + parts[0] + b"K\0K\1\x87R" + parts[1] + b"b"
    return b"\x80\x02" + made + b"(K\1" + parts[2] + typed + b"\x89" + parts[3] + b"tb."


def test_the_builder_of_hostile_arrays_makes_a_good_one():
    assert unpickle(_array_state((2, 2), content=b"abcd"), "numpy", name="x").tolist() == [[97, 98], [99, 100]]


@pytest.mark.parametrize(
    "hostile",
    [
        _array_state((1 << 40,)),
        _array_state((-1,), content=b"a"),
        _array_state((1 << 62, 1 << 62, 0)),
        _array_state((2,), content=b"a"),
        _array_state((True,), content=b"a"),
        _array_state((1,) * 64, content=b"a"),
        _array_state((1,), "O", b"12345678"),
        _array_state((1,), "V1000000000", b"1"),
        _array_state((1,), content=b"a", state=(3, "|", ("u1", (2,)), None, None, -1, -1, 0)),
        _array_state((1,), content=b"a", state=(3, "O", None, None, None, -1, -1, 63)),
        _array_state((1,), content=b"a", state=[]),
    ],
)
def test_hostile_arrays_are_refused(hostile):
    with pytest.raises(SourceError):
        unpickle(hostile, "numpy", name="x")
