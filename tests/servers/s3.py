"""An S3-compatible server: moto's, in a process of its own, behind a web server that keeps connections open.

moto's own web server closes the connection after every answer, which no bucket does; waitress does not. Objects live
in that process's memory. Anybody may do anything, with any signature or none. Conditional puts are done one after the
other, so that of several of one object only one succeeds, as in a bucket.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import itertools
import os
import sys
import threading
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crc32c import crc32c

from tests.servers.process import Server, missing_server

ROOT = Path(__file__).resolve().parent.parent.parent
REGION = "us-east-1"
SETTINGS = {
    "S3_UPLOAD_PART_MIN_SIZE": str(256 << 10),  # parts of multipart uploads; S3 wants 5 MiB
    "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(1 << 40),  # no temporary files
}
ANYBODY = f"AWS4-HMAC-SHA256 Credential=testing/20260101/{REGION}/s3/aws4_request"
CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "content-md5": lambda body: hashlib.md5(body).digest(),
    "x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "x-amz-checksum-crc32c": lambda body: crc32c(body).to_bytes(4, "big"),
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
}
CREDENTIALS = {"access_key_id": "testing", "secret_access_key": "testing"}


class S3Server:
    """`url`, and buckets of their own for whoever asks."""

    def __init__(self) -> None:
        for name in ("moto", "flask", "flask_cors", "waitress"):
            if importlib.util.find_spec(name) is None:
                missing_server(f"{name} is not installed")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **SETTINGS}
        self._server = Server(lambda _, port: [sys.executable, "-m", "tests.servers.s3", str(port)], env=environment)
        self._numbers = itertools.count()
        self.url = self._server.url

    def new_bucket(self) -> str:
        """Make an empty bucket; return its name."""
        name = f"bucket-{next(self._numbers)}"
        self.put(f"/{name}")
        return name

    def put(self, path: str, data: bytes = b"") -> str:
        """PUT by plain means; return the ETag."""
        request = urllib.request.Request(self.url + path, data=data, method="PUT")
        request.add_header("Content-Type", "application/octet-stream")
        with urllib.request.urlopen(request) as answer:
            return str(answer.headers.get("ETag"))

    def options(self, url: str | None = None) -> dict[str, Any]:
        """What obstore's S3Store needs besides the bucket; `url` where a proxy stands before the server."""
        return {
            "endpoint": url or self.url,
            "region": REGION,
            **CREDENTIALS,
            "client_options": {"allow_http": True},
        }

    def stop(self) -> None:
        self._server.stop()


def main(port: int) -> None:
    # Imported here: the tests import this file, and moto takes its time and warns.
    from moto.server import DomainDispatcherApplication, create_backend_app
    from waitress import serve

    application = DomainDispatcherApplication(create_backend_app)
    one_at_a_time = threading.Lock()  # moto looks whether an object is absent, and later puts it

    def stricter(environ: dict[str, Any], start_response: Any) -> Any:
        # moto never checks a signature, but keeps objects from requests that bring none.
        environ.setdefault("HTTP_AUTHORIZATION", ANYBODY)
        if (name := wrong_checksum(environ)) is None:
            is_conditional = not {"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"}.isdisjoint(environ)
            if environ["REQUEST_METHOD"] != "PUT" or not is_conditional:
                return application(environ, start_response)
            with one_at_a_time:
                return list(application(environ, start_response))
        body = f"<Error><Code>BadDigest</Code><Message>{name} did not match</Message></Error>".encode()
        start_response("400 Bad Request", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    serve(stricter, host="127.0.0.1", port=port, threads=16, max_request_body_size=1 << 40, _quiet=True)


def wrong_checksum(environ: dict[str, Any]) -> str | None:
    """Return the header whose checksum is not the body's; moto believes them all."""
    for name, checksum in CHECKSUMS.items():
        claimed = environ.get("HTTP_" + name.upper().replace("-", "_"))
        if claimed and environ["REQUEST_METHOD"] == "PUT":
            body = environ["wsgi.input"].read()
            environ["wsgi.input"] = io.BytesIO(body)
            if base64.b64decode(claimed) != checksum(body):
                return name
    return None


if __name__ == "__main__":
    main(int(sys.argv[1]))
