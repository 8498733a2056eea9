"""Grading a class: sandbox, judge, results and reports."""
