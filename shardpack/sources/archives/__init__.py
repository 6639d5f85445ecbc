"""Archives of files as sources, read in place: their files are a tree, as those of a folder are."""
