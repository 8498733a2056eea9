"""A small assignment for the tests of grading: three questions, and the cells of a right answer."""

from tools.assignments import MasterQuestion

Q1_PUBLIC = """
def q1_public(double):
    from ndelib.exercises import expect_close

    expect_close(double(2.0), 4.0, "double(2.0)")
"""
Q1_HIDDEN = """
def q1_hidden(double):
    from ndelib.exercises import expect_close

    for x in (0.0, -3.5, 1e9):
        expect_close(double(x), 2 * x, f"double({x})")
"""
Q2_PUBLIC = """
def q2_public(slope):
    import torch

    from ndelib.exercises import expect_close

    y = torch.tensor([1.0, 2.0], dtype=torch.float64)
    expect_close(slope(lambda y: (y**2).sum(), y), [2.0, 4.0], "slope of y² at (1, 2)")
"""
Q2_HIDDEN = """
def q2_hidden(slope):
    import math

    import torch

    from ndelib.exercises import expect_close

    y = torch.tensor([0.3, -0.7], dtype=torch.float64)
    a, b = y.tolist()
    right = [math.cos(a) * math.sin(b), math.sin(a) * math.cos(b)]
    expect_close(slope(lambda y: y.sin().prod(), y), right, "slope of a product")
    expect_close(y, [0.3, -0.7], "y after the call")
"""
Q3_PUBLIC = """
def q3_public(kinds):
    from ndelib.exercises import expect_equal

    expect_equal(set(kinds), {"a", "b"}, "the keys of kinds")
"""
Q3_HIDDEN = """
def q3_hidden(kinds, refuse):
    from ndelib.exercises import expect_equal

    expect_equal(kinds, {"a": 1, "b": 2}, "kinds")
    try:
        refuse(-1.0)
    except ValueError:
        return
    raise AssertionError("refuse(-1.0) raised nothing.")
"""


def _question(name: str, title: str, public: str, hidden: str) -> MasterQuestion:
    tests = []
    for kind, points, code in (("public", 1, public), ("hidden", 2, hidden)):
        about = {"name": f"{name}_{kind}", "points": points, "hidden": kind == "hidden"}
        tests.append({**about, "code": code.strip(), "failure_message": "Read again."})
    return {"name": name, "title": title, "points": 3, "tests": tests}  # type: ignore[typeddict-item]


QUESTIONS = [
    _question("q1", "Twice", Q1_PUBLIC, Q1_HIDDEN),
    _question("q2", "Slope", Q2_PUBLIC, Q2_HIDDEN),
    _question("q3", "Kinds", Q3_PUBLIC, Q3_HIDDEN),
]
SETUP = "import torch"
DOUBLE = "def double(x):\n    return 2 * x"
SLOPE = "def slope(V, y):\n    return torch.func.grad(V)(y)"
KINDS = 'kinds = {"a": 1, "b": 2}'
REFUSE = "def refuse(x):\n    if x < 0:\n        raise ValueError(x)\n    return x"
RIGHT = [SETUP, DOUBLE, SLOPE, KINDS, REFUSE]
# Wrong everywhere, so that whatever it earns was not earned.
WRONG = [SETUP, "def double(x):\n    return x + 1", "def slope(V, y):\n    return 0 * y", "kinds = {}", "refuse = abs"]
