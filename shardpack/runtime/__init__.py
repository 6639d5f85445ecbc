"""What any program needs and nothing of shardpack: sizes, progress, threads, worker processes."""
