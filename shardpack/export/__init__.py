"""From datasets to files of other kinds."""
