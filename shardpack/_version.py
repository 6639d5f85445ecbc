"""The version of this package: recorded in manifests, and part of what tells one packing run from another."""

__version__ = "0.1.0"
