"""What runs in a kernel to give each cell so much CPU time, and to leave out the cells that need one that had no more.

A test executes this file in the kernel of a machine like Colab's, where nothing of the tests is installed: it imports
the standard library alone.
"""

import ast
import builtins
import signal
import symtable
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

AGAIN_S = 0.25
WHOLE = (
    "<frozen importlib",
    "/zmq/",
    "/ipykernel/",
    "/jupyter_client/",
    "/ipywidgets/",
    "/comm/",
    "/tqdm/",
    "/threading.py",
)
"""Where a cell is not stopped: half an import breaks the next one, half a message the kernel's talk, and a progress
bar that is stopped keeps its lock, for which the next one waits for ever."""
TRANSFORMS = "/torch/_functorch/"
"""Where a cell is not stopped at any depth: a ``grad`` or ``vmap`` without its end spoils every later one."""
HALVES = {"__enter__", "__exit__"}
"""Nor in these: what is half entered or half left stays, be it autocast or a random state on loan."""
FILLING = {"add", "append", "extend", "insert", "pop", "setdefault", "update"}


class OverBudget(BaseException):
    """Ends a cell that took too much time, or stands in the place of one that needs its results."""


def limit_cells(shell: Any, seconds: float) -> None:
    """From the next cell on, stop each cell of the IPython ``shell`` after so many seconds of CPU.

    CPU time does not depend on what else runs. What a stopped cell would have bound or written into counts as missing,
    and so does what a cell would have that an error ended: a cell that reads any of it is left out, and what that one
    would have bound is missing too. A later cell that binds the name again gives it back.
    """
    missing: set[str] = set()
    binds: set[str] = set()
    with_gradients = True

    class LeaveOut(ast.NodeTransformer):
        def visit(self, cell: ast.AST) -> ast.AST:
            nonlocal binds, with_gradients
            with_gradients = gradients()
            reads, binds = names(cell)
            if missing & reads:
                missing.update(binds, written(cell))
                return ast.parse("raise OverBudget('needs what is missing')")
            missing.difference_update(binds)
            binds |= written(cell)
            # Again and again after that: an exception that comes up in a weak reference's callback is lost.
            signal.setitimer(signal.ITIMER_PROF, seconds, AGAIN_S)
            return cell

    def stop(_: int, frame: FrameType | None) -> None:
        if any(TRANSFORMS in one.f_code.co_filename or one.f_code.co_name in HALVES for one in callers(frame)):
            return  # it comes again soon
        for one in callers(frame):
            if one.f_globals is shell.user_ns:
                missing.update(binds)
                raise OverBudget(f"more than {seconds} s of CPU")
            if any(part in one.f_code.co_filename for part in WHOLE):
                return

    def done(*_: Any) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def judge(ended: Any) -> None:
        if ended.error_in_exec is not None:
            missing.update(binds)
            # ``set_grad_enabled(False)`` counts from its call on: a cell that is stopped before its ``with`` begins
            # would leave no gradient to the cells behind it.
            gradients(with_gradients)

    builtins.OverBudget = OverBudget  # type: ignore[attr-defined]
    shell.ast_transformers.append(LeaveOut())
    signal.signal(signal.SIGPROF, stop)
    shell.events.register("post_execute", done)
    shell.events.register("post_run_cell", judge)


def shorten_training(steps: int) -> None:
    """Let the trainings of ``ndelib.training`` make few steps, so that the cells behind a training have a model.

    ``fit`` and ``polish`` make so many at most; ``fit_least_squares``, whose steps cost more, makes one.

    scikit-learn, from which the digits come, is imported already here: its import alone takes a cell's time.
    """
    import sklearn.datasets  # noqa: F401

    import ndelib.training

    for name, most in (("fit", steps), ("polish", steps), ("fit_least_squares", 1)):
        setattr(ndelib.training, name, shortened(getattr(ndelib.training, name), most))


def shortened(train: Callable[..., Any], most: int) -> Callable[..., Any]:
    """Return ``train`` with ``most`` steps at most."""
    return lambda *args, **options: train(*args, **{**options, "steps": min(options.get("steps", most), most)})


def gradients(on: bool | None = None) -> bool:
    """Return whether torch, if it is imported, records gradients; with ``on``, say first whether it shall."""
    torch = sys.modules.get("torch")
    if torch is None:
        return True
    if on is not None:
        torch.set_grad_enabled(on)
    return bool(torch.is_grad_enabled())


def callers(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame and those that called it."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def names(cell: ast.AST) -> tuple[set[str], set[str]]:
    """Return the notebook's variables that a cell reads and does not plainly bind before, and those that it binds.

    A function's own variables are none of them; what it reads of the notebook's counts where it is defined.
    """
    read: set[str] = set()
    bound: set[str] = set()
    for statement in getattr(cell, "body", []):
        table = symtable.symtable(ast.unparse(statement), "<cell>", "exec")
        binds = {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}
        loops = isinstance(statement, ast.For | ast.With)  # these bind before their bodies read
        read |= variables_read(table) - bound - (binds if loops else set())
        bound |= binds
    return read, bound


def written(cell: ast.AST) -> set[str]:
    """Return the variables that a cell writes into: ``x[0] = 1``, ``x.a = 1``, ``x.append(1)``."""
    found = set()
    for node in ast.walk(cell):
        stores = isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store)
        if stores or (isinstance(node, ast.Attribute) and node.attr in FILLING):
            base = node
            while isinstance(base, ast.Attribute | ast.Subscript):
                base = base.value
            found |= {base.id} if isinstance(base, ast.Name) else set()
    return found


def variables_read(table: symtable.SymbolTable) -> set[str]:
    """Return the variables of the outermost scope that a piece of code reads, in functions too."""
    outermost = table.get_type() == "module"
    symbols = [one for one in table.get_symbols() if one.is_referenced() and (outermost or one.is_global())]
    return {one.get_name() for one in symbols}.union(*map(variables_read, table.get_children()))
