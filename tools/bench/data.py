"""Two works, made up the same on every machine.

    tiny    100,000 samples: 2-3 KB JPEG, 120 bytes of JSON
    photo     8,000 samples: 60-160 KB JPEG (110 KB on average), 120 bytes of JSON

JPEGs have the right first and last bytes and noise between them: nothing here looks further.

    data.py --work-dir DIR      makes both as files in class folders, for the other benchmarks
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import Report, run

import shardpack

JSON_BYTES = 120
CLASSES = 100
_JPEG_BEGIN, _JPEG_END = bytes.fromhex("ffd8ffe000104a46494600010100000100010000"), bytes.fromhex("ffd9")


@dataclass(frozen=True)
class Work:
    """A made-up dataset: how many samples, and the bounds of an image's length."""

    name: str
    num_samples: int
    min_bytes: int
    max_bytes: int

    def scaled(self, scale: float) -> Work:
        """Return the same with fewer samples."""
        return Work(self.name, max(CLASSES, round(self.num_samples * scale)), self.min_bytes, self.max_bytes)

    def samples(self, count: int | None = None) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield (key, image, label) of the first samples, ascending by key."""
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

    def fields(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Yield the samples as `shardpack.pack` takes them."""
        return ((key, {"jpg": image, "json": label}) for key, image, label in self.samples())

    def folder(self, root: Path) -> Path:
        """Return a folder with the samples as files, made if it is not there yet."""
        pairs = ((f"{key}.{field}", data) for key, fields in self.fields() for field, data in fields.items())
        return once(root / f"{self.name}-{self.num_samples}", lambda folder: write_files(folder, pairs))


def once(path: Path, make: Callable[[Path], None]) -> Path:
    """Return a path at which `make` has put something, now or in an earlier run."""
    done = path.with_name(path.name + ".done")
    if not done.exists():
        began = time.perf_counter()
        shutil.rmtree(path, ignore_errors=True)
        make(path)
        os.sync()
        done.touch()
        print(f"made {path.name} in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return path


def write_files(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files by their names below a folder."""
    for name, data in files:
        path = f"{folder}/{name}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path))
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, data)
        os.close(descriptor)


def dataset(folder: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]], **limits: int | str) -> Path:
    """Return a dataset of these samples, written if there is none that can be opened; `limits` go to `ShardWriter`."""
    with suppress(shardpack.ShardpackError):
        shardpack.open(folder)
        return folder
    with shardpack.ShardWriter(folder, force=True, **limits) as writer:
        for key, fields in samples:
            writer.write(key, fields)
    return folder


def packed(work: Work, root: Path, **limits: int | str) -> Path:
    """Return a dataset of the work, packed if it is not there yet; `limits` go to `ShardWriter`."""
    name = "-".join([work.name, str(work.num_samples), *map(str, limits.values()), "packed"])
    return dataset(root / name, work.fields(), **limits)


def members(tar: Path) -> Iterator[tuple[str, int, int]]:
    """Yield (name, offset, size) of a tar's members: of plain headers alone, as the samples of both works have."""
    with open(tar, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = 0
        while data[at]:
            size = int(data[at + 124 : at + 135], 8)
            yield data[at : at + 100].rstrip(b"\0").decode(), at + 512, size
            at += 512 + -(-size // 512) * 512


TINY = Work("tiny", 100_000, 2048, 3072)
PHOTO = Work("photo", 8_000, 60 << 10, 160 << 10)


def warm(folder: Path) -> int:
    """Read every file below a folder once, so that it is in the page cache; return the bytes."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(path, name), "rb", buffering=0) as file:
                while length := len(file.read(16 << 20)):
                    total += length
    return total


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
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


if __name__ == "__main__":
    sys.exit(run(measure, rounds=1))
