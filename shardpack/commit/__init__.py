"""The one way a dataset appears or changes, in a folder or a bucket: lease, journal, transaction.

begin -> add shards -> publish

See `transaction.py`, where the order of writes is that survives a kill at any moment.
"""
