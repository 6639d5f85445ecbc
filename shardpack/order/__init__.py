"""Sample order as pure integer arithmetic (SPEC 7): permutations, blocks, windows, partitions, mixtures."""
