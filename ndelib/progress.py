"""A progress bar for what takes long: tqdm's where there is one, and nothing in the build of the book."""

import importlib.util
import os
from contextlib import nullcontext
from typing import Any


class NoBar(nullcontext[Any]):
    """A progress bar that shows nothing."""

    def __enter__(self) -> "NoBar":
        return self

    def update(self, n: int = 1) -> None:
        """Show nothing."""

    def set_postfix(self, **what: Any) -> None:
        """Show nothing."""


def progress_bar(steps: int, show: bool) -> Any:
    """Return a progress bar that goes when it ends; none in the build of the book, where nobody watches."""
    if not show or "NDELIB_STATIC" in os.environ or importlib.util.find_spec("tqdm") is None:
        return NoBar()
    from tqdm.auto import tqdm

    return tqdm(total=steps, leave=False)
