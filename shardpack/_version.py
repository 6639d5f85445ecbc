"""The version of this package: recorded in manifests, and part of the digest of each packed shard's input."""

__version__ = "0.1.0"
