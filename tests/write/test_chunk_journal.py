"""Notes of chunks: what was delivered is found again, and nothing else."""

from __future__ import annotations

import json

import pytest

from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.transaction import Transaction
from shardpack.format import layout
from shardpack.write.chunk_journal import deliver_chunk, finished_chunk
from shardpack.write.chunk_plan import Growth, plan_chunks
from shardpack.write.listed_input import ListedInput
from shardpack.write.pack_chunk import ChunkTask, close_applier, pack_chunk
from tests.write.chunk_steps import Grow, listing, recipe

RECIPE = recipe(Grow(0.5))
PLAN = plan_chunks(ListedInput(listing(20)), RECIPE, [Growth(10, 100, 10, 50)])
DIGEST = RECIPE.digest()


@pytest.fixture
def transaction(tmp_path):
    with Transaction.new_dataset(FolderTarget(str(tmp_path)), "pack") as transaction:
        yield transaction
    close_applier()


@pytest.fixture
def made(transaction):
    made = pack_chunk(RECIPE, ChunkTask(transaction.scratch, 0, PLAN.names[0], PLAN.part(0)))
    deliver_chunk(transaction, transaction.deliver, made, PLAN.digest(0, DIGEST))
    return made


def test_a_delivered_chunk_is_finished(transaction, made):
    assert finished_chunk(transaction, PLAN, 0, DIGEST) == made
    assert finished_chunk(transaction, PLAN, 1, DIGEST) is None


def test_of_another_recipe_it_is_not(transaction, made):
    assert made.shards
    assert finished_chunk(transaction, PLAN, 0, "another") is None


def test_without_one_of_its_shards_it_is_not(transaction, made, tmp_path):
    (tmp_path / made.shards[-1].name).unlink()
    assert finished_chunk(transaction, PLAN, 0, DIGEST) is None


@pytest.mark.parametrize("change", [{"tally": {}}, {"shards": None}, {"shards": ["shard-000007-00.tar"]}, {"input": 3}])
def test_a_damaged_note_is_none(transaction, made, tmp_path, change):
    assert made.shards
    path = tmp_path / layout.WORK_FOLDER / "chunk-000000.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert finished_chunk(transaction, PLAN, 0, DIGEST) is None
