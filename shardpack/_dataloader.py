"""Finds the rank and the DataLoader worker of this process, for the PyTorch and the webdataset edge."""

from __future__ import annotations

import os
import sys

from shardpack.errors import OptionError
from shardpack.stream.worker_shares import Worker


def find_worker() -> Worker | None:
    """Return the worker of this process, or None in the main process."""
    data = sys.modules.get("torch.utils.data")  # not imported: this process is not a worker
    info = None if data is None else data.get_worker_info()
    # All workers of an iteration get seed = base seed + id.
    return None if info is None else Worker(info.id, info.num_workers, info.seed - info.id)


def find_rank(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Return (rank, world_size): as given, else from torch.distributed, else from the environment, else (0, 1).

    Raises:
        OptionError: Only one of the two is given, or RANK is set in the environment and WORLD_SIZE is not.
    """
    if rank is not None and world_size is not None:
        return rank, world_size
    if rank is not None or world_size is not None:
        raise OptionError(f"rank is {rank} and world_size is {world_size}; give both or none")
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    found = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if found[0] is None:
        return 0, 1
    if found[1] is None:
        raise OptionError(
            "the environment variable RANK is set but WORLD_SIZE is not, so this process cannot tell its part; "
            "set both, as torchrun does, or give rank and world_size"
        )
    try:
        return int(found[0]), int(found[1])
    except ValueError as error:
        raise OptionError(f"RANK is {found[0]!r} and WORLD_SIZE is {found[1]!r}; expected numbers") from error
