"""Which manifest is the newest that is whole, and what is said of the others."""

from __future__ import annotations

import pytest

from shardpack.errors import DatasetNotFoundError
from shardpack.format.layout import MANIFEST_PATH, manifest_path
from shardpack.inspect.newest_manifest import find_newest_manifest
from shardpack.inspect.verify import verify
from shardpack.storage.memory import MemoryStore
from tests.conformance.recipes import CORPUS
from tests.fakes import file_contents

FILES = file_contents(CORPUS / "edited")  # of six generations


def found(changes):
    files = {name: data for name, data in {**FILES, **changes}.items() if data is not None}
    newest = find_newest_manifest(MemoryStore(files))
    generation = None if newest.manifest is None else newest.manifest.generation
    return generation, [(problem.kind, problem.shard, problem.command) for problem in newest.problems]


@pytest.mark.parametrize(("copy", "kind"), [(None, "missing"), (b"", "damaged"), (b"x" * (17 << 20), "damaged")])
def test_the_copy_alone(copy, kind):
    assert found({MANIFEST_PATH: copy}) == (6, [(kind, MANIFEST_PATH, "repair")])


def test_a_generation_whose_manifest_is_lost_is_told():
    lost = {MANIFEST_PATH: b"{", manifest_path(6): None, manifest_path(5): b"damaged"}
    generation, problems = found(lost)
    assert (generation, problems[0]) == (4, ("damaged", MANIFEST_PATH, "repair"))
    assert [(kind, command) for kind, _, command in problems[1:]] == [("missing", "repair")]
    files = {name: data for name, data in {**FILES, **lost}.items() if data is not None}
    kinds = {problem.kind for problem in verify(MemoryStore(files)).problems}
    assert kinds == {"damaged", "missing"}, "what may be needed by what is lost is no orphan"


def test_no_manifest_at_all():
    gone = dict.fromkeys([name for name in FILES if "/manifests/" in name], None)
    assert found({**gone, MANIFEST_PATH: b"{"}) == (None, [("damaged", MANIFEST_PATH, "repair")])
    with pytest.raises(DatasetNotFoundError):
        found({**gone, MANIFEST_PATH: None})
