"""The proxy in a process of its own, for benchmarks: the client keeps its interpreter lock to itself.

`with ProxyProcess(upstream, latency_seconds=0.03) as proxy` from Python; from a shell, see
`python -m tests.servers.proxy_process --help`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

from tests.servers.proxy import CONTROL, Proxy

ROOT = Path(__file__).resolve().parent.parent.parent


class ProxyProcess:
    """A proxy in a process of its own; it ends with the one that started it. Options as for `Proxy`, no faults."""

    def __init__(self, upstream: str, **options: float):
        self._command = [sys.executable, "-m", "tests.servers.proxy_process", upstream, "--with-parent"]
        for name, value in options.items():
            self._command += ["--" + name.replace("_", "-"), str(value)]

    def __enter__(self) -> ProxyProcess:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            self.__exit__()
            raise RuntimeError(f"the proxy did not start: {' '.join(self._command)}")
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()

    def stats(self) -> dict[str, int]:
        return self._ask("stats")

    def clear(self) -> None:
        self._ask("clear")

    def _ask(self, what: str) -> dict[str, int]:
        with urllib.request.urlopen(self.url + CONTROL + what) as answer:
            return dict(json.load(answer))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="proxy_process", description="Put latency and a bandwidth limit before a server."
    )
    parser.add_argument("upstream", help="such as http://127.0.0.1:9000")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.add_argument("--latency-seconds", type=float, default=0.0, help="added to every request")
    parser.add_argument("--connect-latency-seconds", type=float, default=0.0, help="added to every new connection")
    parser.add_argument("--bandwidth", type=float, help="bytes per second of all connections together")
    parser.add_argument("--connection-bandwidth", type=float, help="bytes per second of each connection")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input does")
    options = vars(parser.parse_args(arguments))
    with_parent = options.pop("with_parent")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Proxy(options.pop("upstream"), keep_log=False, **options) as proxy, contextlib.suppress(KeyboardInterrupt):
        print(proxy.url, flush=True)  # noqa: T201 - its output
        if with_parent:
            sys.stdin.read()
        else:
            threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
