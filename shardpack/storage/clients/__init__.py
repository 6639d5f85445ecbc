"""One client per kind of server. A client makes each request once."""
