"""The student's side of the graded assignments: ``Grader("01").check("q1")`` runs the public tests.

The tests of an assignment are data, one JSON file beside this one, written by ``python -m tools.release`` from the
lecturer's master notebook. Nothing here needs a network or a package beyond those of ``ndelib``.
"""

from ndelib.exercises.expect import expect_close, expect_equal, expect_pair
from ndelib.exercises.grader import Grader
from ndelib.exercises.seeds import fresh_seed

__all__ = ["Grader", "expect_close", "expect_equal", "expect_pair", "fresh_seed"]
