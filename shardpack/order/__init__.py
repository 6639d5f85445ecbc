"""Order of samples as pure integer arithmetic (SPEC 7): permutations, blocks, windows, partitions, mixtures."""
