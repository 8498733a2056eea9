"""Outcomes on disk: one file each, written whole or not at all, so that a run that was killed can go on."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

HAS_POINTS = ("graded", "time limit")
"""The statuses of submissions whose tests were run. A total of 0 elsewhere would be a mark that nobody has given."""


def nothing(status: str, *errors: str) -> dict[str, Any]:
    """Return the outcome of a submission of which no test was run, and why."""
    return {"status": status, "scores": {}, "tests": {}, "undone": [], "errors": list(errors), "seconds": {}}


def digest(key: str, cells: list[str]) -> str:
    """Return the name of an outcome: it is the same where code, tests, limits and the way of judging are."""
    return hashlib.sha256(json.dumps([key, cells]).encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Results:
    """The outcomes in a folder."""

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the outcome of that name, or None if there is none that is whole."""
        try:
            outcome: dict[str, Any] = json.loads((self._folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return outcome

    def write(self, name: str, outcome: dict[str, Any]) -> None:
        """Keep an outcome. A kill at any moment leaves the file as it was, or as it shall be."""
        write_whole(self._folder / f"{name}.json", json.dumps(outcome, ensure_ascii=True))


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
