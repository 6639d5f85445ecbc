"""Memory of batches is used again when nobody holds it, and never before."""

from __future__ import annotations

import gc
import random
import threading

import numpy as np
import pytest

from shardpack.stream.batch_memory import BatchMemory

SHAPE = (4, 300, 300, 4)  # above the size that the usual allocator serves


def address(array):
    return array.__array_interface__["data"][0]


def test_dropped_memory_is_used_again():
    memory = BatchMemory(max_idle=2)
    first = memory.empty(SHAPE, np.uint8)
    where = address(first)
    first[:] = 7
    del first
    again = memory.empty(SHAPE, np.uint8)
    assert address(again) == where
    assert (again == 7).all(), "which shows that it is the same memory; its content is nobody's"


def test_arrays_are_ordinary():
    memory = BatchMemory(max_idle=1)
    array = memory.empty((5, 400, 400), np.float32)
    assert array.shape == (5, 400, 400)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.flags.aligned
    array[:] = 2
    assert array.sum() == 2 * array.size
    for small in ((3,), (0, 5), ()):
        assert memory.empty(small, np.int16).shape == small


@pytest.mark.parametrize("hold", [
    lambda array: array,
    lambda array: array[2],
    lambda array: array.reshape(-1)[5:9],
    lambda array: array.view(np.int16).T,
    memoryview,
    lambda array: [array[0, 0, 0]],
    lambda array: np.asarray(memoryview(array[1])),
])  # fmt: skip
def test_whatever_refers_to_an_array_keeps_it(hold):
    memory = BatchMemory(max_idle=4)
    array = memory.empty(SHAPE, np.uint8)
    array[:] = 1
    where, held = address(array), hold(array)
    del array
    others = [memory.empty(SHAPE, np.uint8) for _ in range(3)]
    for other in others:
        other[:] = 2
        assert address(other) != where
    assert set(np.ascontiguousarray(held).view(np.uint8).reshape(-1).tolist()) == {1}
    del held
    gc.collect()
    assert address(memory.empty(SHAPE, np.uint8)) == where


def test_tensors_keep_their_memory():
    torch = pytest.importorskip("torch")
    memory = BatchMemory(max_idle=4)
    tensor = torch.from_numpy(memory.empty(SHAPE, np.uint8))[1:]
    tensor[:] = 1
    other = memory.empty(SHAPE, np.uint8)
    other[:] = 2
    assert (tensor == 1).all()


def test_smaller_arrays_use_larger_memory_but_not_much_larger():
    memory = BatchMemory(max_idle=4)
    first = memory.empty((8 << 20,), np.uint8)
    where = address(first)
    del first
    assert address(memory.empty((1 << 20,), np.uint8)) != where
    assert address(memory.empty((5 << 20,), np.uint8)) == where


def test_idle_memory_is_bounded():
    memory = BatchMemory(max_idle=2)
    arrays = [memory.empty(SHAPE, np.uint8) for _ in range(5)]
    last = [address(array) for array in arrays[-2:]]
    while arrays:
        del arrays[0]
    arrays = [memory.empty(SHAPE, np.uint8) for _ in range(2)]
    assert sorted(map(address, arrays)) == sorted(last)


def test_an_array_outlives_its_memory():
    array = BatchMemory(max_idle=1).empty(SHAPE, np.uint8)
    gc.collect()
    array[:] = 3
    assert (array == 3).all()


def test_threads_never_share_memory():
    memory, wrong = BatchMemory(max_idle=3), []

    def use(mark):
        held, rng = [], random.Random(mark)
        for number in range(60):
            array = memory.empty(SHAPE, np.uint8)
            array[:] = mark
            held.append(array)
            del array
            if len(held) > rng.randrange(4):
                wrong.extend(number for array in held if not (array[::3, ::50] == mark).all())
                held.pop(rng.randrange(len(held)))

    threads = [threading.Thread(target=use, args=(mark,)) for mark in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
