"""A DataLoader over a bucket: workers that are forked after the dataset was read from, or spawned, read it too."""

from __future__ import annotations

from itertools import chain

import pytest

import shardpack
from tests.edges.needs import many_workers, needs, numbers
from tests.read.datasets import numbered, write

torch = needs("torch")
pytest.importorskip("obstore")
from torch.utils.data import DataLoader  # noqa: E402 - behind the check

from shardpack.torch import MapDataset, StreamDataset  # noqa: E402

pytestmark = many_workers


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_read_the_bucket(method, tmp_path, nginx_server):
    write(tmp_path / "data", numbered(46), max_shard_samples=5)
    options = {"endpoint": nginx_server(tmp_path).url, "skip_signature": True, "region": "here"}
    ds = shardpack.open("s3://data", storage_options=options)
    assert ds[3].position == 3, "the client has threads of its own now, which no fork takes along"
    stream = ds.stream(shuffle="blocks", seed=3, batch_size=4, block_bytes=4096, window_blocks=3)
    whole = [[sample.position for sample in step] for step in stream.steps()]
    data = StreamDataset(ds, shuffle="blocks", seed=3, batch_size=4, block_bytes=4096, window_blocks=3)
    loader = DataLoader(data, batch_size=4, num_workers=2, multiprocessing_context=method, collate_fn=numbers)
    assert list(loader) == whole
    by_position = DataLoader(
        MapDataset(ds), batch_size=5, num_workers=2, multiprocessing_context=method, collate_fn=numbers, timeout=60
    )
    assert list(chain.from_iterable(by_position)) == list(range(46))
    assert ds[4].position == 4
