"""How each file of the corpus is made: tars by other tools, the golden dataset, and one broken file a rule.

The tests make them anew where the tools are there, and read the stored ones in any case.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

from shardpack.format import container as safetensors
from shardpack.format import tar_header as tar
from shardpack.format.checksum import crc32c
from shardpack.format.deleted import encode_deleted
from shardpack.format.layer_positions import encode_layer_positions
from shardpack.format.manifest import AppendedSplits
from shardpack.format.splits import Splits
from tests import edits
from tests.conftest import judge
from tests.format.builders import (
    GNU,
    block,
    container,
    entry,
    framed_index,
    full,
    gnu_long,
    judge_module,
    missing_judge,
    pax,
    small_dataset,
    small_index,
    small_key_index,
    small_manifest,
    small_splits,
    small_splits_file,
)

CORPUS = Path(__file__).parent / "corpus"

# --- Tars of other tools ---------------------------------------------------------------------

FILES = {
    "a.jpg": bytes(range(256)) * 2 + b"!",
    "a.json": b'{"label": 1}',
    "b.jpg": b"",
    "class/c.jpg": b"c" * 512,
    "class/c.seg.png": b"s" * 511,
    "class/noext": b"nobody's",
}
UTF8_FILES = {"class/é.jpg": b"accent"}
PREFIX_FILES = {f"{'d' * 60}/{'n' * 60}.jpg": b"a name for the prefix"}  # 125 bytes
LONG_FILES = {f"{'long-name-' * 20}.jpg": b"a name that no ustar header holds"}  # one component of 204 bytes


def tree(folder: Path, *more: dict[str, bytes]) -> Path:
    """Fill a folder with files, an empty folder, a symbolic and a hard link; times are fixed."""
    for files in (FILES, *more):
        for name, payload in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(payload)
    (folder / "empty").mkdir()
    (folder / "link.jpg").symlink_to("a.jpg")
    (folder / "same.jpg").hardlink_to(folder / "a.jpg")
    for path in sorted(folder.rglob("*")):
        os.utime(path, (1e9, 1e9 + 0.5), follow_symlinks=False)
    return folder


def gnu_tar(kind: str, *more: dict[str, bytes], options: tuple[str, ...] = ()) -> Callable[[Path, Path], None]:
    def make(source: Path, out: Path) -> None:
        program = judge("tar")
        if "GNU tar" not in subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout:
            missing_judge("tar is not GNU tar")
        fixed = ("--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX", *options)
        folder = tree(source, *more)
        subprocess.run([program, "-c", "-b1", f"--format={kind}", *fixed, "-f", out, "-C", folder, "."], check=True)

    return make


def bsdtar(kind: str, *more: dict[str, bytes]) -> Callable[[Path, Path], None]:
    def make(source: Path, out: Path) -> None:
        program, folder = judge("bsdtar"), tree(source, *more)
        names = sorted(os.listdir(folder))
        fixed = ("--uid", "0", "--gid", "0", "--uname", "", "--gname", "")
        subprocess.run([program, "-c", "-b1", f"--format={kind}", *fixed, "-f", out, "-C", folder, *names], check=True)

    return make


def python(kind: int, *more: dict[str, bytes]) -> Callable[[Path, Path], None]:
    def make(source: Path, out: Path) -> None:
        def anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            return info

        with tarfile.open(out, "w", format=kind) as archive:
            archive.add(tree(source, *more), arcname="", filter=anonymous)

    return make


def webdataset(mtime: float) -> Callable[[Path, Path], None]:
    def make(_: Path, out: Path) -> None:
        writer = judge_module("webdataset").TarWriter(str(out), mtime=mtime)
        for i in range(3):
            writer.write({"__key__": f"class/{i:04d}", "jpg": bytes([i]) * (510 + i), "json": {"label": i}})
        writer.close()

    return make


MORE = (UTF8_FILES, PREFIX_FILES, LONG_FILES)
FOREIGN = {
    "gnu-v7": gnu_tar("v7"),
    "gnu-oldgnu": gnu_tar("oldgnu", *MORE),
    "gnu-gnu": gnu_tar("gnu", *MORE),
    "gnu-ustar": gnu_tar("ustar", UTF8_FILES, PREFIX_FILES),
    "gnu-pax": gnu_tar("pax", *MORE),
    "gnu-pax-global": gnu_tar("pax", options=("--pax-option=globexthdr.name=g,comment=hello",)),
    "bsdtar-ustar": bsdtar("ustar", UTF8_FILES, PREFIX_FILES),
    "bsdtar-pax": bsdtar("pax", *MORE),
    "bsdtar-gnutar": bsdtar("gnutar", *MORE),
    "python-ustar": python(tarfile.USTAR_FORMAT, UTF8_FILES, PREFIX_FILES),
    "python-gnu": python(tarfile.GNU_FORMAT, *MORE),
    "python-pax": python(tarfile.PAX_FORMAT, *MORE),
    "webdataset-now": webdataset(1.7e9 + 0.25),  # as by default: a float, so that every member gets a pax header
    "webdataset-zero": webdataset(0),
}

# --- The golden dataset ----------------------------------------------------------------------

# Not one payload that a library would encode: those change with its version.
GOLDEN_SAMPLES = {
    "cat/0001": {"jpg": b"not really a picture", "json": b'{"label":3}'},
    "cat/0002": {"json": b'{"label":4}', "jpg": bytes(range(256)) * 2},
    "dog": {"jpg": b"", "json": b"{}", "seg.png": b"\xff" * 513},
    "Upper/Case~1": {"cls": b"7"},
    f"{'d' * 60}/{'n' * 60}": {"txt": b"a name for the prefix"},
    "long-name-" * 20: {"txt": b"a name for pax"},
}
GOLDEN_SPLITS = ("train", "train", "val", "val", "train", None)
EDITED_SAMPLES: dict[str, dict[str, dict[str, bytes]]] = {
    "g000002": {"more/1": {"json": b"{}"}, "more/2": {"jpg": b"x", "json": b'{"label":9}'}},
    "g000006": {f"late/{i}": {"jpg": bytes([i])} for i in range(4)},
}
EDITED_DELETED = ("cat/0002", "more/1")
EDITED_LAYER = {"dog": {"json": b'{"label":0}'}, "cat/0001": {"json": b'{"label":1}', "txt": b"a cat"}}
EDITED_RANGES = {"train": (0, 3 << 30), "val": (3 << 30, 1 << 32)}
GOLDEN_VERSION = "0.0.0"  # in the manifest's "packed_with", which would change with every release


def golden_dataset(out: Path) -> None:
    from shardpack import ShardWriter

    with (
        patch("shardpack.format.assemble.__version__", GOLDEN_VERSION),
        ShardWriter(out, max_shard_samples=3) as writer,
    ):
        for key, fields in GOLDEN_SAMPLES.items():
            writer.write(key, fields)


def compressed_dataset(out: Path) -> None:
    """The golden samples in compressed shards; frames of a kibibyte, so that there are some."""
    from shardpack import ShardWriter

    with (
        patch("shardpack.format.assemble.__version__", GOLDEN_VERSION),
        ShardWriter(out, max_shard_samples=3, compress={"shards": "zstd:3"}, frame_bytes=1024) as writer,
    ):
        for key, fields in GOLDEN_SAMPLES.items():
            writer.write(key, fields)


def splits_dataset(out: Path) -> None:
    """The golden samples in two splits and none; those of the first are not together."""
    from shardpack import ShardWriter

    with patch("shardpack.format.assemble.__version__", GOLDEN_VERSION), ShardWriter(out) as writer:
        for (key, fields), split in zip(GOLDEN_SAMPLES.items(), GOLDEN_SPLITS, strict=True):
            writer.write(key, fields, split=split)


def edited_dataset(out: Path) -> None:
    """The golden samples and what edits leave: a generation each that appends, deletes, attaches, splits, appends."""
    from shardpack import ShardWriter

    golden_dataset(out)
    with patch("shardpack.format.next_generation.__version__", GOLDEN_VERSION):
        edits.appended(out, EDITED_SAMPLES["g000002"], edit={"command": "append"})
        edits.deleted(out, 1, 6)
        layer = out / ".shardpack/layers/g000004-00000004"
        with patch("shardpack.format.assemble.__version__", GOLDEN_VERSION), ShardWriter(layer) as writer:
            for key, fields in EDITED_LAYER.items():
                writer.write(key, fields)
        edits.layered(out, layer, [2, 0, 1])
        splits = Splits.of_runs([("train", 5), ("val", 3)])
        assert splits is not None
        edits.edited(out, splits=replace(splits, appended=AppendedSplits(8, EDITED_RANGES)))
        edits.appended(out, EDITED_SAMPLES["g000006"], split="val", edit={"command": "append"})


def elsewhere_dataset(golden: Path, out: Path) -> None:
    """Index the golden tars anew without reading a payload, to another folder."""
    import shardpack
    from shardpack.index.header_scan import ScanLimits

    build = importlib.import_module("shardpack.index.build")  # by name, Python 3.10 finds the function of that name
    skip_all = partial(ScanLimits, first_bytes=512, request_bytes=0, min_saved=-1)
    no_reading_on = patch.object(build, "ScanLimits", skip_all)
    with patch("shardpack.format.assemble.__version__", GOLDEN_VERSION), no_reading_on:
        shardpack.index(golden, out=out, checksums=False)


# --- One broken file a rule of SPEC ----------------------------------------------------------

A = entry(b"a.jpg", b"1")
PATH = (b"path", b"b.jpg")
BROKEN_TARS = {
    "T1-gzip": b"\x1f\x8b\x08\x00" + bytes(600),
    "T2-not-a-header": A + b"junk" * 128,
    "T3-negative-size": A + block(b"b", b"\xff" * 12),
    "T4-size-beyond-63-bits": A + block(b"b", b"\x80" + b"\x7f" * 11),
    "T5-long-extended-header": A + block(b"x", (1 << 20) + 1, b"x"),
    "T6-two-pax-headers": A + pax([PATH]) + pax([PATH]) + A,
    "T7-record-runs-over": A + entry(b"x", b"99 path=b.jpg\n", b"x") + A,
    "T8-empty-path": A + pax([(b"path", b"")]) + A,
    "T9-pax-and-gnu-name": A + gnu_long(b"b") + pax([PATH]) + A,
    "T10-nul-in-name": A + pax([(b"path", b"a\0b.jpg")]) + A,
    "T11-global-path": A + pax([PATH], b"g") + A,
    "T12-sparse": A + block(b"b", 0, b"S", magic=GNU),
    "T13-truncated": A[:-1],
    "T14-link-with-a-size": A + block(b"l", 512, b"1", link=b"a.jpg") + A,
    "T15-pax-path-ends-in-a-slash": A + pax([(b"path", b"b.jpg/")]) + entry(b"b.jpg"),
    "T16-long-name-beyond-its-size": A + block(b"x", 3, b"L", magic=GNU) + full(b"b.jpg\0") + A,
}


def broken_containers() -> Iterator[tuple[str, bytes]]:
    good = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}
    wide = {"dtype": "U64", "shape": [1], "data_offsets": [0, 8]}
    kind = {"format": "shardpack-index", "version": "1"}
    yield "C1-header-beyond-file", (1 << 19).to_bytes(8, "little") + b"{}      "
    yield "C2-name-twice", container(b'{"a": 1, "a": 2}')
    yield "C3-metadata-number", container({"__metadata__": {"version": 1}})
    yield "C4-other-kind", container({"__metadata__": {**kind, "format": "other"}})
    yield "C4-newer-version", container({"__metadata__": {**kind, "version": "2"}})
    yield "C9-unknown-column", container({"__metadata__": kind, "a": good}, bytes(2))
    yield "C5-shape-overflows", container({"__metadata__": kind, "size": {**wide, "shape": [0, 2**62, 2**62]}})
    yield "C6-length-of-another-shape", container({"__metadata__": kind, "size": {**wide, "shape": [2]}}, bytes(8))
    yield "C7-overlap", container({"__metadata__": kind, "data_offset": wide, "size": wide}, bytes(8))
    yield "C8-truncated", container({"__metadata__": kind, "size": wide}, bytes(7))


def broken_indexes() -> Iterator[tuple[str, bytes]]:
    def changed(column: str, at: tuple[int, ...], value: int) -> bytes:
        columns, metadata = safetensors.parse(small_index(), name="good")
        columns[column] = columns[column].copy()
        columns[column][at] = value
        return b"".join(safetensors.encode(columns, metadata))

    def described(**values: str) -> bytes:
        columns, metadata = safetensors.parse(small_index(), name="good")
        return b"".join(safetensors.encode(columns, {**metadata, **values}))

    yield "X1-fields-not-sorted", described(fields='["json","jpg","seg.png"]')
    yield "X2-negative-length", described(shard_bytes="-1")
    columns, metadata = safetensors.parse(small_index(), name="good")
    yield (
        "C5-wrong-dtype",
        b"".join(safetensors.encode({**columns, "crc32c": columns["crc32c"].astype("<u8")}, metadata)),
    )
    del metadata["shard_crc32c"]
    yield "X3-checksums-without-that-of-the-shard", b"".join(safetensors.encode(columns, metadata))
    yield "X4-key-beyond-heap", changed("key_offset", (1,), 1 << 40)
    yield "X5-data-beyond-shard", described(end_of_data=str(1 << 40))
    yield "X6-a-field-twice", changed("field", (1,), 0)
    yield "X7-payload-beyond-data", changed("size", (5,), 2**64 - 1)
    yield "X8-offset-inside-a-block", changed("data_offset", (0,), 513)
    yield "X9-members-overlap", changed("data_offset", (1,), 512)
    columns, metadata = safetensors.parse(framed_index(), name="good")
    yield (
        "X10-no-compression",
        b"".join(safetensors.encode(columns, {k: v for k, v in metadata.items() if k != "compression"})),
    )
    yield "X10-other-compression", b"".join(safetensors.encode(columns, {**metadata, "compression": "lz4"}))
    columns["frame_data"] = columns["frame_data"] + np.arange(3, dtype="<u8") * np.uint64(1 << 30)
    yield "X11-frame-of-more-than-a-gibibyte", b"".join(safetensors.encode(columns, metadata))


def paged(data: bytes, **changes: object) -> bytes:
    """A paged file with some columns or metadata changed, and directory and chapters made to fit if pages were."""
    columns, metadata = safetensors.parse(data, name="good")
    columns.update({name: value for name, value in changes.items() if isinstance(value, np.ndarray)})
    metadata.update({name: value for name, value in changes.items() if isinstance(value, str)})
    if "directory" not in changes and "entry" in changes:
        entries = np.ascontiguousarray(columns["entry"])
        columns["directory"] = np.array([[entries[0, 0], crc32c(entries.data)]], "<u8")
    if "directory" not in changes and "page" in changes:
        columns["directory"] = np.array([[0, 0, crc32c(columns["page"].data)]], "<u8")
    if "chapter" not in changes:
        directory = np.ascontiguousarray(columns["directory"])
        columns["chapter"] = np.array([[directory[0, 0], crc32c(directory.data)]], "<u8")
    return b"".join(safetensors.encode(columns, metadata))


def broken_key_indexes() -> Iterator[tuple[str, bytes]]:
    """Key indexes of 20 keys; as for all paged files, the manifest that names them fits them."""
    good = small_key_index(20)
    columns, _ = safetensors.parse(good, name="good")

    def changed(at: tuple[int, int], value: int, **more: object) -> bytes:
        entry = columns["entry"].copy()
        entry[at] = value
        return paged(good, entry=entry, **more)

    yield (
        "P1-no-directory",
        b"".join(
            safetensors.encode(
                {k: columns[k] for k in ("chapter", "entry")},
                {
                    "format": "shardpack-keys",
                    "version": "1",
                    "hash": "xxh3_64",
                    "page_rows": "512",
                    "chapter_rows": "512",
                },
            )
        ),
    )
    yield "P2-other-page-size", paged(good, page_rows="256")
    yield "P3-a-page-too-many", paged(good, directory=np.repeat(columns["directory"], 2, axis=0))
    yield "P4-damaged-directory", paged(good, directory=columns["directory"] ^ np.uint64(1), chapter=columns["chapter"])
    yield (
        "P5-directory-not-its-chapter-s",
        paged(good, chapter=np.array([[1, crc32c(columns["directory"].data)]], "<u8")),
    )
    yield "P6-damaged-page", changed((3, 1), 19, directory=columns["directory"])
    yield "K1-one-key-less", paged(good, entry=columns["entry"][:-1])
    yield "K2-other-hash", paged(good, hash="xxh64")
    yield "K3-position-beyond-dataset", changed((0, 1), 20)
    yield "K4-position-twice", changed((0, 1), int(columns["entry"][1, 1]))


def broken_shard_tables() -> Iterator[tuple[str, bytes]]:
    """Shard tables of two shards: a page of 16 bytes, three columns of 2 U64, 4 counts, ..."""
    good = next(data for path, data in small_dataset().items() if "/shards-" in path)
    page = safetensors.parse(good, name="good")[0]["page"]

    def changed(at: int, value: bytes) -> bytes:
        new = page.copy()
        new[at : at + len(value)] = np.frombuffer(value, np.uint8)
        return paged(good, page=new)

    names = page.tobytes().index(b"shard-000000.tar")
    yield "S1-a-page-beyond-the-column", paged(good, directory=np.array([[0, 8, crc32c(page[8:].data)]], "<u8"))
    yield "S2-three-shards", changed(0, b"\x03")
    yield "S3-another-number-of-samples", changed(16, b"\x0b")
    yield "S4-length-beyond-63-bits", changed(32, b"\xff" * 8)
    yield "S5-location-that-is-not-there", changed(16 + 6 * 8 + 4 * 8 + 4 * 4, b"\x01")
    yield "S6-names-out-of-order", changed(16 + 6 * 8 + 4 * 8 + 6 * 4, b"\xff\xff")
    yield "S7-more-of-a-field-than-samples", changed(16 + 6 * 8, b"\x0b")
    yield "S8-name-leads-outside", changed(names, b"../")
    yield "S9-name-twice", changed(names + 16, b"shard-000000.tar")


def broken_splits() -> Iterator[tuple[str, bytes]]:
    """Splits of 21 samples, 18 "train" and 3 "val"; the manifest that names them fits their length and checksum."""
    columns, metadata = safetensors.parse(small_splits(), name="good")

    def changed(**changes: object) -> bytes:
        return b"".join(safetensors.encode({**columns, **changes}, metadata))

    yield "N1-no-column-of-splits", b"".join(safetensors.encode({"range": columns["range"]}, metadata))
    yield "N2-other-names", b"".join(safetensors.encode(columns, {**metadata, "names": '["train","test"]'}))
    yield "N3-a-sample-in-two-splits", changed(range=columns["range"] - np.array([[0, 0], [1, 0], [0, 0]], "<u8"))
    yield "N4-split-that-is-not-there", changed(split=columns["split"] + np.uint16(1))
    yield "N5-fewer-samples", changed(range=columns["range"][:2], split=columns["split"][:2])


def broken_deleted() -> Iterator[tuple[str, bytes]]:
    """Three deleted samples of 21; the manifest that names the file fits its length and checksum."""
    yield "D1-two-positions", b"".join(encode_deleted(np.array([3, 8])))
    yield "D2-not-ascending", b"".join(encode_deleted(np.array([3, 8, 8])))
    yield "D2-beyond-the-dataset", b"".join(encode_deleted(np.array([3, 8, 21])))


def broken_layer_positions() -> Iterator[tuple[str, bytes]]:
    """Positions in a layer of four samples, of a base of 21."""
    yield "L1-more-than-the-base-has", b"".join(encode_layer_positions(np.zeros(22)))
    yield "L2-beyond-the-layer", b"".join(encode_layer_positions(np.array([0, 4, 5])))


def signed(values: dict[str, object]) -> bytes:
    """A manifest with any values, and a checksum that fits."""
    lines = [f"  {json.dumps(name)}: {json.dumps(value)},\n" for name, value in values.items() if name != "crc32c"]
    text = ("{\n" + "".join(lines)).encode()
    return text + b'  "crc32c": "%08x"\n}\n' % crc32c(text)


def broken_manifests() -> Iterator[tuple[str, bytes]]:
    good = json.loads(small_manifest())

    def changed(**values: object) -> bytes:
        return signed({**good, **values})

    def segment(which: str, **values: object) -> bytes:
        return changed(**{which: [{**good[which][0], **values}]})

    yield "M1-not-ours", changed(format="other")
    yield "M2-edited", small_manifest().replace(b'"cat"', b'"car"')
    yield "M3-no-version", changed(version=True)
    yield "M3-newer-version", changed(version=2)
    yield "M4-unknown-name", changed(more=[])
    yield "M5-no-fingerprint", signed({name: value for name, value in good.items() if name != "fingerprint"})
    yield "M5-negative-length", changed(num_bytes=-1)
    yield "M6-more-of-a-field-than-samples", changed(samples_per_field={"jpg": 22})
    yield "M7-location-with-a-password", changed(locations=["https://me:secret@example.org/tars"])
    yield "M8-key-index-elsewhere", segment("keys", name="../" + good["keys"][0]["name"])
    yield "M9-classes-are-numbers", changed(classes=[1, 2])
    yield "M10-does-not-add-up", changed(num_samples=20)
    yield "M11-parent-of-the-same-generation", changed(parent={"generation": 1, "num_bytes": 1, "crc32c": "00000000"})
    file = small_splits_file(small_splits())
    splits = {"name": file.name, "num_bytes": file.num_bytes, "crc32c": f"{file.crc32c:08x}"}
    yield "M12-a-split-leads-elsewhere", changed(splits={**splits, "samples": {"train": 18, "../val": 3}})
    deleted = {"name": "deleted-000002-0000000a.index", "num_bytes": 100, "crc32c": "0000000a", "num_deleted": 22}
    yield "M13-more-deleted-than-samples", changed(deleted=[deleted])
    layer = {"location": "../layer", "generation": 1, "num_bytes": 900, "crc32c": "0000000a", "fields": ["txt"]}
    positions = {"name": "../layer-000002-0000000a.index", "num_bytes": 264, "crc32c": "0000000a"}
    yield "M14-positions-of-a-layer-elsewhere", changed(layers=[{**layer, "positions": positions}])
    table = {"name": "table/000002-0000000a.parquet", "num_bytes": 900, "crc32c": "0000000a", "num_samples": 20}
    yield "M15-a-table-that-lacks-a-sample", changed(table=[table])
    fall = {"of_samples": 21, "ranges": {"train": [0, 1 << 31], "val": [1 << 30, 1 << 32]}, "samples": {}}
    yield "M16-a-key-in-two-splits", changed(splits={**splits, "samples": {"train": 18, "val": 3}, "appended": fall})


def broken() -> dict[str, bytes]:
    """File name -> bytes: one at least for each numbered check of SPEC."""
    return {
        **{f"{name}.tar": data for name, data in BROKEN_TARS.items()},
        **{
            f"{name}.index": data
            for make in (
                broken_containers,
                broken_indexes,
                broken_key_indexes,
                broken_shard_tables,
                broken_splits,
                broken_deleted,
                broken_layer_positions,
            )
            for name, data in make()
        },
        **{f"{name}.json": data for name, data in broken_manifests()},
    }


def tar_members(data: bytes) -> list[tuple[str, int, int, int, bytes]]:
    """(name, offset, data offset, size, payload) of each regular file, as Python's tarfile sees it."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [
            (m.name, m.offset, m.offset_data, m.size, data[m.offset_data : m.offset_data + m.size])
            for m in archive
            if m.isreg()
        ]


assert tar.BLOCK == tarfile.BLOCKSIZE
