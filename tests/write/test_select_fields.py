"""Which fields are packed, and under which names: planned exactly for a listing, and as a step."""

from __future__ import annotations

import json
import pickle

import pytest

import shardpack
from shardpack.errors import InvalidKeyError, OptionError, SourceError
from shardpack.sources.source import Problems
from shardpack.write.select_fields import SelectFields
from shardpack.write.transform import Counts
from tests.fakes import contents, inline_listing, write_files

SAMPLES = {f"s{i}": {"jpg": b"j%d" % i, "json": b"{}", "seg.png": b"p"} for i in range(3)}
SAMPLES["s1"] = {"json": b"[]"}


def parse(fields=None, **renamed):
    return SelectFields.parse(fields, renamed or None)


def selected(select, samples=SAMPLES):
    """Return what the listing has left, and what was rejected; the step must say the same of each sample."""
    problems = Problems()
    listing = select.of_listing(inline_listing(samples), problems)
    found = {
        key: {
            listing.fields[listing.field_code[member]]: listing.payload[member]
            for member in range(listing.start[i], listing.start[i + 1])
        }
        for i, key in enumerate(listing.keys)
    }
    for key, fields in found.items():
        assert list(pickle.loads(pickle.dumps(select))(key, samples[key], Counts())) == [(key, fields)]
        assert list(fields) == sorted(fields)
    return found, problems.rejected


def test_fields_are_selected():
    found, rejected = selected(parse(["json"]))
    assert found == {key: {"json": fields["json"]} for key, fields in SAMPLES.items()}
    assert not rejected


def test_a_sample_without_any_of_them_is_rejected():
    found, rejected = selected(parse(["jpg", "seg.png"]))
    assert [*found] == ["s0", "s2"]
    assert rejected == [("s1", "it has none of the fields jpg, seg.png")]
    with pytest.raises(SourceError, match="it has none of the fields jpg"):
        parse(["jpg"])("s1", SAMPLES["s1"], Counts())


def test_fields_are_renamed_and_stay_sorted():
    found, _ = selected(parse(jpg="x.jpg", json="a.json"))
    assert found["s0"] == {"a.json": b"{}", "seg.png": b"p", "x.jpg": b"j0"}
    assert selected(parse(jpg="json", json="jpg"))[0]["s0"] == {"jpg": b"{}", "json": b"j0", "seg.png": b"p"}


def test_fields_are_selected_by_their_old_names():
    found, _ = selected(parse(["json"], json="label.json"))
    assert found["s1"] == {"label.json": b"[]"}


def test_two_fields_of_one_sample_with_one_name_are_refused():
    clash = parse(jpg="json")
    with pytest.raises(SourceError, match=r"the fields 'jpg', 'json' would all be named 'json'.*key='s0'"):
        selected(clash)
    with pytest.raises(SourceError, match="would all be named 'json'"):
        clash("s0", SAMPLES["s0"], Counts())
    apart = {"a": {"jpg": b"1"}, "b": {"json": b"2"}}
    assert selected(clash, apart)[0] == {"a": {"json": b"1"}, "b": {"json": b"2"}}


@pytest.mark.parametrize(
    ("fields", "renamed", "says"),
    [
        ("jpg", None, "fields is 'jpg', expected names"),
        ([], None, r"fields is \[\], expected names"),
        ([3], None, r"fields is \[3\]"),
        (None, ["a"], r"rename_field is \['a'\], expected a dict"),
        (None, {"a": 3}, "rename_field is"),
        (None, {"a": "x", "b": "x"}, "gives two fields one name"),
        (["jpg"], {"json": "x"}, "rename_field names 'json', which is not among fields"),
    ],
)
def test_bad_options_are_refused(fields, renamed, says):
    with pytest.raises(OptionError, match=says):
        SelectFields.parse(fields, renamed)


def test_a_new_name_must_be_one_that_readers_split_alike():
    with pytest.raises(InvalidKeyError, match="unsafe field name 'JPG'"):
        parse(jpg="JPG")


@pytest.mark.parametrize(("fields", "renamed"), [(["jpg", "txt"], {}), (None, {"txt": "x"})])
def test_a_field_that_is_not_there_is_refused(fields, renamed):
    with pytest.raises(OptionError, match=r"no sample has a field 'txt'; the fields are jpg, json, seg\.png"):
        selected(parse(fields, **renamed))


def test_nothing_to_do_is_no_step():
    assert parse() is None
    assert SelectFields.parse(None, {}) is None


def test_the_options_are_described():
    found = parse(["json"], json="x").describe()
    assert (
        found
        == json.loads(json.dumps(found))
        == {
            "step": "select_fields",
            "fields": ["json"],
            "rename_field": {"json": "x"},
        }
    )


def test_a_folder_and_a_dataset_are_planned_as_without(tmp_path):
    source = write_files(tmp_path / "source", {key: {"jpg": b"j", "json": b"{}"} for key in ("a", "b")})
    options = {"fields": ["json"], "rename_field": {"json": "label.json"}}
    report = shardpack.pack(source, tmp_path / "out", layout="files", **options)
    assert [path.name for path in (tmp_path / "out").glob("*.tar")] == ["shard-000000.tar"]
    assert report.samples_per_field == {"label.json": 2}
    whole = shardpack.pack(source, tmp_path / "whole", layout="files")
    assert whole.samples_per_field == {"jpg": 2, "json": 2}
    shardpack.pack(shardpack.open(tmp_path / "whole"), tmp_path / "again", **options)
    shards = [name for name in contents(tmp_path / "out") if "shard-" in name]
    assert {name: contents(tmp_path / "again")[name] for name in shards} == {
        name: contents(tmp_path / "out")[name] for name in shards
    }
    kept = shardpack.open(tmp_path / "out").manifest.packed_with["options"]
    assert (kept["fields"], kept["rename_field"]) == (["json"], {"json": "label.json"})


def test_a_sample_that_is_rejected_follows_on_error(tmp_path):
    source = write_files(tmp_path / "source", {"a": {"jpg": b"j"}, "b": {"png": b"p"}})
    with pytest.raises(SourceError, match=r"1 problem in the source: 'b': it has none of the fields jpg"):
        shardpack.pack(source, tmp_path / "out", layout="files", fields=["jpg"])
    report = shardpack.pack(source, tmp_path / "out", layout="files", fields=["jpg"], on_error="skip")
    assert (report.num_samples, report.rejected) == (1, (("b", "it has none of the fields jpg"),))


def test_an_image_that_gets_the_ending_of_another_format_is_told(tmp_path):
    select = parse(**{"jpg": "png", "seg.png": "mask.png", "jpeg": "jpg", "txt": "note.txt"})
    assert select.images_of_other_kinds() == [("jpg", "png")]
    source = write_files(tmp_path / "source", {"a": {"jpg": b"j"}})
    said = []
    options = {"layout": "files", "rename_field": {"jpg": "png"}, "dry_run": True}
    shardpack.pack(source, tmp_path / "out", announce=said.append, **options)
    assert said[0] == "field 'jpg' becomes 'png', with the same bytes; encode (--encode) makes other formats"
