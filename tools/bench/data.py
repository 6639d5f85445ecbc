"""Two works, made up the same on every machine.

    tiny    100,000 samples: 2-3 KB JPEG, 120 bytes of JSON
    photo     8,000 samples: 60-160 KB JPEG (110 KB on average), 120 bytes of JSON

JPEGs have the right first and last bytes and noise between them: nothing here looks further.

    data.py --work-dir DIR      makes both as files in class folders, for the other benchmarks
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import Report, options, work_folder

JSON_BYTES = 120
CLASSES = 100
_JPEG_BEGIN, _JPEG_END = bytes.fromhex("ffd8ffe000104a46494600010100000100010000"), bytes.fromhex("ffd9")


@dataclass(frozen=True)
class Work:
    """A made-up dataset: how many samples, and the bounds of a picture's length."""

    name: str
    num_samples: int
    min_bytes: int
    max_bytes: int

    def scaled(self, scale: float) -> Work:
        """Return the same with fewer samples."""
        return Work(self.name, max(CLASSES, round(self.num_samples * scale)), self.min_bytes, self.max_bytes)

    def samples(self, count: int | None = None) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield (key, picture, label) of the first samples, ascending by key."""
        noise = np.random.default_rng(0).bytes(self.max_bytes + (1 << 20))
        spread = self.max_bytes - self.min_bytes + 1
        per_class = -(-self.num_samples // CLASSES)
        for i in range(self.num_samples if count is None else count):
            # Fixed multipliers, so that sample i is the same in a longer work.
            size = self.min_bytes + i * 7919 % spread - len(_JPEG_BEGIN) - len(_JPEG_END)
            at = i * 104_729 % (1 << 20)
            key = f"class{i // per_class:03d}/{i:08d}"
            label = json.dumps({"label": i // per_class, "key": key, "text": ""})
            label = label[:-2] + "x" * (JSON_BYTES - len(label)) + label[-2:]
            yield key, _JPEG_BEGIN + noise[at : at + size] + _JPEG_END, label.encode()

    def folder(self, root: Path) -> Path:
        """Return a folder with the samples as files, made if it is not there yet."""
        folder = root / f"{self.name}-{self.num_samples}"
        done = folder.with_suffix(".done")
        if not done.exists():
            began = time.perf_counter()
            for key, picture, label in self.samples():
                path = f"{folder}/{key}"
                try:
                    _write(path + ".jpg", picture)
                except FileNotFoundError:
                    os.makedirs(os.path.dirname(path))
                    _write(path + ".jpg", picture)
                _write(path + ".json", label)
            os.sync()
            done.touch()
            print(f"made {folder.name} in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        return folder


def _write(path: str, data: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(data)


TINY = Work("tiny", 100_000, 2048, 3072)
PHOTO = Work("photo", 8_000, 60 << 10, 160 << 10)


def packed(work: Work, root: Path, **limits: int | str) -> Path:
    """Return a dataset of the work, packed if it is not there yet; `limits` go to `ShardWriter`."""
    import shardpack

    name = "-".join([work.name, str(work.num_samples), *map(str, limits.values()), "packed"])
    with suppress(shardpack.ShardpackError):
        shardpack.open(root / name)
        return root / name
    with shardpack.ShardWriter(root / name, force=True, **limits) as writer:
        for key, picture, label in work.samples():
            writer.write(key, {"jpg": picture, "json": label})
    return root / name


def warm(folder: Path) -> int:
    """Read every file below a folder once, so that it is in the page cache; return the bytes."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(path, name), "rb", buffering=0) as file:
                while length := len(file.read(16 << 20)):
                    total += length
    return total


def main() -> int:
    args = options(__doc__, rounds=1).parse_args()
    report = Report("data", args)
    with work_folder(args) as root:
        for work in (TINY.scaled(args.scale), PHOTO.scaled(args.scale)):
            began = time.perf_counter()
            num_bytes = warm(work.folder(root))
            report.add(
                work=work.name,
                samples=work.num_samples,
                bytes=num_bytes,
                bytes_per_sample=num_bytes // work.num_samples,
                seconds=round(time.perf_counter() - began, 1),
            )
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
