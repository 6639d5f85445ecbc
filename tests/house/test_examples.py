"""Every example runs as it stands, with warnings as errors, and stays short."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.edges.needs import needs

EXAMPLES = sorted((ROOT / "examples").glob("*/*.py"))
SAYS = {
    "evaluate": "120 questions about 40 images in 6 shards: ",
    "look_up": "t-shirt/02, dress/01, hat/04, t-shirt/04",
    "pack_a_folder": "one epoch of 40: 4 dress, 4 hat",
    "train_with_torch": "the same losses: True",
    "webdataset_pipeline": "one epoch: 40 samples in 5 batches\nresumed after 3 batches: True",
    "your_own_samples": "120 samples in 3 shards, fields: json, png, seg.png, txt",
}


@pytest.mark.every_case
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_example_runs(path, tmp_path):
    if "import torch\n" in path.read_text(encoding="utf-8"):
        needs("torch")
    if "import webdataset" in path.read_text(encoding="utf-8"):
        needs("webdataset")
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert SAYS[path.parent.name] in done.stdout
    assert not list(tmp_path.iterdir()), "an example writes to a temporary folder only"


def test_every_story_has_its_folder_and_is_listed():
    assert {path.parent.name for path in EXAMPLES} == SAYS.keys()
    listed = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES:
        assert f"({path.relative_to(ROOT / 'examples').as_posix()})" in listed
        assert len(path.read_text(encoding="utf-8").splitlines()) < 60
