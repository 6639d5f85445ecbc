"""Croissant 1.0, `croissant.json`: a description of a dataset that search engines and mlcroissant read.

Each tar is a file, each field a set of files in the tars and a set of records: the key and the content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from shardpack.export.exporter import Exportable, ExportOptions
from shardpack.export.indexes.index_source import IndexSource
from shardpack.export.indexes.tar_files import write_bytes
from shardpack.export.staging import ExportFiles
from shardpack.runtime.progress import Progress

DOCUMENT_NAME = "croissant.json"
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        name: f"cr:{name}"
        for name in (
            "citeAs", "column", "equivalentProperty", "excludes", "extract", "field", "fileProperty", "fileObject",
            "fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path",
            "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator", "source",
            "subField", "transform",
        )
    },
}  # fmt: skip
_MEDIA_TYPES = {
    "avif": "image/avif",
    "cls": "text/plain",
    "gif": "image/gif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "png": "image/png",
    "txt": "text/plain",
    "webp": "image/webp",
}
_IMAGE_TYPE = "sc:ImageObject"


@dataclass(frozen=True, slots=True)
class CroissantTar:
    """One tar: where it is, and its SHA-256 if that is known."""

    name: str
    url: str
    num_bytes: int
    sha256: str | None = None


def encode(
    tars: Sequence[CroissantTar],
    *,
    title: str,
    samples_per_field: Mapping[str, int],
    num_samples: int,
    splits: Mapping[str, Sequence[str]],
    classes: Sequence[str] | None,
    version: str,
) -> bytes:
    """Return the description of a dataset.

    Args:
        tars: Its tars. Without SHA-256 the dataset is called live, as readers otherwise ask for one.
        title: Its name.
        samples_per_field, num_samples, classes: Its counts and classes.
        splits: Split -> names of its tars.
        version: Stands for its content.
    """
    fields = list(samples_per_field)
    document: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": title,
        "description": f"{num_samples:,} samples in {len(tars):,} tars; fields: {', '.join(fields) or 'none'}.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "version": f"1.0.0+{version}",
    }
    if any(tar.sha256 is None for tar in tars):
        document["isLiveDataset"] = True
    document["distribution"] = [*map(_file_object, tars), *(_file_set(field, fields, tars) for field in fields)]
    records = [_record_set(field) for field in fields]
    if splits:
        records.append(
            _listed("splits", "cr:Split", ("name", "tars"), [(name, list(of)) for name, of in splits.items()])
        )
    if classes:
        records.append(_listed("classes", "sc:Enumeration", ("label", "name"), list(enumerate(classes))))
    document["recordSet"] = records
    return json.dumps(document, indent=1).encode()


def _file_object(tar: CroissantTar) -> dict[str, Any]:
    described = {
        "@type": "cr:FileObject",
        "@id": tar.name,
        "name": tar.name,
        "contentUrl": tar.url,
        "contentSize": f"{tar.num_bytes} B",
        "encodingFormat": "application/x-tar",
    }
    return described if tar.sha256 is None else {**described, "sha256": tar.sha256}


def _file_set(field: str, fields: Sequence[str], tars: Sequence[CroissantTar]) -> dict[str, Any]:
    described = {
        "@type": "cr:FileSet",
        "@id": f"files-{field}",
        "name": f"files-{field}",
        "containedIn": [{"@id": tar.name} for tar in tars],
        "encodingFormat": _MEDIA_TYPES.get(field.rpartition(".")[2], "application/octet-stream"),
        "includes": f"*.{field}",
    }
    longer = [f"*.{other}" for other in fields if other.endswith("." + field)]  # "seg.png" also ends in "png"
    return {**described, "excludes": longer} if longer else described


def _record_set(field: str) -> dict[str, Any]:
    files = {"@id": f"files-{field}"}
    is_image = _MEDIA_TYPES.get(field.rpartition(".")[2], "").startswith("image/")
    key = {
        "fileSet": files,
        "extract": {"fileProperty": "fullpath"},
        "transform": {"regex": f"^(.*)\\.{re.escape(field)}$"},
    }
    content = {"fileSet": files, "extract": {"fileProperty": "content"}}
    return {
        "@type": "cr:RecordSet",
        "@id": field,
        "name": field,
        "field": [
            _field(f"{field}/key", "sc:Text", key),
            _field(f"{field}/content", _IMAGE_TYPE if is_image else "sc:Text", content),
        ],
    }


def _field(name: str, kind: str, source: Mapping[str, Any]) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": name, "name": name, "dataType": kind, "source": dict(source)}


def _listed(name: str, kind: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return a record set whose records stand in the document itself."""
    names = [f"{name}/{column}" for column in columns]
    fields: list[dict[str, Any]] = []
    for column, value in zip(names, rows[0], strict=True):
        data_type = "sc:Integer" if isinstance(value, int) else "sc:Text"
        fields.append({"@type": "cr:Field", "@id": column, "name": column, "dataType": data_type})
        if isinstance(value, list):
            fields[-1]["repeated"] = True
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "dataType": kind,
        "key": {"@id": f"{name}/name"},
        "field": fields,
        "data": [dict(zip(names, row, strict=True)) for row in rows],
    }


@dataclass(frozen=True, slots=True)
class CroissantExporter:
    """The description of a dataset. In a folder of its own it names the tars by their whole path or URL."""

    takes: ClassVar[frozenset[str]] = frozenset(("hashes",))
    source: IndexSource
    hashes: bool
    beside: bool
    names: Sequence[str] = (DOCUMENT_NAME,)

    @classmethod
    def of(cls, dataset: Exportable, options: ExportOptions, *, beside: bool) -> CroissantExporter:
        """Return the exporter of a dataset; errors as of `IndexSource`."""
        return cls(IndexSource(dataset, options, to="croissant", beside=beside), options.hashes, beside)

    def write(self, files: ExportFiles, progress: Progress) -> None:
        """Write the description."""
        source, manifest = self.source, self.source.manifest
        hashes = source.hasher(progress)
        head = "" if self.beside else source.tars_url.rstrip("/") + "/"
        tars = [
            CroissantTar(info.name, head + info.name, info.num_bytes, hashes(number).sha256 if self.hashes else None)
            for number, info in enumerate(source.shards)
        ]
        content = encode(
            tars,
            title=source.title,
            samples_per_field=manifest.samples_per_field,
            num_samples=manifest.num_samples,
            splits=source.splits,
            classes=source.classes,
            version=manifest.fingerprint,
        )
        write_bytes(files, DOCUMENT_NAME, content)
