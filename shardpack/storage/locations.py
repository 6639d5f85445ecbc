"""The stores of one dataset: one for its metadata, and one for each location of its tars.

The `locations` of a manifest say where its tars are (SPEC 6.5). As the manifest may come from a stranger, only a few
kinds of locations are followed: never from a bucket or server to this machine, to another bucket or host only if the
user allows it, and credentials are sent to no other server.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from shardpack.errors import OptionError
from shardpack.format.layout import FOLDER
from shardpack.format.manifest import OWN_FOLDER
from shardpack.format.shard_info import ShardInfo
from shardpack.storage.open import open_store, with_cache
from shardpack.storage.protocols import Store
from shardpack.storage.stats import Stats
from shardpack.storage.subfolder import subfolder
from shardpack.storage.url import BUCKET_SCHEMES, WEB_SCHEMES, is_url

_FOLLOWED = BUCKET_SCHEMES | WEB_SCHEMES | {"hf", "memory"}  # no driver that reads local files or logs in by itself


@dataclass(frozen=True, slots=True)
class LocationOptions:
    """How to read tars that are not where their manifest is.

    Attributes:
        storage_options: Those of a manifest on a server are used for that server only, those of a
            bucket for buckets of the same provider.
        cache_dir, cache_bytes: See `with_cache`.
        allow_locations: Whether the manifest of a bucket or server may name other buckets or hosts, or
            the URLs below which it may.
    """

    storage_options: Mapping[str, Any] | None = None
    cache_dir: str | os.PathLike[str] | None = None
    cache_bytes: int | str | None = None
    allow_locations: bool | Sequence[str] = False


@dataclass(frozen=True, slots=True, eq=False)
class DatasetStores:
    """The stores that a dataset is read from. Safe in threads; pickles if its stores do.

    Attributes:
        sidecars: The store with the folder `.shardpack`.
        tars: The store of the tars of each location.
        location: Where the dataset was opened: the folder or URL to which its locations are relative.
    """

    sidecars: Store
    tars: tuple[Store, ...]
    location: str

    def of(self, shard: ShardInfo) -> Store:
        """Return the store of a shard's tar."""
        return self.tars[shard.location]

    def url(self, shard: ShardInfo) -> str:
        """Return the path or URL of a shard's tar."""
        return url_of(self.of(shard), shard.name)

    @property
    def remote(self) -> bool:
        """Whether reading payloads may wait for a network."""
        return any(store.remote for store in self.tars)

    @property
    def prefetch_depth(self) -> int:
        """Number of requests that should be in flight before their bytes are needed."""
        return max((store.prefetch_depth for store in self.tars), default=0)

    @property
    def checks_reads(self) -> bool:
        """Whether payload checksums should be checked by default."""
        return any(store.checks_reads for store in self.tars)

    @property
    def all(self) -> tuple[Store, ...]:
        """All of the stores; one that is two of them comes twice."""
        return (self.sidecars, *self.tars)

    def stats(self) -> Stats:
        """Return what reading has cost, summed over all stores."""
        return sum_of_stats(self.all)

    def close(self) -> None:
        """Release threads, connections and descriptors; a later read opens again what it needs."""
        for store in self.all:
            store.close()


def sum_of_stats(stores: Iterable[Store]) -> Stats:
    """Return what reading from some stores has cost; those that count together are counted once."""
    counters = {id(store.stats): store.stats for store in stores}
    return Stats(*map(sum, zip(*(astuple(stats.snapshot()) for stats in counters.values()), strict=True)))


def url_of(store: Store, path: str) -> str:
    """Return the path or URL of an object."""
    location = store.location
    return location + path if location.endswith("/") else f"{location}/{path}"


def open_locations(
    home: Store,
    locations: Sequence[str],
    options: LocationOptions,
    *,
    sidecars: Store | None = None,
    layers: Sequence[str] = (),
) -> DatasetStores:
    """Return the stores of a dataset, without its layers; makes no request.

    Args:
        home: The dataset's own folder, to which locations are relative.
        locations: The locations of its manifest.
        options: How to read the other locations.
        sidecars: The store with `.shardpack`, if that is not in `home`.
        layers: Where its layers are: `open_layer` opens them.

    Raises:
        OptionError: The manifest names a location that is not followed, or a folder is given options for URLs.
    """
    urls = [location for location in (*locations, *layers) if is_url(location)]
    if not (urls or any(is_url(store.location) for store in (home, sidecars) if store is not None)):
        if options.storage_options:
            raise OptionError(f"storage_options are for URLs, and {home.location!r} is a folder; leave them out")
        if not options.cache_dir is options.cache_bytes is None:
            raise OptionError("cache_dir and cache_bytes are for URLs; what is local is read in place, leave them out")
    return DatasetStores(sidecars or home, _stores(home, locations, options), home.location)


def _stores(home: Store, locations: Sequence[str], options: LocationOptions) -> tuple[Store, ...]:
    return tuple(home if location == OWN_FOLDER else _open(home, location, options) for location in locations)


@dataclass(frozen=True, slots=True, eq=False)
class LayerFolder:
    """The folder of a layer.

    Attributes:
        store: Has the layer's manifest.
        options: How to read what that manifest names.
    """

    store: Store
    options: LocationOptions

    def stores(self, locations: Sequence[str]) -> DatasetStores:
        """Return the stores of the layer, given the locations of its manifest; makes no request.

        Raises:
            OptionError: The manifest names a location that is not followed.
        """
        return DatasetStores(self.store, _stores(self.store, locations, self.options), self.store.location)


def open_layer(home: Store, location: str, options: LocationOptions, *, sidecars: Store | None = None) -> LayerFolder:
    """Return the folder of a layer; makes no request.

    What is in `.shardpack/` is read from where that is; any other location is followed like those of tars.

    Args:
        home: The folder of the dataset that has the layer.
        location: The layer's location, as the manifest of that dataset has it.
        options: How to read the other locations of that dataset.
        sidecars: The store with `.shardpack`, if that is not in `home`.

    Raises:
        OptionError: The location is not followed.
    """
    inside = posixpath.normpath(location)
    if not is_url(location) and inside.startswith(f"{FOLDER}/"):
        store: Store = subfolder(sidecars or home, inside)
    else:
        store = _open(home, location, options, what="a layer is")
    if is_url(store.location) and not _may_know(home.location, store.location):
        options = replace(options, storage_options=None)  # not meant for what the layer names, either
    return LayerFolder(store, options)


def _open(home: Store, location: str, options: LocationOptions, *, what: str = "its tars are") -> Store:
    url = resolve_location(home, location, options.allow_locations, what=what)
    if not is_url(url):
        return open_store(url)
    storage_options = options.storage_options if _may_know(home.location, url) else None
    store = open_store(url, storage_options)
    return with_cache(store, options.cache_dir, options.cache_bytes, storage_options) if store.remote else store


def resolve_location(
    home: Store, location: str, allow: bool | Sequence[str] = False, *, what: str = "its tars are"
) -> str:
    """Return the folder or URL that a location of a manifest means.

    Args:
        home: The folder of the dataset.
        location: A path relative to it, or a URL.
        allow: See `LocationOptions.allow_locations`.
        what: What is there, for messages.

    Raises:
        OptionError: The location is not followed.
    """
    if not is_url(home.location):
        if home.folder is None and not (allow is True or any(location == one for one in allow or ())):
            why = f"but it has no URL: pass allow_locations=[{location!r}] (--allow-locations) if you trust it"
            raise _refused(home.location, location, why, what)
        if not is_url(location):
            return os.path.normpath(os.path.join(home.folder or home.location, location))
        _check_scheme(home.location, location, what)
        return location
    if not is_url(location):
        scheme, _, rest = home.location.partition("://")
        host, _, folder = rest.partition("/")
        path = posixpath.normpath(posixpath.join("/", folder, location))
        climbs = posixpath.normpath(posixpath.join(folder, location)).startswith("..")
        if location.startswith("/") or "\\" in location or climbs:
            why = "a path of this machine, or outside of its bucket, is not followed"
            raise _refused(home.location, location, why, what)
        location = f"{scheme}://{host}{path}".rstrip("/")
    _check_scheme(home.location, location, what)
    if allow is not True and _owner(location) != _owner(home.location):
        allowed = () if allow is False else allow
        if not any(_is_below(location, url) for url in allowed):
            option = f"allow_locations=[{location!r}], or --allow-locations {location},"
            raise _refused(home.location, location, f"another bucket or host: pass {option} if you trust it", what)
    return location


def is_followed(home: str, url: str) -> bool:
    """Return whether a manifest at `home` may place its tars at a URL of this scheme."""
    scheme = url.partition("://")[0]
    return scheme in _FOLLOWED or (is_url(home) and home.partition("://")[0] == scheme)


def _check_scheme(home: str, location: str, what: str) -> None:
    if not is_followed(home, location):
        raise _refused(home, location, "a kind of location that is not followed", what)


def _refused(home: str, location: str, why: str, what: str) -> OptionError:
    instead = 'index the tars where they are: "shardpack index"'
    if "layer" in what:
        instead = 'pack the dataset where both are: "shardpack pack"'
    return OptionError(f"the manifest at {home!r} says that {what} at {location!r}, {why}; or {instead}")


def _owner(url: str) -> tuple[str, ...]:
    """Return what belongs to one owner: scheme and bucket or host (Hugging Face: repository)."""
    scheme, _, rest = url.partition("://")
    parts = rest.split("/")
    parts = {"hf": parts[:3], "memory": []}.get(scheme, parts[:1])  # memory is this process's own
    return (scheme, *parts)


def _is_below(location: str, url: str) -> bool:
    return location == url.rstrip("/") or location.startswith(url.rstrip("/") + "/")


def _may_know(home: str, other: str) -> bool:
    """Return whether the storage options of one location may be used for another one."""
    if not is_url(home):
        return True
    (scheme, _, rest), (other_scheme, _, other_rest) = home.partition("://"), other.partition("://")
    if scheme != other_scheme:
        return False
    return scheme in BUCKET_SCHEMES or scheme == "hf" or rest.partition("/")[0] == other_rest.partition("/")[0]
