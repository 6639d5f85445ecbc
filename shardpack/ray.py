"""Pack on a Ray cluster: the engine behind `shardpack.pack(..., engine="ray")`, for those who set it up themselves.

    from shardpack.ray import RayEngine

    with RayEngine(address="ray-head:6379", threads_per_job=4) as engine:
        shardpack.pack("photos/", "s3://bucket/train", engine=engine)

Needs the extra `ray`, on every node.
"""

from __future__ import annotations

from shardpack.runtime.ray_engine import RayEngine

__all__ = ["RayEngine"]
