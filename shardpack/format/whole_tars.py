"""What readers of tars alone, such as WebDataset, would not see of a dataset as it is shown."""

from __future__ import annotations

from shardpack.format.manifest import Manifest


def what_tars_lack(manifest: Manifest) -> str:
    """Return how the tars of a dataset differ from what it shows: "3 deleted samples are still in these"; or ""."""
    said = []
    if count := manifest.num_deleted:
        said.append(f"{count:,} deleted sample{'s are' if count > 1 else ' is'} still in these")
    if manifest.layers:
        said.append("these have none of the fields of layers")
    return ", and ".join(said)
