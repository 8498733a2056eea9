"""The book's machinery: small programs that the Makefile calls, each one run as ``python -m tools.NAME``."""
