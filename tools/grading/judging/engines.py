"""Who does the judging: a judge for every core of this machine, or the workers of a Dask cluster."""

import contextlib
import functools
import hashlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from ndelib import exercises
from tools.assignments import MasterQuestion
from tools.common import ROOT, Problem
from tools.grading.judging.idle import LOOK_S, Idle
from tools.grading.judging.walls import Limits
from tools.grading.judging.worker.limits import WALL
from tools.grading.results import nothing

CONNECT_S = 20
START_S = 300
CROWD = 4
"""How many times as many submissions as there are places may be judged at a time, if the others wait."""
TRIES = 4
"""How often a notebook is judged: a test from which a judge did not come back is left out the next time."""
Outcome = dict[str, Any]
Verdicts = Generator[tuple[str, Outcome], None, None]
_mine = threading.local()


def answer_key(questions: list[MasterQuestion], limits: Limits, seed: str = "") -> str:
    """Return all that a judge must know of an assignment, as one line of JSON.

    From ``seed`` follow the inputs of hidden tests; from none, those that are published.
    """
    about = {"questions": questions, "limits": asdict(limits), "code": code_version(), "seed": seed}
    return json.dumps(about, sort_keys=True)


@functools.cache
def code_version() -> str:
    """Return a digest of the code that decides about marks; two machines have to agree on it."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).parents[1], Path(str(exercises.__file__)).parent):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Judge:
    """A judge in a process of its own, which can be killed when even it hangs."""

    def __init__(self, key: str):
        self.key = key
        limits = Limits(**json.loads(key)["limits"])
        self._notebook_s = 2 * limits.wall_s + 180
        self._test_s = WALL * limits.call_s + 40
        self._process: subprocess.Popen[bytes] | None = None
        self._came = b""
        self._ended = False
        self._idle = Idle(lambda: None)

    def outcome(
        self,
        cells: list[str],
        heard: Outcome | None = None,
        final: bool = True,
        idle: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """Judge one notebook; whatever is in it, an outcome comes back.

        ``heard`` is what is known of it if its hidden tests have begun once, and is in the outcome if they had.
        If it was kept waiting, it will be judged again unless this is ``final``.
        ``idle`` is called when it is seen to wait, and not for a processor.

        Raises:
            Problem: no judge can be started on this machine.
        """
        stuck: list[str] = []
        why = ""
        self._idle = Idle(idle)
        for _ in range(0 if self._ended else TRIES):
            process = self._started()
            test = ""
            try:
                _say(process, json.dumps({"cells": cells, "stuck": stuck, "heard": heard, "final": final}))
                while "outcome" not in (line := self._line(process, self._test_s if test else self._notebook_s)):
                    test, heard = line.get("test", test), line.get("heard", heard)
                outcome: Outcome = line["outcome"]
                return {**outcome, "heard": heard}
            except (OSError, ValueError, LookupError) as error:
                self.close()
                late = isinstance(error, TimeoutError)
                why = f"the judge {'took too long' if late else 'ended'} without a verdict"
                stuck += [test] if test else []
                if self._ended or (late and not test):
                    break
        return crashed(why)

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self.close()
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tools.grading.judging.judge"],
                    cwd=ROOT,
                    env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
                _say(self._process, self.key)
                self._line(self._process, START_S)
            except (OSError, ValueError) as error:
                self.close()
                raise Problem(f"no judge starts on this machine ({error}); what it said stands above") from None
        return self._process

    def _line(self, process: "subprocess.Popen[bytes]", seconds: float) -> dict[str, Any]:
        assert process.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._came:
            left = max(0.0, until - time.monotonic())
            ready, _, _ = select.select([process.stdout], [], [], min(left, LOOK_S))
            if not ready and left <= LOOK_S:
                raise TimeoutError
            if not ready:
                self._idle.look(process.pid)
                continue
            part = os.read(process.stdout.fileno(), 2**16)
            if not part:
                raise ValueError("no answer")
            self._came += part
        text, _, self._came = self._came.partition(b"\n")
        line: dict[str, Any] = json.loads(text)
        return line

    def end(self) -> None:
        """End it for good, also while another thread waits for a verdict."""
        self._ended = True
        self.close()

    def close(self) -> None:
        """End the judge and what it has started."""
        if self._process is None:
            return
        with contextlib.suppress(psutil.Error):
            for process in [*psutil.Process(self._process.pid).children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process, self._came = None, b""


class Places:
    """As many judges at work as there are places, and more while what others judge sleeps.

    A submission that waits for what does not come takes minutes by the clock, and should not hold a processor as long.
    """

    def __init__(self, key: str, places: int):
        self._key = key
        self._places = threading.Semaphore(places)
        self._free: list[Judge] = []
        self._all: list[Judge] = []
        self._needs = json.loads(key)["limits"]["memory_mb"] * 2**20
        self._lock = threading.Lock()
        self._ended = False

    def outcome(self, cells: list[str], heard: Outcome | None = None, final: bool = True) -> Outcome:
        """Judge one notebook when there is a place."""
        self._places.acquire()
        held = True

        def leave() -> None:
            nonlocal held
            if held and psutil.virtual_memory().available > self._needs:
                held = False
                self._places.release()

        try:
            judge = self._judge()
            try:
                return judge.outcome(cells, heard, final, leave)
            finally:
                self._free.append(judge)
        finally:
            if held:
                self._places.release()

    def _judge(self) -> Judge:
        """Return a judge that is free: one that has judged before, for to start another takes seconds."""
        with self._lock:
            if self._free:
                return self._free.pop()
            judge = Judge(self._key)
            self._all.append(judge)
            if self._ended:
                judge.end()
            return judge

    def end(self) -> None:
        """End all judges, also while threads wait for their verdicts or for a place."""
        with self._lock:
            self._ended = True
            for judge in self._all:
                judge.end()


def _say(process: "subprocess.Popen[bytes]", text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text.encode() + b"\n")
    process.stdin.flush()


def crashed(why: str) -> Outcome:
    """Return the outcome of a notebook that nobody can judge."""
    return nothing("crashed", why)


def judge_here(key: str, cells: list[str], heard: Outcome | None = None, final: bool = True) -> Outcome:
    """Judge a notebook by this thread's own judge, which stays for the next one."""
    judge: Judge | None = getattr(_mine, "judge", None)
    if judge is None or judge.key != key:
        if judge is not None:
            judge.close()
        judge = _mine.judge = Judge(key)
    return judge.outcome(cells, heard, final)


def on_this_machine(key: str, jobs: dict[str, list[str]], workers: int | None = None) -> Verdicts:
    """Judge the notebooks ``jobs``, as many at a time as there are cores, beside those that wait; yield outcomes.

    What a limit by the clock has ended while others had the processors is judged again at the end, one at a time.
    """
    at_once = workers or os.cpu_count() or 1
    places = Places(key, at_once)
    pool = ThreadPoolExecutor(CROWD * at_once if workers != 1 else 1)  # who asks for one at a time gets that
    try:
        waiting = {pool.submit(places.outcome, cells, None, False): name for name, cells in jobs.items()}
        again = {}
        for job in as_completed(waiting):
            name, outcome, heard = waiting[job], *_apart(job.result())
            if outcome.get("kept_waiting"):
                again[name] = heard
            else:
                yield name, outcome
        for name, heard in again.items():
            yield name, _apart(places.outcome(jobs[name], heard))[0]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        places.end()
        pool.shutdown()


def _apart(outcome: Outcome) -> tuple[Outcome, Outcome | None]:
    """Return an outcome, and what was heard of the notebook before the hidden tests, if these were run."""
    return {key: value for key, value in outcome.items() if key != "heard"}, outcome.get("heard")


def on_cluster(address: str, key: str, jobs: dict[str, list[str]]) -> Verdicts:
    """Judge the notebooks on the Dask cluster whose scheduler is at ``address``; yield outcomes as they come.

    Each of its machines has a clone of this repository, in the same version, and its environment. A task whose machine
    goes away is done again on another one.

    Raises:
        Problem: distributed is not installed, nobody answers at the address, or a machine has another version.
    """
    try:
        from distributed import Client
        from distributed import as_completed as as_done
    except ImportError:
        raise Problem("for a cluster, install distributed: .venv/bin/pip install distributed") from None
    try:
        client = Client(address, timeout=CONNECT_S)
    except OSError as error:
        raise Problem(f"no Dask scheduler answers at {address}: {error}") from None
    with client:
        versions = client.run(code_version)
        strange = [machine for machine, version in versions.items() if version != code_version()]
        if strange or not versions:
            raise Problem(f"{strange[0]} has another version of the book" if strange else f"{address} has no workers")
        shared = client.scatter(key, broadcast=True)
        again: dict[str, Outcome | None] = dict.fromkeys(jobs)
        for last in (False, True):  # the second time for what was kept waiting, when the machines have less to do
            waiting = {
                client.submit(judge_here, shared, jobs[name], heard, last, pure=False): name
                for name, heard in again.items()
            }
            again = {}
            for job in as_done(list(waiting)):
                name, outcome, heard = waiting[job], *_apart(_result(job))
                if outcome.get("kept_waiting") and not last:
                    again[name] = heard
                else:
                    yield name, outcome


def _result(job: Any) -> Outcome:
    try:
        outcome: Outcome = job.result()
        return outcome
    except Problem:
        raise
    except Exception as error:  # the machines that had it ended, one after the other
        return crashed(f"no machine of the cluster came back with a verdict ({type(error).__name__})")
