"""`Sample`: a dict of bytes that knows its key and its place, and decodes when asked."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import shardpack
from shardpack.errors import DecodeError, FieldNotFoundError, PositionError, UnknownKeyError
from tests.conftest import ROOT, make_jpeg
from tests.read.datasets import numbered, write


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def png(mode):
    buffer = io.BytesIO()
    Image.new(mode, (3, 2)).save(buffer, "PNG")
    return buffer.getvalue()


GOOD = {
    "jpg": make_jpeg(),
    "seg.png": png("P"),
    "json": b'{"label": [1, null, "\xc3\xa9"]}',
    "txt": "é\n".encode(),
    "cls": b" 7\n",
    "npy": npy(np.arange(6).reshape(2, 3)),
    "bin": b"\x00\xff",
    "pth": b"\x80\x04",
}
BROKEN = {
    "jpg": make_jpeg()[:100],
    "png": b"not an image",
    "json": b'{"label": ',
    "a.json": b"\xff\xfe",
    "txt": b"\xff",
    "cls": b"seven",
    "npy": b"\x93NUMPY",
    "object.npy": npy(np.array([{}], object)),
}


@pytest.fixture(scope="module")
def ds(tmp_path_factory):
    samples = {"good": GOOD, "broken/1": BROKEN, "empty": {"txt": b"", "json": b""}}
    return shardpack.open(write(tmp_path_factory.mktemp("dataset"), samples))


def test_bytes_by_default(ds):
    sample = ds["good"]
    assert sample == GOOD
    assert isinstance(sample, dict)
    assert list(sample) == sorted(GOOD)
    assert all(type(payload) is bytes for payload in sample.values())
    assert (sample.key, sample.position) == ("good", 0)


def test_decode_each_kind(ds):
    values = ds.decode(ds["good"])
    assert values["json"] == {"label": [1, None, "é"]}
    assert values["txt"] == "é\n"
    assert values["cls"] == 7
    assert values["npy"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (values["jpg"].size, values["jpg"].mode) == ((32, 24), "RGB")
    assert values["seg.png"].mode == "P", "as stored: no conversion"
    assert (values["bin"], values["pth"]) == (GOOD["bin"], GOOD["pth"]), "anything else stays bytes"
    for field in GOOD.keys() - {"bin", "pth"}:
        one = ds["good"].decode(field)
        assert type(one) is type(values[field])


@pytest.mark.parametrize("field", ["bin", "pth"])
def test_what_is_not_decoded_says_so(ds, field):
    with pytest.raises(DecodeError, match=rf"field '{field}' has no decoder.*sample\['{field}'\] \(key='good'\)"):
        ds["good"].decode(field)


@pytest.mark.parametrize("field", BROKEN)
def test_broken_payloads_name_the_sample(ds, field):
    with pytest.raises(DecodeError, match=rf"^field '{field}' does not decode as \w+: .*\(key='broken/1'\)$") as caught:
        ds["broken/1"].decode(field)
    assert caught.value.key == "broken/1"
    with pytest.raises(DecodeError, match=r"\(key='broken/1'\)$"):
        ds.decode(ds.get_many(["broken/1"], fields=[field])[0])


def test_empty_payloads(ds):
    assert ds["empty"].decode("txt") == ""
    with pytest.raises(DecodeError, match="key='empty'"):
        ds["empty"].decode("json")


def test_fields_that_are_not_there(ds):
    sample = ds["empty"]
    for ask in (lambda: sample["jpg"], lambda: sample.decode("jpg")):
        with pytest.raises(FieldNotFoundError, match=r"^no field 'jpg'; the sample has: json, txt \(key='empty'\)$"):
            ask()
    with pytest.raises(KeyError):
        sample["jpg"]
    assert sample.get("jpg") is None
    assert "jpg" not in sample


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda sample: pickle.loads(pickle.dumps(sample))])
def test_samples_copy_and_pickle_whole(ds, again):
    sample = ds.get_many([1, 0])[1]
    other = again(sample)
    assert type(other) is shardpack.Sample
    assert (other, other.key, other.position) == (sample, "good", 0)
    other["jpg"] = b""
    assert sample["jpg"] == GOOD["jpg"], "a copy is its own"


def test_pickled_samples_need_no_dataset(tmp_path):
    folder = write(tmp_path / "ds", numbered(3))
    (tmp_path / "sample").write_bytes(pickle.dumps(shardpack.open(folder)[2]))
    shutil.rmtree(folder)
    probe = (
        f"import pickle; s = pickle.load(open({str(tmp_path / 'sample')!r}, 'rb')); print(s.key, s.position, len(s))"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "k/0002 2 2\n"


def test_samples_compare_by_their_fields(ds):
    assert ds[0] == ds["good"] == GOOD
    assert ds[0] != ds[1]


def test_repr_says_which_and_how_large(ds):
    assert repr(ds["empty"]) == "<Sample 2 'empty': json: 0 bytes, txt: 0 bytes>"
    assert repr(shardpack.Sample(jpg=b"1", label=1)) == "<Sample: jpg: 1 bytes, label: int>", "one made by hand"


def test_a_kept_sample_is_ordinary_data(ds):
    sample = ds["good"]
    sample["extra"] = 1
    assert sorted(sample) == sorted([*GOOD, "extra"])
    assert "extra: int" in repr(sample)
    assert ds["good"] == GOOD


def test_a_sample_made_by_hand():
    sample = shardpack.Sample(jpg=b"1", label=1)
    assert (sample.key, sample.position, sample.source) == ("", -1, None)
    again = pickle.loads(pickle.dumps(sample))
    assert (again, again.key, again.position, again.source) == (sample, "", -1, None)
    with pytest.raises(FieldNotFoundError, match="no field 'png'; the sample has: jpg, label"):
        sample["png"]
    sample.key, sample.position = "mine", 3
    assert repr(sample) == "<Sample 3 'mine': jpg: 1 bytes, label: int>"
    assert pickle.loads(pickle.dumps(sample)).key == "mine"
    with pytest.raises(AttributeError, match="no attribute 'jpeg'"):
        _ = sample.jpeg


@pytest.mark.parametrize("which", ["a", 0, -2])
def test_decoding_by_position_or_key_copies_no_array(tmp_path, which):
    array = np.arange(50_000.0).reshape(100, 500)
    with shardpack.ShardWriter(tmp_path / "out") as writer:
        for key in "ab":
            writer.write(key, {"npy": array, "json": {"label": 3}, "bin": b"x", "emb.npy": np.ones(3)})
    ds = shardpack.open(tmp_path / "out")
    ds.decode(which)  # opens the shard
    tracemalloc.start()
    try:
        values = ds.decode(which)
        assert tracemalloc.get_traced_memory()[1] < array.nbytes // 10
    finally:
        tracemalloc.stop()
    assert (values["json"], values["bin"], values["emb.npy"].tolist()) == ({"label": 3}, b"x", [1, 1, 1])
    found = values["npy"]
    assert (found.dtype, found.shape, found.flags.writeable, found.flags.aligned) == (
        array.dtype,
        (100, 500),
        False,
        True,
    )
    assert found.ctypes.data % 64 == 0
    ds.close()
    del ds, values
    gc.collect()
    np.testing.assert_array_equal(found, array)


def test_decoding_by_what_is_not_there(ds):
    with pytest.raises(UnknownKeyError):
        ds.decode("nobody")
    with pytest.raises(PositionError):
        ds.decode(len(ds))
