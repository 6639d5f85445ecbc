"""Make the files of tests/conformance/corpus again: only when the format changes, and then say why in SPEC.md.

python tools/make_corpus.py                  all that can be made here
python tools/make_corpus.py golden corrupt   some of: golden, compressed, splits, edited, elsewhere, corrupt, foreign
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.conformance.recipes import (
    CORPUS,
    FOREIGN,
    broken,
    compressed_dataset,
    edited_dataset,
    elsewhere_dataset,
    golden_dataset,
    splits_dataset,
)


def golden(folder: Path) -> None:
    golden_dataset(folder)


def compressed(folder: Path) -> None:
    compressed_dataset(folder)


def splits(folder: Path) -> None:
    splits_dataset(folder)


def edited(folder: Path) -> None:
    edited_dataset(folder)


def elsewhere(folder: Path) -> None:
    elsewhere_dataset(folder.parent / "golden", folder)


def corrupt(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, data in broken().items():
        (folder / name).write_bytes(data)


def foreign(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, make in FOREIGN.items():
        with tempfile.TemporaryDirectory() as source:
            make(Path(source), folder / f"{name}.tar")


PARTS = {
    "golden": golden,
    "compressed": compressed,
    "splits": splits,
    "edited": edited,
    "elsewhere": elsewhere,
    "corrupt": corrupt,
    "foreign": foreign,
}


def main(wanted: list[str]) -> int:
    """Make the parts asked for, or all; return the exit code."""
    if unknown := set(wanted) - PARTS.keys():
        print(f"no such part: {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}", file=sys.stderr)
        return 2
    for name in wanted or PARTS:
        shutil.rmtree(CORPUS / name, ignore_errors=True)
        PARTS[name](CORPUS / name)
        files = [path for path in (CORPUS / name).rglob("*") if path.is_file()]
        print(f"{name}: {len(files)} files, {sum(path.stat().st_size for path in files)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
