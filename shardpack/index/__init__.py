"""From existing tars to their indexes; the tars are not changed.

find            paths, patterns, URLs, stores -> one store and names of tars  (patterns: text; roots: where to look)
beside          what other tools have left beside the tars: splits, tables of labels
build           each tar -> its index, many at once: local in processes, remote in threads
  tar_scan      bytes of a tar -> its index, wherever they come from
  full_scan     reads a tar from end to end, with checksums
  header_scan   reads little more than the headers, by many requests at once  (scanner: one chain of headers)
  frame_scan    reads a compressed tar, frame by frame
  grouping      members -> samples -> the columns of an index
index_target    where indexes and manifest go
run             `index` and `index_in_memory`: all of it, in order
"""
