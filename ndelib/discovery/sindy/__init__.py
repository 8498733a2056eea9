"""Sparse identification of dynamics: libraries of terms, sparse regression, weak and implicit forms, ensembles."""
