"""Every error that shardpack raises on purpose.

    ShardpackError
    ├── FormatError (ValueError)            bytes or names that break a rule of SPEC.md
    │   ├── CorruptShardError               a tar is damaged, truncated or not a tar
    │   ├── CorruptIndexError               an index, shard table or key index is damaged
    │   ├── CorruptManifestError            the manifest is damaged
    │   ├── StaleIndexError                 a shard is not the one its index describes
    │   ├── ObjectTooLargeError             a file is longer than it may be, and was not read
    │   ├── UnsupportedVersionError         written by a newer version of the format
    │   ├── InvalidKeyError                 a key or field that tar readers would split differently
    │   └── DuplicateKeyError               one key names two samples
    ├── SampleNotFoundError (LookupError)
    │   ├── UnknownKeyError (KeyError)      no sample has this key
    │   ├── PositionError (IndexError)      position outside 0 <= position < len(ds)
    │   └── FieldNotFoundError (KeyError)   the sample or dataset lacks this field
    ├── ShardNotFoundError (FileNotFoundError)     a file of a dataset is missing
    ├── DatasetNotFoundError (FileNotFoundError)   no manifest where one was expected
    ├── OutputExistsError (FileExistsError)        refusal to overwrite
    ├── SourceError (ValueError)            the samples to pack have problems
    ├── DecodeError (ValueError)            a payload is not what its field name says
    ├── ExportError (ValueError)            a sample does not fit the format it is exported to
    ├── OptionError (ValueError)            an argument is out of range or contradicts another
    ├── StorageError (OSError)              a disk or server refused a read or write
    └── MissingDependencyError (ImportError)    an optional package is not installed

Constructors take exactly one positional message and optional keywords, so that an error survives
pickling, and PyTorch workers, which rebuild an error from one string.
"""

from __future__ import annotations

from typing import Literal

OnError = Literal["raise", "skip"]  # what to do with samples that have problems

_CONTEXT = ("shard", "path", "key", "offset")


class ShardpackError(Exception):
    """Base of all errors raised on purpose; `str()` is one line that says what to do next.

    Attributes:
        shard: Name of the shard concerned, or None.
        path: Path of the file or object concerned, from its store's root, or None.
        key: Key of the sample concerned, or None.
        offset: Byte offset in the shard or file, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        shard: str | None = None,
        path: str | None = None,
        key: str | None = None,
        offset: int | None = None,
    ):
        super().__init__(message)
        self.shard, self.path, self.key, self.offset = shard, path, key, offset

    def __str__(self) -> str:
        context = [f"{name}={value!r}" for name in _CONTEXT if (value := getattr(self, name)) is not None]
        return str(self.args[0]) + (f" ({', '.join(context)})" if context else "")


class FormatError(ShardpackError, ValueError):
    """Bytes or names break a rule of SPEC.md."""


class CorruptShardError(FormatError):
    """A tar is damaged, truncated or not a tar at all."""


class CorruptIndexError(FormatError):
    """A shard index, the shard table or the key index is damaged."""


class CorruptManifestError(FormatError):
    """The manifest is not JSON, fails its checksum, or contradicts itself."""


class StaleIndexError(FormatError):
    """A shard is not the one its index describes."""


class ObjectTooLargeError(FormatError):
    """A file is longer than what names it says, or than any file of its kind may be; nothing of it was read."""


class UnsupportedVersionError(FormatError):
    """A file was written by a newer version of the format."""


class InvalidKeyError(FormatError):
    """A key or field would be split or case-folded differently by other tar readers."""


class DuplicateKeyError(FormatError):
    """One key names two samples."""


class SampleNotFoundError(ShardpackError, LookupError):
    """The requested sample or field is not in the dataset."""


class UnknownKeyError(SampleNotFoundError, KeyError):
    """No sample has this key."""


class PositionError(SampleNotFoundError, IndexError):
    """The position is outside the dataset."""


class FieldNotFoundError(SampleNotFoundError, KeyError):
    """The sample, or the whole dataset, lacks this field."""


class ShardNotFoundError(ShardpackError, FileNotFoundError):
    """A file of a dataset is missing."""


class DatasetNotFoundError(ShardpackError, FileNotFoundError):
    """No manifest exists where a dataset was expected."""


class OutputExistsError(ShardpackError, FileExistsError):
    """The output exists already, and overwriting was not requested."""


class SourceError(ShardpackError, ValueError):
    """The samples to pack have problems; the message names the first few and counts all."""


class DecodeError(ShardpackError, ValueError):
    """A payload does not decode as its field name says."""


class ExportError(ShardpackError, ValueError):
    """A sample does not fit the format that it is exported to."""


class OptionError(ShardpackError, ValueError):
    """An argument is out of range, or contradicts another one."""


class StorageError(ShardpackError, OSError):
    """A disk or server refused a read or write."""


class MissingDependencyError(ShardpackError, ImportError):
    """An optional package is required; the message names the extra that installs it."""
