"""Steps and listings for tests of chunks: no process, no library."""

from __future__ import annotations

import random
from dataclasses import dataclass

from shardpack.errors import SourceError
from shardpack.write.apply_steps import Application
from shardpack.write.chunk_plan import ChunkRecipe
from shardpack.write.sharding import ShardLimits
from shardpack.write.transform import Pipeline
from tests.fakes import inline_listing

SMALL = 20_000


@dataclass(frozen=True)
class Grow:
    """Makes each payload `times` as long; drops and multiplies samples, and fails, by their key."""

    times: float = 1.0
    drop: str = "none of them"
    twice: str = "none of them"
    fail: str = "none of them"

    def __call__(self, key, fields, counts):
        counts["grow.seen"] += 1
        if self.fail in key:
            raise SourceError("made to fail")
        if self.drop in key:
            return []
        counts["grow.kept"] += 1
        grown = {name: (data * int(self.times + 1))[: int(len(data) * self.times)] for name, data in fields.items()}
        return [(f"{key}-{i}", grown) for i in range(2)] if self.twice in key else [(key, grown)]

    def describe(self):
        return {"step": "grow", "options": repr(self)}


def recipe(step, *, on_error="raise", compression=None, timeout=None, **limits):
    application = Application(Pipeline((step,)), timeout)
    return ChunkRecipe(application, ShardLimits(**{"max_bytes": SMALL, **limits}), compression, on_error)


def samples(count, *, seed=0, most=4000):
    rng = random.Random(seed)
    return {
        f"{'abc'[i % 3]}/{i:04d}": {"jpg": rng.randbytes(rng.randrange(most)), "json": b'{"label": %d}' % i}
        for i in range(count)
    }


def listing(count, **options):
    return inline_listing(samples(count, **options))
