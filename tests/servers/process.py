"""Start an outside server on loopback, wait until it answers, and never leave it behind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

START_SECONDS = 300.0  # a busy machine takes its time to import a server


def missing_server(reason: str) -> NoReturn:
    """Skip by name, or fail where SHARDPACK_REQUIRE_SERVERS is set, as `tests.conftest.judge` does for judges."""
    if os.environ.get("SHARDPACK_REQUIRE_SERVERS"):
        pytest.fail(f"{reason}, and SHARDPACK_REQUIRE_SERVERS is set", pytrace=False)
    pytest.skip(reason)


def hold_port(port: int = 0) -> socket.socket:
    """Return a socket that keeps a port, 0 for any free one: only a server that names it listens there meanwhile."""
    held = socket.socket()
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", port))
    except BaseException:
        held.close()
        raise
    return held


class Server:
    """One child process that listens on a port of loopback, and a temporary folder; both end with `stop`.

    `command` is given the folder and the port. On Linux the port is held until the server listens; elsewhere it is free
    only until somebody else takes it, so a server that ends at once is started again on another.
    """

    def __init__(self, command: Callable[[Path, int], Sequence[str]], **options: Any):
        self.folder = Path(tempfile.mkdtemp(prefix="shardpack-server-"))
        try:
            started = any(self._start(command, options) for _ in range(3))
            log = self.log
        except BaseException:
            self.stop()
            raise
        if not started:
            self.stop()
            raise RuntimeError(f"the server did not start: {log}")

    def _start(self, command: Callable[[Path, int], Sequence[str]], options: dict[str, Any]) -> bool:
        with hold_port() as held:
            self.port = int(held.getsockname()[1])
            if sys.platform != "linux":
                held.close()
            return self._listens(command, options)

    def _listens(self, command: Callable[[Path, int], Sequence[str]], options: dict[str, Any]) -> bool:
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [*_tied_to_us(), *command(self.folder, self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **options,
            )
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self.process.poll() is None
        self._end()
        return False

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if hasattr(self, "process"):
            self._end()
        shutil.rmtree(self.folder, ignore_errors=True)


def _tied_to_us() -> list[str]:
    """A prefix for a command that ends it when this process is killed; Linux only, elsewhere nothing."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
