"""Epochs: shuffled, shared out to ranks and workers, resumable, batched."""
