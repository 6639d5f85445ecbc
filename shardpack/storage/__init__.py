"""Bytes at rest, by name: folders, memory, buckets, web servers, and a cache in front. Knows no tar and no sample.

protocols           what a store offers                               (stats: what reading has cost)
open                what users write -> a store                       (url: its grammar; secret_options)
  adapter           any object with ranges -> a store                 (base_store: what stores share)
  local             a folder                                          (local_file, file_map, process_limits)
  memory            a dict
  remote            a bucket or server: pieces, retries, one version  (session, retry, connection, buffer_pool)
    clients/        one file a kind of server: single requests
  cache/            a store that keeps ranges on a disk
  overlay           objects in memory before another store
  subfolder         a folder of another store
frame_store         compressed shards as the tars they hold           (frame_decoder)
locations           the stores of one dataset                         (relative_location: how they are named)
coalesce            many ranges -> few requests
atomic, lock        files that appear whole; one writer at a time
scratch_array       large arrays whose memory the system can take back
listing             what a store holds, since when
transfer            whole objects, in bounded memory, checked
"""
