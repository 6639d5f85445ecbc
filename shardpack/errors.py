"""Every error shardpack raises on purpose.

    ShardpackError
    ├── FormatError (ValueError)            bytes or names that break a rule of SPEC.md
    │   ├── CorruptShardError               a tar is damaged, truncated or not a tar
    │   ├── CorruptIndexError               a sidecar index or key index is damaged
    │   ├── CorruptManifestError            the manifest is damaged
    │   ├── StaleIndexError                 a shard is not the one its index describes
    │   ├── UnsupportedVersionError         written by a newer format version
    │   ├── InvalidKeyError                 a name that readers would cut differently
    │   └── DuplicateKeyError               one key names two samples
    ├── SampleNotFoundError (LookupError)
    │   ├── UnknownKeyError (KeyError)      no sample has this key
    │   ├── PositionError (IndexError)      position outside 0 <= position < len(ds)
    │   └── FieldNotFoundError (KeyError)   the sample or dataset lacks this field
    ├── ShardNotFoundError (FileNotFoundError)     a file of a dataset is missing
    ├── DatasetNotFoundError (FileNotFoundError)   no manifest where one was expected
    ├── OutputExistsError (FileExistsError)        refusal to overwrite
    ├── SourceError (ValueError)            what was to be packed has problems
    ├── DecodeError (ValueError)            a payload is not what its field name says
    ├── OptionError (ValueError)            an argument is out of range or contradictory
    ├── StorageError (OSError)              the disk refused: full, read-only, unreadable
    └── MissingDependencyError (ImportError)    an extra is not installed

Constructor law: exactly one positional message and optional keywords, so that an error
survives pickling and the one-string rebuild that PyTorch workers do.
"""

from __future__ import annotations

from typing import Literal

OnError = Literal["raise", "skip"]  # what to do with samples that have problems


class ShardpackError(Exception):
    """Base of all errors raised on purpose; `str()` is one line that says what to do next."""

    def __init__(
        self,
        message: str,
        *,
        shard: str | None = None,
        key: str | None = None,
        offset: int | None = None,
    ):
        super().__init__(message)
        self.shard, self.key, self.offset = shard, key, offset

    def __str__(self) -> str:
        named = (("shard", self.shard), ("key", self.key), ("offset", self.offset))
        context = [f"{name}={value!r}" for name, value in named if value is not None]
        return str(self.args[0]) + (f" ({', '.join(context)})" if context else "")


class FormatError(ShardpackError, ValueError):
    """Bytes or names that break a rule of SPEC.md."""


class CorruptShardError(FormatError):
    """A tar is damaged, truncated, or no tar at all."""


class CorruptIndexError(FormatError):
    """A sidecar index or the key index is damaged."""


class CorruptManifestError(FormatError):
    """The manifest is not JSON, or its values contradict each other."""


class StaleIndexError(FormatError):
    """The shard on disk is not the one its index describes."""


class UnsupportedVersionError(FormatError):
    """The file was written by a newer version of the format."""


class InvalidKeyError(FormatError):
    """A key or field that other readers would cut or fold differently."""


class DuplicateKeyError(FormatError):
    """One key names two samples."""


class SampleNotFoundError(ShardpackError, LookupError):
    """What was asked for is not in the dataset."""


class UnknownKeyError(SampleNotFoundError, KeyError):
    """No sample has this key."""


class PositionError(SampleNotFoundError, IndexError):
    """The position lies outside the dataset."""


class FieldNotFoundError(SampleNotFoundError, KeyError):
    """The sample, or the whole dataset, lacks this field."""


class ShardNotFoundError(ShardpackError, FileNotFoundError):
    """A file that the manifest names is missing."""


class DatasetNotFoundError(ShardpackError, FileNotFoundError):
    """There is no manifest where a dataset was expected."""


class OutputExistsError(ShardpackError, FileExistsError):
    """Something is already there, and overwriting was not asked for."""


class SourceError(ShardpackError, ValueError):
    """What was to be packed has problems; the message names the first few and counts all."""


class DecodeError(ShardpackError, ValueError):
    """A payload does not decode as its field name says."""


class OptionError(ShardpackError, ValueError):
    """An argument is out of range, or contradicts another one."""


class StorageError(ShardpackError, OSError):
    """The disk refused a read or a write."""


class MissingDependencyError(ShardpackError, ImportError):
    """An optional package is needed; the message names the extra that brings it."""
