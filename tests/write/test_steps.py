"""Options to steps: their order, what the manifest keeps, and options that mean nothing."""

from __future__ import annotations

import json

import pytest

from shardpack.errors import OptionError
from shardpack.write.image_step import ImageStep
from shardpack.write.steps import PackSteps


def test_steps_come_in_order():
    pytest.importorskip("zstandard", reason="zstandard is not installed")
    found = PackSteps.of(
        transform=len,
        transform_version="1",
        images=ImageStep.parse("short=256"),
        fields=["json"],
        rename_field={"json": "x.json"},
        compress={"x.json": "zstd"},
    )
    steps = found.application(rename_keys=True).pipeline.describe()["steps"]
    assert [step["step"] for step in steps] == ["rename_keys", "transform", "image", "select_fields", "compress"]
    assert found.change_payloads
    assert PackSteps.of(compress={"json": "zstd:9"}).change_payloads
    assert PackSteps.of(images=ImageStep.parse("short=256")).change_payloads


def test_fields_alone_change_no_payload():
    assert not PackSteps.of(fields=["json"]).change_payloads
    assert not PackSteps.of(compress={"shards": "zstd"}).change_payloads


def test_what_the_manifest_keeps_is_json():
    found = PackSteps.of(transform=len, transform_version="1", fields=["json"], seed=3).recorded()
    assert (
        json.loads(json.dumps(found))
        == found
        == {
            "transform": {"step": "transform", "version": "1", "decode": False, "seed": 3},
            "fields": ["json"],
            "rename_field": None,
        }
    )
    assert PackSteps.of().recorded() == {"transform": None}


def test_images_are_kept_with_their_versions():
    steps = PackSteps.of(images=ImageStep.parse("short=256", {"*": "jpg", "seg.png": "npy"}, keep="thumb.jpg"))
    assert steps.recorded() == {
        "transform": None,
        "resize": "short=256",
        "encode": {"*": "jpg:q=90", "seg.png": "npy"},
        "keep": ["thumb.jpg"],
    }
    assert {"pillow", "jpg", "lcms"} <= steps.recorded_versions().keys()
    assert PackSteps.of().recorded_versions() == {}


def test_versions_are_those_of_what_may_encode():
    assert "pillow" in PackSteps.of(transform=len, transform_version="1").versions()
    assert PackSteps.of(fields=["json"]).versions() == {}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"transform_version": "1"}, "transform_version is for a transform"),
        ({"decode": True}, "decode is for a transform"),
        ({"decode": []}, "decode is for a transform"),
        ({"sample_timeout": 3}, "sample_timeout is for payloads that change"),
        ({"sample_timeout": 0}, "sample_timeout is 0, expected a number of seconds above 0"),
        ({"sample_timeout": True}, "sample_timeout is True"),
        ({"sample_timeout": float("inf")}, "sample_timeout is inf"),
        ({"transform": 3}, "transform is 3, expected a function"),
    ],
)
def test_bad_options_are_refused(options, says):
    with pytest.raises(OptionError, match=says):
        PackSteps.of(**options)
