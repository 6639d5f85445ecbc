"""Names that are imported when they are asked for, also where a module has the name of what it holds."""

from __future__ import annotations

import sys

import pytest

INIT = """
from shardpack.runtime.lazy import lazy_names
names = {"index": "index.run", "late": "other", "table": "other"}
__getattr__, __dir__ = lazy_names("lazy_package", names, packages=["table"])
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    for name, text in {
        "__init__": INIT,
        "index/__init__": "",
        "index/run": "def index(): ...",
        "other": "late = [0]; table = [1]",
        "table/__init__": "",
        "table/rows": "",
    }.items():
        path = tmp_path / "lazy_package" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    import lazy_package

    yield lazy_package
    for name in [name for name in sys.modules if name.partition(".")[0] == "lazy_package"]:
        del sys.modules[name]


def test_a_name_is_imported_when_it_is_asked_for(package):
    assert "lazy_package.other" not in sys.modules
    assert package.late == [0]
    assert package.late is sys.modules["lazy_package.other"].late


def test_a_function_keeps_its_name_before_a_package_of_that_name(package):

    assert callable(package.index)
    assert package.index is sys.modules["lazy_package.index.run"].index


def test_a_name_that_a_package_has_too_is_not_the_package(package):
    from lazy_package.table import rows

    assert rows.__name__ == "lazy_package.table.rows"
    assert package.table == [1]


def test_all_names_are_listed_and_no_other_is_there(package):
    assert {"index", "late"} <= set(dir(package))
    assert not hasattr(package, "early")
