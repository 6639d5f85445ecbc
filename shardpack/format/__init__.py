"""The bytes of a dataset and the values they encode: SPEC.md in code, without I/O.

naming              keys and fields: how a member's name is cut       (split_names: names of splits)
layout              where the files of a dataset are
tar_header          a tar header as it is written
  tar_parser        a tar as it is read, pushed in                    (tar_extended: pax and GNU names; not_tar: advice)
container           the file of every binary kind: columns            (checksum, strict_json: what it stands on)
  shard_index       samples of a shard -> byte ranges                 (frames: of a compressed shard)
  index_fields      the same, of some fields alone
  paged             files of which a look-up reads one page
    shard_table     the shards of a dataset                           (shard_info: one of them; shard_table_writer)
    key_index       hash of a key -> positions
  splits            named ranges of stored positions
  deleted           stored positions of deleted samples
  layer_positions   stored positions of the base -> those of a layer
manifest            names all other files                             (fingerprint: of what the samples are)
  whole_tars        how tars alone differ from what it shows
  manifest_json     its text, encoded and checked                     (manifest_object, manifest_files: values in it)
named_files         values -> the files that it names
assemble            values -> all files of a new dataset but the tars
next_generation     what an edit changes -> its new files             (join_files: few instead of many)
stream_state        the resume point of a stream
"""
