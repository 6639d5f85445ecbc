"""Imports go down only, and each outside thing has one place. Decided by reading the source, nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "shardpack"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# The first component below shardpack/ -> its layer. A component may import lower layers and itself.
LAYERS = {
    "errors": 0,
    **dict.fromkeys(("progress", "units"), 0.1),
    "worker_main": 0.2,  # the child of a process pool; knows nothing of what it runs
    "workers": 0.3,
    **dict.fromkeys(("format", "codecs"), 1),
    "plan": 1.5,  # pure as well; fitting shards to a cap needs the arithmetic of tar headers
    "storage": 2,
    **dict.fromkeys(("sources", "pack", "read"), 3),
    **dict.fromkeys(("check", "copying", "extraction", "tars"), 3.5),  # join two of these
    "api": 3.6,  # joins them all
    "__init__": 3.7,
    **dict.fromkeys(("torch", "webdataset", "ray", "interop"), 4),
    "cli": 5,
    "__main__": 6,
}

# Pure layers: values in, values out. An in-memory io.BytesIO is all that codecs need of io.
WORLD = ["asyncio", "concurrent", "ctypes", "datetime", "fcntl", "glob", "mmap", "multiprocessing", "os", "pathlib"]
WORLD += ["random", "shutil", "socket", "ssl", "subprocess", "tarfile", "tempfile", "threading", "time"]
WORLD += ["http", "urllib.request"]
PURE = {"format": [*WORLD, "io", "PIL"], "plan": [*WORLD, "io", "PIL"], "codecs": WORLD}

# Package -> the only places that may import it.
OWNERS = {
    "click": ("cli/",),
    "rich": ("cli/",),
    "PIL": ("codecs/", "cli/"),
    # webdataset: which worker of a DataLoader this is; images: decoding to tensors, imported when asked for.
    "torch": ("torch.py", "webdataset.py", "interop/", "codecs/images.py"),
    "simplejpeg": ("codecs/fast_jpeg.py",),
    "webdataset": ("webdataset.py", "interop/"),
    "ray": ("ray.py", "interop/"),
    "obstore": ("storage/",),
    "fsspec": ("storage/", "interop/"),
    "urllib3": ("storage/",),
    "pyarrow": ("sources/", "interop/"),
    "crc32c": ("format/checksum.py",),
    # No pickle is read from a file or the network; our own processes speak it over their pipes.
    "pickle": ("worker_main.py", "workers.py"),
    **dict.fromkeys(("cloudpickle", "dill", "marshal", "shelve"), ()),
}
SYSTEM_CALLS = {"posix_fadvise", "pread", "preadv"}  # storage/local.py has the plain fallback beside them
# workers: handed on to child processes, unread; torch: RANK and WORLD_SIZE, as torchrun sets them.
READS_ENVIRONMENT = ("cli/", "workers.py", "torch.py")


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _component(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (absolute dotted name, line) of every import, also inside functions and TYPE_CHECKING."""
    package = ("shardpack", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            base += node.module.split(".") if node.module else []
            if base == ["shardpack"]:  # `from shardpack import units` names a component or a public object
                for alias in node.names:
                    if alias.name == "__version__":  # a constant, belongs to no layer
                        continue
                    yield f"shardpack.{alias.name}" if alias.name in LAYERS else "shardpack", node.lineno
            else:
                yield ".".join(base), node.lineno


def test_every_component_has_a_layer():
    unknown = {_component(path) for path in SOURCES} - LAYERS.keys()
    assert not unknown, f"not on the map of layers: {sorted(unknown)}"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_imports_go_down(path):
    own = _component(path)
    for name, line in _imports(path):
        parts = name.split(".")
        if parts[0] != "shardpack":
            continue
        other = parts[1] if len(parts) > 1 else "__init__"
        assert other == own or LAYERS[other] < LAYERS[own], f"{_name(path)}:{line} imports {name}, which is not below"


@pytest.mark.parametrize("path", [path for path in SOURCES if _component(path) in PURE], ids=_name)
def test_pure_layers_touch_no_world(path):
    for name, line in _imports(path):
        forbidden = [outside for outside in PURE[_component(path)] if (name + ".").startswith(outside + ".")]
        assert not forbidden, f"{_name(path)}:{line} imports {name}"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        calls_open = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"
        assert not calls_open, f"{_name(path)}:{node.lineno} opens a file"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_outside_packages_have_one_place(path):
    for name, line in _imports(path):
        owners = OWNERS.get(name.split(".")[0])
        allowed = owners is None or _name(path).startswith(owners)
        assert allowed, f"{_name(path)}:{line} imports {name}; only {owners or 'nobody'} may"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_system_calls_and_environment_have_one_place(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if name in SYSTEM_CALLS:
            assert _name(path) == "storage/local.py", f"{_name(path)}:{node.lineno} calls {name}"
        if name in {"environ", "getenv"}:
            assert _name(path).startswith(READS_ENVIRONMENT), f"{_name(path)}:{node.lineno} reads the environment"


def test_packages_only_re_export():
    for path in PACKAGE.rglob("__init__.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            plain = (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr)
            assert isinstance(node, plain), f"{_name(path)}:{node.lineno} does more than re-export"
