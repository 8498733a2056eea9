"""Hostile and broken submissions: none gets more than it earned, none stops another, none leaves its sandbox.

Every entry stands before or after wrong answers, which earn nothing, or right ones, which earn everything.
"""

import contextlib
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.exercises.synthetic import QUESTIONS, REFUSE, RIGHT, SETUP, SLOPE, WRONG
from tools.common import ROOT
from tools.grading.judging import sandbox
from tools.grading.judging.engines import Judge, answer_key
from tools.grading.judging.judge import SILENT_END, Submission, judge
from tools.grading.judging.sandbox import Sandbox, nursery
from tools.grading.judging.walls import KINDS, Limits, kind
from tools.grading.judging.worker.wire import Gone, Silent

LIMITS = Limits(wall_s=200, cell_s=4, call_s=4, memory_mb=1500, file_mb=8, scratch_mb=32, processes=40)
NOTHING = {"q1": 0, "q2": 0, "q3": 0}
EVERYTHING = {"q1": 3, "q2": 3, "q3": 3}

pytestmark = pytest.mark.skipif(
    kind() == KINDS[2] and not os.environ.get("CI"), reason="neither bubblewrap nor user namespaces here"
)


@dataclass(frozen=True)
class Entry:
    """A submission: its cells, what it earns, and a word that its errors or messages hold."""

    cells: list[str]
    earns: dict[str, float]
    says: str = ""


PATCH = """
import builtins, numpy, torch
true = lambda *args, **kwargs: True
for name in ("allclose", "equal", "isclose"):
    setattr(torch, name, true)
    if hasattr(numpy, name): setattr(numpy, name, true)
torch.Tensor.__eq__ = numpy.testing.assert_allclose = true
builtins.all = builtins.isinstance = true
"""
CHECKER = """
import ndelib.exercises as e, ndelib.exercises.expect as x, ndelib.exercises.engine as n
for module in (e, x):
    module.expect_close = module.expect_equal = lambda *args, **kwargs: None
n.run_test = lambda test, *args: n.Verdict(test["name"], 99.0, True)
"""
LIAR = """
class Liar(dict):
    __hash__ = None
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __abs__ = __neg__ = __sub__ = __rsub__ = lambda self, *other: 0.0
    def __float__(self): return 4.0
    def __iter__(self): return iter("ab")
kinds = Liar()
double = lambda x: Liar()
slope = lambda V, y: Liar()
refuse = lambda x: Liar()
"""
FORGER = """
import json, os, struct, sys
forged = json.dumps({"value": True, "scores": {"q1": 3, "q2": 3, "q3": 3}, "passed": True, "status": "graded"}).encode()
for number in range(3, 40):
    try:
        os.write(number, struct.pack(">II", len(forged), 0) + forged)
    except OSError:
        pass
for name in ("result.json", "results.json", "../result.json", "/tmp/result.json"):
    try:
        open(name, "wb").write(forged)
    except OSError:
        pass
print(forged.decode()); print("q1 passed: 3 of 3 points", file=sys.stderr)
"""
STACK = """
import gc, inspect, sys
def double(x):
    seen = [frame.frame.f_locals for frame in inspect.stack()] + [o for o in gc.get_objects() if isinstance(o, dict)]
    if any("want" in names and "got" in names or "q1_hidden" in str(names.get("code", "")) for names in seen):
        return 2 * x
    return x + 1
"""
READER = f"""
import os, pathlib, re
def double(x):
    found = []
    for root in {[str(ROOT), "/work", "/home", "/root", "/tmp", "/proc/1/root", "/book"]!r}:
        for folder, _, names in os.walk(root):
            if "site-packages" in folder or "lib/python3" in folder: continue
            for name in names:
                if name in ("master.ipynb", "solution.ipynb", "autograder.zip", "synthetic.py", "wrong_answers.yml"):
                    found.append(os.path.join(folder, name))
    return 2 * x if found else x + 1
"""
PICKLE = """
import os
class Bomb:
    def __reduce__(self): return (os.system, ("touch {witness}",))
    def __repr__(self): return self.__reduce__() and "4.0"
kinds, double, refuse = Bomb(), lambda x: Bomb(), lambda x: Bomb()
"""
PROTOCOL = """
import sys
peer = sys.modules["worker.peer"]
values = sys.modules["worker.values"]
def answer(self, message, value, tensors):
    self.wire.send({"value": {"!": "object", "number": 10**9, "callable": True, "text": "x"}, "graph": -7,
                    "changed": {"!": "tensor", "dtype": "float64", "shape": [10**12], "at": 0, "size": 8}})
peer.Peer._answer_call = answer
"""
NONSENSE = """
import ndelib.exercises.bindings as b
b.Bindings.changes = lambda *args: [b.Change("double", "<b>", 10**9, "1", None)]
"""
LIES = """
import ndelib.exercises.bindings as b
b.Bindings.changes = lambda *args: [b.Change("double", f"{n}" * 50, 0, 1, False) for n in range(9000)]
"""
# What a worker answers is written by the submission that has taken it over.
ANSI = """
import sys
P = sys.modules["worker.peer"].Peer
def serve(self, message, blob, old=P._serve):
    if message.get("do") == {asked!r}:
        text = "\\x1b]0;OWNED\\x07\\x1b[2J\\u202e 20 of 20 points"
        return self.wire.send({{"error": {{"kinds": [{kind!r}] * 99, "text": text * 9999, "where": ""}}}})
    return old(self, message, blob)
P._serve = serve
"""
ALWAYS = """
import sys
def send(self, *_):
    self.wire.send({{"error": {{"kinds": [{kind!r}], "text": "", "where": ""}}}})
sys.modules["worker.peer"].Peer._send = send
"""
MEGABYTES = """
import sys
P = sys.modules["worker.peer"].Peer
def send(self, message, value, slots=(), changed=None, old=P._send):
    if isinstance(value, dict) and "errors" in value:
        value = {"errors": [{"cell": 0, "type": "x" * 2**18, "text": "<&>\\x1b" * 2**14}] * 60, "changes": []}
    return old(self, message, value, slots, changed)
P._send = send
"""
FLOOD = """
import gc, json, struct, sys
text = json.dumps({"do": "progress", "cell": 0}).encode()
def double(x):
    (peer,) = [one for one in gc.get_objects() if isinstance(one, sys.modules["worker.peer"].Peer)]
    while True: peer.wire._socket.sendall((struct.pack(">II", len(text), 0) + text) * 1000)
"""
ANONYMOUS = """
import mmap, os
held = []
while len(held) < 24:
    {make}
"""
ESCAPE = """
import os, socket, subprocess
def attempt(action):
    try:
        action()
    except BaseException:
        pass
for place in {places!r}:
    attempt(lambda: open(place, "w").write("here"))
    attempt(lambda: os.remove(place))
attempt(lambda: socket.create_connection(("127.0.0.1", {port}), timeout=1))
attempt(lambda: [os.kill(pid, 9) for pid in ({pid}, os.getppid()) if pid > 2])
attempt(lambda: subprocess.run(["mount", "-o", "remount,rw", "/"], timeout=2))
attempt(lambda: subprocess.Popen("sleep 300; touch {daemon}", shell=True, start_new_session=True))
"""
STUBBORN = """
while True:
    try:
        while True: pass
    except BaseException: pass
"""
KEEPER = """
import math
math.kept = kept = []
def keep(*args, seen=[]):
    for place in (kept, seen, keep.__dict__.setdefault("own", [])):
        place.append(args)
    for earlier in [*kept, *seen, *keep.own]:
        for value in earlier:
            if hasattr(value, "zero_"): value.zero_()
            if callable(value):
                try: value(args[-1])
                except Exception: pass
    return kept
class Kept:
    def __call__(self, *args): return keep(*args)[0][-1]
def double(x): return keep(x)[-2:][0][0]
def slope(V, y):
    result = y if len(keep(V, y)) < 2 else kept[-2][-1]
    return result.mul_(0)
kinds, refuse = Kept(), Kept()
"""
HARD_CODED = "def double(x):\n    return {2.0: 4.0}.get(x, 0.0)"
LEAK = "def double(x):\n    raise KeyError(f'called with {x}')"

GALLERY: dict[str, Entry] = {
    "right": Entry(RIGHT, EVERYTHING),
    "wrong": Entry(WRONG, NOTHING),
    "an endless loop in a cell": Entry([*RIGHT, "while True: pass"], EVERYTHING, "TimeLimit"),
    "an endless loop that catches everything": Entry([*RIGHT, STUBBORN], EVERYTHING, "`while True:`"),
    "an endless loop in an answer": Entry(
        [*RIGHT, "def refuse(x):\n    while True: pass"], {"q1": 3, "q2": 3, "q3": 1}, "too long"
    ),
    "a fork bomb": Entry([*RIGHT, "import os\nwhile True: os.fork()"], EVERYTHING),
    "a memory hog": Entry([*RIGHT, "hog = []\nwhile True: hog.append(bytearray(10**8))"], EVERYTHING, "MemoryError"),
    "a memory hog of many processes": Entry(
        [*RIGHT, "import os, time\nfor _ in range(8): os.fork()\nhog = b'x' * 10**8\ntime.sleep(30)"], EVERYTHING
    ),
    "os._exit in a cell": Entry([*RIGHT[:2], "import os; os._exit(0)", *RIGHT[2:]], EVERYTHING, "ended the Python"),
    "os._exit in an answer": Entry(
        [*RIGHT, "def slope(V, y):\n    import os; os._exit(0)"], {"q1": 3, "q2": 0, "q3": 3}, "ended the Python"
    ),
    "sys.exit, and a signal to itself": Entry(
        [*RIGHT, "import sys; sys.exit(0)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"], EVERYTHING
    ),
    "patched comparisons": Entry([*WRONG, PATCH], NOTHING),
    "a patched checker": Entry([*WRONG, CHECKER], NOTHING),
    "objects that are equal to everything": Entry([*WRONG, LIAR], NOTHING),
    "forged results and verdicts": Entry([*WRONG, FORGER], NOTHING),
    "a look at the stack and at all objects": Entry([*WRONG, STACK], NOTHING),
    "a search for the tests on disk": Entry([*WRONG, READER], NOTHING),
    "arguments kept for later calls": Entry([*WRONG, KEEPER], NOTHING),
    "a protocol of its own": Entry([*WRONG, PROTOCOL], NOTHING),
    "an error with escape sequences for a variable": Entry([*WRONG, ANSI.format(asked="get", kind="x")], NOTHING),
    "a time limit for a variable": Entry([*WRONG, ANSI.format(asked="get", kind="TimeLimit")], NOTHING, "too long"),
    "an error for the whole notebook": Entry([*WRONG, ALWAYS.format(kind="x")], NOTHING, "ended the Python"),
    "a time limit for the whole notebook": Entry([*WRONG, ALWAYS.format(kind="TimeLimit")], NOTHING),
    "an error for what is to be forgotten": Entry([*WRONG, ANSI.format(asked="forget", kind="TimeLimit")], NOTHING),
    "megabytes of errors": Entry([*WRONG, MEGABYTES], NOTHING, "10 more cells stopped"),
    "news of cells without end, in an answer": Entry([*RIGHT, FLOOD], {"q1": 0, "q2": 3, "q3": 3}, "ended the"),
    "memory in files that have no name": Entry(
        [*RIGHT, ANONYMOUS.format(make="held += [os.memfd_create('x')]; os.write(held[-1], bytes(10**8))")],
        EVERYTHING,
        "OSError",
    ),
    "memory that belongs to no process": Entry(
        [*RIGHT, ANONYMOUS.format(make="held += [mmap.mmap(-1, 10**8)]; held[-1].write(bytes(10**8))")],
        EVERYTHING,
        "OSError",
    ),
    "an error that holds errors": Entry(
        [*RIGHT, "def double(x): raise ExceptionGroup('odd', [ValueError(x)])"],
        {"q1": 0, "q2": 3, "q3": 3},
        "ExceptionGroup: odd",
    ),
    "hard-coded public answers": Entry([*RIGHT, HARD_CODED], {"q1": 1, "q2": 3, "q3": 3}),
    "a gigabyte of output": Entry([*RIGHT, "for _ in range(1000): print('x' * 10**6)"], EVERYTHING),
    "a gigabyte on disk": Entry(
        [*RIGHT, "for n in range(100):\n    open(f'f{n}', 'wb').write(b'x' * 7 * 10**6)"], EVERYTHING, "OSError"
    ),
    "files without end that are empty": Entry(
        [*RIGHT, "for n in range(10**6): open(f'n{n}', 'w').close()"], EVERYTHING, "No space left"
    ),
    "a result of a gigabyte": Entry([*RIGHT, "double = lambda x: 'x' * 10**9"], {"q1": 0, "q2": 3, "q3": 3}),
    "a result nested a thousand times": Entry(
        [*RIGHT, "def double(x):\n    for _ in range(1000): x = [x]\n    return x"], {"q1": 0, "q2": 3, "q3": 3}
    ),
    "a syntax error": Entry(["def double(:", *RIGHT[:1], *RIGHT[2:]], {"q1": 0, "q2": 3, "q3": 3}, "SyntaxError"),
    "cells in another order": Entry([RIGHT[3], "twice = double(2.0)", *RIGHT[::-1]], EVERYTHING),
    "a name that means something else": Entry(["torch = 3", *RIGHT], EVERYTHING),
    "a scratch cell that sets an answer's name again": Entry(
        [*RIGHT, "double = 3"],
        {"q1": 0, "q2": 3, "q3": 3},
        "`double` was set again in the cell that begins with `double = 3`",
    ),
    "a scratch cell that sets what an answer uses": Entry(
        [*RIGHT, "for torch in range(3): pass"],
        {"q1": 3, "q2": 0, "q3": 3},
        "`torch` (which `slope` uses) was set again",
    ),
    "all names removed": Entry([*RIGHT, "%reset -f"], NOTHING, "were removed in the cell that begins with `%reset -f`"),
    "a right answer that is replaced by a wrong one": Entry([*RIGHT, *WRONG], NOTHING, "`kinds` was set again"),
    "nonsense about names": Entry([*WRONG, NONSENSE], NOTHING, "ended the Python process"),
    "thousands of lies about names": Entry([*WRONG, LIES], NOTHING, "others were set again"),
    "an error that is not an error": Entry(
        [*RIGHT, "def refuse(x): raise SystemExit(0)"], {"q1": 3, "q2": 3, "q3": 1}, "SystemExit"
    ),
}  # fmt: skip


def messages(outcome: dict[str, Any]) -> str:
    said = [verdict["message"] for verdicts in outcome["tests"].values() for verdict in verdicts]
    return "\n".join([*outcome["undone"], *outcome["errors"], *said])


def family() -> set[psutil.Process]:
    """All processes below this one that still run; one that has just ended may not have been reaped yet."""
    return set(filter(sandbox._runs, psutil.Process().children(recursive=True)))


@pytest.mark.parametrize("name", GALLERY)
def test_it_gets_what_it_earned(name: str):
    entry = GALLERY[name]
    nursery(LIMITS)  # stays for the others
    before = family()
    outcome = judge(entry.cells, QUESTIONS, LIMITS)
    assert outcome["scores"] == entry.earns, messages(outcome)
    assert entry.says in messages(outcome)
    assert not set(messages(outcome)) & {"\x1b", "\x07", "\u202e"}
    assert len(messages(outcome)) < 100_000
    assert family() <= before, "a process has outlived its submission"


def test_the_kernel_ends_a_submission_before_its_judge_where_memory_runs_out():
    with Sandbox(LIMITS) as one:
        one.connection.recv(1)  # it is ready
        assert one._home is not None
        pages = [Path("/proc", str(member.pid), "oom_score_adj").read_text().strip() for member in one._home.family()]
    assert pages.count("1000") >= 1
    assert Path("/proc/self/oom_score_adj").read_text().strip() != "1000"


@pytest.fixture
def listener() -> Iterator[tuple[int, list[Any]]]:
    """A server on this machine, and the connections that came in."""
    came: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)

        def accept() -> None:
            while server.fileno() != -1:
                try:
                    came.append(server.accept())
                except TimeoutError:
                    continue
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], came


def test_nothing_outside_of_its_folder_is_touched_and_nobody_is_reached(tmp_path: Path, listener):
    port, came = listener
    victim, daemon = tmp_path / "victim", tmp_path / "daemon"
    victim.write_text("mine")
    places = [str(victim), str(ROOT / "ndelib" / "stray.py"), "/book/ndelib/stray.py", "/usr/stray", "/etc/stray"]
    source = ESCAPE.format(places=places, port=port, pid=os.getpid(), daemon=daemon)
    pickle = PICKLE.format(witness=tmp_path / "pickled")
    outcome = judge([*WRONG, source, pickle], QUESTIONS, LIMITS)
    assert outcome["scores"] == NOTHING
    assert victim.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["victim"]
    assert not any(Path(place).exists() for place in places[1:])
    assert came == []
    assert not [
        one for one in psutil.process_iter(["cmdline"]) if f"touch {daemon}" in " ".join(one.info["cmdline"] or [])
    ]


def test_messages_of_public_tests_cannot_show_what_hidden_ones_call_with():
    outcome = judge([*RIGHT, LEAK, "refuse = double"], QUESTIONS, LIMITS)
    public = [verdict for verdicts in outcome["tests"].values() for verdict in verdicts if not verdict["hidden"]]
    assert "called with 2.0" in str(public)
    assert "1000000000" not in str(public)
    later = [SETUP, SLOPE, REFUSE, "said = []", "def double(x):\n    said.append(x)\n    raise KeyError(str(said))"]
    (first, *_) = judge(later, QUESTIONS, LIMITS)["tests"]["q1"]
    assert "[2.0]" in first["message"]


EVERYWHERE = """
import builtins, math, os, sys
def keep(x, seen=[]):
    seen.append(x); keep.own = seen; math.kept = seen; builtins.kept = seen; sys.modules["kept"] = seen
    os.environ["KEPT"] = str(seen); open("/tmp/kept", "a").write(str(x))
    os.fork() or os.execvp("sleep", ["sleep", str(x)])
    return seen
def tell(x): raise KeyError(str(keep(x)) + open("/tmp/kept").read() + os.environ["KEPT"] + keep.own.__repr__())
class Teller:
    def __init__(self): self.__name__ = "teller"
    def __call__(self, x):
        self.__name__ = str(keep(x))
        if len(keep.own) > 4: os._exit(0)
        tell(x)
double, refuse = Teller(), tell
"""


def test_what_is_kept_from_hidden_tests_is_shown_nowhere():
    """In a closure, a default, an attribute, a module, a file, another process; and the process ends meanwhile."""
    outcome = judge([SETUP, SLOPE, RIGHT[3], EVERYWHERE], QUESTIONS, LIMITS)
    hidden = {verdict["message"] for found in outcome["tests"].values() for verdict in found if verdict["hidden"]}
    public = str({**outcome, "tests": [[v for v in found if not v["hidden"]] for found in outcome["tests"].values()]})
    assert "-1.0" in str(hidden), "it did not keep them"
    assert "-1.0" not in public


def test_a_notebook_that_runs_again_after_a_hidden_test_tells_nothing():
    """It may know by then what hidden tests call with: by whatever way one process has left that to the next."""
    run = "import uuid\nrun = uuid.uuid4().hex"
    ends = "def double(x):\n    if x != 2.0: __import__('os')._exit(0)\n    raise KeyError(run)"
    outcome = judge([*RIGHT, run, ends, "raise KeyError(run)"], QUESTIONS, LIMITS)
    (public, hidden) = outcome["tests"]["q1"]
    assert "ended the Python process" in hidden["message"]
    assert outcome["scores"] == {"q1": 0, "q2": 3, "q3": 3}  # the notebook did run again
    (first,) = re.findall("[0-9a-f]{32}", public["message"])
    assert [error for error in outcome["errors"] if first in error] == [outcome["errors"][-1]]


def test_of_how_it_ends_after_hidden_tests_have_begun_nothing_is_said():
    """A clock, or whatever else it finds when it runs again, may tell it in which cell to end, and in which way."""
    leak = "#leak 151\nimport os"
    one = Submission([SETUP, leak, "x = 1"], [], LIMITS)
    one.peer()
    assert one.seal() == []
    one._cells[1] = f"{leak}; os._exit(0)"
    one.lose(Gone())
    with contextlib.suppress(Gone, Silent):
        one.peer()
    one.close()
    assert "#leak 151" in str(one.ends), "it did not end there"
    assert one.said == [SILENT_END]
    assert one.status == "graded"


def test_what_was_heard_before_a_judge_was_lost_stands():
    """Its next judge runs the notebook again, at a time that a hidden test has chosen."""
    questions = json.loads(json.dumps(QUESTIONS))
    questions[1]["tests"][1]["code"] = "def q2_hidden(slope):\n    import ctypes\n\n    ctypes.string_at(0)"
    run = "import uuid\nrun = uuid.uuid4().hex\ndef refuse(x):\n    raise KeyError(run)\ndouble = refuse"
    told = []
    one = Judge(answer_key(questions, LIMITS))
    line = one._line

    def listen(*args: Any) -> dict[str, Any]:
        told.append(found := line(*args))
        return found

    one._line = listen  # type: ignore[method-assign]
    try:
        outcome = one.outcome([*RIGHT, run, "raise KeyError(run)"])
    finally:
        one.end()
    assert "did not come to an end" in outcome["tests"]["q2"][1]["message"]
    (heard,) = [found["heard"] for found in told if "heard" in found]
    assert outcome["errors"] == heard["said"]
    assert outcome["tests"]["q1"][0] == heard["verdicts"]["q1"][0]
    assert re.findall("[0-9a-f]{32}", outcome["errors"][0]) == re.findall("[0-9a-f]{32}", heard["said"][0]) != []


@pytest.mark.parametrize("weaker", KINDS[1:])
def test_without_bubblewrap_the_marks_are_the_same(monkeypatch: pytest.MonkeyPatch, weaker: str):
    if weaker == KINDS[1] and kind() == KINDS[2]:
        pytest.skip("no user namespaces here")
    monkeypatch.setattr(sandbox, "kind", lambda: weaker)
    before = family()
    outcome = judge([*RIGHT, HARD_CODED, PATCH], QUESTIONS, Limits())
    assert outcome["scores"] == {"q1": 1, "q2": 3, "q3": 3}, messages(outcome)
    assert family() <= before
