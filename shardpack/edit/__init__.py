"""What changes a dataset as a whole, or makes another of it."""
