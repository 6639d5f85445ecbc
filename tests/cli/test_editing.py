"""`append`, `merge`, `delete`, `relabel`, `attach`, `detach`, `split`, `log`: what edits print and refuse."""

from __future__ import annotations

import json
import shutil

import pytest

import shardpack
from shardpack.read.open_dataset import load_manifest
from shardpack.storage.open import open_store
from tests.cli.conftest import program
from tests.conftest import image_folder
from tests.fakes import write_files


@pytest.fixture
def ds(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        for key in ("cat/1", "cat/2", "dog/1"):
            writer.write(key, {"bin": key.encode()})
    return tmp_path / "ds"


def generation(ds):
    return load_manifest(open_store(ds))[1].generation


def test_delete(run, ds):
    done = run("delete", ds, "--key", "cat/1", "--key", "dog/1", "--dry-run")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"would have deleted 2 samples: generation 2 of {ds} would have 1 sample\n"
    assert generation(ds) == 1
    done = run("delete", ds, "--key", "cat/1", "--json")
    assert done.code == 0
    assert {name: done.json[name] for name in ("command", "generation", "parent", "deleted", "num_samples")} == {
        "command": "delete", "generation": 2, "parent": 1, "deleted": 1, "num_samples": 2,
    }  # fmt: skip
    done = run("delete", ds, "--key", "dog/1")
    assert done.err.startswith("deleted 1 sample in ")
    assert done.err.endswith(f" s: generation 3 of {ds} has 1 sample\n")


def test_delete_takes_keys_from_a_file(run, ds, tmp_path):
    (tmp_path / "keys.txt").write_text("\ufeffcat/2\n\ndog/1\r\n", encoding="utf-8")  # as Windows saves texts
    assert run("delete", ds, "--keys-from", tmp_path / "keys.txt", "--key", "cat/1", "--quiet").err == ""
    assert load_manifest(open_store(ds))[1].num_visible == 0


def test_delete_takes_keys_from_standard_input(ds):
    done = program("delete", ds, "--keys-from", "-", input="cat/2\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert generation(ds) == 2


def test_delete_refuses(run, ds, tmp_path):
    assert (
        run("delete", ds).err
        == "shardpack: name the samples to delete: by their keys, or by where (--where), not by both\n"
    )
    assert run("delete", ds).code == 2
    done = run("delete", ds, "--key", "cow/1")
    assert done.code == 1
    assert done.err.startswith("shardpack: no such key: 'cow/1', in ")
    assert done.err.count("\n") == 1
    assert run("delete", tmp_path / "none", "--key", "a").code == 1
    done = run("delete", ds, "--keys-from", tmp_path / "none")
    assert done.code == run("split", ds, "--list", f"a={tmp_path / 'none'}").code == 1
    assert f"cannot read '{tmp_path / 'none'}': No such file or directory; name a file" in done.err
    assert generation(ds) == 1


def test_delete_says_that_a_file_names_no_key(run, ds, tmp_path):
    (tmp_path / "keys.txt").write_text("\n\n")
    done = run("delete", ds, "--keys-from", tmp_path / "keys.txt")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "keys.txt' names no key; write one in each line" in done.err


def test_a_place_without_a_name_is_not_the_folder_that_one_is_in(run, ds, monkeypatch):
    """As when a variable of the shell is not set."""
    monkeypatch.chdir(ds)
    done = run("delete", "", "--key", "cat/1")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert 'the place to write to is ""' in done.err
    assert generation(ds) == 1


def test_labels_are_read_from_this_machine(run, ds):
    done = run("relabel", ds, "s3://bucket/labels.csv")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "labels are read from this machine only" in done.err


@pytest.mark.parametrize(("content", "text"), [(b"\xff\xfe", "is not UTF-8"), (b"\n", "names no class")])
def test_append_refuses_a_file_without_classes(run, labelled, tmp_path, content, text):
    (tmp_path / "names.txt").write_bytes(content)
    done = run("append", tmp_path, labelled, "--classes-from", tmp_path / "names.txt")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert text in done.err


def test_split(run, ds, tmp_path):
    done = run("split", ds, "--fraction", "train=2/3, val=1/3", "--seed", "3", "--dry-run")
    assert done.err == f"would have split the samples (train 2, val 1): generation 2 of {ds} would have 3 samples\n"
    assert generation(ds) == 1
    done = run("split", ds, "--fraction", "train=2/3,val=1/3", "--json")
    assert (done.code, done.json["command"], done.json["splits"]) == (0, "split", {"train": 2, "val": 1})
    assert run("split", ds, "--fraction", "train=1").err.startswith(
        f"shardpack: the dataset in '{ds}' already has splits"
    )
    (tmp_path / "keys.txt").write_text("cat/2\n")
    assert run("split", ds, "--list", f"val={tmp_path / 'keys.txt'}", "--force", "--quiet").err == ""
    assert shardpack.open(ds).splits == {"val": 1}
    assert run("log", ds).out.splitlines()[0].split()[:2] == ["3", "split"]


@pytest.mark.parametrize("options", [(), ("--fraction", "train"), ("--fraction", "a=1/2,a=1/2"), ("--list", "val=")])
def test_split_refuses(run, ds, options):
    done = run("split", ds, *options)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert generation(ds) == 1


def test_relabel(run, ds, tmp_path):
    (tmp_path / "a.csv").write_text("key,class,n\ncat/1,cat,7\ndog/1,dog,\n")
    done = run("relabel", ds, tmp_path / "a.csv", "--dry-run")
    assert done.err == f"would have relabelled 2 samples: generation 2 of {ds} would have 3 samples\n"
    done = run("relabel", ds, tmp_path / "a.csv", "--json")
    assert (done.json["command"], done.json["changed"], done.json["new_classes"]) == ("relabel", 2, [])
    assert run("cat", ds, "cat/1", "json").out == '{"class":"cat","n":7}'
    (tmp_path / "b.jsonl").write_text('{"id": "cat/1", "n": 8}\n')
    assert run("relabel", ds, tmp_path / "b.jsonl", "--update", "--key-column", "id", "-q").err == ""
    assert run("cat", ds, "cat/1", "json").out == '{"class":"cat","n":8}'


def test_relabel_with_new_classes(run, tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds", classes=["cat"]) as writer:
        writer.write("a", {"json": {"label": 0}})
    (tmp_path / "a.json").write_text('{"a": {"class": "dog"}}')
    done = run("relabel", tmp_path / "ds", tmp_path / "a.json")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "class 'dog' is not among the 1 of the dataset (--new-classes would add it)" in done.err
    assert (
        "relabelled 1 sample (new classes: 'dog') in"
        in run("relabel", tmp_path / "ds", tmp_path / "a.json", "--new-classes").err
    )


def test_attach_and_detach(run, ds, tmp_path):
    with shardpack.ShardWriter(tmp_path / "more") as writer:
        writer.write("cat/2", {"txt": "x", "cls": 1})
    done = run("attach", ds, tmp_path / "more")
    assert done.err.startswith("attached cls, txt of 1 sample in ")
    done = run("attach", ds, tmp_path / "more", "--dry-run", "--json")
    assert (done.json["layer"], done.json["fields"]) == ("../more", ["cls", "txt"])
    done = run("detach", ds, "--layer", "0")
    assert done.err.startswith("detached ../more (cls, txt) in ")
    done = run("detach", ds)
    assert (done.code, done.err.count("\n")) == (2, 1)


def test_log(run, ds):
    shardpack.delete(ds, ["cat/1"])
    done = run("log", ds)
    second, first = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert second.split() == ["2", "delete", "2", "samples", second.split()[4], "1", "sample", "deleted"]
    assert first.split()[:4] == ["1", "pack", "3", "samples"]
    assert first.endswith("  3 samples in 1 shard")
    values = [json.loads(line) for line in run("log", ds, "--json").out.splitlines()]
    assert [value["generation"] for value in values] == [2, 1]
    assert values[0]["changes"] == ["1 sample deleted"]
    shardpack.delete(ds, ["cat/2"])
    (ds / ".shardpack/manifests/000002.json").write_bytes(b"x")
    _, damaged, first = run("log", ds).out.splitlines()
    assert damaged.split()[:3] == ["2", "damaged", "?"]
    assert damaged.endswith("not known: .shardpack/manifests/000002.json is damaged; restore it")
    assert first.split()[:2] == ["1", "pack"]


def test_gc(run, ds):
    shardpack.delete(ds, ["cat/1"])
    done = run("gc", ds)
    assert (done.code, done.out, done.err) == (0, "", "deleted 0 generations, 0 files, 0 B; 2 generations kept\n")
    done = run("gc", ds, "--older-than", "0", "--dry-run")
    assert (done.code, done.out) == (0, ".shardpack/manifests/000001.json\n")
    assert done.err.startswith("would delete 1 generation, 1 file, ")
    assert run("gc", ds, "--older-than", "0", "--json").json["generations"] == [1]
    assert run("gc", ds, "--older-than", "0", "--quiet").err == ""
    assert run("gc", ds, "--older-than", "soon").err.startswith("shardpack: not a duration: 'soon'")
    assert len(run("log", ds).out.splitlines()) == 1
    for label in (0, 1):
        shardpack.relabel(ds, {"cat/2": {"label": label}})
    done = run("gc", ds, "--older-than", "0", "--dry-run")
    (layer,) = {line.rpartition("/.shardpack/")[0] for line in done.out.splitlines() if "/manifest.json" in line}
    assert done.err.endswith(f"; 1 generation kept; layers among them: {layer}\n")


def test_a_place_where_two_editors_cannot_be_told_apart(run, ds):
    pytest.importorskip("fsspec")
    url = f"local://{ds}"
    done = run("delete", url, "--key", "cat/1")
    assert done.code == 2
    assert "pass single_writer=True (--single-writer) if nobody else edits it meanwhile" in done.err
    assert run("delete", url, "--key", "cat/1", "--single-writer").code == 0
    assert run("gc", url, "--older-than", "0", "--json").json["generations"] == [1]
    with shardpack.open(ds) as opened:
        assert list(opened.keys()) == ["cat/2", "dog/1"]


def test_log_of_nothing(run, tmp_path, ds):
    shutil.rmtree(ds / ".shardpack")
    for place in (tmp_path / "none", ds):
        assert run("log", place).code == 1


@pytest.fixture
def labelled(tmp_path):
    shardpack.pack(image_folder(tmp_path / "old", ("cat", "dog"), 1), tmp_path / "labelled", jobs=1)
    return tmp_path / "labelled"


def test_append(run, labelled, tmp_path):
    source = image_folder(tmp_path / "new", ("ant",), 2)
    done = run("append", source, labelled, "--dry-run", "--jobs", "1")
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines()[1:] == [
        f"appends to {labelled}: 2 samples; new classes: ant",
        f"would have appended 2 samples: generation 2 of {labelled} would have 4 samples",
    ]
    assert generation(labelled) == 1
    done = run("append", source, labelled, "--jobs", "1", "--json")
    assert (done.code, done.err) == (0, "")
    expected = {"command": "append", "generation": 2, "added": 2, "replaced": 0, "new_classes": ["ant"]}
    assert {name: done.json[name] for name in expected} == expected
    assert done.json["packed"]["num_shards"] == 1
    done = run("append", source, labelled, "--jobs", "1")
    assert done.code == 1
    assert "--on-duplicate replace" in done.err.splitlines()[-1]
    assert generation(labelled) == 2


def test_append_asks_what_numbers_mean(run, labelled, tmp_path):
    source = write_files(tmp_path / "new", {"x": {"jpg": b"1", "json": b'{"label": 1}'}})
    arguments = ("append", source, labelled, "--layout", "files", "--jobs", "1")
    done = run(*arguments)
    assert done.code == 2
    assert "(--classes)" in done.err
    assert run(*arguments, "--classes", "ant, dog", "--dry-run").code == 0
    (tmp_path / "names.txt").write_text("\ufeffdog\nbird\n", encoding="utf-8")
    assert run(*arguments, "--classes-from", tmp_path / "names.txt", "--classes", "same").code == 2
    assert run(*arguments, "--classes-from", tmp_path / "names.txt").code == 0
    assert shardpack.open(labelled)["x"].decode("json") == {"label": 2}
    assert shardpack.open(labelled).classes == ("cat", "dog", "bird")


def test_append_names_what_it_left_out(run, ds, tmp_path):
    source = write_files(tmp_path / "new", {"x": {"jpg": b"1"}, "a b": {"jpg": b"2"}})
    done = run("append", source, ds, "--layout", "files", "--jobs", "1", "--on-error", "skip")
    assert done.code == 0
    assert "left out 1 sample, the first: 'a b.jpg'" in done.err.splitlines()[-1]


def test_append_says_that_only_the_new_samples_have_a_field(run, ds, tmp_path):
    source = write_files(tmp_path / "new", {"x": {"jpg": b"1", "bin": b"2"}})
    done = run("append", source, ds, "--layout", "files", "--jobs", "1", "--json")
    assert done.json["new_fields"] == ["jpg"]
    source = write_files(tmp_path / "more", {"y": {"png": b"1", "jpg": b"2"}})
    done = run("append", source, ds, "--layout", "files", "--jobs", "1")
    assert "\n  only these samples have png; if all are to be alike, give the options with" in done.err


def test_merge(run, ds, tmp_path):
    with shardpack.ShardWriter(tmp_path / "other") as writer:
        writer.write("x", {"bin": b"x"})
    arguments = ("merge", ds, tmp_path / "other", "--out", tmp_path / "both")
    done = run(*arguments, "--dry-run")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith(f"would merge 2 datasets into {tmp_path / 'both'}: 4 samples in 2 shards, ")
    assert not (tmp_path / "both").exists()
    done = run(*arguments)
    assert (done.code, list(shardpack.open(tmp_path / "both").keys())) == (0, ["cat/1", "cat/2", "dog/1", "x"])
    assert run(*arguments).code == 1
    done = run(*arguments, "--copy", "--force", "--json")
    assert (done.code, done.json["num_samples"]) == (0, 4)
    assert shardpack.open(tmp_path / "both").manifest.locations == (".",)
    assert run("merge", ds, "--out", tmp_path / "one").code == 2


def test_merge_reconciles_classes(run, tmp_path):
    for key, classes in (("a", ("cat", "dog")), ("b", ("dog",))):
        with shardpack.ShardWriter(tmp_path / key, classes=classes) as writer:
            writer.write(key, {"cls": len(classes) - 1})
    arguments = ("merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "both")
    done = run(*arguments)
    assert done.code == 2
    assert "--reconcile" in done.err
    assert run(*arguments, "--reconcile").code == 0
    assert [sample.decode("cls") for sample in shardpack.open(tmp_path / "both")] == [1, 1]


def test_repair(run, ds):
    shutil.rmtree(ds / ".shardpack")
    done = run("repair", ds, "--dry-run")
    assert (done.code, done.out) == (0, ".shardpack/manifest.json\n")
    assert done.err.endswith(f"would make 1 file of {ds}, from 1 tar\n")
    assert not (ds / ".shardpack").exists()
    done = run("repair", ds)
    assert (done.code, done.out) == (0, "")
    assert done.err.count("lost: ") == 4
    assert done.err.endswith(f" s: generation 1 of {ds} has 3 samples\n")
    done = run("repair", ds)
    advice = 'payloads are compared by "shardpack verify --full"'
    said = f"nothing to repair in {ds}: sidecars and the lengths of tars are right; {advice}\n"
    assert (done.code, done.err) == (0, said)


def test_repair_goes_back_a_generation_with_force_only(run, ds):
    with shardpack.open(ds) as opened:
        key = opened[0].key
    run("delete", ds, "--key", key)
    for name in ("manifest.json", "manifests/000002.json"):
        (ds / ".shardpack" / name).unlink()
    done = run("repair", ds)
    assert done.code == 1
    assert done.err.startswith("lost: generation 2: its manifest is lost; restore ")
    assert done.err.endswith(f"nothing repaired in {ds}\n")
    assert run("repair", ds, "--dry-run").err.endswith(f"no file would be made again in {ds}\n")
    done = run("repair", ds, "--force")
    assert done.code == 1
    assert done.err.startswith("lost: generation 2: its manifest is lost; what is left is generation 1\n")
    assert len(shardpack.open(ds)) == 3


def test_repair_of_what_is_lost_fails(run, ds):
    (index,) = (ds / ".shardpack/index").iterdir()
    (ds / "shard-000000.tar").unlink()
    index.unlink()
    done = run("repair", ds, "--json")
    assert done.code == 1
    assert done.json["lost"][0].startswith(".shardpack/index/shard-000000.index: ")
    (ds / ".shardpack/manifest.json").unlink()
    (ds / ".shardpack/manifests/000001.json").unlink()
    done = run("repair", ds)
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "it has no .shardpack/manifest.json" in done.err
