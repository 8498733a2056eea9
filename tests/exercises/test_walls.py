"""Both walls, for root and for a lecturer who is not: what the process behind them can see, write, reach and use."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tools.common import ROOT
from tools.grading.judging import walls
from tools.grading.judging.walls import KINDS, kind

SYSTEM_PYTHON = Path("/usr/bin/python3")  # the one that a user who is not root can reach everywhere
NOBODY = 65534

OUTSIDE = """
import ctypes, json, os, subprocess, sys, tempfile
from pathlib import Path
from tools.grading.judging import walls
from tools.grading.judging.walls import Limits, wall
from tools.grading.judging.worker.refused import MACHINES, REFUSED
below_tmp = [(Path(place), place) for place in sys.argv[2:]]
walls._shown = lambda shown=walls._shown: [*shown(), *below_tmp]
if os.uname().machine in MACHINES:
    column, libc = MACHINES[os.uname().machine][0], ctypes.CDLL(None)
    libc.syscall(REFUSED["keyctl"][column], 1, None)  # a keyring of this session, and a secret in it
    libc.syscall(REFUSED["add_key"][column], b"user", b"of the lecturer", b"secret", 6, -3)
inside = sys.stdin.read()
python = [sys.executable, "-P", "-c", inside]
command = wall(sys.argv[1], python, Path(tempfile.mkdtemp()), {"PYTHONPATH": "/book"}, Limits())
sys.exit(subprocess.run(command).returncode)
"""
LOCK_IN = 'from worker.lock_in import lock_in\nlock_in(%r, 32, {"matplotlib/list.json": b"{}"})\n'
INSIDE = """
import ctypes, json, mmap, os, resource, socket, time
from worker.limits import apply
from worker.refused import MACHINES, REFUSED
libc = ctypes.CDLL(None, use_errno=True)
def kernel(name, *arguments):
    if libc.syscall(REFUSED[name][MACHINES[os.uname().machine][0]], *arguments) == -1:
        raise OSError(ctypes.get_errno(), name)
apply({"processes": 20, "file_bytes": 2**20}, None)
def outcome(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"
def forks():
    for _ in range(60):
        if os.fork() == 0:
            time.sleep(1)
            os._exit(0)
found = {
    "root": sorted(os.listdir("/")),
    "book": sorted(os.listdir("/book")),
    "repository": os.path.exists(%r),
    "system": outcome(lambda: open("/usr/stray", "w")),
    "library": outcome(lambda: open("/book/ndelib/stray.py", "w")),
    "scratch": outcome(lambda: open("/scratch/mine", "w").close()),
    "large": outcome(lambda: open("/scratch/large", "wb").write(bytes(2**21))),
    "network": outcome(lambda: socket.create_connection(("127.0.0.1", 22), 1)),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "mount": os.system("mount -t tmpfs none /usr 2>/dev/null") != 0,
    "capabilities": [line for line in open("/proc/self/status")] if os.path.exists("/proc/self/status") else [],
    "zeros": open("/dev/zero", "rb").read(3).hex(),
    "keys": open("/proc/keys").read() if os.path.exists("/proc/keys") else "",
    "refused": [] if os.uname().machine not in MACHINES else [outcome(action) for action in (
        lambda: kernel("request_key", b"user", b"of the lecturer", None, 0),
        lambda: kernel("keyctl", 0, -3, 1),
        lambda: kernel("unshare", 0x10000000),
        lambda: kernel("shmget", 0, 4096, 0o1600),
        lambda: kernel("inotify_add_watch", 0, b"/usr", 32),
        lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),  # to the host of a virtual machine
        lambda: os.memfd_create("mine"),
        lambda: mmap.mmap(-1, 4096),
        lambda: mmap.mmap(os.open("/dev/zero", os.O_RDWR), 4096),
    )],
    "user namespace": os.system("unshare --user true 2>/dev/null") != 0,
    "sockets": [outcome(lambda: socket.socket(family)) for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)],
    "private memory": outcome(lambda: mmap.mmap(-1, 4096, mmap.MAP_PRIVATE)),
    "forks": outcome(forks),
}
found["capabilities"] = [line.split()[1] for line in found["capabilities"] if line.startswith("CapEff")]
print(json.dumps(found))
"""


def stranger(user: int) -> int | None:
    return 1_966_080_001 if user == 0 else None


def behind(wall: str, user: int, program: str, *below_tmp: str) -> dict[str, Any]:
    """Run ``program`` as ``user`` behind a wall, which shows ``below_tmp`` too; return what it prints."""
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user != os.geteuid() else []
    done = subprocess.run(
        [*become, str(SYSTEM_PYTHON), "-B", "-c", OUTSIDE, wall, *below_tmp],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        input=program,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


needs_a_wall = pytest.mark.skipif(kind() == KINDS[2] or not SYSTEM_PYTHON.exists(), reason="no wall works here")
needs_a_newer_python = pytest.mark.skipif(sys.version_info < (3, 11), reason="the worker is for 3.11 and later")
USERS = [0, NOBODY] if os.geteuid() == 0 else [os.geteuid()]


@needs_a_wall
@needs_a_newer_python
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("wall", KINDS[:2])
def test_behind_a_wall_there_is_nothing_to_see_and_nobody_to_reach(wall: str, user: int):
    if kind() != KINDS[0] and wall == KINDS[0]:
        pytest.skip("bubblewrap does not work here")
    lock = wall == KINDS[0]
    locked = LOCK_IN % stranger(user) if lock else ""
    found = behind(wall, user, locked + INSIDE % str(ROOT / "tools"))
    assert found["book"] == ["ndelib", "worker"]
    assert not found["repository"]
    assert {"home", "mnt", "srv", "var"}.isdisjoint(found["root"])
    assert found["system"] == found["library"] == "OSError"  # a read-only file system
    assert found["scratch"] == "done"
    assert found["large"] == "OSError"
    assert found["network"] in ("ConnectionRefusedError", "OSError")
    assert found["interfaces"] == ["lo"]
    assert found["mount"]
    assert set(found["capabilities"]) <= {"0" * 16}
    assert found["zeros"] == "000000"
    assert found["keys"] == ""
    assert set(found["refused"]) <= {"OSError"}
    assert found["user namespace"]
    assert found["private memory"] == "done"
    assert found["sockets"] == ["done"] * 3
    if wall == KINDS[0] or user != 0:  # the kernel counts no processes of root's
        assert found["forks"] == "BlockingIOError"


# One submission after the other, as copies of one nursery: the first leaves what it can, the second looks.
ONE_AFTER_THE_OTHER = """
import json, os, socket, sys
from worker.limits import apply
from worker.lock_in import lock_in
PLACES = ("/", "/tmp", "/scratch", "/dev", "/dev/shm", "/dev/pts", "/book", "/usr", "/proc")
def leave():
    for place in PLACES:
        try:
            open(place + "/left", "w").write("2.5")
        except OSError:
            pass
    try:
        here = socket.create_server(("127.0.0.1", 21000))
        there = socket.create_connection(here.getsockname())
        here.accept()[0].close()  # now the port is taken for a minute, whoever ends
        there.recv(1)
    except OSError:
        pass
def look():
    found = [place for place in PLACES if os.path.exists(place + "/left")]
    try:
        socket.socket().bind(("127.0.0.1", 21000))
    except OSError:
        found.append("port")
    print(json.dumps({"found": found, "tmp": sorted(os.listdir("/tmp"))}), flush=True)
for step in (leave, look):
    child = os.fork()
    if child == 0:
        lock_in(%r, 32, {"matplotlib/list.json": b"{}"})
        apply({}, None)
        step()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@needs_a_wall
@needs_a_newer_python
@pytest.mark.skipif(kind() != KINDS[0], reason="bubblewrap does not work here")
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("python_below_tmp", [False, True])
def test_nothing_goes_from_one_submission_to_the_next(user: int, python_below_tmp: bool):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        (shown := Path(folder, "a folder")).mkdir()
        (shown / "python").touch()
        places = [str(shown)] if python_below_tmp else []
        found = behind(KINDS[0], user, ONE_AFTER_THE_OTHER % stranger(user), *places)
    assert found == {"found": [], "tmp": [Path(folder).name] if python_below_tmp else ["matplotlib"]}


@pytest.mark.parametrize("name", KINDS[:2])
def test_python_may_lie_in_the_folder_for_temporary_files(name: str, tmp_path: Path, monkeypatch):
    """A clone in /tmp has its environment there; then /tmp is no other name of the scratch folder, but as usable."""
    if KINDS.index(kind()) > KINDS.index(name):
        pytest.skip(f"{name} does not work here")
    (tmp_path / "environment").mkdir()
    if Path("/tmp") not in tmp_path.resolve().parents:
        pytest.skip("temporary files lie elsewhere")
    monkeypatch.setattr(walls, "_shown", lambda shown=walls._shown: [*shown(), (tmp_path, str(tmp_path))])
    script = (
        f"ls {tmp_path}; echo > /tmp/mine; echo > /scratch/mine; touch {tmp_path}/stray 2>/dev/null || echo refused"
    )
    (scratch := tmp_path / "scratch").mkdir()
    command = walls.wall(name, ["/bin/sh", "-c", script], scratch, {"PATH": "/usr/bin:/bin"}, walls.Limits())
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["environment", "scratch", "refused"], done.stderr
