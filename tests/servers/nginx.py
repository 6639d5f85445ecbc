"""nginx over a folder: ranges, ETag, If-Match, If-None-Match and If-Range as the web does them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.servers.process import Server, missing_server

# `types {}` and `default_type`: no guessing, no system files. Every temporary path is inside the server's folder.
CONFIG = """
daemon off;
worker_processes {workers};
pid {folder}/pid;
error_log stderr error;
{user}
events {{ worker_connections 2048; }}
http {{
  access_log off;
  sendfile on;
  tcp_nodelay on;
  keepalive_requests 1000000;
  types {{ }}
  default_type application/octet-stream;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ root "{root}"; {extra} }}
  }}
}}
"""


class NginxServer:
    """Serves `root` at `url`, as it is on disk at the time of each request."""

    def __init__(self, root: Path, *, extra: str = "", workers: int = 1):
        self.root = root
        self._extra = extra
        self._workers = workers
        self._program = find()
        self._server = Server(self._command)
        self.url = self._server.url

    def _command(self, folder: Path, port: int) -> Sequence[str]:
        user = "user root;" if os.name == "posix" and os.geteuid() == 0 else ""  # temporary folders are 0700
        text = CONFIG.format(
            folder=folder, port=port, root=self.root, user=user, extra=self._extra, workers=self._workers
        )
        (folder / "nginx.conf").write_text(text, encoding="utf-8")
        return [self._program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]

    def stop(self) -> None:
        self._server.stop()


def find() -> str:
    """Return nginx's path; skips or fails the test without it."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        missing_server("nginx is not installed (tools/servers installs it)")
    return program
