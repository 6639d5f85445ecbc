"""Scratch arrays are zeros to write, whatever they are in; their files leave nothing behind."""

from __future__ import annotations

import mmap
import os

import numpy as np
import pytest

from shardpack.storage.scratch_array import FILE_FROM_BYTES, scratch_array


@pytest.mark.parametrize("file_from_bytes", [0, 80, 81])
@pytest.mark.parametrize("dtype", [np.float64, "u8"])
def test_an_array_is_zeros_to_write(tmp_path, dtype, file_from_bytes):
    array = scratch_array(10, dtype, folder=str(tmp_path), file_from_bytes=file_from_bytes)
    assert array.dtype == np.dtype(dtype)
    assert array.tolist() == [0] * 10
    array[3:] = 7
    assert array.tolist() == [0] * 3 + [7] * 7
    assert os.listdir(tmp_path) == []


def in_file(array):
    return isinstance(getattr(array.base, "obj", array.base), mmap.mmap)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="such systems keep all arrays in memory")
def test_a_long_array_is_in_a_file(tmp_path):
    assert in_file(scratch_array(10, "u1", folder=str(tmp_path), file_from_bytes=10))
    assert in_file(scratch_array(FILE_FROM_BYTES, "u1", folder=str(tmp_path)))
    assert not in_file(scratch_array(FILE_FROM_BYTES - 1, "u1", folder=str(tmp_path)))


def test_without_room_for_a_file_it_is_in_memory(tmp_path):
    array = scratch_array(10, "u4", folder=str(tmp_path / "none"), file_from_bytes=0)
    assert not in_file(array)
    assert array.tolist() == [0] * 10


def test_an_array_of_nothing():
    assert len(scratch_array(0, np.float64, file_from_bytes=0)) == 0
