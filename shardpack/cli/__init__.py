"""The command line. Each command parses its arguments, calls one function of the library, and prints the result."""
