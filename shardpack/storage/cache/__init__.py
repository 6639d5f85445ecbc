"""A cache of ranges on the disk, shared by processes."""
