"""What tells a tar from one that takes its name later, and a run of `index` from one of other tars or options."""

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
    """The digests of some tars, each as it was when it was first asked for. Safe in threads."""

    def __init__(self, found: TarSet, ignore: Sequence[str]) -> None:
        """Ask about tars; `ignore` is as `index` takes it, and part of each digest."""
        self._found, self._made_by = found, f"index {__version__} {' '.join(ignore)}"
        self._first: dict[str, str | None] = {}

    def first(self, name: str) -> str | None:
        """Return a tar's digest; None where the server does not say what it is of."""
        if name not in self._first:
            self._first[name] = self.now(name)
        return self._first[name]

    def now(self, name: str) -> str | None:
        """Return a tar's digest as it is now."""
        if self._found.on_disk:
            status = os.stat(self._found.path(name))
            return f"{self._made_by} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
        version = self._found.store.version(name)
        return f"{self._made_by} {version.size} {version.etag}" if version.etag else None

    def of_run(self, *options: object) -> str:
        """Return a digest of all tars and of options; "" where there is none of a tar."""
        names = self._found.names
        limit = 1 if self._found.on_disk else REQUESTS_AT_ONCE
        digests = call_all(self.first, names, limit=limit, purpose="ask")
        if None in digests:
            return ""
        return xxh3_128_hexdigest(json.dumps([names, digests, list(map(repr, options))]).encode())
