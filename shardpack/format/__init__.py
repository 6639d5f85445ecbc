"""The bytes of a dataset and the values they stand for: SPEC.md in code. Pure: no I/O here."""
