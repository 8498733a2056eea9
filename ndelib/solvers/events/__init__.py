"""Events: where a function of the state crosses zero along a solve, and what happens there (chapters 6 and 8)."""
