"""Shards to samples: seek, stream, index what others wrote, verify, extract."""
