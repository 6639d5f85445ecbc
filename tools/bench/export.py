"""`shardpack export` in one job, beside a bare loop over `ds.stream()` and the format's own writer.

    folder       open, write, close             webdataset   webdataset's TarWriter
    parquet      pyarrow, row groups of 100     hdf5         h5py, a row at a time
    lmdb         put, a transaction of 500      tfrecord, mds   no writer: the bytes of the samples into one file

Photographs of 60 to 160 KB with a label of 120 bytes. Each run is a fresh process; seconds of CPU, and the peak of
memory with what the interpreter and all libraries take. Exports read all labels twice, check every payload's
checksum, and sync what they write.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Report, run
from data import PHOTO, packed, warm
from measure import fresh, memory

import shardpack

MAX_PEAK_MB = 500


def to_folder(ds: Any, out: Path) -> None:
    for sample in ds.stream():
        path = out / f"{sample.key}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(sample["jpg"])


def to_tar(ds: Any, out: Path) -> None:
    from webdataset import TarWriter

    with TarWriter(str(out / "x.tar")) as writer:
        for sample in ds.stream():
            writer.write({"__key__": sample.key, "jpg": sample["jpg"], "json": sample["json"]})


def to_parquet(ds: Any, out: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema({"key": pa.string(), "image": pa.binary(), "label": pa.int64(), "text": pa.string()})
    with parquet.ParquetWriter(out / "x.parquet", schema) as writer:
        rows: list[dict[str, Any]] = []
        for sample in ds.stream():
            label = json.loads(sample["json"])
            rows.append({"key": sample.key, "image": sample["jpg"], "label": label["label"], "text": label["text"]})
            if len(rows) == 100:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema))


def to_hdf5(ds: Any, out: Path) -> None:
    import h5py

    with h5py.File(out / "x.h5", "w") as file:
        images = file.create_dataset("image", len(ds), h5py.vlen_dtype(np.uint8))
        labels = file.create_dataset("json", len(ds), h5py.string_dtype())
        for number, sample in enumerate(ds.stream()):
            images[number] = np.frombuffer(sample["jpg"], np.uint8)
            labels[number] = sample["json"]


def to_lmdb(ds: Any, out: Path) -> None:
    import lmdb

    environment = lmdb.open(str(out), map_size=1 << 40)
    transaction = environment.begin(write=True)
    for number, sample in enumerate(ds.stream(), start=1):
        transaction.put(sample.key.encode() + b".jpg", sample["jpg"])
        transaction.put(sample.key.encode() + b".json", sample["json"])
        if number % 500 == 0:
            transaction.commit()
            transaction = environment.begin(write=True)
    transaction.commit()
    environment.close()


def to_file(ds: Any, out: Path) -> None:
    with open(out / "x", "wb") as file:
        for sample in ds.stream():
            file.writelines(sample.values())


BARE: dict[str, Callable[[Any, Path], None]] = {
    "folder": to_folder,
    "webdataset": to_tar,
    "parquet": to_parquet,
    "hdf5": to_hdf5,
    "lmdb": to_lmdb,
    "tfrecord": to_file,
    "mds": to_file,
}


def bare(to: str, folder: Path, out: Path) -> dict[str, float]:
    """Write a format by the bare loop, in this (fresh) process; return what it took, in seconds, and MB."""
    out.mkdir()
    with shardpack.open(folder) as ds:
        return taken(lambda: BARE[to](ds, out))


def export(to: str, folder: Path, out: Path) -> dict[str, float]:
    """Export to a format, in the same way."""
    with shardpack.open(folder, verify=True) as ds:
        return taken(lambda: shardpack.export(ds, out, to=to, jobs=1))


def taken(write: Callable[[], Any]) -> dict[str, float]:
    began, used = time.perf_counter(), time.process_time()
    write()
    return {"wall": time.perf_counter() - began, "cpu": time.process_time() - used, "peak": memory()["peak"]}


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    folder = packed(PHOTO.scaled(args.scale), root)
    total = warm(folder)
    for to, loop_of in BARE.items():
        rounds: dict[str, list[dict[str, float]]] = {"export": [], "bare": []}
        for _ in range(args.rounds):
            for name, case in (("export", export), ("bare", bare)):
                out = root / "exported"
                shutil.rmtree(out, ignore_errors=True)
                rounds[name].append(fresh(partial(case, to, folder, out)))
                shutil.rmtree(out)
        ours, loop = (min(found, key=lambda one: one["cpu"]) for found in (rounds["export"], rounds["bare"]))
        report.add(
            format=to,
            samples=PHOTO.scaled(args.scale).num_samples,
            mb=round(total / 1e6),
            cpu_seconds=round(ours["cpu"], 2),
            seconds=round(ours["wall"], 2),
            bare_cpu_seconds=round(loop["cpu"], 2),
            bare_seconds=round(loop["wall"], 2),
            speed_by_cpu=round(loop["cpu"] / ours["cpu"], 2),
            peak_mb=round(ours["peak"]),
        )
        if loop_of is not to_file:
            report.target(f"{to}: speed, of the bare loop's", loop["cpu"] / ours["cpu"], at_least=0.6)
        report.target(f"{to}: peak of memory, MB", ours["peak"], below=MAX_PEAK_MB)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=2))
