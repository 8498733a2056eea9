"""The judge: holds all tests, runs them on stand-ins for a student's names, and runs no line of the student's code.

``python -m tools.grading.judging.judge`` reads JSON lines, the assignment first and then submissions, and writes one
JSON line for each. What comes out of the sandbox is rebuilt from plain data, and compared here by this process's own
torch.
"""

import contextlib
import gc
import json
import os
import resource
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ndelib.exercises.bindings import Change, first_line, in_words
from ndelib.exercises.engine import needed_names, run_test
from ndelib.exercises.seeds import set_secret
from tools.assignments import MasterQuestion
from tools.grading.judging.sandbox import Sandbox, Use, adopt_orphans, die_with_parent
from tools.grading.judging.walls import Limits
from tools.grading.judging.worker.limits import BY_CLOCK, PASSES, WALL
from tools.grading.judging.worker.peer import Peer, TooLong
from tools.grading.judging.worker.values import Reference
from tools.grading.judging.worker.wire import Gone, Silent, Wire
from tools.grading.results import nothing
from tools.grading.text import shown

STARTS = 4
"""How often the worker of one submission is started: a cell or a call that ends it is left out the next time."""
GRACE_S = 5.0
MOST_DATA = 2**30
"""bytes that a submission may send in one test: an endless generator must not fill the judge's memory"""
START_S = 120.0
SLOW = 0.1
"""A cell that takes this part of the time of a whole notebook is left out if the notebook takes too long."""
AGAIN = 0.5
"""The part of the time of a notebook that it has once more, without those cells, and that its tests have at least."""
MOST_LOST = 2
"""How often the tests of one question may end the worker, which is started again for the other questions."""
MOST_SLOW = 2
"""How many tests of one question may take too long, before a call in its others has a part of the time only."""
SLOW_CALL = 0.25
"""That part: who is slow with much may still be right with little, and who never ends costs seconds."""
KEPT_WAITING = 0.05
"""The part of a limit by the clock for which a submission waited for a processor and from which it is no verdict."""
MANY_CALLS = 10_000
"""of the judge's functions in one test, each of which takes part of a millisecond"""
MOST_CHANGES = 1000
"""of which a submission's report takes note: far more than a notebook has, and few enough to be sorted"""
MOST_ERRORS = 50
LONGEST_MESSAGE = 2000
LONGEST_ERROR = 700
SILENT_END = "in a hidden test, a function of the notebook ended the Python process, or had to be stopped"
"""All that is said of a notebook once hidden tests have begun: by their inputs it may choose how it ends, and where."""
OWN_MEMORY = 3 * 2**30
"""bytes that the judge may take for what a submission sends: less than a class needs, more than an answer is"""
_ERROR = {"cell": int, "type": str, "text": str}
_CHANGE = {"answer": str, "name": str, "first": int, "last": int, "removed": bool}


class StudentObject:
    """Stands in the judge for something of the student's that is not plain data: it can be called, and no more."""

    def __init__(self, peer: Peer, reference: Reference):
        self._peer, self._reference = peer, reference
        self.__name__ = reference.text

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it where it lives."""
        return self._peer.call(self._reference.number, args, kwargs)

    def __repr__(self) -> str:
        return f"<{self._reference.text}>"


class StudentIterator:
    """Stands for a generator or another iterator of the student's: its values are made where it lives, one by one."""

    def __init__(self, peer: Peer, reference: Reference):
        self._peer, self._reference = peer, reference

    def __iter__(self) -> "StudentIterator":
        return self

    def __next__(self) -> Any:
        return self._peer.next(self._reference.number)

    def __repr__(self) -> str:
        return f"<{self._reference.text}>"


class StudentValue:
    """Stands for something that can be neither called nor iterated over."""

    def __init__(self, reference: Reference):
        self._text = reference.text

    def __repr__(self) -> str:
        return f"<{self._text}>"


def _stand_in(peer: Peer, reference: Reference) -> Any:
    if reference.iterator:
        return StudentIterator(peer, reference)
    return StudentObject(peer, reference) if reference.callable else StudentValue(reference)


class Submission:
    """One notebook while it is judged: its worker, started again when it dies, as long as time is left."""

    def __init__(self, cells: list[str], answers: list[str], limits: Limits):
        self.errors: list[dict[str, Any]] = []
        self.changes: list[Change] = []
        self.ends: list[str] = []
        self.status = "crashed"
        self.question = ""
        self.lost: Counter[str] = Counter()
        self.slow: Counter[str] = Counter()
        self.kept_waiting = False
        self.heard: list[str] | None = None
        self._ended_later = False
        self.limits, self._cells, self._answers = limits, cells, answers
        self._until = time.monotonic() + limits.wall_s
        self._waited_s = 0.0
        self.computed_s = 0.0
        self._now: tuple[int | str, float, float, float] = -1, limits.cell_s, 0.0, 0.0
        self._used: dict[int | str, tuple[float, float, float]] = {}
        self._skip: set[int] = set()
        self._cells_s: defaultdict[int, float] = defaultdict(float)
        self._cell_limit_s = limits.cell_s
        self._short: set[int] = set()
        self._once_more = True
        self._starts = 0
        self._sandbox: Sandbox | None = None
        self._peer: Peer | None = None

    def peer(self) -> Peer:
        """Return the connection to a worker that has run the notebook; raise ``Gone`` when there is none any more."""
        while self._peer is None:
            if self._starts == STARTS:
                raise Gone(self.ends[-1])
            if time.monotonic() > self._until:
                self.by_the_clock()
                raise Gone(f"the notebook took longer than {self.limits.wall_s:g} s")
            self._starts += 1
            self._start()
        return self._peer

    def _start(self) -> None:
        at, reports, began = -1, 0, time.monotonic()

        def ran(cell: int) -> None:
            nonlocal began
            self._cells_s[cell] += time.monotonic() - began
            began = time.monotonic()

        def progress(message: dict[str, Any]) -> None:
            nonlocal at, reports
            number = message.get("cell")
            if type(number) is not int or not -1 <= number < len(self._cells):
                raise Gone("it reports a cell that there is not")
            ran(at)
            if not reports:  # how long it takes to start is nobody's fault
                self._until += self._cells_s.pop(-1)
            at, reports = number, reports + 1
            if reports > PASSES * len(self._cells) + 1:
                raise Gone("it does not keep to the protocol")
            limit_s = limits_s[number] if number >= 0 else self._cell_limit_s
            self._begin(number, limit_s)
            sandbox.allow(limit_s + GRACE_S)
            limit = START_S if number == -1 else WALL * limit_s + GRACE_S
            peer.wire.deadline = min(time.monotonic() + limit, self._until)

        short = min(self._cell_limit_s, self._short_s)
        limits_s = [short if cell in self._short else self._cell_limit_s for cell in range(len(self._cells))]
        try:
            self._sandbox = sandbox = Sandbox(self.limits)
            peer = Peer(Wire(sandbox.connection), _stand_in)
            peer.handlers["progress"] = progress
            peer.wire.deadline = time.monotonic() + START_S
            about = {"cells": self._cells, "skip": sorted(self._skip), "answers": self._answers}
            message = {"do": "run", **about, "limits_s": limits_s}
            errors, changes = _checked(peer.request(message), len(self._cells))
            del peer.handlers["progress"]  # there is none in a test: it would put off its deadline
            self._begin("tests", self.limits.call_s)
            peer.asking = lambda: sandbox.allow(self.call_s + GRACE_S)
            for error in errors:
                if error["type"] == "TimeLimit":
                    self._short.add(error["cell"])  # if a test ends the worker, it would take all that time again
                    if BY_CLOCK in error["text"]:
                        self.by_the_clock(error["cell"])
            if self.heard is None:
                first = {error["cell"]: error for error in self.errors if error["type"] == "TimeLimit"}
                self.errors, self.changes = [first.get(error["cell"], error) for error in errors], changes
                self.status = "graded"
            self._peer = peer
            self._until = max(self._until, time.monotonic() + AGAIN * self.limits.wall_s)  # for the tests
        except (Gone, Silent, TooLong, Exception) as end:  # instead of the value, a worker may send any error
            ran(at)
            what = self._end(end)
            if self.heard is None:
                self.status = "time limit" if isinstance(end, Silent) else "crashed"
            self._ended_later = True
            if at >= 0:
                self._skip.add(at)
                what = f"the cell that begins with `{first_line(self._cells[at])}` {what}"
            self.ends.append(what)
            if isinstance(end, Silent) and at >= 0 and self._once_more and time.monotonic() >= self._until:
                self._without_the_slow()

    @property
    def _short_s(self) -> float:
        """How long a cell may compute of which it is known that it takes too long."""
        return SLOW * self.limits.wall_s / WALL

    @property
    def call_s(self) -> float:
        """How long a call in a test of this question may compute."""
        return self.limits.call_s * (SLOW_CALL if self.slow[self.question] >= MOST_SLOW else 1.0)

    def _without_the_slow(self) -> None:
        """Let the notebook run once more, without the cells that took its time: few are answers.

        Those that it had not come to have no more time than they.
        """
        self._once_more, self._until = False, time.monotonic() + AGAIN * self.limits.wall_s
        self._cell_limit_s = min(self._cell_limit_s, self._short_s)
        slow = {cell for cell, seconds in self._cells_s.items() if seconds > SLOW * self.limits.wall_s and cell >= 0}
        self.ends += [
            f"the cell that begins with `{first_line(self._cells[cell])}` was left out, as the notebook took too long"
            for cell in sorted(slow - self._skip)
        ]
        self._skip |= slow

    def seal(self) -> list[str]:
        """Take down all that will ever be said of how the notebook ran; return it.

        When it runs again after a hidden test, it may know what hidden tests call with: by the clock for one.
        """
        errors = [
            f"the cell that begins with `{first_line(self._cells[error['cell']])}` stopped with"
            f" {error['type']}: {error['text']}"
            for error in self.errors[:MOST_ERRORS]
        ]
        if len(self.errors) > MOST_ERRORS:
            errors.append(f"{len(self.errors) - MOST_ERRORS} more cells stopped with an error")
        self.heard = [shown(what, LONGEST_ERROR) for what in (*self.ends, *errors)]
        self._ended_later = False
        return self.heard

    @property
    def said(self) -> list[str]:
        """What the student is told of how the notebook ran."""
        return [*([SILENT_END] if self._ended_later else []), *(self.heard or [])]

    def lose(self, end: BaseException) -> str:
        """Take note that the worker has died in a test; return why."""
        what = self._end(end)
        self._ended_later = True
        self.ends.append(f"a function of the notebook {what}")
        self.lost[self.question] += 1
        self._starts -= 1
        return what

    def _begin(self, what: int | str, limit_s: float) -> None:
        """Begin a cell or a test that may compute so long, and write down what the one before has used."""
        use = self._sandbox.use if self._sandbox else Use()
        before, limit, computed, waited = self._now
        self._used[before] = limit, use.computed_s - computed, use.waited_s - waited
        self._now = what, limit_s, use.computed_s, use.waited_s

    def by_the_clock(self, cell: int | None = None) -> None:
        """Take note that a limit by the clock has ended something, if others had the processor that it waited for.

        It was a ``cell``, or else what goes on now. Who had as much computing time as he may have, and went on, was not
        stopped by the clock alone.
        """
        now, limit_s, *_ = self._now
        self._begin(now, limit_s)
        limit_s, computed, waited = self._used.get(now if cell is None else cell, (0.0, 0.0, 0.0))
        most = WALL * limit_s
        if cell is None and time.monotonic() >= self._until:
            waited, most = self._waited_s + self._now[3], self.limits.wall_s
        if computed < limit_s and waited > KEPT_WAITING * most:
            self.kept_waiting = True

    def _end(self, end: BaseException) -> str:
        if isinstance(end, Silent):
            self.by_the_clock()
        served = self._peer.served if self._peer else 0
        reason = self._sandbox.reason if self._sandbox else ""
        self.close()
        if reason:
            return f"was stopped: {reason}"
        if isinstance(end, Silent) and served > MANY_CALLS:
            return f"took too long: it called what it was given {served} times"
        if isinstance(end, Silent):
            return "took too long: is there an endless loop?"
        return "ended the Python process that it ran in (or ran into a limit on memory, time or files)"

    @contextmanager
    def limited(self, seconds: float) -> Iterator[Peer]:
        """Give the connection for one test, which has so long."""
        peer = self.peer()
        self._begin("tests", self.call_s)
        peer.wire.deadline = min(time.monotonic() + seconds, max(self._until, time.monotonic() + 1.0))
        peer.wire.budget = MOST_DATA
        peer.served = 0
        yield peer

    def close(self) -> None:
        """End the worker."""
        if self._sandbox is not None:
            self._sandbox.close()
            self._waited_s += self._sandbox.use.waited_s
            self.computed_s += self._sandbox.use.computed_s
            self._now = -1, self.limits.cell_s, 0.0, 0.0
        self._sandbox = self._peer = None


def judge(
    cells: list[str],
    questions: list[MasterQuestion],
    limits: Limits,
    stuck: Collection[str] = (),
    tell: Callable[[dict[str, Any]], None] = lambda news: None,
    heard: dict[str, Any] | None = None,
    final: bool = True,
) -> dict[str, Any]:
    """Run a notebook in the sandbox and every test here; return scores, verdicts and what went wrong, as plain data.

    Args:
        cells: the notebook.
        questions: their tests.
        limits: what the notebook may use.
        stuck: tests that are not run, because a judge did not come back from them with this notebook.
        tell: called with ``{"test": name}`` before each test and with an empty name after it; and with
            ``{"heard": …}`` when the public tests are done.
        heard: what another judge has told of this notebook so. It stands: whoever ran into a hidden test once may know
            what it calls with, and is not heard any more.
        final: whether it is not judged again even if it was kept waiting.

    In the outcome, ``kept_waiting`` says that a limit by the clock has ended something while others had the processor.
    If that happened before the hidden tests, and it was not final, these were not run, so that all of it can be.
    """
    tests = [test for question in questions for test in question["tests"]]
    submission = Submission(cells, sorted({name for test in tests for name in needed_names(test)}), limits)
    start, computed = time.monotonic(), time.process_time()
    verdicts: dict[str, list[Any]] = {question["name"]: [None] * len(question["tests"]) for question in questions}

    def run(hidden: bool) -> None:
        for question in questions:
            for place, test in enumerate(question["tests"]):
                if test["hidden"] == hidden:
                    verdicts[question["name"]][place] = _run(submission, test, question["name"], stuck, tell)

    try:
        if heard is not None:
            submission.status, submission.heard = heard["status"], heard["said"]
            submission.changes = [Change(**change) for change in heard["changes"]]
            verdicts = heard["verdicts"]
        with contextlib.suppress(Gone, Silent):  # every test will say so
            submission.peer()
        ran = time.monotonic()
        if heard is None:
            # The public ones first: their messages are shown to the student, who may not learn from them what the
            # functions were called with in hidden ones.
            run(hidden=False)
            heard = {"status": submission.status, "said": submission.seal(), "verdicts": verdicts}
            heard["changes"] = [asdict(change) for change in submission.changes]
            if submission.kept_waiting and not final:
                return {**nothing(submission.status), "kept_waiting": True}
            tell({"heard": heard})
        run(hidden=True)
    finally:
        submission.close()
    failed = set()
    for test, verdict in zip(tests, (verdict for found in verdicts.values() for verdict in found), strict=True):
        failed |= set() if verdict["passed"] else set(needed_names(test))
    undone = [change for change in submission.changes if change.answer in failed]
    return {
        "status": submission.status,
        "scores": {name: round(sum(v["points"] for v in found if v["passed"]), 6) for name, found in verdicts.items()},
        "tests": verdicts,
        "undone": [shown(what, LONGEST_ERROR) for what in in_words(undone, lambda number: first_line(cells[number]))],
        "errors": submission.said,
        "seconds": {
            "notebook": ran - start,
            "tests": time.monotonic() - ran,
            "computing": submission.computed_s + time.process_time() - computed,
        },
        "kept_waiting": submission.kept_waiting,
    }


def _run(
    submission: Submission, test: Any, question: str, stuck: Collection[str], tell: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Run one test, and whatever happens return a verdict."""
    passed, message = False, ""
    submission.question = question
    try:
        if test["name"] in stuck:
            raise _TestTooLong
        if submission.lost[question] == MOST_LOST:
            raise _GivenUp
        seconds = WALL * submission.call_s + GRACE_S
        with submission.limited(seconds) as peer, _alarm(seconds + GRACE_S):
            tell({"test": test["name"]})
            peer.request({"do": "limit", "seconds": submission.call_s})
            namespace = {}
            for name in needed_names(test):
                there, value = peer.request({"do": "get", "name": name})
                if there is True:
                    namespace[name] = value
            verdict = run_test(test, question, namespace)
            passed, message = verdict.passed, verdict.message
            peer.forget()
            peer.request({"do": "forget"})
    except _GivenUp:
        message = f"It was not run: tests of this question have ended the process {MOST_LOST} times."
    except TooLong as error:
        if BY_CLOCK in str(error):
            submission.by_the_clock()
        submission.slow[question] += 1
        message = f"It took too long. {error}"
        try:
            peer.forget()
            peer.request({"do": "forget"})
        except (Gone, Silent, TooLong, Exception) as end:  # it was stopped in the middle of a call to this side
            submission.lose(end)
    except _TestTooLong as end:
        passed, message = False, "The test did not come to an end with what your code gave it."
        if test["name"] not in stuck:
            submission.lose(end)
    except (Gone, Silent) as end:
        passed = False
        message = f"Your code {submission.lose(end)}." if submission._peer else f"There is nothing to test: {end}."
    except Exception as error:
        passed, message = False, f"Your code gave no value. {getattr(error, 'explanation', '')}"
        if not hasattr(error, "explanation"):  # no error of the student's: the worker does not keep to the protocol
            submission.lose(error)
    finally:
        tell({"test": ""})
    about = {"name": test["name"], "points": test["points"], "hidden": test["hidden"], "hint": test["failure_message"]}
    return {**about, "passed": passed, "message": "" if passed else shown(message, LONGEST_MESSAGE)}


class _GivenUp(Exception):
    """A question is not asked any further."""


class _TestTooLong(Silent):
    """A test itself did not end, because of what the student's code gave it."""


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise _TestTooLong

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _checked(found: Any, cells: int) -> tuple[list[dict[str, Any]], list[Change]]:
    """Return what a worker says of a notebook of so many cells: the errors in it, and what undid its answers."""
    errors, changes = (found.get("errors"), found.get("changes")) if isinstance(found, dict) else (None, None)
    if not isinstance(errors, list) or not isinstance(changes, list):
        raise Gone("it does not keep to the protocol")
    for record, wanted in [(e, _ERROR) for e in errors] + [(c, _CHANGE) for c in changes]:
        if not isinstance(record, dict) or {key: type(part) for key, part in record.items()} != wanted:
            raise Gone("it does not keep to the protocol")
        if not all(0 <= part < cells for part in record.values() if type(part) is int):
            raise Gone("it reports a cell that there is not")
    return errors, [Change(**{**change, "name": change["name"][:80]}) for change in changes[:MOST_CHANGES]]


def main() -> None:
    """Judge what comes in on the standard input."""
    die_with_parent()
    adopt_orphans()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing that a test prints is an answer
    key = json.loads(sys.stdin.readline())
    limits = Limits(**key["limits"])
    set_secret(key["seed"])
    if "torch.func" in json.dumps(key["questions"]):
        torch.func.jacrev(torch.sin)(torch.ones(1))  # its first use imports for a second, on nobody's time
    gc.freeze()
    _limit_own_memory()
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # from here on, a submission may have chosen what is written there

    def say(what: dict[str, Any]) -> None:
        print(json.dumps(what), file=answers, flush=True)

    say({"ready": True})
    for line in sys.stdin:
        job = json.loads(line)
        stuck, heard, final = job["stuck"], job["heard"], job["final"]
        say({"outcome": judge(job["cells"], key["questions"], limits, stuck, say, heard, final)})


def _limit_own_memory() -> None:
    """Let this process take so much more memory than it has; what it starts may raise the limit to its own."""
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        now = next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:"))
        resource.setrlimit(resource.RLIMIT_DATA, (now + OWN_MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))


if __name__ == "__main__":
    main()
