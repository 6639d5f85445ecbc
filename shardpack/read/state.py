"""The resume point of a stream: a small JSON-able dict, checked before any of it is used (SPEC 7.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from shardpack.errors import OptionError

STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class StreamState:
    """Where all ranks are: they have all taken the same number of samples.

    Attributes:
        fingerprint: Of the dataset.
        view: Hash of the positions of a view; "" for the whole dataset.
        shuffle, seed, block_bytes, window_blocks, tail, partitions, global_batch: Options that
            shape the order.
        epoch: Numbered from 0.
        rank_samples: Samples that each rank has taken of the epoch.
        world_size: When the state was taken.
        version: Of this list.
    """

    fingerprint: str
    view: str
    shuffle: str
    seed: int
    block_bytes: int
    window_blocks: int
    tail: str
    partitions: int
    global_batch: int
    epoch: int
    rank_samples: int
    world_size: int
    version: int = STATE_VERSION

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def parse_state(state: Mapping[str, Any]) -> StreamState:
    """Return a state from its dict.

    Raises:
        OptionError: It is none, or from a newer version, or a value is of the wrong kind.
    """
    if not isinstance(state, Mapping):
        raise OptionError(f"not a stream state: expected a mapping, got {type(state).__name__}")
    version = state.get("version")
    if version != STATE_VERSION:
        raise OptionError(f"stream state has version {version!r}, expected {STATE_VERSION}; start the epoch anew")
    names = {field.name: str if field.type == "str" else int for field in fields(StreamState)}
    if state.keys() != names.keys():
        odd = sorted(state.keys() ^ names.keys())
        raise OptionError(f"not a stream state: missing or unknown {', '.join(odd)}")
    for name, kind in names.items():
        value = state[name]
        if type(value) is not kind or (kind is int and name != "seed" and value < 0):
            raise OptionError(f"stream state has a bad {name}: {value!r}")
    if not state["world_size"] or not state["partitions"] or not state["global_batch"]:
        raise OptionError("stream state has a zero among world_size, partitions, global_batch")
    return StreamState(**state)
