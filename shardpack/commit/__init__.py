"""The one way a dataset appears or changes, in a folder or a bucket: lease, journal, publish."""
