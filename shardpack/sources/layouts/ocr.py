"""Lists of texts to recognise: the path of an image, and what stands in it.

    gt.txt           word_1.png<TAB>Hello          label {"text":"Hello"}
                     word_2.png, "Hello"           as ICDAR has it

The label has the one name "text". A list is called gt, labels or rec_gt (with a split behind), .txt or .tsv.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from itertools import islice

from shardpack.errors import SourceError
from shardpack.sources.layouts.by_name import LabelsByName
from shardpack.sources.layouts.layout import BY_ANNOTATIONS, Found, LayoutOptions
from shardpack.sources.layouts.per_image import split_in
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.splits import SPLIT_NAMES
from shardpack.sources.tree import Tree

_NAME = re.compile(
    r"(?:rec_gt|gt|labels?|transcriptions?)(?:_(\w+))?\.(?:txt|tsv)|(\w+)_gt\.(?:txt|tsv)", re.IGNORECASE
)
_ICDAR = re.compile(r'([^,]+\.\w+)\s*,\s*"((?:[^"\\]|\\.)*)"\s*')
_BOXES = '[{"'  # PaddleOCR's lists for detection
_LOOKED_AT, _LISTS_LOOKED_AT = 5, 16  # lines, lists


class Ocr:
    """Lists of paths and texts."""

    name = "ocr"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the lists whose first lines name images that are there; see `Layout.find`."""
        names = [
            name
            for folder in tree.folders.values()
            if folder.extensions.keys() & {"txt", "tsv"}
            for name in tree.files.names[folder.first : folder.stop]
            if _NAME.fullmatch(posixpath.basename(name))
        ]
        looked, rest = names[:_LISTS_LOOKED_AT], names[_LISTS_LOOKED_AT:]
        found = [name for name in looked if _looks(tree, name)]
        found += rest if found == looked else []
        if not found:
            if options.asked:
                raise SourceError(
                    f"no list of texts in {tree.files.root!r}: expected gt.txt with a path, a tab and a text in each "
                    "line; write one"
                )
            return None
        uses = frozenset(found)
        return Found(layout=self.name, rank=BY_ANNOTATIONS, title="OCR lists", label="text", uses=uses, memory=found)

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return the images that a list names. Rejected: lines without an image, and images named twice."""
        samples = LabelsByName(tree, found.uses, problems, options)
        for path in found.memory:
            split = _split(path)
            for number, name, text in _lines(path, tree.read(path)):
                where = f"{path}:{number}"
                if name is None:
                    problems.reject(where, "expected a path, a tab and a text; correct the line")
                elif text.startswith(_BOXES):
                    problems.reject(where, "holds boxes with texts, which a list cannot give; convert it to COCO")
                elif (sample := samples.find(where, name, _places(path, name))) is not None:
                    samples.add(sample, {"text": text}, where=where, split=split)
        return samples.finish(missing="an image that is in no list", has_classes=False, shape=None)


def _lines(path: str, data: bytes) -> Iterator[tuple[int, str | None, str]]:
    """Yield (line number, path of the image, or None for a malformed line, text)."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data.count(b"\n", 0, error.start)
        raise SourceError(f"{path}:{before + 1}: not UTF-8: {error.reason}; save it as UTF-8") from error
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.removesuffix("\r")
        if not content.strip():
            continue
        name, tab, rest = content.partition("\t")
        if tab:
            yield number, name.strip().replace("\\", "/"), rest
        elif match := _ICDAR.fullmatch(content):
            yield number, match[1].strip(), re.sub(r"\\(.)", r"\1", match[2])
        else:
            yield number, None, ""


def _looks(tree: Tree, path: str) -> bool:
    head = islice(_lines(path, tree.read(path)), _LOOKED_AT)
    return any(
        name is not None and any(map(tree.has, map(posixpath.normpath, _places(path, name)))) for _, name, _ in head
    )


def _places(path: str, name: str) -> list[str]:
    folder = posixpath.dirname(path)
    inside = [] if ".." in name.split("/") else [posixpath.join(folder, "images", name)]
    return [posixpath.join(folder, name), *inside, name]


def _split(path: str) -> str | None:
    match = _NAME.fullmatch(posixpath.basename(path))
    word = (match[1] or match[2]) if match else None
    return word if word is not None and word.lower() in SPLIT_NAMES else split_in(path)
