"""Label files as values, one format a module: pure, bounded, and ignorant of folders."""
