"""Running one test on a student's variables, and turning what goes wrong into a sentence.

A test is a function whose parameters are the names it needs from the notebook. It passes if it returns, whatever the
functions of the notebook do to the data that it calls them with.
"""

import ast
import linecache
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

from ndelib.exercises.received import Receiver, with_plain_keys


class Test(TypedDict):
    """One test of a question, as the JSON file of an assignment holds it."""

    name: str
    points: float
    code: str
    failure_message: str


@dataclass(frozen=True)
class Verdict:
    """What one test said: ``message`` is empty if it passed."""

    name: str
    points: float
    passed: bool
    message: str = ""


def run_test(test: Test, question: str, namespace: dict[str, Any]) -> Verdict:
    """Run ``test`` on the variables in ``namespace``; ``question`` is named where one of them is missing."""
    message = _missing(test, question, namespace)
    if not message:
        message = _run(test, namespace)
        if message and test["failure_message"]:
            message = f"{message}\n{test['failure_message']}"
    return Verdict(test["name"], test["points"], not message, message)


def needed_names(test: Test) -> list[str]:
    """Return the names that ``test`` takes from the notebook: the parameters of its function."""
    function = next(node for node in ast.parse(test["code"]).body if isinstance(node, ast.FunctionDef))
    return [argument.arg for argument in function.args.args]


def _missing(test: Test, question: str, namespace: dict[str, Any]) -> str:
    """Say which name the test needs and the notebook has not, or nothing."""
    for name in needed_names(test):
        if name not in namespace:
            return f"`{name}` is not defined yet: run your cell for {question} first."
        if namespace[name] is ...:
            return f"`{name}` is still `...`: fill it in, run its cell, then check again."
    return ""


def _run(test: Test, namespace: dict[str, Any]) -> str:
    """Run the test; return what went wrong, or nothing.

    The functions of the notebook get copies of the test's data. If they change them, the test runs a second time on the
    data themselves, and has to pass both times: it may forbid a change, but a change cannot make it pass.
    """
    values = [with_plain_keys(namespace[name]) for name in needed_names(test)]
    receiver = Receiver()
    message = _once(test, [receiver.receive(value) for value in values], namespace)
    return message or (_once(test, values, namespace) if receiver.changed else "")


def _once(test: Test, values: list[Any], namespace: dict[str, Any]) -> str:
    environment: dict[str, Any] = {"zip": _zip}
    exec(compile(test["code"], f"<test {test['name']}>", "exec"), environment)
    try:
        environment[test["name"]](*values)
    except Exception as error:
        return _explain(error, environment, namespace)
    return ""


def _zip(*parts: Iterable[Any], strict: bool = True) -> Iterator[tuple[Any, ...]]:
    """Stand in a test for ``zip``, which ends with the shortest: an answer without parts would be right in each."""
    try:
        yield from zip(*parts, strict=strict)
    except ValueError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # it comes out of one of the parts
        raise AssertionError("The result has not as many parts as it should have.") from None


def _explain(error: Exception, environment: dict[str, Any], namespace: dict[str, Any]) -> str:
    """Say in a sentence what ``error`` is, with the line of the student's code that raised it, if one did."""
    there = getattr(error, "explanation", "")  # raised in another process, and explained there
    if there and isinstance(there, str):
        return there
    line = students_line(error, namespace)
    if line:
        return line
    if isinstance(error, AssertionError):
        return str(error) or "The result is not as expected."
    return f"The test could not work with what your code gave: {_kind(error)}."


def students_line(error: BaseException, namespace: dict[str, Any]) -> str:
    """Say which line of the code whose global variables are ``namespace`` raised ``error``; empty if none did."""
    frames = list(traceback.walk_tb(error.__traceback__))
    in_student_code = [(frame, line) for frame, line in frames if frame.f_globals is namespace]
    if not in_student_code:
        return ""
    frame, line = in_student_code[-1]
    source = linecache.getline(frame.f_code.co_filename, line, frame.f_globals).strip()
    where = f"in line {line} of its cell" + (f", `{source}`" if source else "")
    return f"Your `{frame.f_code.co_name}` stopped with {_kind(error)}\n{where}."


def _kind(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
