"""What all commands share: help, exit codes, one line per error, and silence when piped."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import shardpack
from shardpack.cli import main as main_module
from shardpack.cli.main import COMMANDS
from tests.cli.conftest import program
from tests.conftest import ROOT

every_command = pytest.mark.parametrize("name", COMMANDS)
ONE_LINE = re.compile(r"shardpack: [^\n]+\n")


def test_no_arguments_show_the_help(run):
    done = run()
    assert done.code == 0
    assert done == run("--help") == run("-h")
    assert "Usage: shardpack [OPTIONS] COMMAND" in done.out
    for name, text in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", done.out, re.MULTILINE)
    assert done.err == ""


def test_commands_are_the_files_of_the_folder():
    files = {path.stem for path in Path(main_module.__file__).parent.glob("*.py")}
    shared = {"__init__", "command", "info_by", "main", "order_lines", "pack_options", "plot_file", "ui"}
    assert files - shared == set(COMMANDS)


@every_command
def test_help_has_an_example_that_names_the_command(run, name):
    done = run(name, "--help")
    assert done.code == 0
    assert done.err == ""
    example = re.sub(r"\s+", " ", done.out.partition("Example:")[2])
    assert example.startswith(f" shardpack {name} ")
    assert max(map(len, done.out.splitlines())) <= 100
    for option in re.findall(r"^  (?:-\w, )?(--[\w-]+)", done.out, re.MULTILINE):
        described = re.search(rf"{option}\b.*?(?:  |\n +)\S", done.out, re.DOTALL)
        assert described, f"{option} has no help"


@every_command
def test_reading_commands_have_json_and_say_what_it_holds(run, name):
    text = run(name, "--help").out
    assert "--json" in text
    assert "With --json" in text


def test_version(run):
    assert run("--version") == (0, f"shardpack {shardpack.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["foo"], "no such command 'foo'"),
        (["pakc", "a", "b"], "no such command 'pakc'; did you mean 'pack'?"),
        (["--foo"], "no such option"),
        (["ls", "--foo", "x"], "no such option"),
        (["ls"], "missing argument 'DS'"),
        (["cat", "ds"], "missing argument 'KEY'"),
        (["pack"], "missing argument 'SRC'"),
        (["pack", "src"], "missing argument 'OUT'"),
        (["index"], "missing argument 'TAR...'"),
        (["ls", "a", "b"], "got unexpected extra argument (b)"),
        (["ls", "a", "-n", "-1"], "invalid value for '--limit'"),
        (["ls", "a", "-n", "x"], "invalid value for '--limit'"),
        (["verify", "a", "--jobs", "0"], "invalid value for '--jobs'"),
        (["bench", "a", "--seconds", "0"], "invalid value for '--seconds'"),
        (
            ["pack", "a", "b", "--max-shard-bytes", "nonsense"],
            "not a size: 'nonsense'; write it like 4096, 1GB or 256MiB",
        ),
        (["pack", "a", "b", "--layout", "x"], "invalid value for '--layout'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(run, arguments, text):
    done = run(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert ONE_LINE.fullmatch(done.err)
    assert text in done.err
    assert re.search(r'; try "shardpack( \w+)? --help"\n$', done.err)


@pytest.mark.parametrize(
    "name", [name for name in COMMANDS if name not in ("append", "merge", "pack", "index", "advise")]
)
def test_a_missing_dataset_is_one_line_and_exit_1(run, name, tmp_path):
    out = tmp_path / "out"
    needed = {"cat": ["key"], "extract": [out], "copy": [out], "export": [out, "--to", "folder"]}
    labels, other = tmp_path / "labels" / "l.csv", tmp_path / "labels" / "other"
    labels.parent.mkdir()
    labels.write_text("key,n\na,1\n")
    shardpack.pack([("a", {"txt": b"a"})], other)
    edits = {"delete": ["--key", "a"], "split": ["--fraction", "a=1"], "relabel": [labels], "attach": [other]}
    arguments = {**needed, **edits}.get(name, [])
    for path, text in [
        (tmp_path / "nowhere", "no such folder: .*nowhere'; check the path"),
        (tmp_path, 'it has no .shardpack/manifest.json; make one with "shardpack pack"'),
    ]:
        done = run(name, path, *arguments)
        assert done.code == 1
        assert done.out == ""
        assert ONE_LINE.fullmatch(done.err)
        assert re.search(text, done.err)
    (tmp_path / "a.tar").write_bytes(b"")
    assert '"shardpack index' in run(name, tmp_path, *arguments).err
    assert not (tmp_path / "out").exists()


def test_debug_shows_the_traceback_wherever_it_stands(run, tmp_path):
    for arguments in (["--debug", "info", tmp_path], ["info", "--debug", tmp_path], ["info", tmp_path, "--debug"]):
        done = run(*arguments)
        assert done.code == 1
        assert done.err.startswith("Traceback (most recent call last):")
        assert "DatasetNotFoundError: no dataset in" in done.err
    assert run("cat", tmp_path, "--", "--debug").err.startswith("shardpack: no dataset in"), "behind -- it is a key"


def test_a_bug_is_not_dressed_up_as_an_expected_error(monkeypatch, packed):
    def fail(*_args, **_options):
        raise ZeroDivisionError

    monkeypatch.setattr(shardpack, "open", fail)
    with pytest.raises(ZeroDivisionError):
        main_module.main(["info", str(packed)])


@pytest.mark.parametrize(
    ("command", "text"), [("info", "interrupted\n"), ("pack", "interrupted; what was finished is kept: ")]
)
def test_an_interrupt_is_one_line(monkeypatch, run, packed, command, text):
    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(shardpack, "open", interrupt)
    monkeypatch.setattr(shardpack, "pack", interrupt)
    done = run(command, packed, *(["out", "--quiet"] if command == "pack" else []))
    assert (done.code, done.out) == (130, "")
    assert done.err.lstrip("\n").startswith(f"shardpack: {text}")


def test_a_disk_error_is_one_line(monkeypatch, run, packed):
    def fail(*_args, **_options):
        raise OSError(5, "Input/output error", str(packed))

    monkeypatch.setattr(shardpack, "open", fail)
    done = run("info", packed)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"shardpack: [Errno 5] Input/output error: '{packed}'\n"


def test_only_the_command_that_is_run_is_imported(packed):
    probe = "import sys; from shardpack.cli.main import main; main(['ls', sys.argv[1]]); "
    probe += "print([m for m in sys.modules if m.startswith('shardpack.cli.')], file=sys.stderr); "
    probe += "assert not {'rich', 'PIL'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe, str(packed)], check=True, capture_output=True, text=True)
    assert "'shardpack.cli.ls'" in done.stderr
    assert "'shardpack.cli.pack'" not in done.stderr


def test_it_runs_as_a_module_with_warnings_as_errors(packed):
    done = program("info", packed)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("location ")


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize("module", ["click", "shardpack.cli.ui"])
@pytest.mark.parametrize("ignored", [False, True])
def test_an_interrupt_amid_the_imports_is_one_line(module, ignored):
    """Whatever is imported when Ctrl-C comes: no traceback. Where a parent had it ignored, it is."""
    probe = f"""
import os, signal, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

if {ignored}:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.meta_path.insert(0, Interrupting())
from shardpack.__main__ import run
sys.argv = ["shardpack", "--version"]
run()
"""
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=False, capture_output=True, text=True)
    if ignored:
        assert (done.returncode, done.stdout) == (0, f"shardpack {shardpack.__version__}\n")
    else:
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "shardpack: interrupted\n")
