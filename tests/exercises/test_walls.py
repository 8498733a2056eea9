"""Both walls, for root and for a lecturer who is not: what the process behind them can see, write, reach and use."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.common import ROOT
from tools.grading import walls
from tools.grading.walls import KINDS, kind

SYSTEM_PYTHON = Path("/usr/bin/python3")  # the one that a user who is not root can reach everywhere
NOBODY = 65534

OUTSIDE = """
import json, subprocess, sys, tempfile
from pathlib import Path
from tools.grading.walls import Limits, wall
inside = sys.stdin.read()
python = [sys.executable, "-P", "-c", inside]
command = wall(sys.argv[1], python, Path(tempfile.mkdtemp()), {"PYTHONPATH": "/book"}, Limits())
sys.exit(subprocess.run(command).returncode)
"""
LOCK_IN = 'from worker.lock_in import lock_in\nlock_in(%r, 32, {"matplotlib/list.json": b"{}"})\n'
INSIDE = """
import json, os, resource, socket, time
from worker.limits import apply
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
    "forks": outcome(forks),
}
found["capabilities"] = [line.split()[1] for line in found["capabilities"] if line.startswith("CapEff")]
print(json.dumps(found))
"""


def behind(wall: str, user: int, lock: bool) -> dict[str, Any]:
    """Run the probe as ``user``, behind a wall, and locked in once more as a copy of the nursery is."""
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user != os.geteuid() else []
    stranger = 1_966_080_001 if user == 0 else None
    program = (LOCK_IN % stranger if lock else "") + INSIDE % str(ROOT / "tools")
    done = subprocess.run(
        [*become, str(SYSTEM_PYTHON), "-B", "-c", OUTSIDE, wall],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        input=program,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(kind() == KINDS[2] or not SYSTEM_PYTHON.exists(), reason="no wall works here")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="the worker is for 3.11 and later")
@pytest.mark.parametrize("user", [0, NOBODY] if os.geteuid() == 0 else [os.geteuid()])
@pytest.mark.parametrize("wall", KINDS[:2])
def test_behind_a_wall_there_is_nothing_to_see_and_nobody_to_reach(wall: str, user: int):
    if kind() != KINDS[0] and wall == KINDS[0]:
        pytest.skip("bubblewrap does not work here")
    lock = wall == KINDS[0]
    found = behind(wall, user, lock)
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
    if wall == KINDS[0] or user != 0:  # the kernel counts no processes of root's
        assert found["forks"] == "BlockingIOError"


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
