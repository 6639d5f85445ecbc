"""From samples to shards: layout of tar bytes, shard writer, planned parallel run."""
