"""Field payloads to Python values. Bytes are the default everywhere; decoding is asked for."""
