"""Explain why a local folder has no manifest, and what to do about it."""

from __future__ import annotations

import os

from shardpack.errors import DatasetNotFoundError
from shardpack.format.layout import MANIFEST_PATH, WORK_FOLDER, is_packer_name


def missing_dataset(path: str) -> DatasetNotFoundError:
    """Return the error for a local path that has no manifest: what is there instead, and the next command.

    Costs a listing of the folder.
    """
    if not os.path.exists(path):
        return DatasetNotFoundError(f"no such folder: {path!r}; check the path")
    if not os.path.isdir(path):
        return DatasetNotFoundError(
            f"not a folder: {path!r}; open the folder that holds {MANIFEST_PATH}"
            + (', or index the tar with "shardpack index"' if path.endswith(".tar") else "")
        )
    if os.path.isdir(os.path.join(path, WORK_FOLDER)):
        # Imported only here: readers need not load what writers use.
        from shardpack.commit.folder_target import FolderTarget
        from shardpack.commit.lease import how_to_continue, unfinished_command

        advice = how_to_continue(unfinished_command(FolderTarget(path)) or "pack")
        return DatasetNotFoundError(f"the dataset in {path!r} is unfinished; {advice}")
    tars = [name for name in os.listdir(path) if name.endswith((".tar", ".tar.zst"))]
    pattern = os.path.join(path, "*.tar" if any(name.endswith(".tar") for name in tars) else "*.tar.zst")
    if tars and all(map(is_packer_name, tars)):
        return DatasetNotFoundError(
            f"{path!r} holds {len(tars)} shard(s), but {MANIFEST_PATH} and their indexes are missing, as after a "
            "copy that left them out; copy them as well, pass sidecars= where they are elsewhere, or make them anew: "
            f'"shardpack index {pattern}"'
        )
    if tars:
        return DatasetNotFoundError(
            f"{path!r} holds {len(tars)} tar(s) without an index; make one with "
            f'"shardpack index {pattern}", or open with index="memory"'
        )
    return DatasetNotFoundError(f'no dataset in {path!r}: it has no {MANIFEST_PATH}; make one with "shardpack pack"')
