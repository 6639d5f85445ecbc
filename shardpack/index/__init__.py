"""From tars that others wrote to indexes: find them, scan their headers, build."""
