"""Epochs: shuffled, shared out to ranks and workers, resumable, batched.

options             what callers ask for                              (limits: how much is read and held)
stream_input        what a stream reads: a dataset or a view
stream              one rank's share of an epoch; its state
  epochs            the epochs of one dataset                         (plan: slots -> samples and loads)
  draws             balanced and weighted: what is drawn, how often  (from the label table)
  mixed             of several datasets, in proportions
stream_listing      the samples of a stream as `pack` takes them
reader              chunks -> samples, in order
  schedule          which loads come when
  load              one load -> samples, as its store likes it        (block_buffer: many samples, one buffer; hints)
                                                                      (layered_block: buffers of base and layers)
loader              decoded batches, in the stream's order
  batch_builder     one batch                                         (batch_memory: used again)
  array_batch       one of arrays alone, copied out of maps           (mapped_steps: where they are)
  loadable          `ds.loader(...)`
worker_shares       the same for the processes of a DataLoader
"""
