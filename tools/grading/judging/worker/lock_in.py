"""How a copy of the nursery locks itself in: namespaces of its own, an empty scratch folder, no rights in them."""

import contextlib
import ctypes
import os
import re
import signal
from pathlib import Path

from .refused import end_first

# Mounts, IPC, users, processes, network.
NEW_NAMESPACES = 0x00020000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
PRIVATE, RECURSIVE, BIND, NO_SUID, NO_DEVICES = 1 << 18, 1 << 14, 1 << 12, 2, 4
SET_DUMPABLE, PARENT_DEATH, DROP_BOUNDING, NO_NEW_PRIVILEGES = 4, 1, 24, 38
CAPABILITIES = 64
MOST_FILES = 20_000
"""in each of its folders: an empty file has no size, but takes memory of the kernel that is in no process"""
VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def lock_in(user: int | None, scratch_mb: int, files: dict[str, bytes]) -> None:
    """Go on as the second process of namespaces of its own, with an empty ``/scratch`` that holds ``files``.

    The process that called waits until all of that is over and then ends. Raises ``OSError`` where the kernel says no.
    """
    end_first()  # while there is a /proc that says so
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        _check(_libc.prctl(SET_DUMPABLE, 1, 0, 0, 0))  # else /proc/self belongs to root
    user_id, group_id = os.getuid(), os.getgid()
    _check(_libc.unshare(NEW_NAMESPACES))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user_id} {user_id} 1")
    Path("/proc/self/gid_map").write_text(f"{group_id} {group_id} 1")
    _become_child()  # the first process of the new namespace: when it ends, all of it ends
    _mount("none", "/", None, PRIVATE | RECURSIVE)
    options = f"size={scratch_mb}m,mode=700,nr_inodes={MOST_FILES}"
    _empty_tmp(options)
    _mount("tmpfs", "/scratch", "tmpfs", NO_SUID | NO_DEVICES, options)
    _mount("tmpfs", "/dev/shm", "tmpfs", NO_SUID | NO_DEVICES, options)
    try:
        _mount("proc", "/proc", "proc", NO_SUID | NO_DEVICES)
    except OSError:  # where the outer one is covered in part, a kernel refuses a whole one
        _mount("tmpfs", "/proc", "tmpfs", NO_SUID | NO_DEVICES, "size=4k,mode=555")
    if Path("/proc/keys").exists():  # the names of the keys of who grades
        _mount("/dev/null", "/proc/keys", None, BIND)
    for name, content in files.items():
        path = Path("/scratch", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    os.chdir("/scratch")
    for capability in range(CAPABILITIES):
        _libc.prctl(DROP_BOUNDING, capability, 0, 0, 0)
    _check(_libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    header, nothing = (ctypes.c_uint32 * 2)(VERSION_3, 0), (ctypes.c_uint32 * 6)()
    _check(_libc.capset(header, nothing))
    _become_child()  # an ordinary process, for which signals mean what they mean elsewhere
    _check(_libc.prctl(PARENT_DEATH, signal.SIGKILL, 0, 0, 0))


def _empty_tmp(options: str) -> None:
    """Cover ``/tmp`` by an empty one, if it is a folder of its own, and show again what was shown below it.

    Python may lie there. Elsewhere it is another name of the scratch folder.
    """
    if Path("/tmp").is_symlink():
        return
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    places = [re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), line.split()[4]) for line in lines]
    _mount("/tmp", "/scratch", None, BIND | RECURSIVE)  # a second name, until the scratch folder covers it
    _mount("tmpfs", "/tmp", "tmpfs", NO_SUID | NO_DEVICES, options)
    for place in sorted({place for place in places if place.startswith("/tmp/")}):
        shown, here = Path("/scratch", place.removeprefix("/tmp/")), Path(place)
        if not here.exists():  # else it came with the folder that holds it
            (here if shown.is_dir() else here.parent).mkdir(parents=True, exist_ok=True)
            if not shown.is_dir():
                here.touch()
            _mount(str(shown), place, None, BIND | RECURSIVE)


def _become_child() -> None:
    """Fork: the child goes on, the parent ends when the child does, and takes in the orphans meanwhile."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        _libc.prctl(PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
        return
    os.closerange(3, 1024)
    with contextlib.suppress(ChildProcessError):
        while os.wait()[0] != child:
            pass
    os._exit(0)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    what = kind.encode() if kind else None
    _check(_libc.mount(source.encode(), target.encode(), what, ctypes.c_ulong(flags), options.encode() or None))


def _check(answer: int) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
