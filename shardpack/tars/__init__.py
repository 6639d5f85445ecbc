"""Give tars that others wrote an index: beside them, elsewhere, or in memory for one dataset object."""

from shardpack.tars.index import index, index_in_memory
from shardpack.tars.report import IndexReport, RepeatedKey

__all__ = ["IndexReport", "RepeatedKey", "index", "index_in_memory"]
