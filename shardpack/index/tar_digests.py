"""Digests that differ when a tar was replaced by another of its name, and for runs with other tars or options."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from xxhash import xxh3_128_hexdigest

from shardpack._version import __version__
from shardpack.index.find import TarSet
from shardpack.runtime.threads import call_all

REQUESTS_AT_ONCE = 16


class TarDigests:
    """The digest of each tar, taken when it is first asked for. Safe in threads."""

    def __init__(self, tars: TarSet, ignore: Sequence[str]) -> None:
        """Prepare digests of some tars; `ignore` is as `index` takes it, and part of each digest."""
        self._tars, self._made_by = tars, f"index {__version__} {' '.join(ignore)}"
        self._first: dict[str, str | None] = {}

    def first(self, name: str) -> str | None:
        """Return a tar's digest as it was when first asked for; None if the server sends no ETag."""
        if name not in self._first:
            self._first[name] = self.now(name)
        return self._first[name]

    def now(self, name: str) -> str | None:
        """Return a tar's digest as it is now; None if the server sends no ETag."""
        if self._tars.on_disk:
            status = os.stat(self._tars.path(name))
            return f"{self._made_by} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
        version = self._tars.store.version(name)
        return f"{self._made_by} {version.size} {version.etag}" if version.etag else None

    def of_run(self, *options: object) -> str:
        """Return a digest of all tars and of the options; "" if any tar has no digest."""
        names = self._tars.names
        limit = 1 if self._tars.on_disk else REQUESTS_AT_ONCE
        digests = call_all(self.first, names, limit=limit, purpose="ask")
        if None in digests:
            return ""
        return xxh3_128_hexdigest(json.dumps([names, digests, list(map(repr, options))]).encode())
