"""Tasks for workers on other machines: they make shards and deliver them where they run. First, each node is probed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Any, Protocol

from shardpack._version import __version__
from shardpack.commit.delivering import Delivering
from shardpack.commit.destination import Destination
from shardpack.commit.scratch import ScratchDir
from shardpack.errors import OptionError, ShardpackError, SourceError
from shardpack.format.shard_info import ShardInfo
from shardpack.runtime.engine import RemoteEngine
from shardpack.runtime.progress import Advance
from shardpack.write.chunk_input import ChunkPart
from shardpack.write.chunk_plan import ChunkRecipe
from shardpack.write.steps import encoder_versions

NO_SCRATCH = ScratchDir("")  # of a task before it has reached its worker


class MadeShards(Protocol):
    """The result of a task that makes several shards."""

    @property
    def shards(self) -> tuple[ShardInfo, ...]: ...


@dataclass(frozen=True, slots=True)
class MakeThere:
    """A function for an engine: makes shards as another function does, and delivers them. Pickles.

    Attributes:
        make: Called as make(task, advance), `task` having a `scratch`; returns a ShardInfo, or has made several.
        destination: Where the shards are delivered.
    """

    make: Callable[..., Any]
    destination: Destination

    def __call__(self, task: Any, advance: Advance) -> Any:
        """Return what was made and is now in its place. Running again does no harm: the bytes are the same."""
        with self.destination.scratch() as scratch:
            made: ShardInfo | MadeShards = self.make(replace(task, scratch=scratch), advance)
            for info in (made,) if isinstance(made, ShardInfo) else made.shards:
                self.destination.deliver(info)
            return made


@dataclass(frozen=True, slots=True)
class _SourceProbe:
    sample: ChunkPart
    version: str = __version__


@dataclass(frozen=True, slots=True)
class _TargetProbe:
    destination: Destination
    mark: str  # name of the file that each node leaves there


def probe_source(engine: RemoteEngine, sample: ChunkPart) -> None:
    """Raise unless every node has this version of shardpack, and reads the first sample of a source.

    Raises:
        SourceError: A node cannot; it is named, with the reason.
    """
    _raise_any(engine.on_every_node(_problem_of_source, _SourceProbe(sample)))


def probe_recipe(engine: RemoteEngine, recipe: ChunkRecipe) -> None:
    """Raise unless every node would make the same bytes of a sample.

    Raises:
        SourceError: A node has other versions of the libraries that encode; it is named.
    """
    own = recipe.digest()
    for node, digest in engine.on_every_node(_digest_of, recipe):
        if digest != own:
            raise SourceError(
                f"node {node} cannot pack: it has other versions of the libraries that encode; install the same on all"
            )


def _digest_of(recipe: ChunkRecipe) -> str:
    """Return the digest that the recipe has on this machine. Runs on each node."""
    return replace(recipe, versions=encoder_versions() if recipe.versions else recipe.versions).digest()


def probe_target(engine: RemoteEngine, transaction: Delivering) -> None:
    """Raise unless what every node writes to the target of a transaction arrives there.

    Raises:
        SourceError: A node cannot write; it is named, with the reason.
        OptionError: What the nodes write does not arrive.
    """
    mark = f"probe-{token_hex(4)}"
    _raise_any(engine.on_every_node(_problem_of_target, _TargetProbe(transaction.destination(), mark)))
    if not transaction.has_mark(mark):
        raise OptionError(
            "what the nodes of the engine write does not arrive in the target, which is perhaps in the memory of this "
            "process; choose a folder that all nodes share, or a bucket"
        )


def _raise_any(problems: list[tuple[str, str]]) -> None:
    for node, problem in problems:
        if problem:
            raise SourceError(f"node {node} cannot pack: {problem}")


def _problem_of_source(task: _SourceProbe) -> str:
    """Return why this machine could not pack, or "". Runs on each node."""
    if task.version != __version__:
        return f"it has shardpack {__version__}, expected {task.version}; install the same version on all nodes"
    try:
        task.sample.probe()
    except (OSError, ShardpackError) as error:
        return (
            f"it cannot read the source: {error}; mount the source at the same path on all nodes, or give them "
            "credentials for it in their environment"
        )
    return ""


def _problem_of_target(task: _TargetProbe) -> str:
    """Return why this machine could not deliver, or "". Runs on each node."""
    try:
        if not task.destination.is_visible():
            return "it does not see the target; choose a folder that all nodes share, or a bucket"
        task.destination.leave_mark(task.mark)
    except (OSError, ShardpackError) as error:
        return f"it cannot write to the target: {error}; give all nodes credentials for it in their environment"
    return ""
