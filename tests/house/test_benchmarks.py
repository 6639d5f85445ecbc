"""Every benchmark is run by `tools/bench/run` and described on its page, and uses the public API alone."""

from __future__ import annotations

import re

from tests.conftest import ROOT

FOLDER = ROOT / "tools" / "bench"
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py")}
RUN = re.compile(r"""^if __name__ == "__main__":\n    sys.exit\(run\(measure""", re.MULTILINE)
SCRIPTS = {name for name, text in TEXTS.items() if RUN.search(text)}
INSIDE = {"huge", "balanced"}  # make what no one could wait for: tables, and orders of 100 million samples


def test_every_script_is_run_and_described():
    assert "seek" in SCRIPTS
    rows = re.findall(r"^\| `(\w+)` \| ", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(rows) == SCRIPTS
    assert len(rows) == len(SCRIPTS)
    missing = [name for name in SCRIPTS if f'"{name}"' not in TEXTS["run"]]
    assert not missing, f"tools/bench/run.py does not know {missing}"


def test_scripts_use_what_users_have():
    """So that one script measures several versions."""
    for name in TEXTS.keys() - INSIDE:
        inner = re.findall(r"^\s*(?:from|import) (shardpack\.\S+)", TEXTS[name], re.MULTILINE)
        assert not inner, f"tools/bench/{name}.py imports {inner}"
