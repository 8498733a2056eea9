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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from ndelib import exercises
from tools.assignments import MasterQuestion
from tools.common import ROOT, Problem
from tools.grading.walls import Limits

CONNECT_S = 20
Outcome = dict[str, Any]
_mine = threading.local()


def answer_key(questions: list[MasterQuestion], limits: Limits) -> str:
    """Return all that a judge must know of an assignment, as one line of JSON."""
    return json.dumps({"questions": questions, "limits": asdict(limits), "code": code_version()}, sort_keys=True)


@functools.cache
def code_version() -> str:
    """Return a digest of the code that decides about marks; two machines have to agree on it."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, Path(str(exercises.__file__)).parent):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Judge:
    """A judge in a process of its own, which can be killed when even it hangs."""

    def __init__(self, key: str):
        self.key = key
        limits = json.loads(key)["limits"]
        self._patience_s = 2 * limits["wall_s"] + 180
        self._process: subprocess.Popen[bytes] | None = None

    def outcome(self, cells: list[str]) -> Outcome:
        """Judge one notebook; whatever happens, an outcome comes back."""
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(cells).encode() + b"\n")
            process.stdin.flush()
            return self._line(process)
        except (OSError, ValueError, TimeoutError) as error:
            self.close()
            why = "the judge took too long" if isinstance(error, TimeoutError) else "the judge ended without a verdict"
            return {"status": "crashed", "scores": {}, "tests": {}, "undone": [], "errors": [why], "seconds": {}}

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tools.grading.judge"],
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert self._process.stdin is not None
            self._process.stdin.write(self.key.encode() + b"\n")
        return self._process

    def _line(self, process: "subprocess.Popen[bytes]") -> Outcome:
        assert process.stdout is not None
        until, text = time.monotonic() + self._patience_s, b""
        while not text.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(process.stdout.fileno(), 2**16)
            if not part:
                raise ValueError("no answer")
            text += part
        outcome: Outcome = json.loads(text)
        return outcome

    def close(self) -> None:
        """End the judge and what it has started."""
        if self._process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [*psutil.Process(self._process.pid).children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process = None


def judge_here(key: str, cells: list[str]) -> Outcome:
    """Judge a notebook by this thread's own judge, which stays for the next one."""
    judge: Judge | None = getattr(_mine, "judge", None)
    if judge is None or judge.key != key:
        if judge is not None:
            judge.close()
        judge = _mine.judge = Judge(key)
    return judge.outcome(cells)


def on_this_machine(key: str, jobs: dict[str, list[str]], workers: int | None = None) -> Iterator[tuple[str, Outcome]]:
    """Judge the notebooks ``jobs``, as many at a time as there are cores; yield outcomes as they come.

    What a limit by the clock has ended while others had the processors is judged again at the end, one at a time.
    """
    judges: list[Judge] = []

    def ready() -> None:
        _mine.judge = Judge(key)
        judges.append(_mine.judge)

    pool = ThreadPoolExecutor(workers or os.cpu_count(), initializer=ready)
    try:
        waiting = {pool.submit(judge_here, key, cells): name for name, cells in jobs.items()}
        again = []
        for job in as_completed(waiting):
            name, outcome = waiting[job], job.result()
            if outcome.get("kept_waiting"):
                again.append(name)
            else:
                yield name, outcome
        for name in again:
            yield name, judges[0].outcome(jobs[name])
    finally:
        for judge in judges:
            judge.close()
        pool.shutdown(cancel_futures=True)


def on_cluster(address: str, key: str, jobs: dict[str, list[str]]) -> Iterator[tuple[str, Outcome]]:
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
        for last in (False, True):  # the second time for what was kept waiting, when the machines have less to do
            waiting = {client.submit(judge_here, shared, cells, pure=False): name for name, cells in jobs.items()}
            again = []
            for job in as_done(list(waiting)):
                name, outcome = waiting[job], job.result()
                if outcome.get("kept_waiting") and not last:
                    again.append(name)
                else:
                    yield name, outcome
            jobs = {name: jobs[name] for name in again}
