"""Class folders: the first folder of each image is its class.

cat/0001.jpg, dog/deep/0002.jpg    labels {"label":0,"class":"cat"} and {"label":1,"class":"dog"}
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from shardpack.errors import SourceError
from shardpack.format.naming import escape_key
from shardpack.sources.json_labels import attach_labels, compact_json
from shardpack.sources.listing import Listing
from shardpack.sources.rejects import Problems


def in_class_folders(listing: Listing) -> bool:
    """Return whether every sample lies in a folder."""
    return all("/" in key for key in listing.keys)


def add_class_labels(listing: Listing, problems: Problems) -> Listing:
    """Return the samples with a JSON field {"label": number, "class": name} from each first folder.

    Classes are numbered in ascending order of their names. Images in no folder, and those
    with a .json file of their own, are rejected. A folder whose name is not UTF-8 gives its
    class the name as `escape_key` writes it, so that the label is JSON.

    Args:
        listing: Samples whose keys are not escaped.
        problems: Takes what is rejected.

    Raises:
        SourceError: Two classes would have one name.
    """
    homeless = {
        sample: "lies in no class folder; move it into one, or choose the layout 'files' (--layout files)"
        for sample, key in enumerate(listing.keys)
        if "/" not in key
    }
    listing = problems.reject_samples(listing, homeless)
    found = [key.partition("/")[0] for key in listing.keys]
    name_of_folder = {folder: _class_name(folder) for folder in set(found)}
    classes = tuple(sorted(name_of_folder.values()))
    twice = [name for name, other in pairwise(classes) if name == other]
    if twice:
        raise SourceError(f"two class folders would both be called {twice[0]!r}; rename one")
    label_of = {name: compact_json({"label": number, "class": name}) for number, name in enumerate(classes)}
    labels = [label_of[name_of_folder[folder]] for folder in found]
    listing = attach_labels(listing, labels, problems)
    return replace(listing, classes=classes, by_class=len(classes) > 1)


def _class_name(folder: str) -> str:
    try:
        folder.encode()
    except UnicodeEncodeError:
        return escape_key(folder)
    return folder
