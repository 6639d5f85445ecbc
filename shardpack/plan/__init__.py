"""Which bytes go where and in what order: arithmetic on integers, no I/O."""
