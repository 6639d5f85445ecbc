"""`pack(transform=...)` from end to end: sources, hostile functions, kills, scripts, and what the report says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import shardpack
from shardpack.errors import MissingDependencyError, OptionError, OutputExistsError, SourceError
from tests.conftest import ROOT
from tests.fakes import contents, write_files
from tests.runtime.test_processes import alive
from tests.write.test_interrupted import children_of

LABELS = {
    f"{'ab'[i % 2]}/{i:03d}": {"jpg": b"\xff\xd8\xff" + bytes([i]) * 400, "json": b'{"n": %d}' % i} for i in range(60)
}
SMALL = {"max_shard_bytes": 20_000, "layout": "files"}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("source"), LABELS)


def number_of(fields):
    return int(fields["__key__"][2:])


def mark(fields):
    """Drop every fifth sample, make two of every seventh."""
    number = number_of(fields)
    if number % 5 == 0:
        return None
    made = {"jpg": fields["jpg"] * 2, "json": {"n": number, "seed": fields["__seed__"]}}
    return [made, made] if number % 7 == 0 else made


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """Return the folder's content, and the report, of a run with one job."""
    out = tmp_path_factory.mktemp("whole") / "out"
    report = shardpack.pack(source, out, transform=mark, jobs=1, **SMALL)
    return contents(out), report


def test_samples_pass_through(whole, source, tmp_path):
    _, report = whole
    assert (report.source_samples, report.kept, report.dropped) == (60, 48, 12)
    assert report.num_samples == 48 + sum(i % 7 == 0 and i % 5 > 0 for i in range(60))
    assert report.counts == {"encoded.json": report.num_samples}
    assert report.source_bytes == sum(len(data) for fields in LABELS.values() for data in fields.values())
    assert report.payload_bytes > 1.5 * report.source_bytes
    assert report.samples_per_second == pytest.approx(60 / report.seconds)
    shardpack.pack(source, tmp_path, transform=mark, jobs=2, **SMALL)
    ds = shardpack.open(tmp_path)
    assert ds["a/002"]["jpg"] == LABELS["a/002"]["jpg"] * 2
    assert "a/010" not in ds
    assert ds["b/007-0"].decode("json") == ds["b/007-1"].decode("json")
    assert {info.name.partition("-")[2][6:] for info in ds.shards} >= {"-00.tar"}
    assert shardpack.verify(tmp_path, full=True).ok


@pytest.mark.parametrize("jobs", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_jobs_change_no_byte(whole, source, tmp_path, jobs):
    report = shardpack.pack(source, tmp_path / "out", transform=mark, jobs=jobs, **SMALL)
    assert contents(tmp_path / "out") == whole[0]
    assert (report.kept, report.dropped, report.counts) == (whole[1].kept, whole[1].dropped, whole[1].counts)


def test_the_manifest_says_what_was_done(whole):
    options = json.loads(whole[0][".shardpack/manifest.json"])["packed_with"]["options"]
    assert options["transform"]["step"] == "transform"
    assert len(options["transform"]["source"]) == 32
    assert options["transform"]["seed"] == 0


def test_a_dataset_and_a_view_pass_through(whole, source, tmp_path):
    shardpack.pack(source, tmp_path / "plain", layout="files", classes=["x", "y"])
    ds = shardpack.open(tmp_path / "plain")
    report = shardpack.pack(ds.select(["a/002", "b/007"]), tmp_path / "view", transform=mark, jobs=2)
    assert (report.num_samples, report.layout) == (3, "dataset")
    view = shardpack.open(tmp_path / "view")
    assert [sample.key for sample in view] == ["a/002", "b/007-0", "b/007-1"]
    assert view.classes == ("x", "y")
    shardpack.pack(tmp_path / "plain", tmp_path / "again", transform=mark, max_shard_bytes=20_000)
    tars = {name: data for name, data in whole[0].items() if name.endswith(".tar")}
    assert {name: data for name, data in contents(tmp_path / "again").items() if name.endswith(".tar")} == tars


def test_fields_compression_and_decoding_together(source, tmp_path):
    pytest.importorskip("zstandard", reason="zstandard is not installed")

    def label(fields):
        fields["json"]["twice"] = 2 * fields["json"]["n"]
        return fields

    report = shardpack.pack(
        source,
        tmp_path / "out",
        transform=label,
        decode=["json"],
        fields=["json"],
        rename_field={"json": "label.json"},
        compress={"label.json": "zstd", "shards": "zstd"},
        layout="files",
    )
    ds = shardpack.open(tmp_path / "out")
    assert ds.fields == ("label.json.zst",)
    assert ds["a/004"].decode("label.json.zst") == {"n": 4, "twice": 8}
    assert [info.name for info in ds.shards] == ["shard-000000-00.tar.zst"]
    assert report.ratio < 1


def test_shards_of_chunks_are_replaced_copied_and_indexed(whole, source, tmp_path):
    """Whatever reads or replaces a dataset takes such names."""
    out = tmp_path / "out"
    shardpack.pack(source, out, transform=mark, **SMALL)
    with pytest.raises(OutputExistsError, match="already holds a dataset"):
        shardpack.pack(source, out, layout="files")
    shardpack.pack(source, out, layout="files", force=True)
    assert [path.name for path in out.glob("*.tar")] == ["shard-000000.tar"]
    shardpack.pack(source, out, transform=mark, force=True, **SMALL)
    assert contents(out) == whole[0]
    shardpack.copy(out, tmp_path / "copy")
    assert {name: data for name, data in contents(tmp_path / "copy").items() if name.endswith(".tar")} == {
        name: data for name, data in whole[0].items() if name.endswith(".tar")
    }
    for path in sorted((out / ".shardpack").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(
        shardpack.errors.DatasetNotFoundError, match=r"but .*manifest.json and their indexes are missing"
    ):
        shardpack.open(out)
    shardpack.index(out)
    assert len(shardpack.open(out)) == whole[1].num_samples


# Functions that behave badly


DEEDS = {
    "hang": lambda: time.sleep(3600),
    "leave": lambda: os._exit(7),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: sys.exit("enough"),
    "raise": lambda: int("no such thing"),
}
RESULTS = {"value": {"jpg": object}, "key": {"jpg": b"", "__key__": "a.b"}, "nothing": {}}


def bad(kind):
    def transform(fields):
        if number_of(fields) != 33:
            return fields
        if kind in DEEDS:
            DEEDS[kind]()
        return RESULTS[kind]

    return transform


BAD = {
    "raise": "transform raised ValueError: invalid literal",
    "hang": "transform took longer than 3 s",
    "leave": "transform ended its process, which ended with exit code 7",
    "kill": "transform ended its process, which was killed by signal 9",
    "exit": "transform raised SystemExit: enough",
    "value": "field 'jpg' got a type",
    "key": "transform returned the unsafe key 'a.b' as '__key__': its last component has a dot, where readers split "
    "the name; return printable ASCII",
    "nothing": "a sample without any field",
}


def test_a_sample_that_hangs_is_skipped_with_one_job(tmp_path):
    """In few samples, since one hangs twice: it is drawn for the plan."""
    items = [(key, LABELS[key]) for key in ("a/032", "b/033", "a/034")]
    report = shardpack.pack(items, tmp_path / "out", transform=bad("hang"), jobs=1, sample_timeout=3, on_error="skip")
    assert (report.num_samples, report.rejected) == (2, (("b/033", BAD["hang"]),))


@pytest.mark.parametrize(
    ("kind", "jobs"),
    [
        *((kind, 1) for kind in BAD if kind != "hang"),  # as above
        *(pytest.param(kind, 2, marks=pytest.mark.slow) for kind in BAD),
    ],
)
def test_a_bad_sample_is_named_and_follows_on_error(source, tmp_path, kind, jobs):
    options = {**SMALL, "jobs": jobs, "sample_timeout": 3.0 if kind == "hang" else None}
    if kind in {"raise", "leave"}:
        with pytest.raises(SourceError, match=r"on-error skip.*key='b/033'") as caught:
            shardpack.pack(source, tmp_path / "out", transform=bad(kind), **options)
        assert BAD[kind] in str(caught.value)
        assert not (tmp_path / "out/.shardpack/manifest.json").exists()
    report = shardpack.pack(source, tmp_path / "out", transform=bad(kind), on_error="skip", **options)
    assert (report.num_samples, report.kept, len(report.rejected)) == (59, 59, 1)
    assert report.rejected[0][0] == "b/033.jpg"
    assert BAD[kind] in report.rejected[0][1]
    assert "b/033" in (tmp_path / "out/.shardpack/rejected.jsonl").read_text()


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_within_a_transform_is_one_of_the_run(source, tmp_path, jobs):
    def transform(fields):
        if number_of(fields) == 33:
            raise KeyboardInterrupt
        return fields

    with pytest.raises(KeyboardInterrupt):
        shardpack.pack(source, tmp_path / "out", transform=transform, jobs=jobs, on_error="skip", **SMALL)
    assert not (tmp_path / "out/.shardpack/manifest.json").exists()


def test_the_file_of_a_sample_is_named(source, tmp_path):
    with pytest.raises(SourceError, match=r"path='b/033\.jpg', key='b/033'"):
        shardpack.pack(source, tmp_path / "out", transform=bad("raise"), **SMALL)


def test_its_traceback_is_kept(source, tmp_path):
    with pytest.raises(SourceError) as caught:
        shardpack.pack(source, tmp_path / "out", transform=bad("raise"), jobs=1, **SMALL)
    assert "in transform" in str(caught.value.__cause__)


def test_two_samples_with_one_key_are_an_error(source, tmp_path):
    with pytest.raises(shardpack.errors.DuplicateKeyError, match="key='same'"):
        shardpack.pack(source, tmp_path / "out", transform=lambda fields: {**fields, "__key__": "same"}, **SMALL)


def test_a_transform_that_prints_harms_nothing(whole, source, tmp_path, capfd):
    def loud(fields):
        print("loud", os.getpid())  # noqa: T201 - the point
        os.write(1, b"raw")
        return mark(fields)

    report = shardpack.pack(source, tmp_path / "out", transform=loud, jobs=2, **SMALL)
    assert report.num_samples == whole[1].num_samples
    assert capfd.readouterr().out == ""


def test_a_function_without_source_asks_for_a_version(source, tmp_path):
    function = eval("lambda fields: fields")
    with pytest.raises(OptionError, match="transform_version"):
        shardpack.pack(source, tmp_path / "out", transform=function, **SMALL)
    assert not (tmp_path / "out").exists()
    shardpack.pack(source, tmp_path / "out", transform=function, transform_version="1", **SMALL)
    options = shardpack.open(tmp_path / "out").manifest.packed_with["options"]
    assert options["transform"]["version"] == "1"


def test_options_that_mean_nothing_are_refused(source, tmp_path):
    for options in ({"transform_version": "1"}, {"decode": True}, {"sample_timeout": 3}, {"fields": "jpg"}):
        with pytest.raises(OptionError):
            shardpack.pack(source, tmp_path / "out", **options)


def test_a_dry_run_measures_and_writes_nothing(whole, source, tmp_path):
    report = shardpack.pack(source, tmp_path / "out", transform=mark, dry_run=True, **SMALL)
    assert not (tmp_path / "out").exists()
    assert report.dry_run
    assert report.num_samples == whole[1].num_samples
    assert report.num_bytes == pytest.approx(whole[1].num_bytes, rel=0.1)


# Runs that are continued


def stops_at(number, folder):
    """Return a transform that fails at a sample until a file says otherwise; its own version, so that it may change."""

    def transform(fields):
        if number_of(fields) == number and not os.path.exists(folder / "go"):
            raise ValueError("not yet")
        return mark(fields)

    return transform


def test_a_run_that_failed_is_continued_and_reports_the_same(source, tmp_path):
    options = {**SMALL, "transform_version": "1", "jobs": 1}
    with pytest.raises(SourceError, match="not yet"):
        shardpack.pack(source, tmp_path / "out", transform=stops_at(49, tmp_path), **options)
    (tmp_path / "go").touch()
    before = sorted((tmp_path / "out").glob("*.tar"))
    report = shardpack.pack(source, tmp_path / "out", transform=stops_at(49, tmp_path), **options)
    assert report.resumed_shards == len(before)
    once = shardpack.pack(source, tmp_path / "once", transform=stops_at(49, tmp_path), **options)
    assert contents(tmp_path / "out") == contents(tmp_path / "once")
    for name in ("num_samples", "kept", "dropped", "counts", "payload_bytes", "tar_bytes", "num_bytes", "rejected"):
        assert getattr(report, name) == getattr(once, name)


SCRIPT = """
import glob, sys, time
import shardpack

SUFFIX = b"!"

def helper(data):
    return data + SUFFIX

def transform(fields):
    return {**fields, "jpg": helper(fields["jpg"])}

def hold(event, arguments):
    while event == "os.rename" and str(arguments[1]).endswith(".tar") and len(glob.glob(sys.argv[2] + "/*.tar")) >= 2:
        time.sleep(0.01)

if "hold" in sys.argv:  # once two shards are finished, no other is
    sys.addaudithook(hold)

report = shardpack.pack(
    sys.argv[1], sys.argv[2], transform=transform, transform_version="1", jobs=2, max_shard_bytes=20_000, layout="files"
)
print(report.num_samples, report.resumed_shards)
"""


def script(tmp_path, *arguments):
    path = tmp_path / "pack.py"
    path.write_text(SCRIPT)
    command = [sys.executable, "-W", "error", str(path), *map(str, arguments)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def scripted(source, tmp_path_factory):
    """Return the folder that the script packs, and what it says."""
    folder = tmp_path_factory.mktemp("scripted")
    with script(folder, source, folder / "out") as process:
        said, _ = process.communicate()
    return folder / "out", said


def test_it_works_from_a_script_without_a_main_guard(scripted):
    out, said = scripted
    assert said.split() == ["60", "0"]
    assert shardpack.open(out)["a/002"]["jpg"] == LABELS["a/002"]["jpg"] + b"!"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_killed_script_is_continued(source, scripted, tmp_path, number):
    out = tmp_path / "out"
    with script(tmp_path, source, out, "hold") as process:
        while len(list(out.glob("*.tar"))) < 2 and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(number)
        assert process.wait() == -number
    with script(tmp_path, source, out) as process:
        said, _ = process.communicate()
    assert (process.returncode, said.split()[0]) == (0, "60")
    assert contents(out) == contents(scripted[0])


STUCK = """
import re, sys
import shardpack

def transform(fields):
    print("stuck", file=sys.stderr, flush=True)
    re.match("(a+)+$", "a" * 64 + "b")  # for ages, and nothing else runs in the process meanwhile

shardpack.pack(sys.argv[1], sys.argv[2], transform=transform, jobs=int(sys.argv[3]), layout="files")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not end a process that runs no Python")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_packer_leaves_no_process_that_is_stuck(source, tmp_path, jobs):
    path = tmp_path / "stuck.py"
    path.write_text(STUCK)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(path), str(source), str(tmp_path / "out"), str(jobs)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as packer:
        assert packer.stderr.readline() == "stuck\n"
        found = descendants_of(packer.pid)
        assert len(found) == jobs if jobs == 1 else len(found) > jobs
        packer.kill()
        packer.wait()
        stop = time.monotonic() + 60
        while any(map(alive, found)) and time.monotonic() < stop:
            time.sleep(0.005)
        assert not any(map(alive, found))


def descendants_of(pid):
    children = children_of(pid)
    return children + [process for child in children for process in descendants_of(child)]


def test_a_missing_cloudpickle_is_said(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(MissingDependencyError, match="cloudpickle"):
        shardpack.pack(source, tmp_path / "out", transform=mark, **SMALL)
