import json
from pathlib import Path

import pytest

from tests.export.indexes.samples import make


@pytest.fixture(scope="session")
def ds(tmp_path_factory):
    """The dataset of samples.py; not to be changed."""
    return make(tmp_path_factory.mktemp("indexes") / "ds")


@pytest.fixture(scope="session")
def golden():
    """What the tools of others make of its tars; golden/make_golden.py says how it was recorded."""
    return json.loads((Path(__file__).parent / "golden" / "golden.json").read_text(encoding="utf-8"))
