"""What a store holds, with lengths and times where it tells them."""

from __future__ import annotations

from shardpack.storage.protocols import Listed, WritableStore


def list_objects(store: WritableStore) -> list[Listed]:
    """Return all objects of a store, sorted by name; one that lists only names tells neither length nor time."""
    if callable(listing := getattr(store, "listing", None)):
        found: list[Listed] = listing()
        return found
    return [Listed(name) for name in store.names()]
