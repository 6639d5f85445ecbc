"""Options as values have the names and defaults of the public calls."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import fields

import pytest

import shardpack
from shardpack.errors import OptionError
from shardpack.stream.options import LoaderOptions, StreamOptions
from shardpack.stream.stream import Stream


@pytest.mark.parametrize(
    ("options", "call"),
    [(StreamOptions, shardpack.Dataset.stream), (LoaderOptions, Stream.loader)],
    ids=["stream", "loader"],
)
def test_options_are_those_of_the_public_call(options, call):
    public = {name: p.default for name, p in inspect.signature(call).parameters.items() if name != "self"}
    assert {option.name: option.default for option in fields(options)} == public


def test_stream_options_pickle_and_tell_shuffle_and_limits():
    options = StreamOptions(shuffle=True, seed=3, world_size=2, memory_bytes="1MiB", fields=["json"])
    assert pickle.loads(pickle.dumps(options)) == options
    assert (options.as_shuffle().mode, options.as_shuffle().seed) == ("blocks", 3)
    assert options.as_shuffle().window_blocks == 64
    assert options.read_limits().memory_bytes == 1 << 20
    with pytest.raises(OptionError, match="shuffle"):
        StreamOptions(shuffle="somehow").as_shuffle()


def test_loader_options_make_decoders():
    assert set(LoaderOptions(decode={"json": None, "bin": len}).decoders(("bin", "json"))) >= {"bin"}
    with pytest.raises(OptionError, match="size"):
        LoaderOptions(size=0).decoders(("jpg",))
    assert list(LoaderOptions(decode={"ids.png": "l8"}, masks="ids.png").decoders(("ids.png",))) == ["ids.png"]
