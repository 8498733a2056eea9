"""Whether a submission that is judged computes, or waits for something else than a processor."""

import contextlib
import time
from collections.abc import Callable

import psutil

from tools.grading.judging.sandbox import Use

LOOK_S = 1.0
"""How often to look."""
IDLE_S = 5.0
"""A submission that has computed nothing for so long, and could have, waits for something else than a processor."""
IDLE = 0.05
"""The part of a processor below which that is nothing."""


class Idle:
    """Calls ``then`` once, when a process and all below it have computed nothing for a while and waited for nothing."""

    def __init__(self, then: Callable[[], None]):
        self._then: Callable[[], None] | None = then
        self._use = Use()
        self._computed_s = 0.0
        self._busy = time.monotonic()

    def look(self, pid: int) -> None:
        """Look at it."""
        then = self._then
        if then is None:
            return
        with contextlib.suppress(psutil.Error):
            top = psutil.Process(pid)
            self._use.look(one.pid for one in (top, *top.children(recursive=True)))
        now, used = time.monotonic(), self._use.computed_s + self._use.waited_s
        if not used or used - self._computed_s > IDLE * LOOK_S:
            self._busy = now
        elif now - self._busy > IDLE_S:
            self._then = None
            then()
        self._computed_s = used
