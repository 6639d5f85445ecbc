"""The documents are run: every python and console block works, in order, as printed.

Blocks of one document share a folder, which starts with `examples/images/` as a checkout has it,
and one Python namespace. Commands stand behind `$ `; what follows them, if anything, is the output
they must print (`...` stands for anything). A block is left out by a comment just above it:

    <!-- not run: needs a bucket -->

or, where a package of an extra may be missing, until that is installed:

    <!-- needs: torch -->
"""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import NamedTuple

import pytest

import shardpack
from tests.conftest import IMAGES, ROOT, make_jpeg

README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "shardpack").rglob("*.md"))]
PAGES = [*DOCUMENTS, ROOT / "examples" / "README.md", ROOT / "tools" / "bench" / "README.md"]
GENERATED = ROOT / "shardpack" / "cli" / "README.md"
RUN = {"python", "console"}
PLAIN = {"text", "json", "toml", "yaml", "bibtex"}  # anything else would be code that nobody runs
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
CALL = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)  # a command, and what it prints
OPT_OUT = re.compile(r"<!-- not run: \S.* -->\s*\Z")
NEEDS = re.compile(r"<!-- needs: (\w+) -->\s*\Z")
LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    where: str
    language: str
    body: str
    left_out: bool


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks_of(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            where=f"{name_of(path)}:{text.count(chr(10), 0, match.start()) + 1}",
            language=match["language"].strip(),
            body=re.sub(f"^{match['indent']}", "", match["body"], flags=re.MULTILINE),
            left_out=OPT_OUT.search(text, 0, match.start()) is not None or lacks_package(text[: match.start()]),
        )
        for match in FENCE.finditer(text)
    ]


def lacks_package(before: str) -> bool:
    """Return whether the block behind this text needs a package that is not there; where it must be, it is needed."""
    needed = NEEDS.search(before)
    return needed is not None and not find_spec(needed[1]) and not os.environ.get("SHARDPACK_REQUIRE_TORCH")


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A reader's folder: `examples/images/` in it, and `shardpack` on the path."""
    folder = tmp_path / "work"
    shutil.copytree(IMAGES, folder / "examples" / "images")
    command = tmp_path / "bin" / "shardpack"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom shardpack.__main__ import run\nrun()\n")
    command.chmod(0o755)
    monkeypatch.chdir(folder)
    path = (str(command.parent), str(Path(sys.executable).parent), os.environ["PATH"])
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    return folder


def run_console(block: Block) -> None:
    for command, expected in CALL.findall(block.body):
        done = subprocess.run(["bash", "-c", command], check=False, stdout=PIPE, stderr=STDOUT, text=True)
        assert done.returncode == 0, f"{block.where}: $ {command}\n{done.stdout}"
        if expected.strip():
            fits = doctest.OutputChecker().check_output(expected.rstrip(), done.stdout.rstrip(), LOOSE)
            assert fits, f"{block.where}: $ {command}\nprints\n{done.stdout}\nnot\n{expected}"


def run_python(block: Block, namespace: dict[str, object]) -> None:
    if ">>> " not in block.body:
        exec(compile(block.body, block.where, "exec"), namespace)
        return
    test = doctest.DocTestParser().get_doctest(block.body, namespace, block.where, None, 0)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=LOOSE).run(test, out=report.append, clear_globs=False)
    namespace.update(test.globs)
    assert not report, "".join(report)


@pytest.mark.every_case
@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_block_runs(path):
    namespace: dict[str, object] = {"__name__": "__document__"}
    for block in blocks_of(path):
        if block.left_out or block.language not in RUN:
            continue
        if block.language == "console":
            run_console(block)
        else:
            run_python(block, namespace)


def test_examples_in_docstrings_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with shardpack.ShardWriter("out/") as writer:  # the dataset that they speak of
        writer.write("cat/0001", {"jpg": make_jpeg(), "json": {"label": 3}})
    names = {"shardpack": shardpack, "ds": shardpack.open("out/")}
    for path in sorted((ROOT / "shardpack").rglob("*.py")):
        if ">>> " not in path.read_text(encoding="utf-8"):
            continue
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        assert doctest.testmod(module, extraglobs=names, optionflags=LOOSE).failed == 0, path.name


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_block_says_what_it_is(path):
    for block in blocks_of(path):
        assert block.language in RUN | PLAIN, f"{block.where}: {block.language!r}: tag it console, python or text"
        if block.language == "console":
            assert block.body.startswith("$ "), f"{block.where}: a console block starts with `$ `"


def cli_reference(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/cli_reference", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, stdout=PIPE, stderr=STDOUT, text=True)


def test_every_command_is_shown():
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS if path != GENERATED)
    commands = cli_reference("--names").stdout.split()
    assert "pack" in commands
    missing = [name for name in commands if f"shardpack {name}" not in text]
    assert not missing, f"no page shows a use of: {missing}"


def test_cli_reference_is_current():
    done = cli_reference("--check")
    assert done.returncode == 0, done.stdout


def links_of(path: Path) -> list[Path]:
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", path.read_text(encoding="utf-8")))
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", prose)
    return [Path(os.path.normpath(path.parent / target)) for target in targets]


@pytest.mark.parametrize("path", [*PAGES, IMAGES / "README.md"], ids=name_of)
def test_links_inside_the_repository_lead_somewhere(path):
    missing = [str(target) for target in links_of(path) if not target.exists()]
    assert not missing, f"{name_of(path)} links to what is not there: {missing}"


def test_every_page_is_reached_from_the_readme_by_links():
    reached: set[Path] = set()
    ahead = [README]
    while ahead:
        page = ahead.pop()
        if page.suffix == ".md" and page not in reached:
            reached.add(page)
            ahead += links_of(page)
    lost = [name_of(path) for path in PAGES if path not in reached]
    assert not lost, f"no link leads from the README to: {lost}"


def test_the_readme_names_every_extra():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[project.optional-dependencies]\n")[2].partition("# For work on shardpack itself")[0]
    extras = set(re.findall(r"^([\w-]+) = \[", section, re.MULTILINE))
    assert "query" in extras
    install = README.read_text(encoding="utf-8").partition("\nExtras: ")[2].partition("\n## ")[0]
    assert not {name for name in extras if not re.search(rf"[`\[]{name}[`\]]", install)}
