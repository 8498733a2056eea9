"""Which marks have changed since the last run: a table that only grows."""

import csv
import io
from datetime import datetime
from pathlib import Path

from tools.grading.results import write_whole
from tools.grading.sheets import as_csv

SAME = {"student", "file", "name", "hours late", "message", "max"}
"""What may differ without a mark being another one."""
HEAD = ["time", "student", "file", "what", "before", "now"]


def note_changes(folder: Path, table: str) -> int:
    """Compare a new table of the class with the one in ``folder``; add what differs to ``changes.csv``.

    Returns how many marks have changed. A student who was not in the earlier table is not among them.
    """
    try:
        before = {_key(line): line for line in _lines((folder / "grades.csv").read_text(encoding="utf-8"))}
    except (OSError, UnicodeDecodeError, csv.Error):
        return 0
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    changes = [
        [now, line["student"], line["file"], what, old[what], line[what]]
        for line in _lines(table)
        if (old := before.get(_key(line))) is not None
        for what in line
        if what in old and what not in SAME and old[what] != line[what]
    ]
    if changes:
        path = folder / "changes.csv"
        earlier = path.read_text(encoding="utf-8") if path.exists() else as_csv([HEAD])
        write_whole(path, earlier + as_csv(changes))
    return len(changes)


def _lines(text: str) -> list[dict[str, str]]:
    return [line for line in csv.DictReader(io.StringIO(text, newline="")) if None not in line.values()]


def _key(line: dict[str, str]) -> str:
    return line.get("student") or line.get("file", "")
