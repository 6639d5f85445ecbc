"""Versions of Pillow's libraries, and what is said where one is missing."""

from __future__ import annotations

import PIL
import pytest
from PIL import features

from shardpack.codecs.pillow_versions import all_pillow_versions, pillow_versions
from shardpack.errors import MissingDependencyError


def test_versions_are_those_of_pillow():
    found = all_pillow_versions()
    assert found["pillow"] == PIL.__version__
    assert found["lcms"] == features.version("littlecms2")
    assert found["jpg"].endswith(features.version_feature("libjpeg_turbo") or features.version("jpg"))
    assert pillow_versions("jpg") == {"pillow": found["pillow"], "jpg": found["jpg"]}


def test_a_library_that_pillow_lacks_is_named(monkeypatch):
    monkeypatch.delitem(features.modules, "avif", raising=False)
    with pytest.raises(MissingDependencyError, match=r'avif needs a Pillow .* run pip install "pillow>=11.3"'):
        pillow_versions("avif")
    assert "avif" not in all_pillow_versions()
