"""What the worker may use: it sets its own limits, before it reads any student's code, and cannot take them back."""

import contextlib
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

RESOURCES = {
    "cpu_s": "RLIMIT_CPU",
    "memory_bytes": "RLIMIT_AS",
    "file_bytes": "RLIMIT_FSIZE",
    "processes": "RLIMIT_NPROC",
    "open_files": "RLIMIT_NOFILE",
}


class TimeLimit(BaseException):
    """A cell or a call took too long. Not an ``Exception``, so that ``except Exception`` does not swallow it."""


def apply(limits: dict[str, int], user: int | None) -> None:
    """Become ``user`` if one is given, without a way back, and lower every limit that this system knows."""
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    for name, value in {**limits, "core": 0}.items():
        number = getattr(resource, RESOURCES.get(name, "RLIMIT_CORE"), None)
        if number is not None:
            with contextlib.suppress(ValueError, OSError):  # it is lower already
                resource.setrlimit(number, (value, value))


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeLimit` in what runs longer, and again every second if that is ignored."""

    def stop(*_: Any) -> None:
        raise TimeLimit(f"stopped after {seconds:g} s")

    previous: Callable[..., Any] | int | None = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
