"""Samples to shards: one assembler of tar bytes, a writer for samples from code, a parallel run."""
