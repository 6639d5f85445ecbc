"""What any program could use, without a word about datasets: sizes, progress, threads, worker processes."""
