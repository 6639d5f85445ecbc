"""Options to steps: their order, what the manifest keeps, and options that mean nothing."""

from __future__ import annotations

import json

import pytest

import shardpack
from shardpack.errors import OptionError
from shardpack.write.image_step import ImageStep
from shardpack.write.steps import PackSteps
from tests.fakes import write_files


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


FIELDS = ("depth.png", "jpg", "json", "seg.png")


@pytest.mark.parametrize(
    "options",
    [
        {"images": ImageStep.parse("short=8", {"*": "webp", "seg.png": "npy"}, image="jpg", keep="depth.png")},
        {"images": ImageStep.parse(encode="npy"), "fields": ["npy", "json"], "rename_field": {"npy": "x.npy"}},
        {"images": ImageStep.parse(encode="npy"), "compress": {"npy": "zstd"}},
        {"rename_field": {"json": "label.json"}, "compress": {"label.json": "zstd"}},
        {"transform": len, "transform_version": "1", "fields": ["new"], "compress": {"other": "zstd"}},
    ],
)
def test_fields_that_are_there_or_will_be_are_known(options):
    pytest.importorskip("zstandard", reason="zstandard is not installed")
    PackSteps.of(**options).check_fields(FIELDS)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"images": ImageStep.parse("short=8", image="jpeg")}, "jpeg"),
        ({"images": ImageStep.parse("short=8", nearest="mask2.png")}, "mask2.png"),
        ({"images": ImageStep.parse("short=8", keep="thumb.jpg")}, "thumb.jpg"),
        ({"images": ImageStep.parse(encode={"left.jpg": "webp"})}, "left.jpg"),
        ({"images": ImageStep.parse(encode="webp"), "fields": ["gif"]}, "gif"),
        ({"compress": {"jsn": "zstd"}}, "jsn"),
        ({"rename_field": {"json": "label.json"}, "compress": {"json": "zstd"}}, "json"),
        ({"fields": ["jpg"], "compress": {"json": "zstd"}}, "json"),
    ],
)
def test_a_misspelt_field_is_refused(options, name):
    pytest.importorskip("zstandard", reason="zstandard is not installed")
    with pytest.raises(OptionError, match=f"no sample has a field '{name}'; the fields are depth.png, jpg, json, seg"):
        PackSteps.of(**options).check_fields(FIELDS)


def test_options_for_images_are_refused_where_there_are_none():
    steps = PackSteps.of(images=ImageStep.parse("short=8"))
    with pytest.raises(OptionError, match=r"no sample has an image to resize or encode: the fields are json, npy; "):
        steps.check_fields(["npy", "json"])
    for fields in ([], ["seg.npy"], ["png.zst"], ["mp4", "gif"]):
        steps.check_fields(fields)


def test_packing_asks_for_the_fields_that_options_name(tmp_path):
    pytest.importorskip("zstandard", reason="zstandard is not installed")
    image = b"\x89PNG\r\n\x1a\n"
    source, more = (
        write_files(tmp_path / name, files)
        for name, files in (("source", {"a": {"png": image, "json": b"{}"}}), ("more", {"b": {"png": image}}))
    )
    out = tmp_path / "out"
    with pytest.raises(OptionError, match="no sample has a field 'jsn'; the fields are json, png"):
        shardpack.pack(source, out, jobs=1, compress={"jsn": "zstd"})
    shardpack.pack(source, out, jobs=1, compress={"json": "zstd"})
    shardpack.append(more, out, jobs=1)  # compressed as the dataset is, whatever fields there are
    assert list(shardpack.open(out)["b"]) == ["png"]
