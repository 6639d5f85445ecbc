"""Examine datasets without changing them: verify, measure speed, and describe the order of an epoch."""
