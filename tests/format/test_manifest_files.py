"""What a manifest names, out of its JSON. Each refusal is tested with the whole text, in `test_manifest_json`."""

from __future__ import annotations

import json

import pytest

from shardpack.errors import CorruptManifestError
from shardpack.format.manifest_files import deleted_files, layer_refs, parent_of, splits_file, table_files
from shardpack.format.manifest_json import encode_manifest
from shardpack.format.manifest_object import ManifestObject
from tests.format.test_manifest_json import EDITED

VALUES = json.loads(encode_manifest(EDITED))
READERS = {
    "splits": splits_file,
    "deleted": deleted_files,
    "layers": layer_refs,
    "table": table_files,
    "parent": parent_of,
}


@pytest.mark.parametrize("name", READERS)
def test_values_come_back(name):
    assert READERS[name](ManifestObject(VALUES, "manifest")) == getattr(EDITED, name)


@pytest.mark.parametrize("name", READERS)
def test_what_is_not_there_is_none(name):
    assert not READERS[name](ManifestObject({"num_samples": 21}, "manifest"))


@pytest.mark.parametrize("name", ["splits", "deleted", "layers"])
def test_few_samples_have_small_files(name):
    with pytest.raises(CorruptManifestError, match="bad num_bytes"):
        READERS[name](ManifestObject({**VALUES, name: _huge(VALUES[name])}, "manifest"))


def _huge(value):
    if isinstance(value, list):
        return [_huge(one) for one in value]
    if "positions" in value:
        return {**value, "positions": _huge(value["positions"])}
    return {**value, "num_bytes": 1 << 40}
