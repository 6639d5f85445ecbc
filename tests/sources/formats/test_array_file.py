"""Arrays in files: whole or along their first axis, stored or deflated, never of objects."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import ShardpackError, SourceError
from shardpack.sources.formats.array_file import list_arrays, read_array, read_rows
from shardpack.storage.memory import MemoryStore

SAVE = {"savez": np.savez, "savez_compressed": np.savez_compressed}


def npz(save, **arrays):
    buffer = io.BytesIO()
    SAVE[save](buffer, **arrays)
    return MemoryStore({"x.npz": buffer.getvalue()})


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("save", SAVE)
@given(
    st.sampled_from(["u1", "<f4", ">i2", "?", "<U3", "S2", [("a", "u1"), ("b", "<f8")]]),
    st.lists(st.integers(0, 5), max_size=3),
    st.booleans(),
)
def test_arrays_come_back(save, dtype, shape, in_fortran_order):
    array = np.ones(shape, dtype)
    array = np.asfortranarray(array) if in_fortran_order and shape else array
    store = npz(save, a=array, b=np.arange(3))
    first, second = list_arrays(store, "x.npz")
    assert (first.name, second.name, first.shape) == ("a", "b", tuple(shape))
    np.testing.assert_array_equal(read_array(store, first), array)


@pytest.mark.parametrize("save", SAVE)
@given(st.integers(0, 30), st.integers(0, 30), st.sampled_from([(), (3,), (2, 100_000)]))
def test_rows_come_back(save, first, stop, shape):
    first, stop = sorted((first, stop))
    array = np.arange(30, dtype="<i4").reshape(30, *[1] * len(shape)) * np.ones(shape, "<i4")
    store = npz(save, a=array)
    (found,) = list_arrays(store, "x.npz")
    rows = list(read_rows(store, found, first, stop))
    assert len(rows) == stop - first
    np.testing.assert_array_equal(np.array(rows).reshape(stop - first, *shape), array[first:stop])


def test_one_array_in_a_file():
    store = MemoryStore({"x.npy": npy(np.arange(6).reshape(2, 3))})
    (found,) = list_arrays(store, "x.npy")
    assert [row.tolist() for row in read_rows(store, found, 1, 2)] == [[3, 4, 5]]


def test_objects_are_refused_by_name():
    store = npz("savez", fine=np.zeros(2), bad=np.array([None]))
    with pytest.raises(SourceError, match=r"array 'bad': array holds Python objects.*x\.npz"):
        list_arrays(store, "x.npz")


def test_rows_in_fortran_order_are_refused():
    store = npz("savez", a=np.asfortranarray(np.zeros((3, 4))))
    (found,) = list_arrays(store, "x.npz")
    with pytest.raises(SourceError, match="Fortran order"):
        list(read_rows(store, found, 0, 1))


def test_a_bomb_is_not_inflated():
    header = npy(np.zeros(0, "u1"))[:128].replace(b"(0,)", b"(9" + b"0" * 12 + b",)")[:128]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header + bytes(1000))
    store = MemoryStore({"x.npz": buffer.getvalue()})
    with pytest.raises(SourceError, match=r"a header of|is damaged|not an npy"):
        read_array(store, list_arrays(store, "x.npz")[0])


def test_a_shape_that_its_bytes_do_not_hold_is_refused():
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 32, 64, 64, 3)}
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(100))
    with pytest.raises(SourceError, match=r"array 'images' is damaged.*got 100"):
        list_arrays(MemoryStore({"x.npz": buffer.getvalue()}), "x.npz")


def test_a_changed_byte_is_found():
    store = npz("savez", a=np.full(100, 7, "u1"))
    whole = store.get_range("x.npz", start=0, length=store.size("x.npz"))
    damaged = MemoryStore({"x.npz": whole.replace(b"\7" * 100, b"\7" * 99 + b"\6")})
    with pytest.raises(SourceError, match=r"array 'a' is damaged: its CRC-32 differs.*x\.npz"):
        list_arrays(damaged, "x.npz")


@pytest.mark.parametrize("save", SAVE)
def test_damage(save):
    store = npz(save, a=np.arange(20, dtype="u1").reshape(5, 4), b=np.arange(5))
    whole = store.get_range("x.npz", start=0, length=store.size("x.npz"))
    variants = [whole[:stop] for stop in range(len(whole))]
    variants += [whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(len(whole))]
    for data in variants:
        damaged = MemoryStore({"x.npz": data})
        try:
            for array in list_arrays(damaged, "x.npz"):
                read_array(damaged, array)
                list(read_rows(damaged, array, 0, min(array.shape[0] if array.shape else 0, 100)))
        except ShardpackError:
            continue
