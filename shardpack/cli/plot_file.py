"""The file of `--plot`: whether it may be written is known before any work."""

from __future__ import annotations

import os
import shlex

from shardpack.errors import OptionError, OutputExistsError, StorageError


def check_plot(path: str | None, *, force: bool) -> None:
    """Raise unless a plot can be written to a file; None stands for no plot.

    Raises:
        OptionError: Nothing is to be drawn, but `force` is given; or the name is not that of a PNG.
        OutputExistsError: The file exists, and `force` is off; or it is a folder.
        StorageError: It would be in a folder that does not exist.
    """
    if path is None:
        if force:
            raise OptionError("--force replaces the file of --plot; name one, or leave --force out")
        return
    if not path:
        raise OptionError("--plot names no file; write --plot counts.png")
    if os.path.isdir(path):
        raise OutputExistsError(f"{path!r} is a folder; name a file in it to draw into")
    if not path.lower().endswith(".png"):
        raise OptionError(
            f"--plot draws a PNG, expected a name that ends in .png, got {path!r}; write --plot {_as_png(path)}"
        )
    if os.path.exists(path) and not force:
        raise OutputExistsError(f"{path!r} exists already; choose another file, or replace it with --force")
    if not os.path.isdir(folder := os.path.dirname(path) or "."):
        raise StorageError(f"cannot draw into {path!r}: there is no folder {folder!r}; make it, or name another file")


def _as_png(path: str) -> str:
    return shlex.quote(f"{os.path.splitext(path)[0]}.png")


def save_plot(path: str, content: bytes) -> None:
    """Write a plot.

    Raises:
        StorageError: The file cannot be written.
    """
    try:
        with open(path, "wb") as file:
            file.write(content)
    except OSError as error:
        raise StorageError(f"cannot draw into {path!r}: {error.strerror or error}; name another file") from error
