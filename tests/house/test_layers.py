"""Imports go down only, and each outside thing has one place. Decided by reading the source, nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "shardpack"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# The first component below shardpack/ -> its floor. A module imports from its own floor and those below, in no circle.
FLOORS = {
    **dict.fromkeys(("_version", "errors", "runtime"), 0),
    **dict.fromkeys(("format", "order", "codecs"), 1),
    "storage": 2,
    **dict.fromkeys(("commit", "sources", "read"), 3),
    **dict.fromkeys(("stream", "table", "write", "index"), 4),
    **dict.fromkeys(("edit", "export", "inspect"), 5),
    **dict.fromkeys(("dataset", "api", "__init__"), 6),
    **dict.fromkeys(("_dataloader", "torch", "webdataset", "ray", "view"), 7),
    **dict.fromkeys(("cli", "__main__"), 8),
}

# Pure layers: values in, values out. An in-memory io.BytesIO is all that codecs need of io.
WORLD = ["asyncio", "concurrent", "ctypes", "datetime", "fcntl", "glob", "mmap", "multiprocessing", "os", "pathlib"]
WORLD += ["random", "shutil", "socket", "ssl", "subprocess", "tarfile", "tempfile", "threading", "time"]
WORLD += ["http", "urllib.request"]
PURE = {"format": [*WORLD, "io", "PIL"], "order": [*WORLD, "io", "PIL"], "codecs": WORLD}

# Package -> the only places that may import it.
OWNERS = {
    "click": ("cli/",),
    "rich": ("cli/",),
    "PIL": ("codecs/", "inspect/plot.py", "cli/"),
    # image: decoding to tensors, imported when asked for.
    "torch": ("torch.py", "codecs/image.py"),
    "imagecodecs": ("codecs/jxl.py",),
    "simplejpeg": ("codecs/jpeg_turbo.py",),
    "cv2": ("codecs/opencv.py",),
    "zstandard": ("codecs/zstd.py",),
    "msgpack": ("codecs/message_pack.py",),
    "webdataset": ("webdataset.py",),
    "ray": ("runtime/ray_engine.py",),
    "obstore": ("storage/",),
    "fsspec": ("storage/",),
    "urllib3": ("storage/",),
    "h5py": ("export/formats/hdf5.py", "sources/formats/hdf5_file.py"),
    "deeplake": ("sources/formats/deep_lake.py",),
    "lance": ("sources/formats/lance.py",),
    "lmdb": ("export/formats/lmdb.py", "sources/formats/lmdb_file.py"),
    "pyarrow": ("sources/", "export/formats/parquet.py", "table/libraries.py"),
    "duckdb": ("table/libraries.py",),
    "crc32c": ("format/checksum.py",),
    # No pickle is read from a file or the network; our own processes speak it over their pipes.
    "pickle": ("runtime/process_child.py", "runtime/child.py", "runtime/functions.py"),
    "cloudpickle": ("runtime/functions.py",),
    **dict.fromkeys(("dill", "marshal", "shelve"), ()),
}
SYSTEM_CALLS = {"posix_fadvise", "pread", "preadv"}  # storage/local_file.py has the plain fallback beside them
# child: handed on to child processes, unread; _dataloader: RANK and WORLD_SIZE, as torchrun sets them.
READS_ENVIRONMENT = ("cli/", "runtime/child.py", "_dataloader.py")


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
            names = [".".join([*base, alias.name]) for alias in node.names]
            # `from shardpack.format import manifest` imports a module, `from shardpack.errors import X` a name of one.
            yield from ((name if _module(name) else ".".join(base), node.lineno) for name in names)


def _module(name: str) -> str | None:
    """Return a module of the package as its file's name without the ending; None if it is none."""
    parts = name.split(".")
    if parts[0] != "shardpack":
        return None
    inside = "/".join(parts[1:])
    if (PACKAGE / f"{inside}.py").is_file():
        return inside
    return f"{inside}/__init__".lstrip("/") if (PACKAGE / inside / "__init__.py").is_file() else None


GRAPH = {
    path.relative_to(PACKAGE).with_suffix("").as_posix(): sorted({
        module for name, _ in _imports(path) if (module := _module(name)) and module != "__init__"
    })
    for path in SOURCES
}  # fmt: skip


def test_every_component_has_a_floor():
    unknown = {_component(path) for path in SOURCES} - FLOORS.keys()
    assert not unknown, f"not on the map of floors: {sorted(unknown)}"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_imports_go_down(path):
    own = _component(path)
    for name, line in _imports(path):
        parts = name.split(".")
        if parts[0] != "shardpack":
            continue
        other = parts[1] if len(parts) > 1 else "__init__"
        assert FLOORS[other] <= FLOORS[own], f"{_name(path)}:{line} imports {name}, which is on a higher floor"


def _circles(graph):
    """Return a circle of each depth-first walk that runs into one."""
    found, done = [], set()

    def walk(node, trail):
        if node in trail:
            found.append(" -> ".join([*trail[trail.index(node) :], node]))
        elif node not in done:
            for other in graph.get(node, ()):
                walk(other, [*trail, node])
            done.add(node)

    for node in graph:
        walk(node, [])
    return found


def test_no_module_imports_itself_in_a_circle():
    assert not _circles(GRAPH)


def test_no_room_imports_itself_in_a_circle():
    rooms = {}
    for module, others in GRAPH.items():
        own = module.split("/")[0]
        rooms.setdefault(own, set()).update({other.split("/")[0] for other in others} - {own})
    assert not _circles(rooms)


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
            assert _name(path) == "storage/local_file.py", f"{_name(path)}:{node.lineno} calls {name}"
        if name in {"environ", "getenv"}:
            assert _name(path).startswith(READS_ENVIRONMENT), f"{_name(path)}:{node.lineno} reads the environment"


def test_packages_only_re_export():
    for path in PACKAGE.rglob("__init__.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            plain = (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr)
            for_types = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
            assert for_types or isinstance(node, plain), f"{_name(path)}:{node.lineno} does more than re-export"
