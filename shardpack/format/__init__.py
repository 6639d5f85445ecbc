"""The bytes of a dataset and the values they encode: SPEC.md in code, without I/O."""
