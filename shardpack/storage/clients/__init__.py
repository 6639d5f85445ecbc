"""One client for each kind of server; each makes a request once."""
