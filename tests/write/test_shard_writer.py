"""`ShardWriter` writes what a planned run writes, and publishes nothing after a failure."""

from __future__ import annotations

import errno
import gc
import os
import random
import threading
import tracemalloc
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.commit.folder_target import FolderTarget
from shardpack.errors import (
    DuplicateKeyError,
    FormatError,
    InvalidKeyError,
    OptionError,
    OutputExistsError,
    SourceError,
    StorageError,
)
from shardpack.format.assemble import recorded_options
from shardpack.format.layout import MANIFEST_PATH
from shardpack.write import duplicate_keys as seen_keys
from shardpack.write import shard_writer as writer_module
from shardpack.write.pack_run import pack_plan, plan_shards
from shardpack.write.request import PackRequest
from shardpack.write.shard_assembler import Buffer
from shardpack.write.shard_writer import ShardWriter
from shardpack.write.sharding import ShardLimits
from tests.fakes import contents, inline_listing
from tests.forks import in_child
from tests.strategies import examples, payloads, safe_fields, safe_keys

rng = random.Random(1)
SAMPLES = {
    f"{i:03d}": {"jpg": rng.randbytes(rng.choice([0, 1, 511, 512, 513, 2000])), **({"cls": b"1"} if i % 3 else {})}
    for i in range(50)
}


def write_pairs(out, pairs, **options):
    with ShardWriter(out, **options) as writer:
        for key, fields in pairs:
            writer.write(key, fields)


def write(out, samples, **options):
    write_pairs(out, samples.items(), **options)
    return contents(out)


def test_samples_of_two_splits_are_never_in_one_shard(tmp_path):
    with ShardWriter(tmp_path, max_shard_samples=2) as writer:
        for number, split in enumerate(["train"] * 3 + ["val"] + [None] * 2 + ["train"]):
            writer.write(f"{number}", {"txt": split or "none"}, split=split)
    ds = shardpack.open(tmp_path)
    assert [(info.name, info.num_samples) for info in ds.shards] == [
        ("train-000000.tar", 2),
        ("train-000001.tar", 1),
        ("val-000000.tar", 1),
        ("shard-000000.tar", 2),
        ("train-000002.tar", 1),
    ]
    assert ds.splits == {"train": 4, "val": 1}
    assert {sample.decode("txt") for sample in ds.split("train")} == {"train"}
    assert shardpack.verify(tmp_path, full=True).ok


def test_a_split_that_no_shard_can_be_named_after_is_refused(tmp_path):
    with ShardWriter(tmp_path) as writer:
        writer.write("a", {"txt": "1"}, split="Train")
        for split in ("train", "a/b", "x-1"):
            with pytest.raises(OptionError, match="rename"):
                writer.write("b", {"txt": "1"}, split=split)
        writer.write("b", {"txt": "1"}, split="Train")
    assert shardpack.open(tmp_path).splits == {"Train": 2}


def is_published(out):
    return (out / MANIFEST_PATH).exists()


@examples(30)
@given(
    samples=st.dictionaries(
        safe_keys(max_size=60), st.dictionaries(safe_fields(), payloads(), min_size=1, max_size=3), max_size=10
    ),
    max_bytes=st.sampled_from([6000, 10_000, 1 << 20]),
    most=st.one_of(st.none(), st.integers(1, 4)),
    buffer=st.sampled_from([1, 3000, 1 << 20]),
)
def test_writes_what_a_planned_run_writes(new_folder, samples, max_bytes, most, buffer):
    folder = new_folder()
    limits = ShardLimits(max_bytes, most, allow_oversized=True)
    recorded = recorded_options(max_shard_bytes=max_bytes, max_shard_samples=most, allow_oversized=True)
    pack_plan(
        plan_shards(inline_listing(samples), limits), FolderTarget(str(folder / "a")), PackRequest(), recorded=recorded
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer_module, "Buffer", partial(Buffer, buffer))
        options = {"max_shard_bytes": max_bytes, "max_shard_samples": most, "allow_oversized": True}
        assert write(folder / "b", dict(sorted(samples.items())), **options) == contents(folder / "a")


def test_what_is_written_comes_back_in_order(tmp_path):
    samples = dict(reversed(SAMPLES.items()))
    found = write(tmp_path / "out", samples, max_shard_bytes="20KiB")
    ds = shardpack.open(tmp_path / "out")
    assert [(sample.key, dict(sample)) for sample in ds] == list(samples.items())
    assert all(len(found[info.name]) <= 20 << 10 for info in ds.shards)
    assert shardpack.verify(tmp_path / "out", full=True).ok
    assert write(tmp_path / "again", samples, max_shard_bytes="20KiB") == found


def test_counts(tmp_path):
    with ShardWriter(tmp_path, max_shard_samples=20) as writer:
        for number, (key, fields) in enumerate(SAMPLES.items(), start=1):
            writer.write(key, fields)
            assert writer.num_samples == number
        assert writer.manifest is None
    assert writer.manifest == shardpack.open(tmp_path).manifest
    assert writer.payload_bytes == sum(len(payload) for fields in SAMPLES.values() for payload in fields.values())


def test_no_samples_make_an_empty_dataset(tmp_path):
    assert {name for name, data in write(tmp_path, {}).items() if data} == {
        ".shardpack/manifest.json",
        ".shardpack/manifests/000001.json",
    }
    assert len(shardpack.open(tmp_path)) == 0


def test_values_are_stored_as_their_field_says(tmp_path):
    write(tmp_path, {"a": {"json": {"x": [1, None]}, "txt": "é", "cls": 7, "bin": bytearray(b"b"), "seg.png": b"p"}})
    sample = shardpack.open(tmp_path)[0]
    assert dict(sample) == {"json": b'{"x":[1,null]}', "txt": "é".encode(), "cls": b"7", "bin": b"b", "seg.png": b"p"}


def test_a_buffer_may_be_filled_again(tmp_path):
    """Samples wait in the writer, and views of the caller's buffer once changed in the meantime."""
    buffer = bytearray(4)
    with ShardWriter(tmp_path) as writer:
        for i in range(10):
            buffer[:] = b"%04d" % i
            writer.write(f"{i}", {"a": buffer, "b": memoryview(buffer)})
    assert [sample["a"] + sample["b"] for sample in shardpack.open(tmp_path)] == [b"%04d" % i * 2 for i in range(10)]


def test_keys_are_renamed_reversibly(tmp_path):
    keys = ["a.b", "a b/c", "é", "%", "plain"]
    write(tmp_path, {key: {"bin": b"1"} for key in keys}, rename_keys=True)
    stored = list(shardpack.open(tmp_path).keys())
    assert stored == ["a%2Eb", "a%20b/c", "%C3%A9", "%25", "plain"]
    assert [shardpack.unescape_key(key) for key in stored] == keys


def test_an_oversized_sample_gets_a_shard_of_its_own(tmp_path):
    samples = {f"{i}": {"bin": bytes(9000 if i == 3 else 100)} for i in range(6)}
    write(tmp_path, samples, max_shard_bytes=6000, allow_oversized=True)
    assert [info.num_samples for info in shardpack.open(tmp_path).shards] == [3, 1, 2]


# Errors that concern one sample: the writer goes on


@pytest.mark.parametrize(
    ("key", "fields", "error", "says"),
    [
        ("a.b", {"jpg": b""}, InvalidKeyError, r"a dot.*rename_keys .*\(key='a\.b'\)"),
        ("", {"jpg": b""}, InvalidKeyError, "unsafe key"),
        ("../a", {"jpg": b""}, InvalidKeyError, "unsafe key"),
        ("a b", {"jpg": b""}, InvalidKeyError, "unsafe key"),
        (5, {"jpg": b""}, InvalidKeyError, "key is an int, expected a str"),
        (b"a", {"jpg": b""}, InvalidKeyError, "key is a bytes, expected a str"),
        ("a", {}, InvalidKeyError, "without any field"),
        ("a", {"JPG": b""}, InvalidKeyError, "unsafe field name 'JPG'"),
        ("a", {5: b""}, InvalidKeyError, "field name is an int, expected a str"),
        ("a", {"jpg": 1.5}, OptionError, "'jpg' got a float"),
        ("a", {"json": {1j}}, OptionError, "'json' cannot be stored"),
        ("a", {"bin": bytes(20_000)}, SourceError, r"takes 20992 bytes of a shard of 20480; raise .*\(key='a'\)"),
        ("000", {"jpg": b""}, DuplicateKeyError, r"written twice.*shard='shard-000000\.tar', key='000'"),
    ],
)
def test_a_bad_sample_is_refused_and_the_writer_goes_on(tmp_path, key, fields, error, says):
    expected = write(tmp_path / "good", SAMPLES, max_shard_bytes="20KiB")
    with ShardWriter(tmp_path / "out", max_shard_bytes="20KiB") as writer:
        for number, (good, good_fields) in enumerate(SAMPLES.items()):
            if number in (1, 2):
                with pytest.raises(error, match=says):
                    writer.write(key, fields)
            writer.write(good, good_fields)
    assert contents(tmp_path / "out") == expected


@pytest.mark.parametrize(
    ("key", "fields", "error"),
    [
        ("a.b", {"bin": b""}, InvalidKeyError),
        ("a", {"BIN": b""}, InvalidKeyError),
        ("a", {"json": {1j}}, OptionError),
        ("a", {"bin": bytes(20_000)}, SourceError),
        ("a", {f"f{i}": b"" for i in range(70_000)}, FormatError),
    ],
    ids=["key", "field", "value", "size", "fields"],
)
@pytest.mark.parametrize("good", [0, 1, 2])
def test_a_refused_sample_begins_no_shard(tmp_path, key, fields, error, good):
    """A refused sample that would start a shard does not end the previous one, or leave an empty one."""
    options = {"max_shard_bytes": "20KiB", "max_shard_samples": 2}
    samples = dict(list(SAMPLES.items())[:good])
    with ShardWriter(tmp_path / "out", **options) as writer:
        for name, wanted in samples.items():
            writer.write(name, wanted)
        with pytest.raises(error):
            writer.write(key, fields)
        assert writer.num_samples == good
    assert contents(tmp_path / "out") == write(tmp_path / "good", samples, **options)


def test_a_refused_sample_ends_no_shard(tmp_path):
    samples = {"a": {"bin": bytes(9000)}, "b": {"bin": b"1"}}
    with ShardWriter(tmp_path / "out", max_shard_bytes="40MiB") as writer:
        writer.write("a", samples["a"])
        with pytest.raises(FormatError):
            writer.write("wide", {f"f{i}": b"" for i in range(70_000)})  # its headers alone do not fit beside "a"
        writer.write("b", samples["b"])
    assert contents(tmp_path / "out") == write(tmp_path / "good", samples, max_shard_bytes="40MiB")


# Errors that concern more: nothing is published


def test_an_exception_in_the_block_publishes_nothing(tmp_path):
    out = tmp_path / "out"

    def samples():
        yield from list(SAMPLES.items())[:25]
        raise LookupError("of the caller")

    with pytest.raises(LookupError, match="of the caller"):
        write_pairs(out, samples(), max_shard_samples=10)
    left = contents(out)
    assert MANIFEST_PATH not in left
    assert not any(".shardpack/keys-" in name for name in left)
    assert not any(name.endswith(".tmp") for name in left)
    with pytest.raises(shardpack.ShardpackError, match="is unfinished"):
        shardpack.open(out)
    assert write(out, SAMPLES) == write(tmp_path / "other", SAMPLES)  # no force needed, nothing is left


@pytest.mark.parametrize("recent", [True, False])
def test_a_key_written_twice_over_shards_publishes_nothing(tmp_path, recent):
    pairs = [(f"{i}", {"bin": b"1"}) for i in (*range(40), 35 if recent else 7)]
    with pytest.raises(DuplicateKeyError, match=r"key is already in 'shard-00000\d\.tar'; .*shard='shard-000010\.tar'"):
        write_pairs(tmp_path, pairs, max_shard_samples=4)
    assert not is_published(tmp_path)


def test_keys_of_one_hash_are_told_apart(tmp_path, monkeypatch):
    """Hashes of 64 bits do collide at a hundred million keys, so the keys themselves are compared."""
    monkeypatch.setattr(seen_keys, "hash_keys", lambda keys: seen_keys.np.fromiter(map(len, keys), "u8"))
    samples = {f"{i:03d}": {"bin": b"%d" % i} for i in range(20)}
    write(tmp_path / "a", samples, max_shard_samples=3)
    assert {sample.key: dict(sample) for sample in shardpack.open(tmp_path / "a")} == samples
    with pytest.raises(DuplicateKeyError, match=r"is already in 'shard-000001\.tar'.*key='004'"):
        write_pairs(tmp_path / "b", [*samples.items(), ("004", {"bin": b""})], max_shard_samples=3)


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
@pytest.mark.parametrize("after", [3, 5, 8])
def test_a_failing_disk_publishes_nothing_even_if_the_caller_goes_on(tmp_path, monkeypatch, call, after):
    """A buffer that was half written must not be followed by the next one."""
    real, calls = getattr(os, call), iter(range(after))

    def full(*arguments, **options):
        if next(calls, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **options)

    def pack():
        with ShardWriter(tmp_path, max_shard_samples=10) as writer:
            monkeypatch.setattr(os, call, full)
            for key, fields in SAMPLES.items():
                try:
                    writer.write(key, fields)
                except StorageError as error:
                    errors.append(str(error))

    errors: list[str] = []
    with pytest.raises(StorageError) as caught:
        pack()
    monkeypatch.undo()
    first, *later = [*errors, str(caught.value)]  # a shard is synced while the next is filled: the last one by close
    assert first.startswith(f"cannot write to {str(tmp_path)!r}: No space left on device; free some space")
    assert "write all samples again" in first
    assert all(error.startswith("nothing was published, because an earlier write failed:") for error in later)
    assert not is_published(tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))


def test_too_many_fields_are_refused_at_the_write_that_breaks_the_limit(tmp_path):
    many = {f"{'f' * 200}{i:04d}": b"" for i in range(1500)}
    with ShardWriter(tmp_path) as writer:
        writer.write("many", many)
        with pytest.raises(FormatError, match=r"the list of different fields has \d+ names, limit") as caught:
            writer.write("more", {f"f{i}": b"" for i in range(1 << 16)})
        assert (caught.value.shard, caught.value.key) == ("shard-000000.tar", "more")
        assert writer.num_samples == 1
        writer.write("one", {"bin": b"goes on"})
    assert len(shardpack.open(tmp_path)) == 2


def test_more_fields_than_most_have_are_fine(tmp_path):
    write(tmp_path, {f"{i}": {f"f{i}": b"%d" % i} for i in range(1100)})
    assert shardpack.open(tmp_path)["700"]["f700"] == b"700"


# Closing


def test_close_and_abort_may_be_called_twice(tmp_path):
    writer = ShardWriter(tmp_path)
    writer.write("a", {"bin": b"1"})
    writer.close()
    writer.close()
    writer.abort()
    assert is_published(tmp_path)
    with pytest.raises(OptionError, match="the writer is closed; open another one"):
        writer.write("b", {"bin": b"1"})


@pytest.mark.parametrize("options", [{}, {"rename_keys": True}, {"compress": {"json": "zstd"}}])
@pytest.mark.parametrize("fields", [["jpg"], b"jpg", None, [("jpg", b"1")]])
def test_fields_that_are_no_dict_are_refused_and_the_writer_goes_on(tmp_path, fields, options):
    if "compress" in options:
        pytest.importorskip("zstandard")
    with ShardWriter(tmp_path, **options) as writer:
        with pytest.raises(OptionError, match=r"fields of a sample are a .*expected a dict such as .*\(key='a'\)"):
            writer.write("a", fields)
        writer.write("a", {"jpg": b"1"})
    assert len(shardpack.open(tmp_path)) == 1


def test_abort_publishes_nothing(tmp_path):
    writer = ShardWriter(tmp_path)
    writer.write("a", {"bin": b"1"})
    writer.abort()
    writer.abort()
    writer.close()
    assert not is_published(tmp_path)


def test_a_forgotten_writer_publishes_nothing_and_lets_the_folder_go(tmp_path):
    writer = ShardWriter(tmp_path)
    writer.write("a", {"bin": b"1"})
    del writer
    gc.collect()
    assert not is_published(tmp_path)
    write(tmp_path, {"b": {"bin": b"1"}})
    assert list(shardpack.open(tmp_path).keys()) == ["b"]


def test_a_forgotten_writer_leaves_no_thread(tmp_path):
    before = set(threading.enumerate())
    writer = ShardWriter(tmp_path, max_shard_samples=1)
    writer.write("a", {"bin": b"1"})
    writer.write("b", {"bin": b"1"})
    started = {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("shardpack")}
    assert started
    del writer
    gc.collect()
    for thread in started:
        thread.join(timeout=60)
        assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("error", [None, LookupError])
def test_a_forked_child_neither_writes_nor_ends_the_dataset(tmp_path, error):
    def leave():
        writer.__exit__(error, error and error(), None)

    with ShardWriter(tmp_path, max_shard_samples=2) as writer:
        for key in "abc":
            writer.write(key, {"bin": b"1"})
        assert in_child(lambda: writer.write("d", {"bin": b"1"})) == "OptionError"
        assert in_child(leave) == "None"
        assert in_child(writer.close) == "None"
        writer.write("e", {"bin": b"1"})
    assert list(shardpack.open(tmp_path).keys()) == ["a", "b", "c", "e"]
    assert shardpack.verify(tmp_path, full=True).ok


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_shard_bytes": "5 bananas"}, "not a size"),
        ({"max_shard_bytes": 100}, "max_shard_bytes is 100"),
        ({"max_shard_samples": 0}, "max_shard_samples is 0"),
    ],
)
def test_wrong_options_touch_nothing(tmp_path, options, says):
    with pytest.raises(OptionError, match=says):
        ShardWriter(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_dataset_is_not_overwritten(tmp_path):
    before = write(tmp_path, SAMPLES)
    with pytest.raises(OutputExistsError, match=r"already holds a dataset; .*, or pass force=True \(--force\)"):
        ShardWriter(tmp_path)
    assert contents(tmp_path) == before
    write(tmp_path, {"new": {"bin": b""}}, force=True)
    assert list(shardpack.open(tmp_path).keys()) == ["new"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(tmp_path):
    """Of forty thousand samples in many shards only the hashes of their keys are kept, 16 bytes each."""
    payload = rng.randbytes(3000)
    peaks = []
    tracemalloc.start()
    try:
        with ShardWriter(tmp_path, max_shard_bytes="16MiB") as writer:
            for i in range(40_000):
                writer.write(f"{i:08d}", {"jpg": payload, "json": b"{}"})
                if i in (12_000, 39_999):
                    peaks.append(tracemalloc.get_traced_memory()[1])
                    tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 28_000 * 40
    assert peaks[1] < 32 << 20
