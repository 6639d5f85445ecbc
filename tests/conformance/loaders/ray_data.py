"""Load folders with Ray Data, by their names alone; print each sample as a line of JSON.

python ray_data.py TEMPORARY FOLDER...
"""

from __future__ import annotations

import json
import os
import sys

temporary, *folders = sys.argv[1:]
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray  # noqa: E402
import ray.data  # noqa: E402

settings = {"include_dashboard": False, "log_to_driver": False, "object_store_memory": 100 << 20}
ray.init(num_cpus=1, _temp_dir=temporary, **settings)
for folder in folders:
    for row in ray.data.read_webdataset(folder, decoder=None).take_all():
        sample = {"key": row["__key__"], "json": json.loads(row["json"]), "jpg": row["jpg"].hex()}
        sys.stdout.write(json.dumps({"folder": folder, "how": "read_webdataset", **sample}) + "\n")
ray.shutdown()
