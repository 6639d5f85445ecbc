"""Names of a package that are imported at their first use (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, str], *, packages: Collection[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package that is being imported.

    Args:
        package: The name of the package.
        modules: Public name -> the module below the package that defines it.
        packages: Names that packages below the package have, too, although they do not define them.
    """
    namespace = vars(sys.modules[package])
    for name, module in modules.items():
        if module.partition(".")[0] == name or name in packages:
            # A module and a function have this name. The first import of the module makes it an attribute of the
            # package: import it now, and remove the attribute.
            import_module(f"{package}.{name}")
            namespace.pop(name, None)

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = namespace[name] = getattr(import_module(f"{package}.{modules[name]}"), name)
        return value

    return get, lambda: sorted({*namespace, *modules})
