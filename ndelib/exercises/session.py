"""What a student ran in this session, as a notebook file to hand in; and which cell set which name.

The file is made of what IPython was given to run, the same on Colab, in JupyterLab and in an editor: none of them tells
a program where its notebook lies. So nothing depends on the metadata of cells, on their order on the page, or on a cell
that is there twice: what counts is what was run, in the order in which it was run, as far as it ran.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ndelib.exercises.bindings import Bindings, first_line, in_words
from ndelib.exercises.stopped import what_ran


@dataclass
class Run:
    """A cell that was run: its ``source``, and what of it has ``ran``, which is less if it stopped with an error."""

    source: str
    ran: str


class Session:
    """All that was run in one IPython shell."""

    def __init__(self, shell: Any):
        self.shell = shell  # kept, so that its id stays its own
        # Before this, IPython's own record is all there is; it does not know what stopped, and %reset empties it.
        self.runs = [Run(source, source) for source in shell.history_manager.input_hist_raw[1:]]
        self.bindings = Bindings()
        shell.events.register("pre_run_cell", self._before)
        shell.events.register("post_run_cell", self._after)

    def look(self) -> None:
        """Take note of the names that the cell that runs just now has set."""
        if self.runs:
            self.bindings.after(first_line(self.runs[-1].source), self.shell.user_ns)

    def _before(self, info: Any) -> None:
        if info.store_history:  # not a cell that a cell runs
            self.runs.append(Run(info.raw_cell, info.raw_cell))

    def _after(self, result: Any) -> None:
        if not result.info.store_history or not self.runs:
            return
        if result.error_before_exec is not None:
            self.runs[-1].ran = ""
        elif result.error_in_exec is not None:
            code = self.shell.transform_cell(self.runs[-1].source)  # Python, with magics as calls
            ran = what_ran(code, result.error_in_exec, self.shell.user_ns)
            self.runs[-1].ran = self.runs[-1].source if ran == code else ran
        self.look()


_sessions: dict[int, Session] = {}


def watch(names: Iterable[str]) -> None:
    """Begin to take note of what is run and of the cells that set ``names``; without IPython do nothing."""
    session = _session()
    if session is not None:
        session.bindings.follow(names)
        session.bindings.after(None, session.shell.user_ns)  # what is there already is of a cell that nobody knows


def undone(names: Iterable[str], namespace: dict[str, Any]) -> list[str]:
    """Return a sentence for each cell that set one of ``names`` again after the cell of the answer."""
    session = _session()
    if session is None or session.shell.user_ns is not namespace:
        return []
    session.look()
    changes = (change for name in names for change in session.bindings.changes(name, namespace))
    return [f"{sentence}." for sentence in in_words(changes, str)]


def cells() -> list[str]:
    """Return what ran of the cells, each text once, where it ran last; empty without IPython."""
    session = _session()
    ran = [run.ran for run in session.runs if run.ran.strip()] if session is not None else []
    return list(dict.fromkeys(reversed(ran)))[::-1]


def shortened() -> list[str]:
    """Return the first lines of the cells of which only a part ran."""
    session = _session()
    runs = session.runs if session is not None else []
    return list(dict.fromkeys(first_line(run.source) for run in runs if run.ran.strip() and run.ran != run.source))


def save(assignment: str, folder: Path) -> Path | None:
    """Write the session as a notebook and return its path, or None if there is no session."""
    ran = cells()
    if not ran:
        return None
    number = assignment[:2]
    if not any("Grader(" in source for source in ran):
        ran.insert(0, f'import ndelib\n\ngrader = ndelib.exercises.Grader("{number}")')
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"cell-{position}",
                "metadata": {},
                "outputs": [],
                "source": source,
            }
            for position, source in enumerate(ran, start=1)
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path = folder / f"{assignment}_submission.ipynb"
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def offer(path: Path) -> None:
    """On Colab, whose disk is gone tomorrow, let the browser download the file."""
    if "google.colab" in sys.modules:
        from google.colab import files

        files.download(str(path))


def _session() -> Session | None:
    """Return the session of this shell, which begins with the first call."""
    shell = _shell()
    if shell is None:
        return None
    if id(shell) not in _sessions:
        _sessions[id(shell)] = Session(shell)
    return _sessions[id(shell)]


def _shell() -> Any:
    """Return IPython's shell if this is a notebook or IPython, without importing it."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None else None
