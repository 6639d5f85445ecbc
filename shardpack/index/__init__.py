"""Tars of others to indexes; they are not changed.

find        paths, patterns, URLs, stores -> one store and names of tars   (patterns: text; roots: where to look)
build       each tar -> its index, many at once: local in processes, remote in threads
  header_scan   reads a tar from end to end, with checksums
  range_scan    reads what holds headers, by many requests at once        (scanner: one chain of headers)
  grouping      members -> samples -> the columns of an index
target      where indexes and manifest go
run         `index` and `index_in_memory`: all of it, in order             (report: what they return)
"""
