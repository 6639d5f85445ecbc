"""Readers of others find in our exports of two hundred photographs what the dataset holds, sample for sample."""

from __future__ import annotations

import json

import numpy as np
import pytest

import shardpack
from tests.conftest import reader
from tests.edges.needs import needs
from tests.photographs import resized, split_of

pytestmark = pytest.mark.slow


def export(ds, folder, to, **options):
    """Return the folder of an export, made without processes."""
    shardpack.export(ds, folder / to, to=to, jobs=1, **options)
    return folder / to


def plain(value):
    """Return what a reader gave as values of Python, without nulls: null and missing are one in tables."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items() if one is not None}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    return value


def row_of(sample):
    """Return the row of a Parquet file that a sample becomes."""
    label = sample.decode("json")
    del label["class"]  # in the schema
    payloads = {"image": "jpg", "mirror": "mirror.jpg", "seg": "seg.png"}
    images = {name: {"bytes": sample[field], "path": f"{sample.key}.{field}"} for name, field in payloads.items()}
    return {"__key__": sample.key, **images, **label}


def parsed(row):
    """Return a row whose segmentations, JSON texts as they are of several kinds, are values."""
    for one in row["annotations"]:
        if "segmentation" in one:
            one["segmentation"] = json.loads(one["segmentation"])
    return row


@pytest.fixture(scope="module")
def tables(photographs, tmp_path_factory):
    return export(photographs, tmp_path_factory.mktemp("tables"), "parquet", max_file_samples=70) / "data"


def test_pandas(photographs, tables):
    pandas = reader("pandas")
    for split in photographs.splits:
        files = [pandas.read_parquet(path) for path in sorted(tables.glob(f"{split}-*.parquet"))]
        rows = [parsed(plain(row)) for file in files for row in file.to_dict("records")]
        assert rows == [row_of(sample) for sample in photographs.split(split)]


def test_duckdb(photographs, tables):
    duckdb = reader("duckdb")
    with duckdb.connect() as connection:
        for split in photographs.splits:
            found = connection.execute("SELECT * FROM read_parquet(?)", [str(tables / f"{split}-*.parquet")])
            names = [column[0] for column in found.description]
            rows = [parsed(plain(dict(zip(names, row, strict=True)))) for row in found.fetchall()]
            assert rows == [row_of(sample) for sample in photographs.split(split)]


def test_label_tables(photographs, tmp_path):
    """The table that lies beside the shards is read as it is."""
    pandas, duckdb = reader("pandas"), reader("duckdb")
    shardpack.copy(photographs.location, tmp_path / "copy")
    shardpack.table(tmp_path / "copy")
    names = ["key", "position", "split", "class", "label", "score", "sharp", "width", "height"]
    expected = []
    for position, sample in enumerate(photographs):
        label = {**sample.decode("json"), "key": sample.key, "position": position}
        expected.append([label.get(name, split_of(position)) for name in names])
    paths = sorted((tmp_path / "copy" / ".shardpack" / "table").glob("*.parquet"))
    by_pandas = pandas.concat(pandas.read_parquet(path, columns=names) for path in paths)
    assert by_pandas.to_numpy().tolist() == expected
    with duckdb.connect() as connection:
        quoted = ", ".join(f'"{name}"' for name in names)
        query = f"SELECT {quoted} FROM read_parquet(?) ORDER BY position"
        assert [list(row) for row in connection.execute(query, [[str(path) for path in paths]]).fetchall()] == expected


def test_tfrecord(photographs, tmp_path):
    tfrecord = reader("tfrecord")
    out = export(photographs, tmp_path, "tfrecord", max_file_samples=70)
    kinds = {"image/filename": "byte", "image/encoded": "byte", "mirror": "byte", "seg": "byte"}
    kinds |= {"label": "int", "score": "float", "annotations": "byte"}
    for split in photographs.splits:
        paths = sorted(out.glob(f"{split}-*.tfrecord"))
        rows = [row for path in paths for row in tfrecord.tfrecord_loader(str(path), None, kinds)]
        for row, sample in zip(rows, photographs.split(split), strict=True):
            label = sample.decode("json")
            payloads = [row[name] for name in ("image/encoded", "mirror", "seg")]
            assert payloads == [sample["jpg"], sample["mirror.jpg"], sample["seg.png"]]
            assert row["image/filename"].decode() == f"{sample.key}.jpg"
            assert (row["label"], row["score"]) == (label["label"], label["score"])
            assert json.loads(row["annotations"]) == label["annotations"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
def test_pycocotools(photographs, tmp_path, capsys):
    coco = reader("pycocotools.coco")
    out = export(photographs, tmp_path, "coco", fields=["jpg", "json"])
    for split in photographs.splits:
        found = coco.COCO(str(out / "annotations" / f"person_keypoints_{split}.json"))
        captions = coco.COCO(str(out / "annotations" / f"captions_{split}.json"))
        assert "index created!" in capsys.readouterr().out
        assert len(found.getImgIds()) == photographs.splits[split]
        for number, sample in zip(found.getImgIds(), photographs.split(split), strict=True):
            [image] = found.loadImgs(number)
            assert (out / "images" / split / image["file_name"]).read_bytes() == sample["jpg"]
            label = sample.decode("json")
            assert (image["width"], image["height"]) == (label["width"], label["height"])
            assert [one["caption"] for one in captions.loadAnns(captions.getAnnIds(number))] == label["captions"]
            annotations = found.loadAnns(found.getAnnIds(number))
            for one, expected in zip(annotations, label["annotations"], strict=True):
                assert found.cats[one["category_id"]]["name"] == expected["class"]
                for name in expected.keys() - {"label", "class"}:
                    assert one[name] == expected[name]
                if "segmentation" in expected:
                    _same_area(found.annToMask(one), one, np.asarray(sample.decode("seg.png")))


def _same_area(mask, annotation, parts):
    """Check a mask that a reader made: run lengths are exact, polygons as good as pixels allow."""
    if isinstance(annotation["segmentation"], dict):
        assert np.array_equal(mask == 1, parts == parts[0, 0])
        assert mask.sum() == annotation["area"]
        across, down = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        x, y = across[0], down[0]
        assert annotation["bbox"] == [x, y, across[-1] + 1 - x, down[-1] + 1 - y]
    else:
        assert abs(mask.sum() - annotation["area"]) < annotation["bbox"][2] + annotation["bbox"][3]


def test_torch_over_hdf5(photographs, tmp_path):
    torch, h5py = needs("torch"), reader("h5py")
    out = export(photographs, tmp_path, "hdf5")

    class Rows(torch.utils.data.Dataset):
        def __init__(self, split):
            self.file = h5py.File(out / f"{split}.h5")

        def __len__(self):
            return len(self.file["__key__"])

        def __getitem__(self, at):
            return torch.from_numpy(self.file["image"][at]), int(self.file["label"][at])

    for split in photographs.splits:
        found = [
            (bytes(image.numpy()), label) for image, label in torch.utils.data.DataLoader(Rows(split), batch_size=None)
        ]
        assert found == [(one["jpg"], one.decode("json")["label"]) for one in photographs.split(split)]


def test_torch_over_lmdb(photographs, tmp_path):
    torch, lmdb = needs("torch"), reader("lmdb")
    out = export(photographs, tmp_path, "lmdb")

    class Entries(torch.utils.data.Dataset):
        def __init__(self, split):
            self.environment = lmdb.open(str(out / split), readonly=True, lock=False)

        def __getitem__(self, name):
            with self.environment.begin() as transaction:
                return transaction.get(name.encode())

    for split in photographs.splits:
        names = [f"{one.key}.{field}" for one in photographs.split(split) for field in one]
        found = list(torch.utils.data.DataLoader(Entries(split), sampler=names, batch_size=None))
        assert found == [payload for one in photographs.split(split) for payload in one.values()]


def test_torch_over_npz(photographs, tmp_path):
    torch = needs("torch")
    small = resized(photographs, tmp_path / "small")
    out = export(small, tmp_path, "npz", drop=["annotations", "captions", "tags"])
    for split in small.splits:
        with np.load(out / split / "00000.npz") as arrays:
            rows = torch.utils.data.TensorDataset(
                torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
            )
            keys = arrays["keys"].tolist()
        samples = list(small.split(split))
        assert keys == [one.key for one in samples]
        for (pixels, label), one in zip(torch.utils.data.DataLoader(rows, batch_size=None), samples, strict=True):
            assert np.array_equal(pixels.numpy(), np.asarray(one.decode("png")))
            assert label == one.decode("json")["label"]
