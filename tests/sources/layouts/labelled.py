"""List a folder as `pack` does, and show each sample's label."""

from __future__ import annotations

import json

from shardpack.sources.layouts.detect import find_layout, list_tree
from shardpack.sources.layouts.layout import LayoutOptions
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from shardpack.sources.splits import split_of
from shardpack.sources.tree import Tree
from tests.conftest import make_jpeg
from tests.sources.trees import samples_of, write_tree

JPEG = make_jpeg(200, 100)


class Labelled:
    """What a layout made of a folder: `labels` and `splits` by key, `fields`, `rejected`, `problems`, `found`."""

    def __init__(self, folder, layout="auto", **options):
        self.problems = Problems()
        tree = Tree(scan(folder, Problems()))
        chosen = LayoutOptions(asked=layout != "auto", **options)
        self.found = find_layout(tree, layout, chosen)
        self.listing = list_tree(tree, self.found, self.problems, chosen)
        samples = samples_of(self.listing)
        self.fields = {
            key: {field: value for field, value in fields.items() if field != "json"} for key, fields in samples.items()
        }
        self.labels = {
            key: json.loads(fields["json"]) for key, fields in samples.items() if isinstance(fields.get("json"), bytes)
        }
        self.splits = {key: split_of(self.listing, i) for i, key in enumerate(self.listing.keys)}
        self.rejected = dict(self.problems.rejected)


def images_in(folder, *names):
    return write_tree(folder, dict.fromkeys(names, JPEG))
