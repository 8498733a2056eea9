"""The processes that run a student's code, behind the wall of ``walls.py``: their start, watch and end.

Importing torch takes seconds. So where the wall allows it, one process behind it imports everything and runs nothing of
a student's; for each submission it makes a copy of itself, which locks itself in once more and alone, and then works.
"""

import atexit
import contextlib
import ctypes
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import psutil

from tools.grading.judging.walls import KINDS, STRANGER, Limits, book, environment, kind, wall

WATCH_S = 0.25
KILL_WAIT_S = 10.0
READY_S = 120.0


class Sandbox:
    """A worker behind the wall, from its start to the end of its last process; a context manager."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.reason = ""
        self.use = Use()
        self._may_compute_s = math.inf
        self.connection, theirs = socket.socketpair()
        self._ended = threading.Event()
        self._home: _Home | _Nursery | None = nursery(limits)
        if self._home is not None:
            self._home.hatch(theirs)
        else:
            self._home = _Home(limits, theirs)
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
        self._watcher.join()
        assert self._home is not None
        with contextlib.suppress(psutil.Error):
            self.use.look(member.pid for member in self._home.family())
        self._kill()
        self.connection.close()
        if isinstance(self._home, _Home):
            self._home.remove()

    def allow(self, seconds: float) -> None:
        """Let each process of it compute for so long from now on, whatever becomes of the limits that it has inside."""
        self.use.begin()
        self._may_compute_s = seconds

    def _watch(self) -> None:
        """Kill all of it when its processes together are too many or hold too much memory, or one computes too long."""
        assert self._home is not None
        while not self._ended.wait(WATCH_S):
            try:
                family = self._home.family()
            except psutil.Error:  # one has just ended; to stop watching would set the others free
                continue
            self.use.look(member.pid for member in family)
            if _beyond(family, self.limits.memory_mb * 2**20):
                self.reason = f"it used more than {self.limits.memory_mb} MB of memory"
            elif len(family) > self.limits.processes:
                self.reason = f"it started more than {self.limits.processes} processes"
            elif self.use.longest_s > self._may_compute_s:
                self.reason = "it went on computing when its time was over"
            else:
                continue
            self._kill()
            return

    def _kill(self) -> None:
        assert self._home is not None
        give_up, seen = time.monotonic() + KILL_WAIT_S, {}
        while time.monotonic() < give_up:
            seen.update({member.pid: member for member in self._home.family()})
            left = [member for member in seen.values() if _runs(member)]
            if not left:
                return
            for member in left:
                with contextlib.suppress(psutil.Error):
                    member.kill()
            self._home.reap()
            time.sleep(0.005)


class Use:
    """What a family of processes has of the processors: how long it computed, and how long it was kept waiting (Linux).

    A process that waits while others of the family compute is not kept waiting by a neighbour.
    """

    def __init__(self) -> None:
        self.computed_s = 0.0
        self.waited_s = 0.0
        self._before: dict[int, tuple[float, float]] = {}
        self._since = self._before

    def begin(self) -> None:
        """Begin something of which :attr:`longest_s` shall tell."""
        self._since = self._before

    @property
    def longest_s(self) -> float:
        """For how long that process computed which computed longest, from the last :meth:`begin` to the last look."""
        since = self._since
        return max([0.0, *(now - since.get(pid, (0.0, 0.0))[0] for pid, (now, _) in self._before.items())])

    def look(self, members: Iterable[int]) -> None:
        """Add what the processes of these numbers had since the last look."""
        now = {pid: found for pid in members if (found := _schedule(pid))}
        steps = []
        for pid, (computed, waited) in now.items():
            before = self._before.get(pid, (0.0, 0.0))
            steps.append((computed - before[0], waited - before[1]))
        together = sum(computed for computed, _ in steps)
        self.computed_s += together
        self.waited_s += max([0.0, *(waited - (together - computed) for computed, waited in steps)])
        self._before = now


def _schedule(pid: int) -> tuple[float, float] | None:
    """Return for how many seconds a process has computed, and waited until it could; None where nobody knows."""
    try:
        computed, waited, _ = Path("/proc", str(pid), "schedstat").read_text().split()
    except (OSError, ValueError):
        return None
    return int(computed) / 1e9, int(waited) / 1e9


class _Home:
    """A worker of its own for one submission."""

    def __init__(self, limits: Limits, theirs: socket.socket, nursery: bool = False):
        self.scratch = Path(tempfile.mkdtemp(prefix="grade-"))
        inside = kind() != KINDS[2]
        home = "/scratch" if inside else str(self.scratch)
        imports = "/book" if inside else str(book(self.scratch))
        drops = kind() == KINDS[0] and os.geteuid() == 0
        config = {
            "socket": theirs.fileno(),
            "nursery": nursery,
            "limits": limits.for_a_process(),
            "user": STRANGER + os.getpid() % 2**16 if drops else None,
            **{name: value for name, value in asdict(limits).items() if name in ("call_s", "scratch_mb")},
        }
        command = [sys.executable, "-P", "-m", "worker", json.dumps(config)]
        self.process = subprocess.Popen(
            wall(kind(), command, self.scratch, environment(home, imports), limits),
            cwd="/" if kind() == KINDS[0] else self.scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        if kind() == KINDS[0]:
            self.scratch.rmdir()  # its scratch folder is inside; a judge that is killed leaves nothing behind

    def family(self) -> list[psutil.Process]:
        """Return its processes, and without a wall what they left to us when they ended."""
        if kind() == KINDS[2] and _adopts_orphans():
            return psutil.Process().children(recursive=True)
        try:
            top = psutil.Process(self.process.pid)
            return [*top.children(recursive=True), top]
        except psutil.NoSuchProcess:
            return []

    def reap(self) -> None:
        """Let the kernel forget what has ended."""
        self.process.poll()

    def remove(self) -> None:
        """Remove what is left on disk."""
        self.process.wait()
        shutil.rmtree(self.scratch, ignore_errors=True)


class _Nursery:
    """A process behind the wall that has imported everything; raises ``OSError`` if it does not work here."""

    def __init__(self, limits: Limits):
        self._control, theirs = socket.socketpair()
        self._home = _Home(limits, theirs, nursery=True)
        theirs.close()
        try:
            self._control.settimeout(READY_S)
            if self._control.recv(1) != b"R":
                raise OSError("it did not start")
            self._before = {member.pid for member in self._home.family()}
            ours, child = socket.socketpair()
            with ours, child:
                self.hatch(child)
                child.close()
                ours.settimeout(READY_S)
                if not ours.recv(1):
                    raise OSError("a child cannot lock itself in")
            while any(map(_runs, self.family())):
                for member in self.family():
                    with contextlib.suppress(psutil.Error):
                        member.kill()
                time.sleep(0.005)
        except OSError:
            self.close()
            raise

    @property
    def lives(self) -> bool:
        return self._home.process.poll() is None

    def hatch(self, theirs: socket.socket) -> None:
        """Make a child that serves the connection ``theirs``."""
        socket.send_fds(self._control, [b"C"], [theirs.fileno()])

    def family(self) -> list[psutil.Process]:
        """Return the processes of its children."""
        return [member for member in self._home.family() if member.pid not in self._before]

    def reap(self) -> None:
        """Nothing to do: it does not wait for its children."""

    def close(self) -> None:
        """End it, and all its children with it."""
        self._control.close()
        for member in self._home.family():
            with contextlib.suppress(psutil.Error):
                member.kill()
        self._home.remove()


_nurseries: dict[Limits, _Nursery] = {}
_works = True


def nursery(limits: Limits) -> _Nursery | None:
    """Return this process's nursery for such limits, started if there is none, or None where none works."""
    global _works
    if kind() != KINDS[0] or not _works:
        return None
    found = _nurseries.get(limits)
    if found is None or not found.lives:
        try:
            found = _nurseries[limits] = _Nursery(limits)
        except OSError:
            _works = False
            return None
    return found


@atexit.register
def close_nurseries() -> None:
    """End the nurseries of this process."""
    while _nurseries:
        _nurseries.popitem()[1].close()


def _beyond(family: list[psutil.Process], most: int) -> bool:
    """Return whether the processes hold more than ``most`` bytes together; what they share counts once among them.

    To find what is shared, the kernel walks through every page of a process, for milliseconds. So it is only asked
    where the processes hold too much if nothing is.
    """
    return sum(map(_most_memory, family)) > most and sum(map(_memory, family)) > most


def _most_memory(process: psutil.Process) -> int:
    """Return the memory of a process in bytes, swap and all that it shares included."""
    try:
        lines = Path("/proc", str(process.pid), "status").read_text().splitlines()
    except OSError:
        return _memory(process)
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("VmRSS:", "VmSwap:")))


def _memory(process: psutil.Process) -> int:
    """Return the memory of a process in bytes, swap included; what copies of it share counts once among them."""
    with contextlib.suppress(OSError):
        lines = Path("/proc", str(process.pid), "smaps_rollup").read_text().splitlines()
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("Pss:", "SwapPss:")))
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def die_with_parent() -> None:
    """End this process when the one that started it ends, however that happens (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def adopt_orphans() -> None:
    """Make this process the parent of its children's orphans, so that a daemon cannot leave its family (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


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
