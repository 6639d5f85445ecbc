"""What edits did, or would do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EditReport:
    """What an edit did, or would do with `dry_run`.

    Attributes:
        command: Name of the command.
        location: Folder or URL of the dataset, without secrets.
        generation: Number of the generation that the edit made; that of `parent`, if there was nothing to do.
        parent: Number of the generation that was edited.
        num_samples: Visible samples after the edit.
        added, deleted, changed: How many samples the edit added, deleted, and gave other fields.
        seconds: Wall time.
        dry_run: Whether nothing was written.
    """

    command: str
    location: str
    generation: int
    parent: int
    num_samples: int
    added: int = 0
    deleted: int = 0
    changed: int = 0
    seconds: float = 0.0
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class LayerReport(EditReport):
    """What `attach` or `detach` did, or would do; `changed` is the number of samples that the layer has.

    Attributes:
        layer: Location of the layer, as the manifest names it.
        fields: The fields that it gives.
    """

    layer: str = ""
    fields: tuple[str, ...] = ()
