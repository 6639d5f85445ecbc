"""The only way in which a dataset appears or changes, in a folder or a bucket: lease, journal, transaction.

begin -> deliver shards -> publish

`transaction.py` has the order of writes that survives a kill at any moment.
"""
