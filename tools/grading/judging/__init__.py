"""Judging submissions: the sandbox that runs a notebook, the judge outside of it, and who starts the judges."""
