"""From samples to shards (diagram in README.md).

request             what `pack` is asked for                          (report: what it returns; preview: a dry run)
pack                which of the ways below a source goes             (place: where samples are packed)
  pack_listed       samples that can be listed: folders, datasets
  pack_rows         rows of foreign formats
    pack_run        each shard is known in advance                    (sharding: cuts and names; pack_shard: one shard)
    pack_chunked    lengths are known when a sample is made
      chunk_input   what is cut into chunks                           (listed_input, row_input; chunk_plan: the cuts)
      measure_chunks  what a few samples become
      chunked_run   one run                                           (pack_chunk: one chunk; chunk_journal)
      encode_chunks what makes a dataset of finished chunks
  pack_samples      an iterable, one by one
  shard_writer      `ShardWriter`: samples from code
part                one machine's part of a plan                      (pack_part, pack_chunks_part)
  part_plan         what parts agree on                               (plan_members, same_dataset)
make_there          tasks of workers on other machines
steps               what a sample passes through                      (transform: the protocol; apply_steps: runs them)
  user_transform    a function of the user                            (callable_source: what it is, as text)
  image_step        images resized and encoded                        (image_fields, convert_image, follow_image)
  select_fields, compress_fields, check_step, number_step
shard_series        samples -> shards that are full
  shard_in_progress one shard                                         (sample_shape, duplicate_keys, frame_writer)
  shard_assembler   members -> bytes of a tar                         (shard_compression: options)
byte_progress       how far a run is
"""
