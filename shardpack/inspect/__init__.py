"""Looking at datasets: verify, benchmark, statistics of an order."""
