"""Every module has its tests in the place of the same name: tests/<room>/test_<module>.py."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

PACKAGE, TESTS = ROOT / "shardpack", ROOT / "tests"
MODULES = {
    path.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob("*.py")
    if path.name not in {"__init__.py", "__main__.py"}
}

# Module -> where it is tested instead. Each needs a reason that lasts.
ELSEWHERE = {
    "_version.py": "house/test_public_api.py",  # one line
    "edit/copy_parts.py": "edit/test_copy.py",  # what a copy consists of, and the run that copies one of its parts
    "edit/copy_run.py": "edit/test_copy.py",
    "commit/target.py": "commit/test_open_target.py",  # a protocol, and its two kinds side by side
    "edit/report.py": "edit/test_base.py",  # a value
    "errors.py": "house/test_errors.py",  # rules about every error of the package
    "order/drawn.py": "order/test_weighted.py",  # protocols, with two kinds
    "runtime/child.py": "runtime/test_processes.py",  # one member of a pool of them
    "runtime/process_child.py": "runtime/test_processes.py",  # runs only as the child of runtime/child.py
    "runtime/ray_engine.py": "edges/test_ray.py",  # with a real Ray
    "read/fetch.py": "read/test_planned_read.py",  # what plans of both kinds share
    "read/layered_locations.py": "read/test_layers.py",  # with layers, where they can be compared with what is read
    "read/layered_read.py": "read/test_layers.py",  # the same samples as one by one
    "sources/layouts/any_tables.py": "sources/layouts/test_table.py",  # its layout decides by what they find
    "sources/layouts/table_questions.py": "sources/layouts/test_table.py",  # what its layout asks
    "sources/layouts/table_use.py": "sources/layouts/test_table.py",  # what its layout decides
    "sources/layouts/table_rows.py": "sources/layouts/test_table.py",  # the labels that its layout makes
    "sources/layouts/layout.py": "sources/layouts/test_detect.py",  # a protocol, and the choice among its kinds
    "write/encode_chunks.py": "write/test_chunked_run.py",  # how a run ends
    "write/measure_chunks.py": "write/test_chunked_run.py",  # how a run begins
    "write/chunk_input.py": "write/test_row_input.py",  # protocols, with two kinds
    "write/pack_listed.py": "write/test_pack.py",  # the way that most sources go
    "write/pack_chunked.py": "write/test_pack_rows.py",  # what a report says of packed rows
    "write/plan_members.py": "write/test_part_plan.py",  # what two plans compare
    "storage/protocols.py": "storage/contract.py",  # the contract that every store is held to
    "_dataloader.py": "edges/test_dataloader.py",
    "ray.py": "edges/test_ray.py",
    "torch.py": "edges/test_torch_map.py",  # edges are tested with the real thing on the other side
    "webdataset.py": "edges/test_webdataset.py",
    # Commands are tested by what a user does with several of them.
    **{f"cli/{name}.py": "cli/test_reading.py" for name in ("bench", "cat", "extract", "info", "ls", "verify")},
    **{f"cli/{name}.py": "cli/test_writing.py" for name in ("copy", "export", "index", "pack", "pack_options")},
    **{
        f"cli/{name}.py": "cli/test_editing.py"
        for name in ("append", "attach", "delete", "detach", "gc", "log", "merge", "relabel", "repair", "split")
    },
    "cli/order_lines.py": "cli/test_order.py",  # what its command prints
    "cli/ui.py": "cli/test_terminal.py",
    "cli/plot_file.py": "cli/test_info_by.py",  # with order, the commands that plot
}


def _tests_of(module: str) -> str:
    folder, _, name = module.rpartition("/")
    return f"{folder}/test_{name}".removeprefix("/")


@pytest.mark.parametrize("module", sorted(MODULES - ELSEWHERE.keys()))
def test_every_module_has_its_tests(module):
    assert (TESTS / _tests_of(module)).is_file(), f"tests/{_tests_of(module)} is missing"


def test_exceptions_are_true():
    gone = ELSEWHERE.keys() - MODULES
    assert not gone, f"not there any more: {sorted(gone)}"
    for module, tests in ELSEWHERE.items():
        assert (TESTS / tests).is_file(), f"{module}: tests/{tests} is missing"
        assert not (TESTS / _tests_of(module)).is_file(), f"{module} has tests of its own: take it off the list"


# Rooms whose docstring is a map of them.
MAPPED = ("commit", "codecs", "format", "index", "storage", "stream", "table", "write")


@pytest.mark.parametrize("room", MAPPED)
def test_every_module_stands_in_the_map_of_its_room(room):
    text = (PACKAGE / room / "__init__.py").read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", text))
    modules = {module.split("/")[1].removesuffix(".py") for module in MODULES if module.startswith(f"{room}/")}
    assert not modules - named, f"shardpack/{room}/__init__.py does not say what these are for"
