"""The only way in which a dataset appears or changes, in a folder or a bucket: lease, journal, transaction.

begin -> deliver shards -> publish

open_target       a store -> a target                                     (target: the protocol of both kinds)
  folder_target   writes temporary files, syncs and renames them
  bucket_target   uploads files from a local folder                       (upload: proves that they arrived)
  namespace_target  a new dataset within one that grows
overwrite         what may be overwritten in a target
transaction       the order of writes that survives a kill at any moment
shared_transaction  the same for parts of one plan, made by processes that share nothing but source and target
  delivering      what both do with the shards that are made for them
  lease           who may write
  journal         which shards are finished
  scratch         the local folder where shards are made
  delivery_queue  finished shards on their way to the target
  destination     the target as workers on other machines see it, which deliver there what they make
edit_transaction  the same for the next generation of a dataset
  edit_folder     what an edit keeps until it commits
  claim           which of equal edits goes on
  edit_shards     tars of edits that a lost manifest may have committed
  generations     which generation is the newest, and the copy of its manifest
"""
