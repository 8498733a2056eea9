"""What the book's programs share: where things are, how a step is timed, how a problem is reported."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = ROOT / "chapters"
BUILD = ROOT / "_build"


class Problem(Exception):
    """Something the author or reader has to put right; the message is one line that names the file."""


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step of the build, and say how long it took when it is done."""
    print(f"== {title}", flush=True)
    start = time.perf_counter()
    yield
    print(f"== {title}: done in {time.perf_counter() - start:.1f} s\n", flush=True)


def run_program(main: Callable[[], None]) -> None:
    """Call ``main``; when it raises :class:`Problem`, end with that one line and a non-zero status."""
    try:
        main()
    except Problem as problem:
        sys.stdout.flush()
        sys.exit(f"make: {problem}")
    except KeyboardInterrupt:
        sys.exit("make: stopped")


def relative(path: Path) -> str:
    """Return ``path`` as a reader knows it: from the root of the repository."""
    return os.path.relpath(path, ROOT)
