"""Files in foreign formats, as their own writers make them, and the loops that people would write to read them.

A format is a `Bridge` in BRIDGES: how its file is made, and a bare loop over its own reader; for formats that we read
by hand, over the bytes of the file.
"""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

PAYLOAD_BYTES = 110_000  # of an image, about the mean of ImageNet
_HEAD = b"\xff\xd8\xff\xe0"

Samples = Iterator[tuple[str, dict[str, bytes]]]


@dataclass(frozen=True)
class Bridge:
    """A format.

    Attributes:
        make: Writes a file, or a folder, of about so many bytes.
        read: Yields the samples, by a bare loop.
        detected: Whether it is a kind of source instead of a format of `pack --from`.
    """

    make: Callable[[int, Path], None]
    read: Callable[[Path], Samples]
    detected: bool = False


def payloads(num_bytes: int) -> Iterator[bytes]:
    """Yield images that no codec could read, of different lengths, and of so many bytes in all."""
    rng = random.Random(0)  # noqa: S311 - the same bytes each time
    noise = rng.randbytes(1 << 20)
    while num_bytes > 0:
        length = rng.randrange(PAYLOAD_BYTES // 2, PAYLOAD_BYTES * 3 // 2)
        at = rng.randrange(len(noise) - length)
        yield _HEAD + noise[at : at + length]
        num_bytes -= length


def _masked(data: bytes) -> bytes:
    from crc32c import crc32c

    value = crc32c(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _field(number: int, payload: bytes) -> bytes:
    length, out = len(payload), bytearray([number << 3 | 2])
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out) + payload


def make_tfrecord(num_bytes: int, path: Path) -> None:
    """Write tf.train.Examples with an image, a label and a file name."""
    with path.open("wb") as file:
        for number, payload in enumerate(payloads(num_bytes)):
            label = _field(3, _field(1, bytes([number % 100])))
            name = _field(1, _field(1, b"%08d.jpg" % number))
            features = ((b"image/class/label", label), (b"image/encoded", _field(1, _field(1, payload))))
            entries = [
                _field(1, _field(1, key) + _field(2, value)) for key, value in (*features, (b"image/filename", name))
            ]
            record = _field(1, b"".join(entries))
            length = struct.pack("<Q", len(record))
            file.writelines((length, _masked(length), record, _masked(record)))


def make_recordio(num_bytes: int, path: Path) -> None:
    """Write records with a label, an id and an image."""
    with path.open("wb") as file:
        for number, payload in enumerate(payloads(num_bytes)):
            data = struct.pack("<IfQQ", 0, number % 100, number, 0) + payload
            file.writelines((struct.pack("<II", 0xCED7230A, len(data)), data, bytes(-len(data) % 4)))


def make_beton(num_bytes: int, path: Path) -> None:
    """Write an image and a label a sample; the data behind the table."""
    some = list(payloads(num_bytes))
    fields = b"".join(
        bytes([kind]) + name.ljust(16, b"\0") + bytes(1024) for kind, name in ((2, b"image"), (1, b"label"))
    )
    start = -(-(24 + len(fields) + 24 * len(some)) // (8 << 20)) * (8 << 20)
    rows, allocations, at = [], [], start
    for number, payload in enumerate(some):
        rows.append(struct.pack("<BHHQ3xq", 0, 500, 400, at, number % 100))
        allocations.append(struct.pack("<QQQ", number, at, len(payload)))
        at += len(payload)
    with path.open("wb") as file:
        file.write((struct.pack("<HHIQQ", 2, 2, 8 << 20, len(some), at) + fields + b"".join(rows)).ljust(start, b"\0"))
        file.writelines(some)
        file.writelines(allocations)


def make_parquet(num_bytes: int, path: Path) -> None:
    """Write images with their paths and labels as Hugging Face does, in row groups of 1,000."""
    import pyarrow as pa
    from pyarrow import parquet

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("label", pa.int64())])
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        _write_tables(num_bytes, schema, writer)


def make_arrow(num_bytes: int, path: Path) -> None:
    """Write an Arrow stream of the same table, in batches of 1,000."""
    import pyarrow as pa

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("label", pa.int64())])
    with pa.ipc.new_stream(str(path), schema) as writer:
        _write_tables(num_bytes, schema, writer)


def _write_tables(num_bytes: int, schema: Any, writer: Any) -> None:
    import pyarrow as pa

    numbered = enumerate(payloads(num_bytes))
    while some := list(islice(numbered, 1000)):
        images = [{"bytes": payload, "path": f"{number:08d}.jpg"} for number, payload in some]
        labels = [number % 100 for number, _ in some]
        writer.write_table(pa.table({"image": images, "label": labels}, schema=schema))


def read_parquet(path: Path) -> Samples:
    """Yield the rows of batches of 64."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=64):
            yield from _of_rows(batch.to_pylist())


def read_arrow(path: Path) -> Samples:
    """Yield the rows of a mapped stream, 64 at once."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
        for batch in reader:
            for first in range(0, batch.num_rows, 64):
                yield from _of_rows(batch.slice(first, 64).to_pylist())


def _of_rows(rows: list[dict[str, Any]]) -> Samples:
    for row in rows:
        label = json.dumps({"label": row["label"]}, separators=(",", ":")).encode()
        yield row["image"]["path"][:-4], {"jpg": row["image"]["bytes"], "json": label}


def make_hdf5(num_bytes: int, path: Path) -> None:
    """Write lists of bytes, labels and keys."""
    import h5py
    import numpy as np

    some = list(payloads(num_bytes))
    with h5py.File(path, "w") as file:
        images = file.create_dataset("image", (len(some),), h5py.vlen_dtype("u1"))
        for number, payload in enumerate(some):
            images[number] = np.frombuffer(payload, "u1")
        file["label"] = np.arange(len(some)) % 100
        file["key"] = [f"{number:08d}" for number in range(len(some))]


def read_hdf5(path: Path) -> Samples:
    """Yield the rows, one by one."""
    import h5py

    with h5py.File(path) as file:
        images, labels, keys = file["image"], file["label"], file["key"]
        for number in range(len(images)):
            label = json.dumps({"label": int(labels[number])}, separators=(",", ":")).encode()
            yield keys[number].decode(), {"jpg": images[number].tobytes(), "json": label}


def make_lmdb(num_bytes: int, path: Path) -> None:
    """Write images under their names."""
    import lmdb

    with (
        lmdb.open(str(path), map_size=2 * num_bytes + (64 << 20), subdir=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        for number, payload in enumerate(payloads(num_bytes)):
            transaction.put(b"%08d" % number, payload)


def read_lmdb(path: Path) -> Samples:
    """Yield the entries."""
    import lmdb

    with (
        lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        for key, value in transaction.cursor():
            yield key.decode(), {"jpg": value}


def make_mds(num_bytes: int, path: Path) -> None:
    """Write shards of 64 MB with an image and a label a sample."""
    some, shards, size = [], [], 0
    path.mkdir()
    config = json.dumps(
        {"column_names": ["image", "label"], "column_encodings": ["jpeg", "int"], "column_sizes": [None, 8]}
    )

    def write() -> None:
        offsets = list(accumulate(map(len, some), initial=8 + 4 * len(some) + len(config)))
        name = f"shard.{len(shards):05d}.mds"
        with (path / name).open("wb") as file:
            file.write(struct.pack(f"<I{len(offsets)}I", len(some), *offsets) + config.encode())
            file.writelines(some)
        raw = {"basename": name, "bytes": offsets[-1], "hashes": {}}
        shards.append({"format": "mds", "samples": len(some), "raw_data": raw, "zip_data": None, "version": 2})

    for number, payload in enumerate(payloads(num_bytes)):
        some.append(struct.pack("<I", len(payload)) + payload + struct.pack("<q", number % 100))
        size += len(payload)
        if size >= 64_000_000:
            write()
            some, size = [], 0
    if some:
        write()
    (path / "index.json").write_text(json.dumps({"version": 2, "shards": shards}))


def make_msgpack(num_bytes: int, path: Path) -> None:
    """Write maps of an image, a label and an id, one behind the other."""
    import msgpack

    with path.open("wb") as file:
        for number, payload in enumerate(payloads(num_bytes)):
            file.write(msgpack.packb({"image": payload, "label": number % 100, "id": number}))


def read_msgpack(path: Path) -> Samples:
    """Yield the maps of a file, by the library."""
    import msgpack

    with path.open("rb") as file:
        for row in msgpack.Unpacker(file, max_buffer_size=1 << 28):
            yield str(row["id"]), {"jpg": row["image"], "json": b'{"label":%d}' % row["label"]}


def make_npz(num_bytes: int, path: Path) -> None:
    """Write images of 192x192 pixels along the first axis of an array, and their labels."""
    import numpy as np

    count = max(1, num_bytes // (192 * 192 * 3))
    images = np.random.default_rng(0).integers(0, 256, (count, 192, 192, 3), np.uint8)
    with path.open("wb") as file:
        np.savez(file, images=images, labels=np.arange(count) % 100)


def read_bytes(path: Path) -> Samples:
    """Yield the bytes of a file, as samples as long as our images are on average: less than any reader can do."""
    number = 0
    files = [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())
    for name in files:
        left = os.path.getsize(name)
        with name.open("rb", buffering=0) as file:
            while left > 0:
                payload = file.read(min(PAYLOAD_BYTES, left))
                yield f"{number:08d}", {"jpg": payload, "json": b'{"label":1}'}
                left -= len(payload)
                number += 1


def make_zip(num_bytes: int, path: Path, *, method: int) -> None:
    """Write a zip of ten class folders."""
    import zipfile

    with zipfile.ZipFile(path, "w", method) as archive:
        for number, payload in enumerate(payloads(num_bytes)):
            archive.writestr(zipfile.ZipInfo(f"{number % 10}/{number:08d}.jpg"), payload, method)


def read_zip(path: Path) -> Samples:
    """Yield the images of a zip with the label of their folder, as zipfile reads them."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            folder = info.filename.partition("/")[0]
            label = b'{"label":%s,"class":"%s"}' % (folder.encode(), folder.encode())
            yield info.filename.removesuffix(".jpg"), {"jpg": archive.read(info), "json": label}


BRIDGES: dict[str, Bridge] = {
    "tfrecord": Bridge(make_tfrecord, read_bytes),
    "recordio": Bridge(make_recordio, read_bytes),
    "beton": Bridge(make_beton, read_bytes),
    "mds": Bridge(make_mds, read_bytes),
    "msgpack": Bridge(make_msgpack, read_msgpack),
    "npz": Bridge(make_npz, read_bytes),
    "parquet": Bridge(make_parquet, read_parquet),
    "arrow": Bridge(make_arrow, read_arrow),
    "hdf5": Bridge(make_hdf5, read_hdf5),
    "lmdb": Bridge(make_lmdb, read_lmdb),
    "zip": Bridge(partial(make_zip, method=0), read_zip, detected=True),
    "deflated.zip": Bridge(partial(make_zip, method=8), read_zip, detected=True),
}
