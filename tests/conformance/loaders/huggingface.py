"""Load folders with Hugging Face datasets, by their names alone; print each sample as a line of JSON.

python huggingface.py CACHE FOLDER...
"""

from __future__ import annotations

import json
import os
import sys

cache, *folders = sys.argv[1:]
os.environ.update(HF_HOME=cache, HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")  # read when it is imported

import datasets  # noqa: E402

datasets.disable_progress_bars()
for folder in folders:
    for how, arguments in {"folder": {"path": folder}, "data_dir": {"path": "webdataset", "data_dir": folder}}.items():
        for streaming in (False, True):
            source = {"folder": folder, "how": f"{how}, streaming={streaming}"}
            for split, images in datasets.load_dataset(**arguments, streaming=streaming).items():
                for row in images.cast_column("jpg", datasets.Image(decode=False)):
                    sample = {"key": row["__key__"], "json": row["json"], "jpg": row["jpg"]["bytes"].hex()}
                    sys.stdout.write(json.dumps({**source, "split": split, **sample}) + "\n")
