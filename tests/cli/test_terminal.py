"""The command line among other programs: pipes, terminals and encodings."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys

import pytest

import shardpack
from shardpack.cli import main as main_module
from shardpack.cli import ui
from tests.cli.conftest import program
from tests.conftest import ROOT
from tests.fakes import file_contents
from tests.format.builders import entry
from tests.sidecars import key_index

SHARDPACK = f"{sys.executable} -W error -m shardpack"


def shell(command, **options):
    """Run a line of bash, in which `shardpack` is ours; errors anywhere in a pipe count."""
    script = f'set -o pipefail; shardpack() {{ {SHARDPACK} "$@"; }}; {command}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run(
        ["bash", "-c", script], check=False, capture_output=True, text=True, env=environment, errors="surrogateescape"
    )


def on_terminal(*arguments, stdout=False, columns=100, interrupt_at=None, answer=None):
    """Run with stderr (and stdout) on a terminal; return (code, what was shown there).

    Args:
        interrupt_at: Send an interrupt as soon as this is shown.
        answer: Typed as soon as a question is shown.
    """
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": str(columns)}
    command = [sys.executable, "-W", "error", "-m", "shardpack", *map(str, arguments)]
    child = subprocess.Popen(
        command, stdin=theirs, stdout=theirs if stdout else subprocess.DEVNULL, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 300)[0]:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
        if answer is not None and b"?" in shown:
            os.write(ours, f"{answer}\n".encode())
            answer = None
        if interrupt_at is not None and interrupt_at.encode() in shown:
            child.send_signal(signal.SIGINT)
            interrupt_at = None
    os.close(ours)
    return child.wait(timeout=300), shown.decode()


def plain(text):
    """Return text without the terminal's commands."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """20,000 samples without much in them."""
    out = tmp_path_factory.mktemp("many") / "out"
    with shardpack.ShardWriter(out) as writer:
        for i in range(20_000):
            writer.write(f"a-rather-long-key-for-a-sample/{i:06d}", {"cls": b"1"})
    return out


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """Keys in other letters, in bytes that are no UTF-8, and with commands for the terminal."""
    folder = tmp_path_factory.mktemp("strange")
    names = ["é/漢.txt".encode(), b"no\xff\xfeutf8.txt", b"red\x1b[31m.txt", b"line\nfeed.txt"]
    (folder / "x.tar").write_bytes(b"".join(entry(name, b"x") for name in names) + bytes(1024))
    shardpack.index(folder)
    return folder


def test_many_names_are_counted_not_listed():
    assert ui.counted({}) == "none"
    assert ui.counted({"jpg": 1200, "json": 3}) == "jpg 1,200, json 3"
    assert ui.counted({f"{i:02d}": 1 for i in range(2012)}).endswith("10 1, 11 1, and 2,000 more")


@pytest.mark.parametrize("options", ["", "-l", "--json"])
def test_head_closes_the_pipe_without_noise(many, options):
    done = shell(f"shardpack ls {many} {options} | head -n 2")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    "command", ["--help", "ls {0}", "cat {0} hat/01 jpg", "info {0} --shards", "verify {0} --json"]
)
def test_a_pipe_without_a_reader(packed, command):
    done = shell(f"shardpack {command.format(packed)} | true")
    assert (done.returncode, done.stderr.partition("ok: ")[0]) == (0, "")


def test_problems_count_even_if_the_pipe_is_closed(dataset):
    key_index(dataset).unlink()
    for form in ("", "--json"):
        assert shell(f"shardpack verify {dataset} -q {form} | true").returncode == 1


def test_a_list_begins_before_it_ends(many, monkeypatch):
    """`ls` streams: the first lines come while most indexes are still to be read."""
    seen = []
    monkeypatch.setattr(ui, "_write_line", lambda _stream, line: seen.append(line))
    entries = shardpack.Dataset.keys

    def keys(self):
        for i, key in enumerate(entries(self)):
            assert len(seen) >= i - 1
            yield key

    monkeypatch.setattr(shardpack.Dataset, "keys", keys)
    assert main_module.main(["ls", str(many), "-n", "100"]) == 0
    assert len(seen) == 100


def test_data_on_stdout_alone(packed, tmp_path):
    done = shell(f"shardpack ls {packed} 2>/dev/null; shardpack verify {packed} 2>/dev/null")
    assert len(done.stdout.splitlines()) == 12
    done = shell(f"shardpack extract {packed} {tmp_path / 'x'} --json 2>/dev/null")
    assert json.loads(done.stdout)["num_files"] == 24


@pytest.mark.parametrize(
    "command", ["pack {1} {2}", "extract {0} {2}", "verify {0} --full", "bench {0} --seconds 0.01"]
)
def test_piped_it_draws_nothing(packed, images, tmp_path, command):
    done = program(*command.format(packed, images, tmp_path / "out").split())
    assert done.returncode == 0
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr
    assert len(done.stderr.splitlines()) <= 5


def test_a_terminal_shows_a_bar_with_rate_and_time_left(many, tmp_path):
    code, shown = on_terminal("extract", many, tmp_path / "out", "--match", "*/00[0-4]*")
    assert code == 0
    assert re.search(r"extract ━", plain(shown))
    assert re.search(r"[\d,]+ / 5,000  [\d,]+/s", plain(shown)), "done, total and rate"
    assert re.search(r"\d:\d\d:\d\d", plain(shown)), "time left"
    assert plain(shown).splitlines()[-1].startswith("extracted 5,000 samples, 5,000 files to ")


def test_the_bar_shows_bytes_where_bytes_count(many):
    code, shown = on_terminal("verify", many, "--full", "--jobs", "1", columns=60)
    assert code == 0
    drawn = [line for line in re.split(r"[\r\n]+", plain(shown)) if line.startswith("verify ")]
    assert drawn
    assert all(len(line.rstrip()) <= 60 for line in drawn), "on one line, also where there is little room"
    assert re.search(r"verify ━.* MiB / [\d.]+ MiB  [\d.]+ [MG]iB/s +\d:\d\d:\d\d$", drawn[-1].rstrip())


def test_quiet_on_a_terminal(packed, tmp_path):
    assert on_terminal("extract", packed, tmp_path / "out", "--quiet") == (0, "")


def test_an_error_on_a_terminal_leaves_no_bar_behind(packed, tmp_path):
    (tmp_path / "dress").mkdir()
    (tmp_path / "dress" / "04.jpg").write_bytes(b"")
    code, shown = on_terminal("extract", packed, tmp_path)
    assert code == 1
    assert plain(shown).splitlines()[-1].startswith("shardpack: file exists:")


def test_force_asks_before_it_deletes_a_dataset(images, packed, tmp_path):
    out = shutil.copytree(packed, tmp_path / "out")
    pack = ("pack", images, out, "--force", "--quiet", "--jobs", "1", "--max-shard-samples", "12")
    code, shown = on_terminal(*pack, answer="n")
    assert code == 1
    assert f"{out} holds a dataset: delete its 12 samples? [y/N]:" in plain(shown)
    assert 'is kept; add to it with "shardpack append"' in plain(shown)
    assert file_contents(out) == file_contents(packed)
    code, shown = on_terminal(*pack, answer="y")
    assert code == 0
    assert len(shardpack.open(out).shards) == 1
    assert on_terminal(*pack, "--yes") == (0, "")
    assert on_terminal("pack", images, tmp_path / "new", "--force", "--quiet", "--jobs", "1") == (0, ""), (
        "nothing there"
    )
    assert program(*pack).returncode == 0, "without a terminal nobody is asked"


def test_binary_is_not_written_to_a_terminal(packed):
    code, shown = on_terminal("cat", packed, "hat/01", "jpg", stdout=True)
    assert code == 2
    assert plain(shown).strip().endswith("field 'jpg' is binary; send it to a file: shardpack cat ... > sample.jpg")
    code, shown = on_terminal("cat", packed, "hat/01", "json", stdout=True)
    assert (code, shown) == (0, '{"label":1,"class":"hat"}\r\n'), "labels are, with a line feed"


def with_encoding(monkeypatch, encoding, *arguments):
    """Run in this process with streams of this encoding; return (code, bytes on stdout, bytes on stderr)."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    monkeypatch.setattr(sys, "argv", ["shardpack", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        main_module.run()
    for stream in streams:
        stream.flush()
    found = done.value.code, *(stream.buffer.getvalue() for stream in streams)
    monkeypatch.undo()
    return found


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
@pytest.mark.parametrize(
    "command", ["ls {0}", "ls {0} -l", "ls {0} --json", "cat {0} é/漢", "cat {0} nobody-é漢", "ls é漢"]
)
def test_no_encoding_is_too_small(monkeypatch, strange, encoding, command):
    code, out, err = with_encoding(monkeypatch, encoding, *command.format(strange).split())
    assert code == (1 if "nobody" in command or command == "ls é漢" else 0)
    assert b"Traceback" not in err
    assert (err.count(b"\n"), bool(out)) == (code, not code)


def test_the_program_minds_the_encoding_it_is_given(strange):
    done = program("ls", strange, env={"PYTHONIOENCODING": "ascii"}, text=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"\\xe9/\\u6f22\nno\\udcff\\udcfeutf8\nred\\x1b[31m\nline\\nfeed\n"


def test_keys_come_out_as_the_bytes_they_are(monkeypatch, strange, capsys):
    _, out, _ = with_encoding(monkeypatch, "utf-8", "ls", strange)
    assert out == "é/漢\n".encode() + b"no\xff\xfeutf8\nred\\x1b[31m\nline\\nfeed\n", "but no commands and line feeds"
    _, out, _ = with_encoding(monkeypatch, "utf-8", "ls", strange, "--json")
    found = [json.loads(line)["key"] for line in out.splitlines()]
    assert found == ["é/漢", "no\udcff\udcfeutf8", "red\x1b[31m", "line\nfeed"]
    for key in found:
        assert main_module.main(["cat", str(strange), key, "txt"]) == 0
        assert capsys.readouterr().out == "x"


def test_closed_streams(packed):
    for command in (f"ls {packed}", f"verify {packed}", f"info {packed} --json"):
        assert shell(f"shardpack {command} >&- 2>&-").returncode == 0
    for command in (f"cat {packed} hat/01 jpg", "ls nowhere"):
        assert shell(f"shardpack {command} >&- 2>&-").returncode == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_stdout(many):
    done = shell(f"shardpack ls {many} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "shardpack: [Errno 28] No space left on device\n"


def test_ctrl_c_is_one_line_and_exit_130(many):
    code, shown = on_terminal("bench", many, "--seconds", "30", interrupt_at="bench")
    assert code == 130
    assert plain(shown).splitlines()[-1] == "shardpack: interrupted"


def test_a_payload_that_cannot_be_written_is_no_success(packed):
    done = shell(f"shardpack cat {packed} hat/01 jpg >&-")
    assert done.returncode == 1
    assert "standard output is closed" in done.stderr


@pytest.mark.parametrize("code", [0x202E, 0x2066, 0x200F, 0x061C, 0xFEFF, 0x85, 0x2028])
def test_no_character_of_a_key_changes_the_look_of_a_line(code, capsys):
    ui.emit(f"cat{chr(code)}gnp.exe")
    out = capsys.readouterr().out
    assert chr(code) not in out
    assert f"{code:x}" in out
    ui.emit("漢 é ü\u3000x")
    assert capsys.readouterr().out == "漢 é ü\u3000x\n"
