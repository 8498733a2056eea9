"""What a test receives: nothing that a function does to its data, or leaves out of its answer, makes it right."""

from typing import Any

import numpy as np
import pytest
import torch

from ndelib.exercises import expect_close
from ndelib.exercises.engine import run_test
from ndelib.exercises.received import Receiver, with_plain_keys
from tests.exercises.synthetic import SETUP
from tools.grading.judging.judge import judge
from tools.grading.judging.walls import Limits

LATE = """
def late(twice):
    import torch

    from ndelib.exercises import expect_close

    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    got = twice(x)
    expect_close(got, 2 * x, "twice(x), where what is right is computed after the call")
"""
UNTOUCHED = """
def untouched(twice):
    import torch

    from ndelib.exercises import expect_close

    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    twice(x)
    expect_close(x, [1.0, 2.0], "x after the call")
"""
PARTS = """
def parts(halves):
    from ndelib.exercises import expect_close

    for got, want in zip(halves(6.0), (3.0, 3.0)):
        expect_close(got, want, "a half of 6")
"""
FIELD = """
def field(decay):
    import torch

    from ndelib.exercises import expect_close

    y = torch.tensor([1.0], dtype=torch.float64)
    expect_close(decay(2.0)(y), -2 * y, "the field")
"""
DEFERRED = """
def deferred(shift):
    import torch

    from ndelib.exercises import expect_close

    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    moved = shift(x)
    x.mul_(1)  # the test's own doing
    expect_close(moved(), [2.0, 3.0], "the moved x")
    expect_close(x, [1.0, 2.0], "x after the calls")
"""
KEYS = """
def keys(roots):
    assert len(roots) == 2, "There are two roots."
    for root in roots:
        assert root**2 == 4, f"{root} is no root."
"""
ZEROS = "def twice(x):\n    x.zero_()\n    return x"
IN_PLACE = "def twice(x):\n    x *= 2\n    return x"


def case(code: str) -> Any:
    return {"name": code.split("(")[0].split()[-1], "points": 1, "code": code, "failure_message": "", "hidden": True}


CASES: list[tuple[str, str, bool]] = [
    (LATE, "def twice(x):\n    return 2 * x", True),
    (LATE, ZEROS, False),
    (LATE, "def twice(x):\n    x.fill_(float('inf'))\n    return x", False),
    (LATE, "def twice(x):\n    x.data = torch.zeros(2, dtype=x.dtype)\n    return x", False),
    (LATE, IN_PLACE, False),  # the answer is right, and is wrong for who calls it: y = 2x is no longer so
    (UNTOUCHED, "def twice(x):\n    return 2 * x", True),
    (UNTOUCHED, IN_PLACE, False),
    (PARTS, "def halves(x):\n    return x / 2, x / 2", True),
    (PARTS, "def halves(x):\n    yield x / 2\n    yield x / 2", True),
    (PARTS, "def halves(x):\n    return ()", False),
    (PARTS, "def halves(x):\n    return (x / 2,)", False),
    (PARTS, "def halves(x):\n    return x / 2, x / 2, 'and more'", False),
    (FIELD, "def decay(rate):\n    return lambda y: -rate * y", True),
    (FIELD, "def decay(rate):\n    return lambda y: y.zero_()", False),
    (DEFERRED, "def shift(x):\n    return lambda: x + 1", True),
    (DEFERRED, "def shift(x):\n    return lambda: x.add_(1)", False),
    (KEYS, "roots = {2.0: 'a', -2.0: 'b'}", True),
    (KEYS, "roots = {torch.tensor(2.0): 'a', torch.tensor(-2.0): 'b'}", True),
    (KEYS, "roots = {torch.tensor(2.0): 'a', torch.tensor(2.0): 'b'}", False),
]


@pytest.mark.parametrize(("code", "answer", "passes"), CASES)
def test_only_a_right_answer_passes(code: str, answer: str, passes: bool):
    namespace: dict[str, Any] = {"torch": torch}
    exec(answer, namespace)
    verdict = run_test(case(code), "q1", namespace)
    assert verdict.passed == passes, verdict.message


def test_the_judge_says_the_same():
    """One notebook a code, and the answers one after the other: the last one counts."""
    for code, answer, passes in CASES:
        if (code, answer) in ((LATE, ZEROS), (LATE, IN_PLACE), *((c, a) for c, a, _ in CASES if c in (FIELD, KEYS))):
            question: Any = {"name": "q1", "title": "", "points": 1, "tests": [case(code)]}
            outcome = judge([SETUP, answer], [question], Limits())
            assert outcome["scores"] == {"q1": passes}, outcome


def test_a_part_that_stops_with_an_error_is_not_too_short():
    namespace: dict[str, Any] = {}
    exec("def halves(x):\n    yield x / 2\n    raise ValueError('mine')", namespace)
    assert "Your `halves` stopped with ValueError: mine" in run_test(case(PARTS), "q1", namespace).message


def test_nothing_is_no_result_that_is_right():
    with pytest.raises(AssertionError, match="no numbers to compare"):
        expect_close(torch.zeros(0, 3), torch.zeros(0, 3), "the states")


@pytest.mark.parametrize(
    "argument",
    [torch.zeros(3), np.zeros(3), [1, [2.0]], {"a": [1]}, {1, 2}, (torch.zeros(2), [3]), torch.tensor([1, 2])],
    ids=str,
)
def test_whatever_a_function_changes_is_noticed_and_only_a_copy_changes(argument: Any):
    def write(value: Any) -> None:
        if isinstance(value, (torch.Tensor, np.ndarray)):
            value[0] = 7
        elif isinstance(value, tuple):
            write(value[-1])
        elif isinstance(value, list):
            value.append(3)
        else:
            value.clear()

    for function, changes in ((write, True), (lambda value: [value], False)):
        receiver = Receiver()
        before = str(argument)
        receiver.receive(function)(argument)
        receiver.receive({"it": function})["it"](argument)
        assert str(argument) == before
        assert receiver.changed == changes


def test_gradients_go_through_and_functions_go_back_as_they_came():
    receiver = Receiver()
    square = receiver.receive(lambda x: x**2)
    x = torch.tensor([3.0], requires_grad=True)
    square(x).backward()
    assert x.grad.tolist() == [6.0]
    assert torch.func.jacrev(square)(torch.tensor([3.0])).item() == 6.0
    assert torch.func.vmap(square)(torch.ones(2, 1)).shape == (2, 1)
    assert torch.func.jvp(square, (torch.ones(1),), (torch.ones(1),))[1].item() == 2.0

    def mine() -> None: ...

    seen: list[Any] = []
    receiver.receive(seen.append)(receiver.receive(mine))
    assert seen == [mine]
    assert not receiver.changed


def test_what_may_be_a_key_twice_is_one_key():
    assert with_plain_keys({torch.tensor(1.0): "a", np.float64(1.0): "b", 1.0: "c"}) == {1.0: "c"}
    odd = {torch.zeros(2): 1, torch.empty((), device="meta"): 2, "x": 3}
    assert list(with_plain_keys(odd)) == list(odd)
    assert with_plain_keys([1]) == [1]
