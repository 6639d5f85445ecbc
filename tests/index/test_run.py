"""Index existing tars: on disk, in memory, again, and with everything that can be wrong with them."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import tarfile
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import (
    CorruptShardError,
    DatasetNotFoundError,
    DuplicateKeyError,
    OptionError,
    OutputExistsError,
    ShardNotFoundError,
    StaleIndexError,
    StorageError,
)
from shardpack.index.build import RepeatedKey
from shardpack.index.run import IndexReport
from shardpack.storage.memory import MemoryStore
from tests.conformance.recipes import CORPUS, FOREIGN
from tests.conftest import judge, make_jpeg
from tests.fakes import contents, write_files
from tests.format.builders import entry, judge_module
from tests.read.datasets import as_dicts, expected, numbered, write
from tests.strategies import examples

END = bytes(1024)
A, B, C = (entry(b"%c.jpg" % letter, bytes([letter])) + entry(b"%c.json" % letter, b"{}") for letter in b"abc")


def tars(folder: Path, **files: bytes) -> Path:
    """Write `<name>.tar` files; return the folder."""
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.tar").write_bytes(data)
    return folder


def webdataset_samples(paths):
    """Return (key, fields) of each sample as the real library streams them."""
    wds = judge_module("webdataset.tariterators")
    files = wds.tar_file_expander({"url": str(path), "stream": io.BytesIO(path.read_bytes())} for path in paths)
    return [
        (sample["__key__"], {field: data for field, data in sample.items() if not field.startswith("__")})
        for sample in wds.group_by_keys(files)
    ]


def as_pairs(ds):
    return [(sample.key, dict(sample)) for sample in ds]


@pytest.mark.parametrize("name", FOREIGN)
def test_every_sample_is_webdatasets(name, tmp_path):
    shutil.copy(CORPUS / "foreign" / f"{name}.tar", tmp_path)
    report = shardpack.index(tmp_path, jobs=1)
    ds = shardpack.open(tmp_path)
    truth = webdataset_samples([tmp_path / f"{name}.tar"])
    assert as_pairs(ds) == truth
    assert [(sample.key, dict(sample)) for sample in ds[:]] == truth
    assert all(ds[key].position == i for i, (key, _) in enumerate(truth))
    assert (report.num_samples, report.num_shards) == (len(truth), 1)
    assert report.without_key == (0 if name.startswith("webdataset") else 1)
    assert shardpack.verify(tmp_path, full=True).ok


@pytest.mark.parametrize("settings", [{}, {"mtime": 0}], ids=["float mtime, pax", "mtime=0"])
def test_shards_of_webdatasets_writer(tmp_path, settings, capsys):
    wds = judge_module("webdataset")
    samples = {f"class/{i:03d}": {"jpg": make_jpeg(seed=i), "json": {"i": i}, "cls": i} for i in range(20)}
    with wds.ShardWriter(str(tmp_path / "x-%03d.tar"), maxcount=7, **settings) as writer:
        for key, fields in samples.items():
            writer.write({"__key__": key, **fields})
    capsys.readouterr()
    shardpack.index(str(tmp_path / "x-*.tar"), jobs=2)
    ds = shardpack.open(tmp_path)
    assert as_pairs(ds) == webdataset_samples(sorted(tmp_path.glob("*.tar")))
    assert [info.num_samples for info in ds.shards] == [7, 7, 6]
    assert ds["class/013"].decode("json") == {"i": 13}
    assert ds["class/013"]["jpg"] == samples["class/013"]["jpg"]


@examples(25)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["jpg", "JSON", "x.y"])), min_size=1, max_size=6),
        min_size=1,
        max_size=3,
    )
)
def test_any_order_of_members_is_webdatasets_or_refused_by_both(tmp_path_factory, shards):
    folder = tmp_path_factory.mktemp("tars")
    for number, members in enumerate(shards):
        data = b"".join(entry(f"{key}.{field}".encode(), b"%d" % i) for i, (key, field) in enumerate(members))
        tars(folder, **{f"{number}": data + END})
    paths = sorted(folder.glob("*.tar"))
    try:
        truth = webdataset_samples(paths)
    except ValueError:
        with pytest.raises(CorruptShardError, match="twice"):
            shardpack.index(folder, on_duplicate="keep", jobs=1)
        return
    keys = [key for key, _ in truth]
    repeats = [i for i, key in enumerate(keys) if key in keys[:i]]
    if repeats:
        with pytest.raises(DuplicateKeyError, match=rf"^{len(repeats)} key\(s\) repeat"):
            shardpack.index(folder, jobs=1)
        assert not list(folder.rglob("*.index")), "nothing is left of a refusal"
    report = shardpack.index(folder, on_duplicate="keep", jobs=1)
    assert [repeated.key for repeated in report.repeated] == [keys[i] for i in repeats]
    for ds in (shardpack.open(folder), shardpack.open(folder, index="memory")):
        assert as_pairs(ds) == truth
        assert ds.manifest.unique_keys == (not repeats)
        for key in set(keys):
            assert key in ds
            if keys.count(key) == 1:
                assert ds[key].position == keys.index(key)
            else:
                with pytest.raises(DuplicateKeyError, match="samples have this key, at positions"):
                    ds[key]


def test_keys_that_come_back_are_named_with_shard_and_both_offsets(tmp_path):
    tars(tmp_path, one=A + B + entry(b"a.cls", b"1") + END, two=C + B + END)
    text = r"2 key\(s\) repeat: 'a' in 'one.tar' at 4096, after 'one.tar' at 0; "
    text += r"'b' in 'two.tar' at 2048, after 'one.tar' at 2048; repack .*--on-duplicate keep"
    with pytest.raises(DuplicateKeyError, match=text):
        shardpack.index(tmp_path)
    report = shardpack.index(tmp_path, on_duplicate="keep")
    repeated = report.repeated[1]
    assert (repeated.key, repeated.shard, repeated.offset) == ("b", "two.tar", 2048)
    assert (repeated.first_shard, repeated.first_offset) == ("one.tar", 2048)
    ds = shardpack.open(tmp_path)
    assert [sample.key for sample in ds] == ["a", "b", "a", "c", "b"]
    assert (ds[0]["jpg"], ds[2]["cls"], ds["c"]["jpg"]) == (b"a", b"1", b"c")
    with pytest.raises(
        DuplicateKeyError, match=r"^2 samples have this key, at positions 1, 4; ask by position \(key='b'\)"
    ):
        ds["b"]
    assert ds.select([4])["b"].position == 4, "in a view that has only one of them, it is unique"


def test_offsets_follow_the_order_of_the_dataset_not_of_the_names(tmp_path):
    tars(tmp_path, z=A + END, y=A + END)
    with pytest.raises(DuplicateKeyError, match=r"'a' in 'y.tar' at 0, after 'z.tar' at 0"):
        shardpack.index([tmp_path / "z.tar", tmp_path / "y.tar"])


def test_many_repeats_are_counted(tmp_path):
    tars(tmp_path, x=b"".join(entry(b"%c.jpg" % key, b"") for key in b"abcdeabcde") + END)
    with pytest.raises(DuplicateKeyError, match=r"^5 key\(s\) repeat: .*; and 2 more; repack"):
        shardpack.index(tmp_path)


def test_folders_patterns_and_lists(tmp_path):
    tars(tmp_path / "x", one=A + END)
    tars(tmp_path / "y", two=B + END, three=C + END)
    (tmp_path / "y" / "not-a-tar.txt").write_text("")
    report = shardpack.index([tmp_path / "y", tmp_path / "x" / "one.tar"])
    assert Path(report.out) == tmp_path
    ds = shardpack.open(tmp_path)
    assert [info.name for info in ds.shards] == ["y/three.tar", "y/two.tar", "x/one.tar"]
    assert [sample.key for sample in ds] == ["c", "b", "a"]
    assert (tmp_path / ".shardpack/index/x/one.index").exists()
    assert shardpack.verify(tmp_path, full=True).ok
    shardpack.index(str(tmp_path / "**" / "*.tar"), force=True)
    assert [sample.key for sample in shardpack.open(tmp_path)] == ["a", "c", "b"]
    assert shardpack.index(str(tmp_path / "x")).num_samples == 1, "a folder of it may be a dataset of its own"


def test_names_that_no_tar_has(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(A + END))
    with pytest.raises(
        ShardNotFoundError, match=r"1 tar\(s\) in .* are compressed, which does not allow random access; decompress it"
    ):
        shardpack.index(tmp_path)
    (tmp_path / "sub").mkdir()
    tars(tmp_path / "sub", x=A + END)
    for path, text in [
        (tmp_path / "nowhere.tar", "no tar found at .*nowhere.tar'; check the path"),
        (tmp_path / "*.tar", r"no tar found at .*\*.tar'; check the pattern"),
    ]:
        with pytest.raises(ShardNotFoundError, match=text):
            shardpack.index(path)
    (tmp_path / "x.tar.gz").unlink()
    with pytest.raises(
        ShardNotFoundError, match=r"no .tar file in .*; to search the folders below it, give a pattern: .*\*\*"
    ):
        shardpack.index(tmp_path)
    with pytest.raises(OptionError, match="no tar is named"):
        shardpack.index([])
    with pytest.raises(OptionError, match="a tar is named twice"):
        shardpack.index([tmp_path / "sub", tmp_path / "sub" / "x.tar"])


@pytest.mark.parametrize("name", ["blank .", "a\\b.tar", "line\nfeed.tar"])
def test_names_that_no_manifest_may_hold(tmp_path, name):
    (tmp_path / name).write_bytes(A + END)
    with pytest.raises(OptionError, match=r"cannot index a tar named .*; rename it"):
        shardpack.index(tmp_path / name)


def test_two_tars_that_would_share_an_index(tmp_path):
    tars(tmp_path, x=A + END)
    (tmp_path / "x").write_bytes(B + END)
    with pytest.raises(OptionError, match=r"'x' and 'x.tar' would share one index; rename one"):
        shardpack.index([tmp_path / "x", tmp_path / "x.tar"])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (gzip.compress(A + END), "compressed with gzip, which does not allow random access; decompress it"),
        (A[:-1], "tar is truncated"),
        (A + b"x" * 512, "tar is damaged: expected a header"),
        (END, "tar has no samples"),
    ],
    ids=["compressed", "truncated", "damaged", "empty"],
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bad_tar_among_good_ones(tmp_path, data, text, jobs):
    tars(tmp_path, a=A + END, b=data, c=C + END)
    before = contents(tmp_path)
    with pytest.raises(CorruptShardError, match=text) as caught:
        shardpack.index(tmp_path, jobs=jobs)
    assert caught.value.shard == "b.tar"
    assert contents(tmp_path) == before, "nothing is left of a refusal"


def test_nothing_is_overwritten_unasked(tmp_path):
    tars(tmp_path, x=A + END)
    other = tmp_path / ".shardpack/index/x.index"
    other.parent.mkdir(parents=True)
    other.write_text("another file")
    with pytest.raises(
        OutputExistsError, match=r"x.index' is not a shardpack index; move it away, or pass force=True \(--force\)"
    ):
        shardpack.index(tmp_path)
    assert other.read_text() == "another file"
    shardpack.index(tmp_path, force=True)
    (tmp_path / ".shardpack/manifest.json").unlink()
    shardpack.index(tmp_path)  # our own files, as an interrupted run leaves them
    with pytest.raises(
        OutputExistsError,
        match=r"already holds .shardpack/manifest.json; pass force=True \(--force\) to index its tars again",
    ):
        shardpack.index(tmp_path)


def test_any_number_of_jobs_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        tars(tmp_path / name, **{f"{i}": entry(b"%d.txt" % i, b"x" * i) + END for i in range(5)})
    shardpack.index(tmp_path / "one", jobs=1)
    shardpack.index(tmp_path / "two", jobs=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    with pytest.raises(OptionError, match="jobs is 0, expected an integer of at least 1"):
        shardpack.index(tmp_path / "one", jobs=0, force=True)


def test_progress_counts_bytes(tmp_path):
    tars(tmp_path, x=A + END, y=B + END)
    seen = []
    shardpack.index(tmp_path, progress=lambda *call: seen.append(call))
    size = len(A + END)
    assert seen == [("index", size, 2 * size), ("index", 2 * size, 2 * size)]


def test_options_are_checked(tmp_path):
    with pytest.raises(OptionError, match="on_duplicate is 'drop'; choose 'raise' or 'keep'"):
        shardpack.index(tars(tmp_path, x=A + END), on_duplicate="drop")


def test_a_folder_of_plain_tars_says_what_to_do(tmp_path):
    tars(tmp_path, x=A + END, y=B + END)
    with pytest.raises(DatasetNotFoundError, match=r'2 tar\(s\) without an index; .*"shardpack index .*index="memory"'):
        shardpack.open(tmp_path)


def test_an_index_in_memory_writes_nothing(tmp_path):
    tars(tmp_path, x=A + B + END, y=C + END)
    before = contents(tmp_path)
    ds = shardpack.open(tmp_path, index="memory")
    assert [sample.key for sample in ds] == ["a", "b", "c"]
    assert ds["b"]["jpg"] == b"b"
    assert as_dicts(list(pickle.loads(pickle.dumps(ds)))) == as_dicts(list(ds))
    assert shardpack.open([tmp_path / "y.tar"], index="memory", verify=True)["c"]["json"] == b"{}"
    assert contents(tmp_path) == before


class Bare:
    """A store that can be read, and no more."""

    def __init__(self, objects):
        self.objects = objects

    def get_range(self, path, *, start, length):
        return self.objects[path][start : start + length]

    def get_ranges(self, path, *, starts, lengths):
        return [self.get_range(path, start=a, length=b) for a, b in zip(starts, lengths, strict=True)]

    def size(self, path):
        return len(self.objects[path])


def test_tars_in_a_store_of_the_caller(tmp_path):
    objects = {"x.tar": A + B + END, "y.tar": C + END}
    store = MemoryStore(objects, location="memory://mine")
    report = shardpack.index(store)
    assert (report.num_samples, report.out) == (3, "memory://mine")
    assert [sample.key for sample in shardpack.open(store)] == ["a", "b", "c"]
    for tars in (MemoryStore(objects), (Bare(objects), "{x,y}.tar")):
        assert [sample.key for sample in shardpack.open(tars, index="memory")] == ["a", "b", "c"]
    with pytest.raises(
        OptionError, match=r"does not take objects, or does not list them; open its tars with index=.memory."
    ):
        shardpack.index((Bare(objects), "x.tar"))
    with pytest.raises(OptionError, match="cannot be found from elsewhere, as it has no URL"):
        shardpack.index((Bare(objects), "x.tar"), out=tmp_path / "out")


def test_a_tar_that_changed_after_indexing_is_noticed(tmp_path):
    tars(tmp_path, x=A + B + END)
    shardpack.index(tmp_path)
    for changed in (A + END, B + A + END, A + B + C + END):
        tars(tmp_path, x=changed)
        with pytest.raises(StaleIndexError, match='rebuild its index with "shardpack index --force"') as caught:
            shardpack.open(tmp_path)["a"]
        assert caught.value.shard == "x.tar"
        assert not shardpack.verify(tmp_path).ok
    report = shardpack.index(tmp_path, force=True)
    assert list(report.changed) == ["x.tar"]
    assert [sample.key for sample in shardpack.open(tmp_path)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "lost",
    [["keys-*.index"], ["index/shard-000001.index"], ["keys-*.index", "index/shard-000000.index"]],
)
def test_it_mends_a_packed_dataset_to_the_very_bytes_it_had(tmp_path, lost):
    source = write_files(
        tmp_path / "source", {f"{name}/{i}": {"jpg": make_jpeg(seed=i)} for name in "ab" for i in range(3)}
    )
    shardpack.pack(source, tmp_path / "out", max_shard_samples=4, jobs=1)
    before = contents(tmp_path / "out")
    assert json.loads(before[".shardpack/manifest.json"])["classes"] == ["a", "b"]
    for pattern in lost:
        (path,) = (tmp_path / "out" / ".shardpack").glob(pattern)
        path.write_bytes(b"damaged")
    report = shardpack.index(tmp_path / "out", force=True)
    assert contents(tmp_path / "out") == before
    assert report.changed == []


def test_with_the_manifest_lost_the_samples_are_saved(tmp_path):
    write(tmp_path, numbered(9), max_shard_samples=4)
    (tmp_path / ".shardpack/manifest.json").write_text("{")
    shardpack.index(tmp_path, force=True)
    assert as_dicts(list(shardpack.open(tmp_path))) == expected(numbered(9))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_not_be_written_is_told_before_the_tars_are_read(tmp_path):
    tars(tmp_path, x=b"not even a tar")
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match=r'cannot write to .*; change its permissions, or open with index="memory"'):
        shardpack.index(tmp_path)


def test_a_sparse_tar_is_refused(tmp_path):
    program = judge("bsdtar")
    with open(tmp_path / "a.bin", "wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"x")
    command = [program, "-c", "--format=pax", "-f", str(tmp_path / "x.tar"), "-C", str(tmp_path), "a.bin"]
    os.spawnv(os.P_WAIT, program, command)
    with tarfile.open(tmp_path / "x.tar") as archive:
        sparse = archive.getmembers()[0].sparse is not None
    if not sparse:
        pytest.skip("this disk or bsdtar makes no sparse members")
    with pytest.raises(CorruptShardError, match="sparse member"):
        shardpack.index(tmp_path)


def test_the_report_holds_what_the_dataset_has(tmp_path):
    files = ("a.jpg", "a.json", "b.jpg", "c.jpg", "README", "a.jpg")
    (tmp_path / "x.tar").write_bytes(b"".join(entry(name.encode(), b"{}") for name in files) + bytes(1024))
    report = shardpack.index(tmp_path, on_duplicate="keep", ignore=["b.*"])
    ds = shardpack.open(report.out)
    assert (report.num_samples, report.num_shards, report.num_bytes) == (len(ds), 1, ds.manifest.num_bytes)
    assert report.samples_per_field == dict(ds.manifest.samples_per_field) == {"jpg": 3, "json": 1}
    assert report.repeated == (RepeatedKey("a", "x.tar", 5 * 1024, "x.tar", 0),)
    assert (report.without_key, report.ignored, report.without_checksums) == (1, {"b.*": 1}, 0)
    assert report.bytes_fetched == (tmp_path / "x.tar").stat().st_size
    assert pickle.loads(pickle.dumps(report)) == report
    assert asdict(report)["repeated"][0]["first_shard"] == "x.tar"


def test_the_report_cannot_be_changed():
    report = IndexReport("out", 1, 1, 1)
    with pytest.raises(FrozenInstanceError):
        report.num_samples = 2
    report.ignored["x"] = 1
    assert IndexReport("out", 1, 1, 1).ignored == {}, "each has counts of its own"


def test_indexing_a_packed_dataset_again_keeps_its_splits(tmp_path):
    with shardpack.ShardWriter(tmp_path, max_shard_samples=2) as writer:
        for number in range(8):
            writer.write(f"{number}", {"txt": "1"}, split=["train", "val"][number // 3 % 2])
    before = shardpack.open(tmp_path).splits
    (path,) = (tmp_path / ".shardpack").glob("splits-*")
    for damage in (path.read_bytes(), b"damaged"):
        path.write_bytes(damage)
        shardpack.index(tmp_path, force=True)
        damaged = {"incomplete"} if damage == b"damaged" else set()  # the generation before stays as it is
        assert {problem.kind for problem in shardpack.verify(tmp_path).problems} == damaged
        ds = shardpack.open(tmp_path)
        assert ds.splits == before == {"train": 5, "val": 3}
        assert [sample.key for sample in ds.split("val")] == ["3", "4", "5"]
