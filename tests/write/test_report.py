"""What a report computes from its counts."""

from __future__ import annotations

from shardpack.write.report import PackReport


def test_overhead_is_what_is_not_payload():
    assert PackReport(out="x", num_samples=1, num_shards=1, num_bytes=3000, payload_bytes=1000).overhead_bytes == 2000
