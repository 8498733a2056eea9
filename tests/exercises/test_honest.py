"""Honest students: a magic, an odd variable, one answer that fails or a busy neighbour costs no other mark."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.exercises.synthetic import QUESTIONS, RIGHT, SETUP
from tools.grading.judging import engines, idle, sandbox
from tools.grading.judging import judge as judging
from tools.grading.judging.judge import Submission, judge
from tools.grading.judging.sandbox import Use, nursery
from tools.grading.judging.walls import KINDS, Limits, kind

EVERYTHING = {"q1": 3, "q2": 3, "q3": 3}
MAGICS = """
%matplotlib inline
%matplotlib widget
%matplotlib notebook
%gui qt
%config InlineBackend.figure_format = 'retina'
%load_ext autoreload
%autoreload 2
%load_ext nobody_has_this
%nobody_has_this either
%precision 3
name = input("Your name: ")
!pip install nobody-has-this
import matplotlib
matplotlib.use("TkAgg")
"""
OWN_FILE = ["%%writefile mine.py\ndef double(x):\n    return 2 * x\n", "from mine import double"]
PICTURE = """
%pylab inline
plt.plot([1, 2])
plt.show()
assert x == 1
"""
LEAK = """
kept = []
def keep(x):
    kept.append(x)
    return x.sum()
torch.func.vmap(torch.func.grad(keep))(torch.ones(3, 2))
"""
ODD = {
    "a meta device": "torch.empty(3, device='meta')",
    "escaped from vmap": "kept[0]",
    "sparse": "torch.eye(3).to_sparse()",
    "quantised": "torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8)",
    "a subclass": "torch.ones(2).as_subclass(type('Mine', (torch.Tensor,), {'detach': None}))",
    "of eight bits": "torch.ones(2).to(torch.float8_e4m3fn)",
    "larger than the memory": "torch.ones(1).expand(10**12)",
    "in itself": "(lambda x: (x.append(x), x)[1])([])",
    "an integer of 5000 digits": "10**5000",
}
needs_a_wall = pytest.mark.skipif(
    kind() == KINDS[2] and not os.environ.get("CI"), reason="neither bubblewrap nor user namespaces here"
)


@needs_a_wall
def test_what_speaks_to_the_notebooks_program_stops_no_cell():
    cells = [MAGICS + SETUP, "%%time\nx = 1", PICTURE, *OWN_FILE, f"%%nobody_has_this\n{RIGHT[2]}", *RIGHT[3:]]
    outcome = judge(cells, QUESTIONS, Limits())
    assert outcome["errors"] == []
    assert outcome["scores"] == EVERYTHING


CHAIN = ["y = x + 1\ndef double(v):\n    return 2 * v + 0 * y", "x = w + 1", "w = v + 1", "v = 1"]


@needs_a_wall
def test_cells_in_any_order_run_until_no_more_of_them_stop():
    outcome = judge([*CHAIN, "nobody", SETUP, *RIGHT[2:]], QUESTIONS, Limits())
    assert outcome["scores"] == EVERYTHING
    assert len(outcome["errors"]) == 1
    assert "`nobody` stopped with NameError" in outcome["errors"][0]


ELSEWHERE = """
import math, nobody_has_this as absent, statistics
from google.colab import drive
drive.mount("/content/drive")
absent.set_theme(style="dark").more
from helpers_of_mine import helper, Helper
from nobody_has_this import *
import nobody_has_this.either
color = absent.color_palette()[0]
for name in drive.upload():
    name.lower()
with absent.progress(3) as bar:
    while bar.busy():
        pass
class Mine(absent.Base):
    size: absent.Float[None, "n"] = len(absent.shapes)
math, statistics, Mine()
"""
DECORATED = "@absent.jit(parallel=True)\n@absent.jit\n"
USES = "def refuse(x):\n    return helper(x)"


@needs_a_wall
def test_an_import_of_what_is_not_here_costs_what_uses_it_and_nothing_else():
    outcome = judge([ELSEWHERE + SETUP, RIGHT[1], DECORATED + RIGHT[2], RIGHT[3], USES], QUESTIONS, Limits())
    assert outcome["scores"] == EVERYTHING | {"q3": 1}
    assert "ModuleNotFoundError: No module named 'nobody_has_this'" in outcome["errors"][0]
    assert "No module named 'helpers_of_mine'" in outcome["tests"]["q3"][-1]["message"]


AS_WRITTEN = """
import array, collections, pandas
import getpass
number = input("Which? ") + getpass.getpass()
@torch.compile
def double(x):
    return torch.tensor(x, dtype=torch.float64) * 2
def slope(V, y):
    found = torch.func.grad(V)(y).tolist()
    return pandas.Series(found) if 0.3 in y.tolist() else collections.deque(found)
def numbers():
    return array.array("d", [1, 2]), {1: 1.0, 2: 2.0}.values()
"""
NUMBERS = """
def numbers_public(numbers):
    from ndelib.exercises import expect_close
    for found in numbers():
        expect_close(found, [1.0, 2.0], "numbers")
"""


@needs_a_wall
def test_what_a_notebook_can_do_elsewhere_and_what_the_students_checker_takes_is_taken_here():
    public: Any = QUESTIONS[0]["tests"][0]
    third: Any = {**QUESTIONS[2], "tests": [{**public, "name": "numbers_public", "code": NUMBERS.strip(), "points": 3}]}
    outcome = judge([SETUP, AS_WRITTEN], [*QUESTIONS[:2], third], Limits())
    assert outcome["errors"] == []
    assert outcome["scores"] == EVERYTHING, outcome["tests"]


@needs_a_wall
def test_a_loop_until_somebody_answers_ends():
    outcome = judge(["while input('Go on? ') != 'yes':\n    pass", *RIGHT], QUESTIONS, Limits())
    assert outcome["scores"] == EVERYTHING
    assert "stopped with EOFError" in outcome["errors"][0]


@needs_a_wall
def test_cells_that_wait_for_what_does_not_come_cost_no_answer_beside_them():
    """For a server or a device that is not there. Such a cell takes all the time that a notebook has."""
    waits = "import threading\nthreading.Event().wait()"
    outcome = judge([*RIGHT, waits, waits + "\n"], QUESTIONS, Limits(wall_s=20))
    assert outcome["scores"] == EVERYTHING, outcome["errors"]
    assert outcome["status"] == "graded"
    assert "took too long: is there an endless loop?" in outcome["errors"][0]


def test_a_notebook_that_takes_too_long_runs_again_without_the_cells_that_took_its_time():
    one = Submission(["quick()", "train()", "train(more)", "later()"], [], Limits(wall_s=100))
    one._cells_s.update({-1: 60, 0: 9, 1: 11, 2: 80})
    one._skip.add(2)  # in which the time was over
    one._without_the_slow()
    assert one._skip == {1, 2}
    assert one.ends == ["the cell that begins with `train()` was left out, as the notebook took too long"]
    assert not one._once_more


@needs_a_wall
@pytest.mark.parametrize("first", range(0, len(ODD), 3))
def test_an_odd_variable_costs_its_own_question(first: int):
    """Three at a time, in the place of answers; the question that takes none of them keeps its points."""
    odd = list(ODD.values())[first : first + 3]
    answers = [f"{name} = {value}" for name, value in zip(("double", "kinds", "refuse"), odd, strict=True)]
    outcome = judge([*RIGHT, LEAK, *answers], QUESTIONS, Limits())
    assert outcome["scores"] == {"q1": 0, "q2": 3, "q3": 0}
    assert outcome["status"] == "graded"
    assert not [error for error in outcome["errors"] if "function of the notebook" in error], "the worker was lost"


@needs_a_wall
def test_an_answer_that_ends_the_process_in_many_tests_costs_its_own_question():
    first, *others = QUESTIONS
    many: Any = {**first, "tests": [{**test, "name": f"{test['name']}"} for test in first["tests"] * 4]}
    outcome = judge([*RIGHT, "import os\ndef double(x):\n    os._exit(0)"], [many, *others], Limits())
    assert outcome["scores"] == EVERYTHING | {"q1": 0}
    assert sum("ended the Python process" in error for error in outcome["errors"]) == 2
    assert "It was not run" in outcome["tests"]["q1"][-1]["message"]


def spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="this system does not say who waited")
def test_who_waits_for_a_processor_is_seen_to_wait():
    crowd = [multiprocessing.Process(target=spin, args=(1.0,)) for _ in range(4 * len(os.sched_getaffinity(0)))]
    for process in crowd:
        process.start()
    time.sleep(0.8)
    use = Use()
    use.look([crowd[0].pid or 0])
    for process in crowd:
        process.join()
    assert use.waited_s > use.computed_s > 0  # the three of four others were before it


def test_who_waits_for_a_neighbour_is_told_from_who_waits_for_himself(monkeypatch):
    """Each process: what it has computed, and what it has waited, in seconds, at the first look and at the second."""
    looks = [{1: (1.0, 2.0), 2: (1.0, 0.0)}, {1: (2.0, 6.0), 2: (2.0, 0.0), 3: (1.0, 1.0), 4: None}]
    use = Use()
    for look in looks:
        monkeypatch.setattr(sandbox, "_schedule", look.get)
        use.look(look)
    # At first one waits 2 s while the other computes 1 s; then 4 s, while two others compute 2 s together.
    assert (use.computed_s, use.waited_s) == (2.0 + 3.0, 1.0 + 2.0)
    crowd = Use()
    monkeypatch.setattr(sandbox, "_schedule", lambda pid: (0.5, 0.5))  # four on two processors, for a second
    crowd.look(range(4))
    assert (crowd.computed_s, crowd.waited_s) == (2.0, 0.0)


BEGAN = [0.0]
CELL, CALL = "time.sleep(60)", "def double(x):\n    time.sleep(60)"


@needs_a_wall
@pytest.mark.parametrize(
    ("slow", "has", "kept"),
    [
        (CELL, lambda pid: (0.0, 0.0), False),  # nobody keeps a sleeper waiting
        (CELL, lambda pid: (0.0, time.monotonic()), True),
        (CALL, lambda pid: (0.0, time.monotonic()), True),
        (CELL, lambda pid: (time.monotonic() - BEGAN[0], 100 * time.monotonic()), False),  # it had its computing time
    ],
)
def test_a_limit_by_the_clock_is_a_verdict_on_who_was_not_kept_waiting(monkeypatch, slow: str, has: Any, kept: bool):
    monkeypatch.setattr(sandbox, "_schedule", has)
    nursery(Limits(cell_s=1, call_s=1))
    BEGAN[0] = time.monotonic()
    outcome = judge([SETUP, "import time", *RIGHT[1:], slow], QUESTIONS, Limits(cell_s=1, call_s=1))
    assert "4 s by the clock" in str(outcome)
    assert outcome["kept_waiting"] == kept
    if slow == CELL:  # nothing hidden is run while all of it may run again
        first = judge([SETUP, "import time", slow], QUESTIONS, Limits(cell_s=1, call_s=1), final=False)
        assert bool(first["tests"]) != kept


def test_what_was_kept_waiting_is_judged_again_alone(monkeypatch):
    running: list[str] = []
    said: list[tuple[str, int]] = []

    class Stub:
        def __init__(self, key: str):
            self.key = key

        def outcome(self, cells: list[str], heard: Any, final: bool, idle: Any = None) -> dict[str, Any]:
            assert final == (heard is not None)
            name = cells[0]
            running.append(name)
            time.sleep(0.05)
            said.append((name, len(running)))
            running.remove(name)
            waited = name in "bd" and [who for who, _ in said].count(name) == 1
            return {"status": "time limit" if waited else "graded", "kept_waiting": waited, "heard": {"of": name}}

        def end(self) -> None: ...

    monkeypatch.setattr(engines, "Judge", Stub)
    key = engines.answer_key(QUESTIONS, Limits())
    found = dict(engines.on_this_machine(key, {name: [name] for name in "abcd"}, workers=2))
    assert {name: outcome["status"] for name, outcome in found.items()} == dict.fromkeys("abcd", "graded")
    assert sorted(who for who, _ in said[:4]) == list("abcd")
    assert sorted(said[4:]) == [("b", 1), ("d", 1)]


@pytest.mark.parametrize(("workers", "most", "computing"), [(2, 4, 2), (1, 1, 1)])
def test_who_sleeps_holds_no_place_and_who_computes_does(monkeypatch, workers: int, most: int, computing: int):
    """Two sleep until the others are judged, if there are places; who asks for one at a time gets that."""
    done = threading.Event()
    at_work: list[str] = []
    crowds: list[int] = []

    class Stub:
        def __init__(self, key: str): ...

        def outcome(self, cells: list[str], heard: Any, final: bool, idle: Callable[[], None]) -> dict[str, Any]:
            name = cells[0]
            at_work.append(name)
            crowds.append(len(at_work))
            assert len(set(at_work) - set("ab")) <= computing
            if name in "ab":
                idle()
                assert done.wait(20 if workers > 1 else 0.01) or workers == 1
            else:
                time.sleep(0.1)
            at_work.remove(name)
            if name == "f":
                done.set()
            return {"status": "graded"}

        def end(self) -> None: ...

    monkeypatch.setattr(engines, "Judge", Stub)
    key = engines.answer_key(QUESTIONS, Limits(memory_mb=1))
    assert len(dict(engines.on_this_machine(key, {name: [name] for name in "abcdef"}, workers))) == 6
    assert max(crowds) == most


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="this system does not say who computes")
@pytest.mark.parametrize(("does", "sleeps"), [("time.sleep(9)", True), ("while True: pass", False)])
def test_a_process_that_sleeps_is_told_from_one_that_computes(monkeypatch, does: str, sleeps: bool):
    monkeypatch.setattr(idle, "IDLE_S", 0.5)
    with subprocess.Popen([sys.executable, "-c", f"import time\n{does}"]) as process:
        found: list[bool] = []
        watch = idle.Idle(lambda: found.append(True))
        for _ in range(15):
            time.sleep(0.1)
            watch.look(process.pid)
        process.kill()
    assert found == [True] * sleeps


DEAF = """
import signal
def double(x):
    for one in (signal.SIGPROF, signal.SIGALRM): signal.signal(one, signal.SIG_IGN)
    while True: pass
"""


@needs_a_wall
def test_who_ignores_its_limit_on_computing_is_stopped_soon(monkeypatch):
    """By the clock it would have four times as long, in each test."""
    monkeypatch.setattr(judging, "GRACE_S", 1.0)
    monkeypatch.setattr(judging, "WALL", 100.0)  # so that it is not the clock that ends it
    outcome = judge([*RIGHT, DEAF], QUESTIONS, Limits(call_s=1.0, wall_s=600))
    assert outcome["scores"] == EVERYTHING | {"q1": 0}
    assert "it went on computing when its time was over" in str(outcome["tests"]["q1"])


ENDLESS = """
calls = []
def double(x):
    calls.append(x)
    while len(calls) <= {most}: pass
    return 2 * x
"""


@needs_a_wall
@pytest.mark.parametrize(("most", "passed"), [(2, [False, False, True, True]), (9, [False] * 4)])
def test_an_answer_that_never_ends_costs_little_and_one_that_ends_at_last_still_counts(most: int, passed: list[bool]):
    public: Any = QUESTIONS[0]["tests"][0]
    outcome = judge([ENDLESS.format(most=most)], [{**QUESTIONS[0], "tests": [public] * 4}], Limits(call_s=1.0))
    assert [test["passed"] for test in outcome["tests"]["q1"]] == passed
    said = [test["message"] for test in outcome["tests"]["q1"]]
    assert ["after 1 s of" in text for text in said] == [True, True, False, False]
    assert ["after 0.25 s of" in text for text in said] == [False, False, *[most == 9] * 2]


@needs_a_wall
def test_a_cell_that_never_ends_has_all_its_time_only_once(monkeypatch):
    """When a test ends the process, the notebook runs again."""
    monkeypatch.setattr(judging, "SLOW", 0.01)
    endless = "known = 1\nwhile True: pass"
    ends = "def double(x):\n    known, __import__('os')._exit(0)\ndef refuse(x):\n    raise ValueError(known)"
    outcome = judge([*RIGHT, ends, endless], QUESTIONS, Limits(cell_s=3.0, wall_s=200))
    assert outcome["scores"] == EVERYTHING | {"q1": 0}
    assert "TimeLimit: stopped after 3 s" in str(outcome["errors"])
    assert outcome["seconds"]["tests"] < outcome["seconds"]["notebook"]


@needs_a_wall
def test_who_takes_too_long_by_calling_what_it_was_given_is_told_so(monkeypatch):
    monkeypatch.setattr(judging, "MANY_CALLS", 100)
    monkeypatch.setattr(judging, "WALL", 1.0)
    monkeypatch.setattr(judging, "GRACE_S", 1.0)
    calls = "def slope(V, y):\n    while True:\n        V(y)\n        time.sleep(0.001)"
    outcome = judge([*RIGHT, "import time", calls], QUESTIONS[1:2], Limits(call_s=3.0))
    assert "it called what it was given" in outcome["tests"]["q2"][0]["message"]
