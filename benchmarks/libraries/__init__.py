"""One module a library: how it solves a problem of the table. Each is imported in that library's own process only."""
