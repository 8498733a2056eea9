"""The wall around a student's code: what the process behind it may see, write, reach and use.

bubblewrap where it works, else the same wall out of util-linux's ``unshare`` and ``mount``, else limits alone and a
warning. Behind it there is a read-only Python, ndelib and the worker, an empty scratch folder of limited size in
memory, and no network, no other process, no home, no submission and no test.
"""

import functools
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.common import ROOT
from tools.grading.judging.worker.lock_in import MOST_FILES

HERE = Path(__file__).resolve().parent
STRANGER = 1_966_080_000  # user ids that no system gives to a person
SYSTEM = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/fonts", "/etc/alternatives"]
# Where there is /dev/zero, we show /dev/full: it reads the same, but gives no memory that no limit counts.
ZERO = ("/dev/full", "/dev/zero")
DEVICES = [*((name, name) for name in ("/dev/null", "/dev/random", "/dev/urandom")), ZERO]
KINDS = ("bubblewrap", "namespaces", "limits only")
WARNING = """\
WARNING: nothing here can lock a submission in: neither bubblewrap nor user namespaces work on this machine.
WARNING: submissions run with your rights. They can read your files and use your network; only the limits on time and
WARNING: memory hold. Install bubblewrap (sudo apt install bubblewrap), or grade where nothing else is stored."""


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
            "data_bytes": self.memory_mb * 2**20,
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
    tmp = Path("/tmp")
    if tmp in above:  # Python or its packages lie there, so it can't be another name of the scratch folder
        options += ["--size", str(limits.scratch_mb * 2**20), "--perms", "1777", "--tmpfs", str(tmp)]
    for folder in sorted(above - {Path("/"), tmp}):
        options += ["--perms", "0755", "--dir", str(folder)]
    for source, place in shown:
        options += ["--ro-bind", str(source), place]
    options += ["--proc", "/proc", "--dev", "/dev", "--dev-bind", *ZERO, "--size", str(limits.scratch_mb * 2**20)]
    options += ["--perms", "1777", "--tmpfs", "/scratch"]
    if tmp not in above:
        options += ["--symlink", "/scratch", str(tmp)]
    options += ["--size", str(limits.file_mb * 2**20), "--tmpfs", "/dev/shm"]
    font = _font_list()
    if font is not None:
        options += ["--perms", "0777", "--dir", "/scratch/matplotlib"]
        options += ["--ro-bind", str(font), f"/scratch/matplotlib/{font.name}"]
    # What could be written anywhere but in the scratch folder would still be there for the next submission.
    options += ["--remount-ro", "/dev", "--remount-ro", "/"]
    options += ["--chdir", "/scratch", "--die-with-parent", "--new-session", "--clearenv"]
    for key, value in environment.items():
        options += ["--setenv", key, value]
    return ["bwrap", *options, "--", *command]


def _namespaces(command: list[str], scratch: Path, environment: dict[str, str], limits: Limits) -> list[str]:
    """Build the same inside by hand, on a file system in memory that then becomes the root."""
    root = shlex.quote(str(scratch))
    lines = [
        "set -e",
        f"mount -t tmpfs -o size={limits.scratch_mb}m,mode=755,nr_inodes={MOST_FILES} none {root}",
        f"cd {root}",
    ]
    devices = [(Path(source), place) for source, place in DEVICES]
    for source, place in [*_shown(), *devices]:
        inside = shlex.quote(f".{place}")
        make = f"mkdir -p {inside}" if source.is_dir() else f"mkdir -p $(dirname {inside}) && touch {inside}"
        lines += [make, f"mount --bind {shlex.quote(str(source))} {inside}"]
        if (source, place) not in devices:
            lines += [f"mount -o remount,bind,ro,nosuid,nodev {inside}"]
    lines += ["mkdir -p proc scratch/matplotlib .old", "mount -t proc none proc"]
    lines += ["if [ -e proc/keys ]; then mount --bind /dev/null proc/keys; fi"]  # the names of your keys
    lines += ["if [ -d tmp ]; then chmod 1777 tmp; else ln -s scratch tmp; fi"]  # Python may lie in /tmp
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


def environment(home: str, imports: str) -> dict[str, str]:
    """Return the variables that a worker has: none of ours."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": home,
        "TMPDIR": home,
        "USER": "student",
        "LANG": "C.UTF-8",
        "PYTHONPATH": imports,
        "PYTHONDONTWRITEBYTECODE": "1",
        "IPYTHONDIR": f"{home}/ipython",
        "MPLCONFIGDIR": f"{home}/matplotlib",
        "MPLBACKEND": "agg",
        "PIP_NO_INDEX": "1",  # `!pip install` would wait a minute for a network that is not there
        "CUDA_VISIBLE_DEVICES": "",  # the same marks with and without a GPU
        "TORCHDYNAMO_DISABLE": "1",  # torch.compile returns what it is given: a C++ compiler does not work in there
        "OMP_NUM_THREADS": "1",  # as many submissions as cores run at once
        "MKL_NUM_THREADS": "1",
    }


def book(scratch: Path) -> Path:
    """Make the folder that the worker imports from, for want of a wall that shows it one."""
    folder = scratch / "book"
    folder.mkdir()
    (folder / "ndelib").symlink_to(ROOT / "ndelib")
    (folder / "worker").symlink_to(HERE / "worker")
    return folder
