"""The resume point of a stream: a small dict that JSON can hold, checked before it is used (SPEC 7.5)."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from shardpack.errors import OptionError

STATE_VERSION = 1
_AGAIN = "load another state, or start the epoch again"


@dataclass(frozen=True, slots=True)
class StreamState:
    """The resume point of all ranks, each of which has consumed the same number of samples.

    Attributes:
        fingerprint: Fingerprint of the dataset.
        generation: Generation of the dataset when the state was taken; only used in errors.
        view: Hash of a view's positions, or "" for the whole dataset.
        shuffle, seed, block_bytes, window_blocks, tail, partitions, global_batch: Options that
            determine the order.
        epoch: Number of the epoch, from 0.
        rank_samples: Number of samples of the epoch that each rank has consumed.
        world_size: World size when the state was taken.
        version: Version of this list of values.
    """

    fingerprint: str
    generation: int
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
        """Return the state as a dict that JSON can hold."""
        return asdict(self)


def parse_state(state: Mapping[str, Any]) -> StreamState:
    """Return the state in a dict; the inverse of `StreamState.as_dict`.

    Raises:
        OptionError: The dict is not a stream state, is of another version, or has a bad value.
    """
    if not isinstance(state, Mapping):
        raise OptionError(
            f"not a stream state: expected a mapping, got {type(state).__name__}; pass what state_dict() returned"
        )
    version = state.get("version")
    if type(version) is not int or version != STATE_VERSION:
        raise OptionError(f"stream state has version {shown(version)}, expected {STATE_VERSION}; start the epoch again")
    kinds: dict[str, type] = {field.name: str if field.type == "str" else int for field in fields(StreamState)}
    if odd := set(state) ^ set(kinds):
        raise OptionError(
            f"not a stream state: missing or unknown {', '.join(sorted(map(shown, odd)))}; pass what state_dict() "
            "returned, unchanged, to a stream of the same options (balance, weights)"
        )
    for name, kind in kinds.items():
        value: Any = state[name]
        if type(value) is not kind or (name != "seed" and isinstance(value, int) and not 0 <= value < 2**63):
            raise OptionError(f"stream state has a bad {name}: {shown(value)}; {_AGAIN}")
    for name in ("window_blocks", "world_size", "partitions", "global_batch"):
        if not state[name]:
            raise OptionError(f"stream state has a {name} of 0; {_AGAIN}")
    return StreamState(**state)


def without_entries(state: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Any]:
    """Return a state without the entries that only states of its kind have.

    Raises:
        OptionError: It lacks one of them.
    """
    if not names or not isinstance(state, Mapping):
        return state
    if missing := [name for name in names if name not in state]:
        raise OptionError(
            f"state is of a stream of another kind: it lacks {', '.join(missing)}; load it into the stream that it was "
            "taken from"
        )
    return {name: value for name, value in state.items() if name not in names}


def shown(value: object) -> str:
    """Return a value of a state as a short text for an error."""
    try:
        return textwrap.shorten(repr(value), 60)
    except ValueError:  # an integer of thousands of digits
        return f"a very large {type(value).__name__}"


_MUST_AGREE = {
    "fingerprint": "another dataset",
    "view": "another selection of samples",
    "shuffle": "another order",
    "seed": "another order",
    "block_bytes": "another order",
    "tail": "another tail",
}


def check_same_order(state: StreamState, own: StreamState) -> None:
    """Raise OptionError unless a state belongs to the data and order of a stream.

    Options that a resumed stream takes from the state (window_blocks, partitions, global_batch) are not compared.

    Args:
        state: The state to resume from.
        own: A state of the stream that resumes.
    """
    for name, what in _MUST_AGREE.items():
        theirs, ours = getattr(state, name), getattr(own, name)
        if theirs == ours or (name == "seed" and (theirs - ours) % 2**64 == 0):
            continue
        if name == "fingerprint" and state.generation != own.generation:
            raise OptionError(
                f"state is of generation {state.generation} of the dataset, this is generation {own.generation}; "
                f"resume with shardpack.open(..., generation={state.generation}), or start the epoch again"
            )
        there = ""
        if name == "view" and state.generation != own.generation:  # splits and tables change without the fingerprint
            there = f" of generation {state.generation}, which shardpack.open(..., generation={state.generation}) opens"
        raise OptionError(
            f"state is of {what}: {name} is {shown(theirs)} there, {shown(ours)} here; "
            f"resume with the same{there}, or start the epoch again"
        )


def check_same_datasets(found: object, own: Sequence[Mapping[str, Any]]) -> None:
    """Raise OptionError unless a state belongs to a mix of these datasets.

    Args:
        found: What a state says of its datasets: anything, as users may have changed it.
        own: What identifies the datasets of the stream that resumes, in order.
    """
    if not isinstance(found, Sequence) or len(found) != len(own):
        count = len(found) if isinstance(found, Sequence) else "no"
        raise OptionError(
            f"state is of a mix of {count} datasets, this one has {len(own)}; mix the same, in the same order, or "
            "start the epoch again"
        )
    for number, (theirs, ours) in enumerate(zip(found, own, strict=True)):
        _check_same_dataset(number, theirs if isinstance(theirs, Mapping) else {}, ours)


def _check_same_dataset(number: int, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Compare what identifies a dataset; of another generation it may have the same samples."""
    differing = (name for name, value in ours.items() if name != "generation" and theirs.get(name) != value)
    if (name := next(differing, None)) is None:
        return
    there, here = theirs.get("generation"), ours["generation"]
    if name == "fingerprint" and type(there) is int and there != here:
        raise OptionError(
            f"state is of generation {there} of dataset {number}, this is generation {here}; "
            f"resume with shardpack.open(..., generation={there}), or start the epoch again"
        )
    raise OptionError(
        f"state is of another mix: {name} of dataset {number} is {shown(theirs.get(name))} there, {shown(ours[name])} "
        "here; mix the same, in the same order, or start the epoch again"
    )
