"""Symbolic regression: expressions as lists of tokens, evaluated together, bred, and simplified."""
