"""Record what the tools of others make of the tars of `tests/export/indexes/samples.py`, in `golden.json`.

Run by hand, with the tools and the tars of that dataset:

    python make_golden.py TARS path/to/wds2idx.py

It takes hfutils 0.13, webshart 0.4, megatron-energon 7.4, ratarmount 1.3, wids 0.1; `wds2idx.py` is in the wheel of
nvidia-dali-cuda120 2.4.
"""

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path


def run(*command):
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def tool(name):
    return Path(sys.executable).with_name(name)


def rows(path, *tables):
    database = sqlite3.connect(path)
    shown = {table: database.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    return {
        table: [[f"x{v.hex()}" if isinstance(v, bytes) else v for v in row] for row in shown[table]] for table in tables
    }


def dali(tars, work):
    for tar in tars:
        run(sys.executable, sys.argv[2], tar, work / f"{tar.stem}.idx")
    return {path.name: path.read_text() for path in sorted(work.glob("*.idx"))}


def energon(_, work):
    run(tool("energon"), "prepare", work, "--non-interactive", "--split-ratio", "1,0,0", "--num-workers", "1",
        "--sample-type", "CrudeWebdataset")  # fmt: skip
    meta = work / ".nv-meta"
    texts = {f".nv-meta/{name}": (meta / name).read_text() for name in (".info.json", "split.yaml", "dataset.yaml")}
    indexes = {path.name: path.read_bytes().hex() for path in sorted(work.glob("*.idx"))}
    return {"texts": texts, "indexes": indexes, "rows": rows(meta / "index.sqlite", "samples", "sample_parts")}


def hfutils(tars, work):
    from hfutils.index import tar_create_index

    made = {}
    for with_hash in (False, True):
        for tar in tars:
            out = work / f"{tar.stem}.json"
            tar_create_index(str(tar), str(out), with_hash=with_hash, silent=True)
            made[f"{tar.stem}.json, hashes {with_hash}"] = out.read_text()
    return made


def webshart(_, work):
    run(tool("webshart"), "extract-metadata", "--source", work, "--destination", work / "out")
    return {path.name: json.loads(path.read_text()) for path in sorted((work / "out").glob("*.json"))}


def wids(tars, work):
    run(tool("widsindex"), "create", "--name", "x", "--output", work / "shardindex.json", *tars[:2])
    text = (work / "shardindex.json").read_text()
    return json.loads(text.replace(f"{work}/", ""))


def ratarmount(tars, _):
    from ratarmountcore.mountsource.factory import open_mount_source

    made = {}
    for tar in tars:
        index = f"{tar}.index.sqlite"
        with open_mount_source(str(tar), writeIndex=True, indexFilePath=index):
            pass
        made[tar.name] = rows(index, "files", "xattrkeys", "xattrsdata", "xattrs")
        made[tar.name]["metadata"] = [row for row in rows(index, "metadata")["metadata"] if row[0] != "tarstats"]
        made[tar.name]["versions"] = [
            row for row in rows(index, "versions")["versions"] if row[0] in ("ratarmount", "index")
        ]
    return made


golden = {}
for record in (dali, energon, hfutils, webshart, wids, ratarmount):
    with tempfile.TemporaryDirectory() as folder:
        tars = [Path(shutil.copy(tar, folder)) for tar in sorted(Path(sys.argv[1]).glob("*.tar"))]
        golden[record.__name__] = record(tars, Path(folder))
Path(__file__).with_name("golden.json").write_text(json.dumps(golden, indent=1) + "\n")
