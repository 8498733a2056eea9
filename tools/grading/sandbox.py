"""A wall around the process that runs a student's code: what it may see, write, reach and use.

bubblewrap where it works, else the same wall out of util-linux's ``unshare`` and ``mount``, else limits alone and a
warning. Inside, there is a read-only Python, ndelib and the worker, an empty scratch folder of limited size in memory,
and no network, no other process, no home, no submission and no test.
"""

import contextlib
import ctypes
import functools
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import psutil

from tools.common import ROOT

HERE = Path(__file__).resolve().parent
WATCH_S = 0.25
KILL_WAIT_S = 10.0
STRANGER = 1_966_080_000  # user ids that no system gives to a person
SYSTEM = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/fonts", "/etc/alternatives"]
DEVICES = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"]
KINDS = ("bubblewrap", "namespaces", "limits only")
WARNING = """\
WARNING: nothing here can lock a submission in: neither bubblewrap nor user namespaces work on this machine.
WARNING: submissions run with your rights. They can read your files and use your network, and only limits on time and
WARNING: memory hold. Install bubblewrap (Debian, Ubuntu: sudo apt install bubblewrap), or grade where nothing else is."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use, all its processes together where the system can count so."""

    wall_s: float = 300.0
    cell_s: float = 90.0
    call_s: float = 20.0
    memory_mb: int = 4096
    file_mb: int = 64
    scratch_mb: int = 256
    processes: int = 128

    def for_a_process(self) -> dict[str, int]:
        """Return them as the worker sets them for itself and its children."""
        return {
            "cpu_s": int(self.wall_s) + 1,
            "memory_bytes": self.memory_mb * 2**20,
            "file_bytes": self.file_mb * 2**20,
            "processes": self.processes,
            "open_files": 256,
        }


@functools.cache
def kind() -> str:
    """Return the strongest of :data:`KINDS` that works here, found by trying."""
    for name in KINDS[:2]:
        with tempfile.TemporaryDirectory() as folder:
            command = wall(name, ["/usr/bin/env", "true"], Path(folder), {}, Limits())
            try:
                done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
            except (OSError, subprocess.TimeoutExpired):
                continue
            if done.returncode == 0:
                return name
    return KINDS[2]


def wall(name: str, command: list[str], scratch: Path, environment: dict[str, str], limits: Limits) -> list[str]:
    """Return the command that runs ``command`` behind the wall of that kind; ``scratch`` is an empty folder."""
    if name == "bubblewrap":
        return _bubblewrap(command, environment, limits)
    if name == "namespaces":
        return _namespaces(command, scratch, environment, limits)
    return ["/usr/bin/env", *(f"{key}={value}" for key, value in environment.items()), *command]


def _shown() -> list[tuple[Path, str]]:
    """Return what is inside, read-only: where it lies, and where it is seen."""
    python = {sys.prefix, os.path.realpath(sys.prefix), sys.base_prefix, os.path.realpath(sys.base_prefix)}
    places = [Path(place) for place in (*SYSTEM, *sorted(python - {"/usr"}))]
    shown = [(place, str(place)) for place in places if place.exists()]
    return [*shown, (ROOT / "ndelib", "/book/ndelib"), (HERE / "worker", "/book/worker")]


def _bubblewrap(command: list[str], environment: dict[str, str], limits: Limits) -> list[str]:
    options = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    if os.geteuid() == 0:  # the worker becomes a stranger, which a user namespace of one user has no place for
        options += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        options += ["--unshare-user"]
    shown = _shown()
    places = {Path(place) for _, place in shown}
    above = {parent for place in places for parent in place.parents if not places & {parent, *parent.parents}}
    for folder in sorted(above - {Path("/")}):
        options += ["--perms", "0755", "--dir", str(folder)]
    for source, place in shown:
        options += ["--ro-bind", str(source), place]
    options += ["--proc", "/proc", "--dev", "/dev", "--size", str(limits.scratch_mb * 2**20)]
    options += ["--perms", "1777", "--tmpfs", "/scratch", "--symlink", "/scratch", "/tmp"]
    options += ["--size", str(limits.file_mb * 2**20), "--tmpfs", "/dev/shm"]
    font = _font_list()
    if font is not None:
        options += ["--perms", "0777", "--dir", "/scratch/matplotlib"]
        options += ["--ro-bind", str(font), f"/scratch/matplotlib/{font.name}"]
    options += ["--remount-ro", "/", "--chdir", "/scratch", "--die-with-parent", "--new-session", "--clearenv"]
    for key, value in environment.items():
        options += ["--setenv", key, value]
    return ["bwrap", *options, "--", *command]


def _namespaces(command: list[str], scratch: Path, environment: dict[str, str], limits: Limits) -> list[str]:
    """Build the same inside by hand, on a file system in memory that then becomes the root."""
    root = shlex.quote(str(scratch))
    lines = ["set -e", f"mount -t tmpfs -o size={limits.scratch_mb}m,mode=755 none {root}", f"cd {root}"]
    for source, place in [*_shown(), *((Path(device), device) for device in DEVICES)]:
        inside = shlex.quote(f".{place}")
        make = f"mkdir -p {inside}" if source.is_dir() else f"mkdir -p $(dirname {inside}) && touch {inside}"
        lines += [make, f"mount --bind {shlex.quote(str(source))} {inside}"]
        if place not in DEVICES:
            lines += [f"mount -o remount,bind,ro,nosuid,nodev {inside}"]
    lines += ["mkdir -p proc scratch/matplotlib .old", "mount -t proc none proc", "ln -s scratch tmp"]
    font = _font_list()
    if font is not None:
        lines += [f"cp {shlex.quote(str(font))} scratch/matplotlib/"]
    lines += ["pivot_root . .old", "cd /scratch", "umount -l /.old", "rmdir /.old"]
    settings = " ".join(shlex.quote(f"{key}={value}") for key, value in environment.items())
    drop = "setpriv --no-new-privs --bounding-set=-all --inh-caps=-all"
    lines += [f"exec {drop} env -i {settings} {' '.join(map(shlex.quote, command))}"]
    own = ["--user", "--map-root-user", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
    return ["unshare", *own, "sh", "-c", "\n".join(lines)]


@functools.cache
def _font_list() -> Path | None:
    """Return matplotlib's list of fonts, which takes seconds to make, or None."""
    try:
        import matplotlib.font_manager
    except ImportError:
        return None
    found = sorted(Path(matplotlib.get_cachedir()).glob("fontlist-*.json"))
    return found[-1] if found else None


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
        book = "/book" if inside else str(_book(self._scratch))
        environment = _environment(home, book)
        drops = name == "bubblewrap" and os.geteuid() == 0
        config = {
            "socket": theirs.fileno(),
            "limits": limits.for_a_process(),
            "user": STRANGER + os.getpid() % 2**16 if drops else None,
            **{key: value for key, value in asdict(limits).items() if key in ("cell_s", "call_s")},
        }
        command = [sys.executable, "-P", "-m", "worker", json.dumps(config)]
        self._process = subprocess.Popen(
            wall(name, command, self._scratch, environment, limits),
            cwd=self._scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if not os.environ.get("NDELIB_GRADE_DEBUG") else None,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
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
            left = {
                member.pid: member for member in (*left.values(), *self._family(), *_orphans(0)) if _runs(member)
            }
            if left:
                time.sleep(0.01)


def _environment(home: str, book: str) -> dict[str, str]:
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": home,
        "TMPDIR": home,
        "USER": "student",
        "LANG": "C.UTF-8",
        "PYTHONPATH": book,
        "PYTHONDONTWRITEBYTECODE": "1",
        "IPYTHONDIR": f"{home}/ipython",
        "MPLCONFIGDIR": f"{home}/matplotlib",
        "MPLBACKEND": "agg",
        "CUDA_VISIBLE_DEVICES": "",  # the same marks with and without a GPU
        "OMP_NUM_THREADS": "1",  # as many submissions as cores run at once
        "MKL_NUM_THREADS": "1",
    }


def _book(scratch: Path) -> Path:
    """Make the folder that the worker imports from, for want of a wall that shows it one."""
    book = scratch / "book"
    book.mkdir()
    (book / "ndelib").symlink_to(ROOT / "ndelib")
    (book / "worker").symlink_to(HERE / "worker")
    return book


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
