"""Field payloads to Python values and back. Payloads stay bytes unless decoding is requested."""
