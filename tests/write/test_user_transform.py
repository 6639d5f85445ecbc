"""A function of the user as a step: what it gets, what its result means, and that it travels."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from shardpack.codecs.encode import encode_field
from shardpack.errors import OptionError, SourceError
from shardpack.write.transform import Counts
from shardpack.write.user_transform import UserTransform
from tests.conftest import make_jpeg

LABEL = b'{"label": 3,  "b": [1]}'  # not as we would write it


def run(function, fields, *, key="cat/1", **options):
    step = pickle.loads(pickle.dumps(UserTransform.of(function, version="1", **options)))
    return list(step(key, fields, Counts()))


def test_it_gets_bytes_the_key_and_a_seed():
    seen = run(lambda fields: {"txt": repr(sorted(fields.items()))}, {"bin": b"x"})[0][1]["txt"]
    seed = UserTransform.of(len, version="1").seed_of("cat/1")
    assert seen == repr([("__key__", "cat/1"), ("__seed__", seed), ("bin", b"x")])


def test_seeds_depend_on_the_key_and_the_seed_of_the_run_alone():
    seeds = {UserTransform.of(len, version="1", seed=seed).seed_of(key) for seed in (0, 1) for key in ("a", "b")}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert UserTransform.of(len, version="1").seed_of("cat/0001") == 1210761383  # as in any process


@pytest.mark.parametrize(
    ("made", "samples"),
    [
        (None, []),
        ([], []),
        ({"txt": b"y"}, [("k", {"txt": b"y"})]),
        ({"txt": b"y", "__key__": "new", "__seed__": 3}, [("new", {"txt": b"y"})]),
        ([{"txt": b"y"}], [("k-0", {"txt": b"y"})]),
        (
            ({"a": 1, "__key__": "k"}, {"b": 2, "__key__": "other"}, {"c": 3}),
            [("k-0", {"a": 1}), ("other", {"b": 2}), ("k-2", {"c": 3})],
        ),
    ],
)
def test_what_it_returns_is_what_is_written(made, samples):
    assert run(lambda _: made, {"bin": b"x"}, key="k") == samples


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda _: 3, "transform returned an int, expected a dict of fields"),
        (lambda _: "jpg", "transform returned a str"),
        (lambda _: [3], "transform returned a list with an int"),
        (lambda _: {"__key__": 3}, "transform returned an int as '__key__'"),
        (lambda _: 1 / 0, "transform raised ZeroDivisionError: division by zero"),
        (lambda _: (_ for _ in ()).throw(SystemExit(3)), "transform raised SystemExit: 3"),
        (lambda fields: fields["jpg"], "transform raised KeyError: 'jpg'"),
    ],
)
def test_what_it_cannot_return_is_an_error_of_the_sample(function, says):
    with pytest.raises(SourceError, match=says):
        run(function, {"bin": b"x"})


def test_fields_are_decoded_if_asked_for():
    image = make_jpeg()
    fields = {"jpg": image, "json": LABEL, "bin": b"x"}

    def kinds(given):
        return {"json": {name: type(value).__name__ for name, value in given.items() if name[0] != "_"}}

    (_, found), *_ = run(kinds, fields, decode=True)
    assert found["json"] == {"jpg": "JpegImageFile", "json": "dict", "bin": "bytes"}
    (_, found), *_ = run(kinds, fields, decode=["json"])
    assert found["json"] == {"jpg": "bytes", "json": "dict", "bin": "bytes"}


def test_values_that_an_iterable_gives_reach_it_as_they_are():
    values = {"json": {"label": 3}, "npy": np.arange(3), "txt": "a"}
    for decode in (False, True, ["json", "npy"]):
        ((_, found),) = run(lambda given: given, values, decode=decode)
        assert all(found[name] is value for name, value in values.items())


def test_what_comes_back_unchanged_keeps_its_bytes():
    fields = {
        "jpg": make_jpeg(),
        "json": LABEL,
        "txt": b"t",
        "npy": encode_field("npy", np.arange(3)),
        "npz": encode_field("npz", {"a": np.arange(3)}),
        "cls": b"007",
    }
    assert run(lambda given: given, fields, decode=True) == [("cat/1", fields)]


def change_in_place(given):
    given["json"]["label"] = 4
    given["png"].putpixel((0, 0), 99)
    given["npz"]["a"][0] = 9
    return given


def test_what_was_changed_in_place_is_written_anew():
    image = encode_field("png", np.zeros((4, 4), np.uint8))
    fields = {"png": image, "json": LABEL, "npz": encode_field("npz", {"a": np.arange(3)})}
    ((_, found),) = run(change_in_place, fields, decode=True)
    assert found["json"] == {"label": 4, "b": [1]}
    assert found["png"].getpixel((0, 0)) == 99
    assert found["npz"]["a"].tolist() == [9, 1, 2]


def test_the_fields_of_the_source_are_not_changed():
    fields = {"bin": b"x"}
    run(lambda given: given.clear(), fields)
    assert fields == {"bin": b"x"}


def test_what_decides_its_result_is_described():
    step = UserTransform.of(run, decode=["json"], seed=4)
    found = step.describe()
    assert found.keys() == {"step", "source", "versions", "decode", "seed"}
    assert json.loads(json.dumps(found)) == found
    assert UserTransform.of(run, version="2").describe()["version"] == "2"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"function": 3}, "transform is 3, expected a function"),
        ({"version": 3}, "transform_version is 3, expected a text"),
        ({"decode": "json"}, r"decode is 'json', expected True, or names of fields such as \['json'\]"),
        ({"decode": ["bin"]}, "decode names 'bin', which has no decoder"),
        ({"decode": 3}, "decode is 3"),
    ],
)
def test_bad_options_are_refused(options, says):
    with pytest.raises(OptionError, match=says):
        UserTransform.of(**{"function": run, "version": "1", **options})
