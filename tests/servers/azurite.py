"""Azurite, Microsoft's own stand-in for Azure Blob Storage, in memory. `tools/servers` installs it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import shutil
import urllib.request
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

from tests.servers.process import Server, missing_server

ROOT = Path(__file__).resolve().parent.parent.parent
ACCOUNT = "devstoreaccount1"  # this account and its key are the same in every Azurite, and public
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
API_VERSION = "2021-08-06"
OPTIONS = [
    "--silent",
    "--inMemoryPersistence",
    "--skipApiVersionCheck",
    "--disableTelemetry",
    "--blobHost",
    "127.0.0.1",
]
# The headers of the string to sign, in its order: Microsoft Learn, "Authorize with Shared Key", blob service.
SIGNED = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


class AzuriteServer:
    """`url` with the account in it, as clients want it, and containers of their own for whoever asks."""

    def __init__(self) -> None:
        program = find()
        self._server = Server(lambda _, port: [program, *OPTIONS, "--blobPort", str(port)])
        self._numbers = itertools.count()
        self.origin = self._server.url
        self.url = f"{self.origin}/{ACCOUNT}"

    def new_container(self) -> str:
        """Make an empty container; return its name."""
        name = f"container-{next(self._numbers)}"
        self.request("PUT", f"/{name}", query={"restype": "container"}).close()
        return name

    def put(self, path: str, data: bytes) -> str:
        """Put a blob, "/container/name", by plain means; return its ETag."""
        with self.request("PUT", path, data, headers={"x-ms-blob-type": "BlockBlob"}) as answer:
            return str(answer.headers["ETag"])

    def request(
        self,
        method: str,
        path: str,
        data: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        origin: str | None = None,
    ) -> Any:
        """Send one signed request, to a proxy at `origin` if given; return the open answer."""
        given = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": API_VERSION, **(headers or {})}
        given["Content-Type"] = "application/octet-stream" if data else ""
        given["Authorization"] = (
            f"SharedKey {ACCOUNT}:{sign(method, f'/{ACCOUNT}{path}', given, query or {}, len(data))}"
        )
        text = "&".join(f"{name}={value}" for name, value in (query or {}).items())
        url = f"{origin or self.origin}/{ACCOUNT}{path}" + (f"?{text}" if text else "")
        body = data if data or method == "PUT" else None
        return urllib.request.urlopen(urllib.request.Request(url, data=body, headers=given, method=method))

    def options(self, url: str | None = None) -> dict[str, Any]:
        """What obstore's AzureStore needs besides the container; `url` where a proxy stands before the server."""
        return {
            "account_name": ACCOUNT,
            "account_key": KEY,
            "endpoint": f"{url}/{ACCOUNT}" if url else self.url,
            "client_options": {"allow_http": True},
        }

    def stop(self) -> None:
        self._server.stop()


def sign(method: str, path: str, headers: Mapping[str, str], query: Mapping[str, str], length: int) -> str:
    """Return the Shared Key signature of a request."""
    lower = {name.lower(): value for name, value in headers.items()}
    lower["content-length"] = str(length or "")
    lines = [method, *(lower.get(name, "") for name in SIGNED)]
    lines += [f"{name}:{lower[name]}" for name in sorted(lower) if name.startswith("x-ms-")]
    lines.append(f"/{ACCOUNT}{path}")
    lines += [f"{name}:{query[name]}" for name in sorted(query)]
    digest = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def find() -> str:
    """Return Azurite's path, where `tools/servers` puts it or in PATH; skips or fails the test without it."""
    installed = ROOT / ".venv-servers" / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    program = str(installed) if installed.exists() else shutil.which("azurite-blob")
    if program is None or shutil.which("node") is None:
        missing_server("Azurite is not installed (tools/servers installs it; it needs Node.js)")
    return program
