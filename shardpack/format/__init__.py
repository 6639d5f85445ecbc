"""The bytes of a dataset and the values they encode: SPEC.md in code, without I/O.

naming              keys and fields: how a member's name is cut       (split_names: names of splits)
layout              where the files of a dataset are
tar_header          a tar header as it is written
  tar_parser        a tar as it is read, pushed in                    (tar_extended: pax and GNU names; not_tar: advice)
container           the file of every binary kind: columns            (checksum, strict_json: what it stands on)
  shard_index       samples of a shard -> byte ranges                 (frames: of a compressed shard)
  paged             files of which a look-up reads one page
    shard_table     the shards of a dataset                           (shard_info: one of them; shard_table_writer)
    key_index       hash of a key -> positions
  splits            named ranges of stored positions
manifest            names all other files                             (fingerprint: of the shards)
assemble            values -> all files but the tars
stream_state        the resume point of a stream
"""
