"""An epoch takes as long as its slowest part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.inspect.epoch_time import Epoch, Hardware, epoch


def test_the_slowest_part_decides():
    assert epoch({"disk": 0.5, "CPU": 2.0}, 10) == Epoch(20.0, "CPU")
    assert epoch({"disk": 2.0, "CPU": 2.0}, 1) == Epoch(2.0, "disk")


def test_where_the_data_is_decides_what_it_waits_for():
    hardware = Hardware(disk=1000, network=10, gpu_images=5)
    epochs = hardware.epochs(bytes_per_image=100, decode_seconds=0.1, num_images=20)
    assert epochs == {"disk": Epoch(4, "GPU"), "bucket": Epoch(200, "network"), "memory": Epoch(4, "GPU")}
    epochs = Hardware(disk=1000, network=1e9).epochs(100, 0.05, 20)
    assert epochs == {"disk": Epoch(2, "disk"), "bucket": Epoch(1, "CPU"), "memory": Epoch(1, "CPU")}


rates = st.floats(1e-3, 1e9)


@given(st.builds(Hardware, rates, rates, rates), rates, rates, st.integers(1, 10**9))
def test_nothing_is_faster_than_memory(hardware, size, decode, count):
    epochs = hardware.epochs(size, decode, count)
    assert epochs["memory"].seconds <= min(epochs["disk"].seconds, epochs["bucket"].seconds)
    assert epochs["memory"].seconds >= count * decode
    assert epochs["disk"].seconds == pytest.approx(count * max(decode, 1 / hardware.gpu_images, size / hardware.disk))
