"""Indexes that other programs read, written from our own: no payload is read, and no tar is changed."""
