"""Values of the manifest: what is taken, and that errors name the place and show a bounded part of the value."""

from __future__ import annotations

import pytest

from shardpack.errors import CorruptManifestError, UnsupportedVersionError
from shardpack.format.manifest_object import ManifestObject, shown


def test_good_values_come_back():
    values = {"n": 3, "s": ["a"], "c": "0000000a", "o": {"x": 1}, "l": [{"x": 1}], "counts": {"a": 1}}
    top = ManifestObject(values, "manifest")
    assert top.number("n", least=3, most=3) == 3
    assert top.strings("s") == ("a",)
    assert top.checksum("c") == 10
    assert top.object("o").number("x") == 1
    assert [one.what for one in top.objects("l")] == ["l"]
    assert top.counts("counts") == {"a": 1}
    assert top.some_objects("none") == []


@pytest.mark.parametrize("name", ["keys-000001-0000000a.index", "keys-000000000000000001-0000000a.index"])
def test_names_of_files_are_prefix_generation_and_checksum(name):
    assert ManifestObject({"name": name, "crc32c": "0000000a"}, "keys").file_name("keys-") == name


@pytest.mark.parametrize(
    "name",
    [
        "keys-00001-0000000a.index",
        "keys-0000000a.index",
        "keys--0000000a.index",
        "keys-000001-0000000b.index",
        "keys-000001-0000000a.index.index",
        "keys-../001-0000000a.index",
        "../keys-000001-0000000a.index",
        "",
        7,
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(CorruptManifestError, match="bad name in keys"):
        ManifestObject({"name": name, "crc32c": "0000000a"}, "keys").file_name("keys-")


def test_errors_show_little():
    assert len(shown("x" * 10_000)) == 80
    assert shown([1] * 10_000) == "a list"
    with pytest.raises(CorruptManifestError, match="lacks 'n' in keys"):
        ManifestObject({}, "keys").number("n")
    with pytest.raises(UnsupportedVersionError, match=r"'more' in keys.*upgrade shardpack to 9"):
        ManifestObject({"more": 1, "x-more": 1}, "keys", "9").refuse_unknown(())
