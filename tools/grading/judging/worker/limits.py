"""What the worker may use: it sets its own limits, before it reads any student's code, and cannot take them back."""

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .refused import end_first, refuse

RESOURCES = {
    "cpu_s": "RLIMIT_CPU",
    "memory_bytes": "RLIMIT_AS",
    "data_bytes": "RLIMIT_DATA",
    "file_bytes": "RLIMIT_FSIZE",
    "processes": "RLIMIT_NPROC",
    "open_files": "RLIMIT_NOFILE",
}


WALL = 4.0
"""A limit on computing time holds for so many times as long by the clock."""


PASSES = 10
"""How often a cell runs at most, because a name was not there yet."""
BY_CLOCK = "by the clock"


class TimeLimit(BaseException):
    """A cell or a call took too long. Not an ``Exception``, so that ``except Exception`` does not swallow it."""


def apply(limits: dict[str, int], user: int | None) -> None:
    """Become ``user`` if one is given, without a way back, and lower every limit that this system knows."""
    end_first()  # while this process still belongs to who started it
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    for name, value in {**limits, "core": 0}.items():
        number = getattr(resource, RESOURCES.get(name, "RLIMIT_CORE"), None)
        if number is not None:
            with contextlib.suppress(ValueError, OSError):  # it is lower already
                resource.setrlimit(number, (value, value))
    refuse()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeLimit` in what computes longer, and again every second if that is ignored.

    It counts the processor's time, so that a mark does not depend on what else the machine does; who sleeps instead
    has ``WALL`` times as long by the clock.
    """

    def stop(number: int, _: Any) -> None:
        by_clock = number == signal.SIGALRM
        how_long = f"{WALL * seconds:g} s {BY_CLOCK}" if by_clock else f"{seconds:g} s of computing"
        raise TimeLimit(f"stopped after {how_long}")

    clocks = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, WALL * seconds))
    previous = [signal.signal(number, stop) for _, number, _ in clocks]
    for timer, _, limit in clocks:
        signal.setitimer(timer, limit, 1.0)
    try:
        yield
    finally:
        for (timer, number, _), handler in zip(clocks, previous, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
