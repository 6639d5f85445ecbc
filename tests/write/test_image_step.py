"""The step on whole samples: one image field, its masks and labels, and errors that name sample and file."""

from __future__ import annotations

import io
import json
import pickle
import warnings
from collections import Counter

import numpy as np
import PIL
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import shardpack
from shardpack.codecs.arrays import view_npy
from shardpack.errors import DecodeError, MissingDependencyError, OptionError, SourceError
from shardpack.write.image_step import ImageStep
from tests.codecs.photos import animation, decoded, encoded, smooth
from tests.fakes import contents
from tests.strategies import damaged, examples

PHOTO = encoded(smooth(60, 90))


def run(step, fields, key="cat/1"):
    """Return (fields, counts) of a sample."""
    counts = Counter()
    ((found, made),) = pickle.loads(pickle.dumps(step))(key, fields, counts)
    assert found == key
    return made, {name: count for name, count in counts.items() if count}


def test_a_sample_of_all_kinds():
    mask = np.repeat(np.arange(60, dtype=np.uint8)[:, None], 90, axis=1)
    label = {"width": 90, "height": 60, "label": 2, "annotations": [{"bbox": [30, 20, 30, 20], "area": 600}]}
    fields = {
        "json": json.dumps(label).encode(),
        "jpg": PHOTO,
        "seg.png": encoded(mask, "png"),
        "cls": b"2",
        "mp4": b"not decoded",
        "wav": b"nor this",
        "dcm": b"nor this",
        "nii.gz": b"nor this",
    }
    made, counts = run(ImageStep.parse("short=30", "webp:q=80"), fields)
    assert list(made) == ["json", "webp", "seg.png", "cls", "mp4", "wav", "dcm", "nii.gz"]
    assert decoded(made["webp"]).size == (45, 30)
    np.testing.assert_array_equal(np.asarray(decoded(made["seg.png"])), mask[1::2, 1::2])
    assert json.loads(made["json"]) == {
        "width": 45,
        "height": 30,
        "label": 2,
        "annotations": [{"bbox": [15, 10, 15, 10], "area": 150}],
    }
    for name in ("cls", "mp4", "wav", "dcm", "nii.gz"):
        assert made[name] is fields[name]
    assert counts == {
        "image.encoded": 1,
        "image.bytes_before": len(PHOTO),
        "image.bytes_after": len(made["webp"]),
        "mask.moved": 1,
        "label.moved": 1,
    }


def test_samples_without_images_pass():
    fields = {"json": b'{"bbox": [1, 2, 3, 4]}', "mp4": b"..."}
    assert run(ImageStep.parse("short=30"), fields) == (fields, {})


def test_labels_are_not_looked_at_while_pixels_stay():
    fields = {"jpg": PHOTO, "json": b'{"bbox": [1, 2, 3, 4]}', "txt": b"0 0.5 0.5 0.5 0.5", "seg.png": b"broken"}
    made, counts = run(ImageStep.parse("short=60"), fields)
    assert made == fields
    assert counts["image.unchanged"] == 1
    fields["gif"] = animation("gif")
    del fields["jpg"]
    assert run(ImageStep.parse("short=6"), fields)[0] == fields


def test_labels_stay_if_told():
    fields = {"jpg": PHOTO, "json": b'{"bbox": [1, 2, 3, 4]}'}
    with pytest.raises(OptionError, match=r"coordinates at bbox.*--labels keep\) \(path='cat/1.json', key='cat/1'\)"):
        run(ImageStep.parse("short=30"), fields)
    made, _ = run(ImageStep.parse("short=30", labels="keep"), fields)
    assert made["json"] is fields["json"]
    made, _ = run(ImageStep.parse("short=30", keep="json"), fields)
    assert made["json"] is fields["json"]


def test_a_turn_moves_labels_and_masks_even_without_resize():
    mask = np.arange(5400, dtype=np.uint16).reshape(60, 90)
    fields = {
        "jpg": encoded(smooth(60, 90), orientation=6),
        "json": b'{"annotations":[{"bbox":[0,0,10,20]}]}',
        "seg.png": encoded(mask, "png"),
    }
    made, _ = run(ImageStep.parse(encode="jpg"), fields)
    assert decoded(made["jpg"]).size == (60, 90)
    np.testing.assert_array_equal(np.asarray(decoded(made["seg.png"])), np.rot90(mask, -1))
    assert json.loads(made["json"]) == {"annotations": [{"bbox": [40, 0, 20, 10]}]}


def test_codecs_by_field():
    fields = {
        "jpg": PHOTO,
        "seg.png": encoded(np.zeros((60, 90), np.uint8), "png"),
        "thumb.png": encoded(smooth(), "png"),
    }
    step = ImageStep.parse(encode={"*": "webp:q=50", "seg.png": "npy", "thumb.png": "jpg"}, image=["jpg", "thumb.png"])
    made, _ = run(step, fields)
    assert list(made) == ["webp", "seg.npy", "thumb.jpg"]
    assert view_npy(made["seg.npy"]).shape == (60, 90)
    made, _ = run(ImageStep.parse(encode={"seg.png": "npy"}), {"jpg": PHOTO, "seg.png": fields["seg.png"]})
    assert list(made) == ["jpg", "seg.npy"]
    assert made["jpg"] is PHOTO


def test_masks_are_never_lossy():
    fields = {"jpg": PHOTO, "seg.png": encoded(np.zeros((60, 90), np.uint8), "png")}
    with pytest.raises(OptionError, match=r"'seg\.png' is a mask"):
        run(ImageStep.parse(encode={"seg.png": "jpg"}), fields)


def test_images_of_one_size_lead_together():
    fields = {"left.jpg": PHOTO, "right.jpg": PHOTO, "json": b'{"annotations":[{"bbox":[0,0,10,20]}]}'}
    step = ImageStep.parse("short=30", image=["left.jpg", "right.jpg"])
    made, _ = run(step, fields)
    assert json.loads(made["json"]) == {"annotations": [{"bbox": [0, 0, 5, 10]}]}
    other = {**fields, "right.jpg": encoded(smooth(30, 45))}
    with pytest.raises(SourceError, match="images of different sizes"):
        run(step, other)
    assert decoded(run(step, {**other, "json": b'{"label": 3}'})[0]["left.jpg"]).size == (45, 30)
    mask = encoded(np.zeros((60, 90), np.uint8), "png")
    with pytest.raises(SourceError, match="masks can follow only one image"):
        run(step, {**other, "json": b"{}", "seg.png": mask})


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(OptionError, match="'cat/1' has a field 'webp' already, which 'jpg' would be stored as"):
        run(ImageStep.parse(encode="webp:q=1", keep="webp"), {"jpg": PHOTO, "webp": b"..."})


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "Pillow knows no image"),
        (b"no image", "Pillow knows no image"),
        (PHOTO[:700], "truncated"),
        (encoded(smooth(), "png")[:-3000], ""),
    ],
)
def test_what_does_not_decode_names_key_and_file(payload, reason):
    with pytest.raises(DecodeError, match=rf"field 'jpg' does not decode: .*{reason}") as caught:
        run(ImageStep.parse("short=30", "jpg"), {"jpg": payload})
    assert (caught.value.key, caught.value.path) == ("cat/1", "cat/1.jpg")


def test_what_cannot_be_stored_names_key_and_file():
    with pytest.raises(SourceError, match="more than 8 bits") as caught:
        run(ImageStep.parse(encode="jpg"), {"png": encoded(np.zeros((8, 8), np.uint16), "png")})
    assert (caught.value.key, caught.value.path) == ("cat/1", "cat/1.png")


def test_images_that_a_function_made():
    made, counts = run(
        ImageStep.parse("short=30", "png"), {"jpg": Image.fromarray(smooth(60, 90)), "json": {"label": 3}}
    )
    assert decoded(made["png"]).size == (45, 30)
    assert made["json"] == {"label": 3}
    assert counts == {"image.encoded": 1}


def test_nothing_asked_is_no_step():
    assert ImageStep.parse() is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"resize": "256"}, "unknown resize '256'"),
        ({"encode": "gif"}, "unknown codec 'gif'; choose one of jpg"),
        ({"encode": {"jpg": "gif"}}, "unknown codec"),
        ({"encode": {"json": "jpg"}}, "encode names 'json'"),
        ({"encode": {"jpg": "webp"}, "keep": "jpg"}, "by both encode and keep"),
        ({"resize": "short=3", "labels": "drop"}, "labels"),
        ({"labels": "keep"}, "labels is for resize and encode"),
        ({"image": "jpg"}, "image is for resize and encode"),
        ({"first_frame": True}, "first_frame is for resize and encode"),
        ({"resize": "short=3", "encode": "jxl"}, "jxl keeps a JPEG as it is"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, reason):
    if options.get("encode") == "jxl":
        pytest.importorskip("imagecodecs")
    with pytest.raises(OptionError, match=reason):
        ImageStep.parse(**options)


def test_description_is_json_and_has_all_that_decides():
    step = ImageStep.parse("cover=224x224:up", {"*": "jpg:q=80", "seg.png": "npy"}, keep="thumb.jpg", first_frame=True)
    described = json.loads(json.dumps(step.describe()))
    versions = described.pop("versions")
    assert described == {
        "step": "image",
        "resize": "cover=224x224:up",
        "encode": {"*": "jpg:q=80", "seg.png": "npy"},
        "keep": ["thumb.jpg"],
        "first_frame": True,
        "filter": "bicubic",
    }
    assert {"pillow", "jpg", "zlib", "lcms"} <= versions.keys()
    assert ImageStep.parse("short=3", labels="keep").describe()["labels"] == "keep"


def test_a_missing_library_ends_the_run(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(MissingDependencyError, match=r"shardpack\[jxl\]"):
        run(ImageStep.parse("short=3"), {"jxl": b"\xff\x0a..."})


def photos(folder, count=12):
    """Write class folders of photos, one of them turned; return the folder."""
    for number in range(count):
        path = folder / ("cat" if number % 2 else "dog") / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(smooth(60, 90, seed=number), orientation=6 if number == 3 else 1))
    return folder


OPTIONS = {"resize": "short=30", "encode": "jpg:q=80", "max_shard_samples": 3}


def test_packing_is_the_same_for_any_jobs(tmp_path):
    source = photos(tmp_path / "photos")
    report = shardpack.pack(source, tmp_path / "one", jobs=1, **OPTIONS)
    assert report.counts["image.encoded"] == report.num_samples == 12
    assert report.counts["image.bytes_after"] < report.counts["image.bytes_before"]
    shardpack.pack(source, tmp_path / "two", jobs=2, **OPTIONS)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    ds = shardpack.open(tmp_path / "one")
    assert ds.classes == ("cat", "dog")
    assert ds["cat/003"].decode("jpg").size == (30, 45)
    assert ds["dog/000"].decode("jpg").size == (45, 30)
    recorded = ds.manifest.packed_with["options"]
    assert (recorded["resize"], recorded["encode"]) == ("short=30", {"*": "jpg:q=80"})
    assert recorded["versions"]["pillow"] == PIL.__version__


def test_packing_from_datasets_and_views(tmp_path):
    shardpack.pack(photos(tmp_path / "photos"), tmp_path / "whole")
    ds = shardpack.open(tmp_path / "whole")
    shardpack.pack(ds, tmp_path / "small", **OPTIONS)
    small = shardpack.open(tmp_path / "small")
    assert [*small.keys()] == [*ds.keys()]
    assert small.classes == ds.classes
    shardpack.pack(ds.select([3, 5]), tmp_path / "two", resize="short=30", encode="npy:rgb")
    two = shardpack.open(tmp_path / "two")
    assert [*two.keys()] == [[*ds.keys()][3], [*ds.keys()][5]]
    assert two.fields == ("json", "npy")
    assert sorted(two[0].decode("npy").shape) == [3, 30, 45]


def test_a_bad_image_ends_the_run_or_is_left_out(tmp_path):
    source = photos(tmp_path / "photos")
    (source / "cat" / "bad.jpg").write_bytes(PHOTO[:500])
    with pytest.raises(SourceError, match=r"field 'jpg' does not decode: .*key='cat/bad'"):
        shardpack.pack(source, tmp_path / "out", jobs=1, **OPTIONS)
    report = shardpack.pack(source, tmp_path / "out", jobs=2, on_error="skip", **OPTIONS)
    assert report.num_samples == 12
    ((name, reason),) = report.rejected
    assert "cat/bad" in name
    assert "field 'jpg' does not decode" in reason
    assert "on_error" not in reason


def test_coco_boxes_follow(tmp_path):
    folder = tmp_path / "coco"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(PHOTO)
    annotations = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 90, "height": 60}],
        "annotations": [
            {"id": 5, "image_id": 1, "category_id": 3, "bbox": [30, 15, 30, 30], "area": 900, "iscrowd": 0}
        ],
        "categories": [{"id": 3, "name": "cat"}],
    }
    (folder / "annotations.json").write_text(json.dumps(annotations))
    shardpack.pack(folder, tmp_path / "out", resize="cover=20x20")
    label = shardpack.open(tmp_path / "out")["a"].decode("json")
    assert (label["width"], label["height"]) == (20, 20)
    assert label["annotations"][0]["bbox"] == [5, 5, 10, 10]
    assert label["annotations"][0]["area"] == 100


TWO = {"jpg": PHOTO, "png": encoded(smooth(60, 90), "png"), "json": b'{"bbox": [1, 2, 30, 40]}', "cls": b"2"}


@pytest.mark.parametrize(
    ("wanted", "encode", "sizes"),
    [
        (["jpg", "cls"], None, {"jpg": (45, 30)}),
        (["png", "cls"], None, {"png": (45, 30)}),
        (["jpg"], "jpg:q=80", {"jpg": (45, 30)}),
        (["seg.png", "jpg"], None, {"jpg": (45, 30), "seg.png": (45, 30)}),
    ],
)
def test_fields_that_are_not_kept_are_not_asked_about(tmp_path, wanted, encode, sizes):
    sample = {**TWO, "seg.png": encoded(np.zeros((60, 90), np.uint8), "png"), "thumb.png.zst": b"?"}
    shardpack.pack([("a", sample)], tmp_path / "out", resize="short=30", encode=encode, fields=wanted)
    made = shardpack.open(tmp_path / "out")[0]
    assert {name: made.decode(name).size for name in made if name != "cls"} == sizes


@pytest.mark.parametrize(
    ("wanted", "encode", "question"),
    [
        (["jpg", "json"], None, "label holds coordinates"),
        (["jpg", "png"], None, "what to do with 'jpg', 'png'"),
        (["webp"], "webp:q=80", "what to do with 'jpg', 'png'"),
        (["cls"], None, "what to do with 'jpg', 'png'"),
    ],
)
def test_fields_that_are_kept_or_lead_are_asked_about(tmp_path, wanted, encode, question):
    with pytest.raises(OptionError, match=question):
        shardpack.pack([("a", TWO)], tmp_path / "out", resize="short=30", encode=encode, fields=wanted)


def test_labels_and_masks_follow_an_image_that_is_not_kept(tmp_path):
    label = {"width": 90, "height": 60, "annotations": [{"bbox": [30, 20, 30, 20]}]}
    sample = {"jpg": PHOTO, "png": _palette_png(), "json": json.dumps(label).encode()}
    shardpack.pack([("a", sample)], tmp_path / "out", resize="short=30", encode="jpg:q=80", fields=["png", "json"])
    made = shardpack.open(tmp_path / "out")[0]
    assert (made.decode("json")["width"], made.decode("json")["annotations"][0]["bbox"]) == (45, [15, 10, 15, 10])
    assert Image.open(io.BytesIO(made["png"])).mode == "P"


def _palette_png():
    image = Image.fromarray((np.indices((60, 90)).sum(axis=0) % 3).astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def test_a_function_of_the_user_comes_first(tmp_path):
    shardpack.pack(photos(tmp_path / "photos"), tmp_path / "out", transform=_grey, transform_version="1", **OPTIONS)
    assert shardpack.open(tmp_path / "out")[0].decode("jpg").mode == "L"


def _grey(fields):
    return {**fields, "jpg": decoded(fields["jpg"]).convert("L")}


def test_iterables_and_folders_become_the_same_images(tmp_path):
    folder = photos(tmp_path / "photos")
    shardpack.pack(folder, tmp_path / "out", fields=["jpg"], **OPTIONS)
    ds = shardpack.open(tmp_path / "out")
    plain = shardpack.pack(folder, tmp_path / "plain", fields=["jpg"], layout=OPTIONS.get("layout", "auto"))
    assert plain.num_samples == len(ds)
    options = {name: value for name, value in OPTIONS.items() if name != "layout"}
    for jobs in (1, 2):
        out = tmp_path / f"again{jobs}"
        report = shardpack.pack(shardpack.open(tmp_path / "plain").stream(), out, jobs=jobs, **options)
        assert [dict(sample) for sample in shardpack.open(out)] == [dict(sample) for sample in ds]
        assert report.counts["image.encoded"] == len(ds)
        kept = shardpack.open(out).manifest.packed_with["options"]
        of_folder = ds.manifest.packed_with["options"]
        assert {name: kept[name] for name in ("resize", "encode", "versions")} == {
            name: of_folder[name] for name in ("resize", "encode", "versions")
        }


@pytest.mark.parametrize("jobs", [None, 2])
def test_iterables_are_changed_too(tmp_path, jobs):
    samples = [(f"s/{number}", {"jpg": encoded(smooth(60, 90, seed=number))}) for number in range(5)]
    report = shardpack.pack(iter(samples), tmp_path / "out", resize="short=30", encode="webp:q=80", jobs=jobs)
    assert report.counts["image.encoded"] == 5
    ds = shardpack.open(tmp_path / "out")
    assert [*ds.keys()] == [key for key, _ in samples]
    assert ds[3].decode("webp").size == (45, 30)
    assert ds.manifest.packed_with["options"]["resize"] == "short=30"


WHOLE = {
    "jpg": PHOTO,
    "png": encoded(smooth(60, 90), "png"),
    "webp": encoded(smooth(60, 90), "webp"),
    "gif": animation("gif"),
    "tif": encoded(smooth(60, 90), "tif", orientation=6),
}


@examples(150)
@given(st.data(), st.sampled_from(sorted(WHOLE)), st.sampled_from(["npy:rgb", "jpg", None]))
def test_damaged_images_are_an_error_of_their_sample_or_decode(data, extension, codec):
    payload = data.draw(damaged(WHOLE[extension]))
    step = ImageStep.parse("short=30", codec, first_frame=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about what is damaged
        try:
            ((_, made),) = step("a", {extension: payload}, Counter())
        except (DecodeError, SourceError) as error:
            made, where = {extension: payload}, (error.key, error.path)
        else:
            where = ("a", f"a.{extension}")
    assert where == ("a", f"a.{extension}")
    ((name, value),) = made.items()
    if value is not payload:
        size = view_npy(value).shape[1::-1] if name == "npy" else decoded(value).size
        assert min(size) <= 30
