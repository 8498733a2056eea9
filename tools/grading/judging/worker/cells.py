"""Running the cells of a notebook in IPython, without a kernel and without output."""

import ast
import builtins
import getpass
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import matplotlib
from IPython.core.history import HistoryManager
from IPython.core.interactiveshell import InteractiveShell

from ndelib.exercises.bindings import Bindings

from .limits import PASSES, TimeLimit, time_limit
from .missing import Missing, one_by_one, stand_in, unanswered

LONGEST_TEXT = 500


class _Shell(InteractiveShell):
    """IPython that neither keeps results nor writes: what went wrong is in the result of a cell.

    A magic speaks to the program that shows the notebook, which is not here. So ``%matplotlib inline`` and the like do
    nothing, and one that this shell does not know, or that fails, does not stop the cell that it stands in.
    """

    def enable_matplotlib(self, gui: str | None = None) -> tuple[str | None, str]:
        """Stay with agg: a picture is drawn, and shown to nobody."""
        return gui, "agg"

    def enable_gui(self, gui: str | None = None) -> None:
        """Begin no loop of events."""

    def run_line_magic(self, magic_name: str, line: str, _stack_depth: int = 1) -> Any:
        """Run ``%magic``; if it cannot be run, its value is None."""
        try:
            return super().run_line_magic(magic_name, line, _stack_depth + 1)
        except Exception:
            return None

    def run_cell_magic(self, magic_name: str, line: str, cell: str) -> Any:
        """Run ``%%magic``; one that is not known here, a timer of some package for one, leaves its cell as it is."""
        if self.find_cell_magic(magic_name) is not None:
            return super().run_cell_magic(magic_name, line, cell)
        return self.run_cell(cell, store_history=False, silent=True).raise_error()

    async def run_ast_nodes(
        self,
        nodelist: list[ast.stmt],
        cell_name: str,
        interactivity: str = "last_expr",
        compiler: Any = compile,
        result: Any = None,
    ) -> bool:
        """Run a cell, past its imports of what is not here; return whether something stopped."""
        missing = None
        for group in one_by_one(nodelist):
            if await super().run_ast_nodes(group, cell_name, interactivity, compiler, result):
                if not stand_in(group, result.error_in_exec, self.user_ns):
                    return True
                missing, result.error_in_exec = missing or result.error_in_exec, None
        result.error_in_exec = missing
        return missing is not None

    def showtraceback(self, *args: Any, **kwargs: Any) -> None:
        """Show nothing."""

    def showsyntaxerror(self, *args: Any, **kwargs: Any) -> None:
        """Show nothing."""


class Notebook:
    """A student's notebook as it runs; ``names`` are its variables."""

    def __init__(self) -> None:
        HistoryManager.enabled = False  # type: ignore[assignment]  # it is a database on disk
        builtins.input = getpass.getpass = unanswered()
        matplotlib.use = lambda *args, **kwargs: None  # there is no screen for whatever else a notebook asks for
        sys.path.append("")  # as where a notebook is written: it may import a file that it has made
        self._shell = _Shell.instance(history_load_length=0, cache_size=0)
        self._bindings = Bindings()

    @property
    def names(self) -> dict[str, Any]:
        """The variables of the notebook."""
        names: dict[str, Any] = self._shell.user_ns
        return names

    def run(
        self,
        cells: list[str],
        skip: Iterable[int],
        answers: list[str],
        limits_s: Sequence[float],
        begin: Callable[[int], None],
    ) -> dict[str, list[dict[str, Any]]]:
        """Run the cells from top to bottom; return the errors of those that stopped, and what undid the ``answers``.

        Each may compute for as long as ``limits_s`` says at its place.
        A cell that stops does not stop those below it. One that stopped because a name was not there yet runs again at
        the end, as long as fewer stop each time: the student had run the cells in another order.
        """
        skipped, errors, again, before = set(skip), {}, [], len(cells)
        self._bindings.follow(answers)
        for number, source in enumerate(cells):
            if number not in skipped:
                begin(number)
                error = self._run(number, source, limits_s[number])
                if error is not None:
                    errors[number] = error
                    again += [number] if error["type"] == "NameError" else []
        for _ in range(PASSES - 1):
            if not 0 < len(again) < before:
                break
            before, waiting, again = len(again), again, []
            for number in waiting:
                begin(number)
                error = self._run(number, cells[number], limits_s[number])
                del errors[number]
                if error is not None:
                    errors[number] = error
                    again += [number] if error["type"] == "NameError" else []
        Missing.running = False
        changes = [asdict(change) for name in answers for change in self._bindings.changes(name, self.names)]
        return {"errors": [{"cell": number, **error} for number, error in sorted(errors.items())], "changes": changes}

    def _run(self, number: int, source: str, limit_s: float) -> dict[str, str] | None:
        try:
            with time_limit(limit_s):
                result = self._shell.run_cell(source, store_history=False, silent=True)
            error = result.error_before_exec or result.error_in_exec
        except (TimeLimit, Exception, SystemExit, KeyboardInterrupt) as raised:
            error = raised
        self._close_figures()
        self._bindings.after(number, self.names)
        if error is None:
            return None
        try:
            text = str(error)
        except BaseException:
            text = ""
        return {"type": type(error).__name__, "text": text[:LONGEST_TEXT]}

    def _close_figures(self) -> None:
        """As an inline figure closes at the end of its cell: hundreds that stay open take the memory of the class."""
        pyplot = __import__("sys").modules.get("matplotlib.pyplot")
        if pyplot is not None:
            try:
                pyplot.close("all")
            except Exception:
                return
