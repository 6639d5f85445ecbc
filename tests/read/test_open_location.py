"""From what users pass to stores: folders, file URLs, stores; the rest is refused with what to do."""

from __future__ import annotations

import pytest

from shardpack.errors import DatasetNotFoundError, OptionError
from shardpack.read.open_location import check_index_option, open_location
from shardpack.storage.locations import LocationOptions
from shardpack.storage.memory import MemoryStore
from tests.read.datasets import numbered, write

OPTIONS = LocationOptions()


def test_a_folder_by_path_and_by_url(tmp_path):
    folder = write(tmp_path / "ds", numbered(2))
    for location in (folder, str(folder), folder.as_uri()):
        store, sidecars = open_location(location, OPTIONS, sidecars=None)
        assert (store.folder, store.remote, sidecars) == (str(folder), False, None)


def test_sidecars_have_a_store_of_their_own(tmp_path):
    tars = MemoryStore({})
    store, sidecars = open_location(tars, OPTIONS, sidecars=tmp_path)
    assert store is tars
    assert sidecars is not None
    assert sidecars.folder == str(tmp_path)
    assert open_location(tmp_path, OPTIONS, sidecars=tars)[1] is tars, "then a folder needs no manifest"


def test_a_folder_without_a_manifest_and_a_list_of_tars(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="no dataset in"):
        open_location(tmp_path, OPTIONS, sidecars=None)
    with pytest.raises(OptionError, match="storage_options are for URLs"):
        open_location(tmp_path, LocationOptions({"region": "x"}), sidecars=None)
    with pytest.raises(DatasetNotFoundError, match="a list of tars has no index"):
        open_location(["a.tar"], OPTIONS, sidecars=None)


@pytest.mark.parametrize("location", [5, None, {"a": 1}, {"a"}, b"out"])
def test_other_things_are_refused(location):
    with pytest.raises(OptionError, match="expected a folder, a URL, a list of tars, or a store"):
        open_location(location, OPTIONS, sidecars=None)


@pytest.mark.parametrize(
    ("index", "ignore", "generation", "says"),
    [
        ("disk", None, None, "choose 'memory'"),
        ("memory", None, 3, 'index="memory" is for plain tars, generation for datasets; leave one of them out'),
        (None, ["*"], None, "ignore is for plain tars"),
    ],
)
def test_index_options_fit_together(index, ignore, generation, says):
    with pytest.raises(OptionError, match=says):
        check_index_option(index, ignore, {"sidecars": None, "generation": generation})
    check_index_option("memory", ["*"], {"generation": None})
    check_index_option(None, None, {"generation": 3})
