"""`python -m shardpack`."""

from shardpack.cli.main import run

run()
