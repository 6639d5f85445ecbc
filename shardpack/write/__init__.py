"""From samples to shards: planned parallel packing, and the shard writer (diagram in README.md)."""
