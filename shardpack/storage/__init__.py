"""Bytes at rest, by name: folders, memory, later buckets. Knows nothing of tar or samples."""
