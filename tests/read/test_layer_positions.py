"""The column of a layer: mapped, read at once, or in pages; damage is an error, not another sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import CorruptIndexError, ShardNotFoundError
from shardpack.format.layout import file_path
from shardpack.format.manifest import LayerRef
from shardpack.format.named_files import encode_positions_file
from shardpack.read.layer_positions import NONE, LayerPositions
from tests.read.datasets import CountingStore, as_dicts, expected, numbered
from tests.read.layered import RemoteStore, joined, packed_layered

PAGE = 512


def column_of(store, ref, *, samples, of_layer, **limits):
    return LayerPositions(store, ref, num_samples=samples, num_layer_samples=of_layer, **limits)


def encoded(column):
    """Return a layer with this column, and the files of its base that hold it."""
    file, parts = encode_positions_file(np.array(column, np.uint64), generation=2)
    return LayerRef("layer", 1, 1, 1, ("json",), file), {file_path(file): b"".join(parts)}


@given(st.data())
def test_every_way_of_reading_gives_the_same(data):
    count = data.draw(st.integers(1, 3000))
    column = np.random.default_rng(data.draw(st.integers(0, 9))).integers(0, 50, count)
    ref, files = encoded(column)
    more = data.draw(st.integers(0, 700))  # samples appended after the layer was attached
    positions = data.draw(st.lists(st.integers(0, count + more - 1), max_size=50))
    expect = [int(column[at]) - 1 if at < count else NONE for at in positions]
    for kind, limits in (
        (CountingStore, {}),
        (CountingStore, {"max_checked_bytes": 0}),
        (RemoteStore, {}),
        (RemoteStore, {"max_whole_bytes": 0}),
        (RemoteStore, {"max_whole_bytes": 0, "max_pages": 2}),
    ):
        own = column_of(kind(files), ref, samples=count + more, of_layer=50, **limits)
        assert own.of(np.array(positions, np.int64)).tolist() == expect
        assert [own.at(at) for at in positions] == expect
        own.close()
        assert own.of(np.array(positions, np.int64)).tolist() == expect


def test_a_short_remote_file_costs_one_request():
    ref, files = encoded(range(1, 2001))
    store = RemoteStore(files)
    own = column_of(store, ref, samples=2000, of_layer=2000)
    own.of(np.arange(2000))
    own.of(np.arange(7))
    assert own.is_checked
    assert len(store.calls) == 1


def test_of_a_long_remote_file_the_pages_are_read_that_are_asked_for():
    ref, files = encoded(range(1, 20_001))
    store = RemoteStore(files)
    own = column_of(store, ref, samples=20_000, of_layer=20_000, max_whole_bytes=0)
    assert own.of(np.array([3, 600, 19_999])).tolist() == [3, 600, 19_999]
    head, neighbours, last = store.calls
    assert head[1:] == (0, 4096)
    assert neighbours[2] == 2 * PAGE * 8
    assert last[2] == (20_000 % PAGE) * 8
    own.of(np.arange(1024))
    assert len(store.calls) == 3, "pages are kept"


@pytest.mark.parametrize("kind", [CountingStore, RemoteStore])
def test_damage_and_a_missing_file_are_errors(kind):
    ref, files = encoded(range(1, 11))
    ((path, data),) = files.items()
    changed = {path: data[:-8] + (3).to_bytes(8, "little")}
    with pytest.raises(CorruptIndexError, match="positions of the layer 'layer' are damaged: expected the CRC32C"):
        column_of(kind(changed), ref, samples=10, of_layer=10).at(0)
    beyond = {path: data[:-8] + (11).to_bytes(8, "little")}
    for limits in ({"max_whole_bytes": 0, "max_checked_bytes": 0},):
        own = column_of(kind(beyond), ref, samples=10, of_layer=10, **limits)
        assert own.at(0) == 0
        with pytest.raises(CorruptIndexError, match="points to position 10 of a layer of 10"):
            own.at(9)
    with pytest.raises(ShardNotFoundError, match="file is missing"):
        column_of(kind({}), ref, samples=10, of_layer=10).at(0)
    with pytest.raises(CorruptIndexError, match="has other positions than its base"):
        column_of(kind(files), ref, samples=9, of_layer=10).at(0)


SAMPLES = numbered(8)
LABELS = {key: {"json": b"%d" % at} for at, key in enumerate(SAMPLES)}


@pytest.mark.parametrize("kind", [CountingStore, RemoteStore])
def test_what_is_not_checked_is_compared_by_key(kind):
    files = packed_layered(SAMPLES, LABELS)
    ds = unchecked(kind(files))
    assert as_dicts([ds[i] for i in range(8)]) == expected(joined(SAMPLES, LABELS))
    assert as_dicts(ds.get_many(range(8))) == expected(joined(SAMPLES, LABELS))
    (path,) = [path for path in files if "/layer-" in path]
    swapped = files[path][:-16] + files[path][-8:] + files[path][-16:-8]
    ds = unchecked(kind(files | {path: swapped}))
    assert dict(ds[5]) == joined(SAMPLES, LABELS)["k/0005"]
    for read in (lambda: ds[7], lambda: ds.get_many([6, 7]), lambda: list(ds.stream()), lambda: ds.decode(6)):
        with pytest.raises(CorruptIndexError, match=r"has the key 'k/000[67]', and the layer's sample 'k/000[67]'"):
            read()


def unchecked(store):
    """Open a dataset whose columns are too long to be checked."""
    ds = shardpack.open(store)
    cache = ds.stream_input().cache
    cache.layers = tuple(
        replace(
            layer,
            positions=column_of(store, layer.ref, samples=8, of_layer=8, max_checked_bytes=0, max_whole_bytes=0),
        )
        for layer in cache.layers
    )
    return ds
