"""Random access: samples by position and by key, from any store."""
