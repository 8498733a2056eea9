"""Comparing the gradients of a solve on one's own model: :func:`compare_gradients`."""

from ndelib.adjoints.compare.measure import compare_gradients
from ndelib.adjoints.compare.report import GradientReport, GradientTable

__all__ = ["GradientReport", "GradientTable", "compare_gradients"]
