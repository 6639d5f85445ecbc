"""The options of packing are checked once, and none is ignored."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.errors import OptionError
from shardpack.write.request import as_classes


@pytest.mark.parametrize("classes", [None, ["a", "b"], ("a",), []])
def test_classes(classes):
    assert as_classes(classes) == (None if classes is None else tuple(classes))


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ("cat", "classes is 'cat', expected a list of names"),
        ({"a": 1}, "expected a list of names"),
        (["a", 3], r"classes\[1\] is 3, expected a name"),
        (["a", "b", "a"], "classes name 'a' twice"),
    ],
)
def test_wrong_classes(classes, says):
    with pytest.raises(OptionError, match=says):
        as_classes(classes)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shuffle_seed": False}, "shuffle_seed is False, expected an integer"),
        ({"shuffle_seed": True}, "shuffle_seed is True, expected an integer"),
        ({"max_shard_samples": True}, "max_shard_samples is True, expected an integer of at least 1"),
        ({"jobs": True}, "jobs is True"),
        ({"threads_per_job": 0}, "threads_per_job is 0, expected an integer of at least 1"),
        ({"max_shard_bytes": 10}, "max_shard_bytes is 10, less than"),
        ({"on_error": "warn"}, "on_error is 'warn'; choose 'raise' or 'skip'"),
        ({"layout": "imagefolder"}, "layout is 'imagefolder'; choose 'auto', 'classes', "),
    ],
)
def test_wrong_options_of_any_source(tmp_path, options, says):
    for source in (tmp_path, [("a", {"bin": b""})]):
        with pytest.raises(OptionError, match=says):
            shardpack.pack(source, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_numpys_integers_are_integers(tmp_path):
    with shardpack.ShardWriter(tmp_path, max_shard_samples=np.int64(2)) as writer:
        for i in range(5):
            writer.write(f"{i}", {"bin": b""})
    assert len(shardpack.open(tmp_path).shards) == 3
