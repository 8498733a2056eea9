"""A process that runs a student's code, behind the wall of :mod:`tools.grading.walls`: start, watch and end of it."""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import psutil

from tools.grading.walls import KINDS, STRANGER, Limits, book, environment, kind, wall

WATCH_S = 0.25
KILL_WAIT_S = 10.0


class Sandbox:
    """A worker behind the wall, from its start to the end of its last process; a context manager."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.reason = ""
        self.connection, theirs = socket.socketpair()
        self._scratch = Path(tempfile.mkdtemp(prefix="grade-"))
        self._ended = threading.Event()
        name = kind()
        inside = name != KINDS[2]
        home = "/scratch" if inside else str(self._scratch)
        imports = "/book" if inside else str(book(self._scratch))
        drops = name == "bubblewrap" and os.geteuid() == 0
        config = {
            "socket": theirs.fileno(),
            "limits": limits.for_a_process(),
            "user": STRANGER + os.getpid() % 2**16 if drops else None,
            **{key: value for key, value in asdict(limits).items() if key in ("cell_s", "call_s")},
        }
        command = [sys.executable, "-P", "-m", "worker", json.dumps(config)]
        self._process = subprocess.Popen(
            wall(name, command, self._scratch, environment(home, imports), limits),
            cwd=self._scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill every process of it, see them end, and remove its folder."""
        self._ended.set()
        self._kill()
        self.connection.close()
        self._watcher.join()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _family(self) -> list[psutil.Process]:
        try:
            top = psutil.Process(self._process.pid)
            return [*top.children(recursive=True), top]
        except psutil.NoSuchProcess:
            return []

    def _watch(self) -> None:
        """Kill all of it when its processes together are too many or hold too much memory."""
        while not self._ended.wait(WATCH_S):
            memory, family = 0, self._family()
            for member in family:
                with contextlib.suppress(psutil.Error):
                    memory += member.memory_info().rss
            if memory > self.limits.memory_mb * 2**20:
                self.reason = f"it used more than {self.limits.memory_mb} MB of memory"
            elif len(family) > self.limits.processes:
                self.reason = f"it started more than {self.limits.processes} processes"
            else:
                continue
            self._kill()
            return

    def _kill(self) -> None:
        give_up = time.monotonic() + KILL_WAIT_S
        left = {member.pid: member for member in (*self._family(), *_orphans(self._process.pid))}
        while left and time.monotonic() < give_up:
            for member in left.values():
                with contextlib.suppress(psutil.Error):
                    member.kill()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)
            left = {member.pid: member for member in (*left.values(), *self._family(), *_orphans(0)) if _runs(member)}
            if left:
                time.sleep(0.01)


def die_with_parent() -> None:
    """End this process when the one that started it ends, however that happens (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def adopt_orphans() -> None:
    """Make this process the parent of its children's orphans, so that a daemon cannot leave its family (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _orphans(known: int) -> list[psutil.Process]:
    """Return this process's other children: without a wall, what a submission left behind it."""
    if kind() != KINDS[2] or not _adopts_orphans():
        return []
    return [child for child in psutil.Process().children(recursive=True) if child.pid != known]


def _adopts_orphans() -> bool:
    if sys.platform != "linux":
        return False
    answer = ctypes.c_int()
    ctypes.CDLL(None).prctl(37, ctypes.byref(answer), 0, 0, 0)  # PR_GET_CHILD_SUBREAPER
    return answer.value == 1


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
