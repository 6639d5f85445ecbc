"""Bytes at rest, by name: folders, memory, buckets, web servers, and a cache in front. Knows no tar and no sample."""
