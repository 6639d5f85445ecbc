"""The state of a stream: a dict with exact names, compared before any of it is used. More in stream/test_resume.py."""

from __future__ import annotations

import dataclasses
import json

import pytest

from shardpack.errors import OptionError
from shardpack.format.stream_state import StreamState, check_same_order, parse_state, shown

STATE = StreamState(
    fingerprint="f" * 16, generation=3, view="", shuffle="blocks", seed=-5, block_bytes=4096, window_blocks=32,
    tail="pad", partitions=64, global_batch=128, epoch=7, rank_samples=12, world_size=2,
)  # fmt: skip


def test_round_trip_through_json():
    assert parse_state(json.loads(json.dumps(STATE.as_dict()))) == STATE
    assert STATE.as_dict()["version"] == 1


@pytest.mark.parametrize("name", ["window_blocks", "partitions", "global_batch", "world_size"])
def test_zero_is_refused_where_it_makes_no_sense(name):
    with pytest.raises(OptionError, match=f"stream state has a {name} of 0; load another state"):
        parse_state(STATE.as_dict() | {name: 0})


def test_options_that_a_resumed_stream_adopts_are_not_compared():
    brought = dataclasses.replace(STATE, partitions=8, global_batch=8, window_blocks=1, epoch=0, world_size=1)
    check_same_order(brought, STATE)
    check_same_order(dataclasses.replace(STATE, generation=9), STATE)
    check_same_order(dataclasses.replace(STATE, seed=2**64 - 5), STATE)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("fingerprint", "0" * 16, "another dataset: fingerprint"), ("view", "1" * 16, "another selection"),
        ("shuffle", "global", "another order: shuffle"), ("seed", 5, "another order: seed"),
        ("block_bytes", 4095, "another order: block_bytes"), ("tail", "drop", "another tail"),
    ],
)  # fmt: skip
def test_values_that_must_agree(name, value, text):
    with pytest.raises(OptionError, match=text):
        check_same_order(dataclasses.replace(STATE, **{name: value}), STATE)


def test_a_state_of_another_generation_says_how_to_open_it():
    other = dataclasses.replace(STATE, fingerprint="0" * 16, generation=2)
    with pytest.raises(
        OptionError, match=r"of generation 2 of the dataset, this is generation 3; .*open\(\.\.\., generation=2\)"
    ):
        check_same_order(other, STATE)


def test_a_view_of_another_generation_says_where_it_may_be_found():
    other = dataclasses.replace(STATE, view="1" * 16, generation=2)
    with pytest.raises(
        OptionError, match=r"another selection .* of generation 2, which .*open\(\.\.\., generation=2\)"
    ):
        check_same_order(other, STATE)
    with pytest.raises(OptionError, match=r"resume with the same, or start"):
        check_same_order(dataclasses.replace(other, generation=3), STATE)


def test_values_of_any_length_are_shown_short():
    assert shown(10**5000) == "a very large int"
    assert len(shown("x " * 1000)) <= 60
