"""What the kernel refuses to a student's code from the inside, whatever wall stands around it (Linux, x86-64 and ARM).

A wall hides files and network; some of the kernel's services pass through it. A filter (seccomp) answers them as a
kernel would that does not have them, so that libraries take another way.
"""

import contextlib
import ctypes
import errno
import os
import struct
import sys

# The kernel's numbers of its services, for x86-64 and for ARM.
REFUSED = {
    # Keys of the person who grades; and a keyring outlives the submission that wrote into it.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # Namespaces within these: there, a student's code would have all rights over parts of the kernel.
    "unshare": (272, 97),
    "setns": (308, 268),
    "clone3": (435, 435),  # its flags cannot be read by a filter; the C library then takes clone
    # Memory that no limit counts, because it is in no process.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "io_uring_setup": (425, 425),
    # News of what others do with a file that all see, such as Python's own.
    "inotify_add_watch": (254, 27),
    "fanotify_init": (300, 262),
    # Parts of the kernel in which mistakes are found every year, and which no notebook needs.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
}
CLONE, MMAP, SOCKET, SECCOMP, KEYCTL = (56, 220), (9, 222), (41, 198), (317, 277), REFUSED["keyctl"]
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
X32 = 0x40000000  # the same services once more, with other numbers
NEW_USERS = 0x10000000
# Unix, Internet and netlink sockets belong to a network namespace; others (vsock) reach the host of a virtual machine.
FAMILIES = (1, 2, 10, 16)
BOTH = 0x01 | 0x20  # shared and anonymous: memory without a file that stays when no process has it mapped

LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
NUMBER, MACHINE, ARGUMENTS, FLAGS = 0, 4, 16, 16 + 3 * 8  # where they lie in what a filter sees
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.ENOSYS
NO_NEW_PRIVILEGES, SET_FILTER, AT_FULL_SPEED, JOIN_NEW_KEYRING = 38, 1, 4, 1

Step = tuple[int, ...]  # what to do, with which number; and how many steps a test skips if it holds, and if not


def refuse() -> None:
    """Leave the keys of the person who grades, and refuse this process and its children the services above."""
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in MACHINES or sys.maxsize < 2**32:
        return
    column, name = MACHINES[machine]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(KEYCTL[column], JOIN_NEW_KEYRING, None)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    program = _filter(column, name)
    code = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
    libc.syscall(SECCOMP[column], SET_FILTER, AT_FULL_SPEED, head)


def end_first() -> None:
    """When the memory of the machine is full, let the kernel end this process and its children before any other."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _filter(column: int, machine: int) -> bytes:
    """Return the program that the kernel runs before each service."""
    steps: list[Step] = [(LOAD, MACHINE), (EQUAL, machine, 1, 0), (RETURN, REFUSE), (LOAD, NUMBER)]
    if column == 0:
        steps += [(AT_LEAST, X32, 0, 1), (RETURN, REFUSE)]
    refused: list[Step] = [(RETURN, REFUSE)]
    families: list[Step] = [step for family in FAMILIES for step in ((EQUAL, family, 0, 1), (RETURN, ALLOW))]
    services: list[tuple[tuple[int, int], list[Step]]] = [
        *((numbers, refused) for numbers in REFUSED.values()),
        (CLONE, [(LOAD, ARGUMENTS), (ANY_BIT, NEW_USERS, 0, 1), (RETURN, REFUSE), (RETURN, ALLOW)]),
        (MMAP, [(LOAD, FLAGS), (AND, BOTH), (EQUAL, BOTH, 0, 1), (RETURN, REFUSE), (RETURN, ALLOW)]),
        (SOCKET, [(LOAD, ARGUMENTS), *families, (RETURN, REFUSE)]),
    ]
    for numbers, what in services:
        steps += [(EQUAL, numbers[column], 0, len(what)), *what]
    steps += [(RETURN, ALLOW)]
    return b"".join(struct.pack("HBBI", code, *(jumps or (0, 0)), value) for code, value, *jumps in steps)
