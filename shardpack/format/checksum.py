"""CRC32C (Castagnoli), the one checksum of the format, at hardware speed (SPEC 1.3).

GCS, S3 and TFRecord use the same polynomial. `crc32c(data, value=0)` takes any C-contiguous
buffer and continues from `value`; it releases the GIL for large buffers, unless `gil_release_mode` is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

__all__ = ["crc32c"]


def _load() -> Callable[..., int]:
    """Return the function of the package `crc32c`, of which only the extension is run.

    The package itself imports `importlib.metadata`, `argparse` and `email`: 30 ms in each process (2-core VM).
    """
    package = PathFinder.find_spec("crc32c")
    spec = PathFinder.find_spec("crc32c._crc32c", package.submodule_search_locations) if package else None
    if spec is None or spec.loader is None:  # built into a program, or found in some other way
        from crc32c import crc32c

        return crc32c
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., int] = module.crc32c
    return function


crc32c = _load()
