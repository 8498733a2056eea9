"""Submitted files: finding them, reading the code out of them whatever they are, and saying whose they are."""

import ast
import contextlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from nbformat import NotebookNode

from tools.assignments import all_numbers
from tools.common import Problem

LARGEST_FILE = 50 * 2**20
LARGEST_CODE = 2 * 2**20
MOST_CELLS = 5000
"""with code in them; each costs a millisecond or two even if it does nothing"""

_CHECK = re.compile(r"grader\.(check|check_all|export)\([^()\n]*\)\s*;?")
# Which assignment a notebook belongs to is read from its code: metadata does not survive every notebook service.
_ASSIGNMENT = re.compile(r"""\bGrader\(\s*["'](\d\d)["']""")


@dataclass
class Submission:
    """One submitted file. ``problem`` says why there is nothing to grade in it, ``status`` the same in a word.

    ``answers`` is whether a cell that is not as it was handed out defines one; in a scratch notebook or a second
    download beside the answers none does.
    """

    path: Path
    name: str
    cells: list[str] = field(default_factory=list)
    status: str = ""
    problem: str = ""
    answers: bool = True

    @property
    def handed_in(self) -> datetime:
        """When the file was last changed, which an archive and a learning-management system keep."""
        try:
            return datetime.fromtimestamp(self.path.lstat().st_mtime, tz=UTC)
        except (OSError, ValueError, OverflowError):  # it is gone, or from a year that there is not
            return datetime.fromtimestamp(0, tz=UTC)


def find_submissions(folder: str) -> list[Path]:
    """Return the files of a folder and its subfolders, hidden ones left out; raise ``Problem`` if there are none.

    Links and folders that cannot be read are among them, so that each gets its line.
    """
    if not folder:  # what make passes on when nobody said which
        raise Problem("say where the submitted notebooks are: make grade SUBMISSIONS=folder")
    root = Path(folder)
    if not root.is_dir():
        raise Problem(f"{folder} is not a folder: say where the submitted notebooks are")
    files = sorted(path for path in _below(root) if not _hidden(path.relative_to(root)))
    if not files:
        raise Problem(f"{folder} is empty: there is nothing to grade")
    return files


def _below(root: Path) -> Iterator[Path]:
    closed: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=closed.append):
        yield from (Path(folder, name) for name in names)
        yield from (Path(folder, name) for name in folders if os.path.islink(os.path.join(folder, name)))
    yield from (Path(str(error.filename)) for error in closed)


def _hidden(path: Path) -> bool:
    """Tell whether a program has left a file there; a student may call a notebook `.ipynb`."""
    *folders, name = path.parts
    if any(folder.startswith((".", "__MACOSX")) for folder in folders):
        return True
    return name.startswith("._") or (name.startswith((".", "__MACOSX")) and not name.endswith(".ipynb"))


def read_code(path: Path) -> list[str]:
    """Return the sources of a notebook's code cells.

    Nothing but the code is looked at, so that ids, tags, kernels and outputs may be missing or wrong.

    Raises:
        ValueError: the file is not a notebook; the text is for the lecturer.
    """
    try:
        about = path.lstat()
        if stat.S_ISLNK(about.st_mode):  # a student chooses where it leads: to a classmate's file, or to one of yours
            raise ValueError("a link, which is not followed: put the file itself in its place")
        if stat.S_ISDIR(about.st_mode):
            raise ValueError("a folder that cannot be read")
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("neither a file nor a folder")
        if about.st_size > LARGEST_FILE:
            raise ValueError(f"larger than {LARGEST_FILE // 2**20} MB")
        return _code(path)
    except OSError as error:
        raise ValueError(f"a file that cannot be read: {error.strerror}") from None
    except MemoryError:
        raise ValueError("it takes more memory than there is") from None


def _code(path: Path) -> list[str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        cells = content["cells"] if "cells" in content else content["worksheets"][0]["cells"]  # before 2015
        code = []
        for cell in cells:
            if cell["cell_type"] == "code":
                source = cell.get("source", cell.get("input", ""))
                code.append(source if isinstance(source, str) else "".join(source))
    except UnicodeDecodeError:
        raise ValueError("not a text file") from None
    except json.JSONDecodeError as error:
        raise ValueError("the file is empty" if path.stat().st_size == 0 else f"broken JSON: {error}") from None
    except (KeyError, TypeError, IndexError, AttributeError):
        raise ValueError("JSON, but not that of a notebook") from None
    except (RecursionError, ValueError):
        raise ValueError("JSON that nobody can read") from None
    code = [source for source in code if source.strip()]
    if len(code) > MOST_CELLS:
        raise ValueError(f"more than {MOST_CELLS} cells of code")
    if sum(map(len, code)) > LARGEST_CODE:
        raise ValueError(f"more than {LARGEST_CODE // 2**20} MB of code")
    return code


def assignment_of(code: Iterable[str]) -> str | None:
    """Return the number of the assignment that the cells are for, or None where they do not say."""
    found = {number for source in code for number in _ASSIGNMENT.findall(source)}
    return found.pop() if len(found) == 1 else None


def which_assignment(files: Sequence[Path]) -> str:
    """Return the assignment that most of the notebooks in ``files`` name; raise ``Problem`` if there is none.

    A notebook of another week among them gets a line in the table, and stops nothing.
    """
    found: Counter[str] = Counter()
    for path in files:
        with contextlib.suppress(ValueError):
            found.update({assignment_of(read_code(path)) or ""} & set(all_numbers()))
    if not found:
        raise Problem("no notebook names its assignment: say which to grade, as in --assignment 01")
    number, most = found.most_common(1)[0]
    if 2 * most <= found.total():
        several = ", ".join(f"{count} of {name}" for name, count in sorted(found.items()))
        raise Problem(f"notebooks of several assignments ({several}): say which to grade, as in --assignment {number}")
    return number


def read_submission(path: Path, name: str, assignment: str, student: NotebookNode) -> Submission:
    """Read one file; whatever is in it, nothing is raised."""
    submission = Submission(path, name)
    try:
        code = read_code(path)
    except ValueError as error:
        submission.status, submission.problem = "not a notebook", str(error)
        return submission
    found = assignment_of(code)
    if found not in (None, assignment):
        submission.status = "wrong assignment"
        submission.problem = f"the notebook is for assignment {found}, not {assignment}"
    elif not code:
        submission.status, submission.problem = "not a notebook", "it has no code"
    else:
        submission.cells = cells_to_run(code, student)
        names = {name for stub in _stubs(student) for name in _defined(stub)}
        given = {cell.source.strip() for cell in student.cells}
        own = [source for source in code if source.strip() not in given]
        submission.answers = any(_defines(source, name) for source in own for name in names)
    return submission


def cells_to_run(code: list[str], student: NotebookNode) -> list[str]:
    """Leave out stale stubs, and the checker's cells: its verdicts are not looked at, so they need not run."""
    kept = without_stale_stubs(code, student)
    return [source for source in kept if not _CHECK.fullmatch(source.strip())]


def without_stale_stubs(code: list[str], student: NotebookNode) -> list[str]:
    """Leave out an answer cell that is as it was handed out, where another cell defines all that it does.

    A student who duplicates the cell, answers in one copy and leaves the other has answered.
    """
    distinct = {source.strip() for source in code}
    stale = set()
    for stub in _stubs(student) & distinct:
        names, others = _defined(stub), distinct - {stub}
        if names and all(any(_defines(other, name) for other in others) for name in names):
            stale.add(stub)
    return [source for source in code if source.strip() not in stale]


def _stubs(student: NotebookNode) -> set[str]:
    """Return the answer cells as they are handed out."""
    return {cell.source.strip() for cell in student.cells if cell.cell_type == "code" and "..." in cell.source}


def _defined(stub: str) -> set[str]:
    names = set()
    for node in ast.parse(stub).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _defines(source: str, name: str) -> bool:
    """Whether a cell defines a name. By its text: a student's code is not parsed where the lecturer's rights are."""
    return re.search(rf"^(def|class) +{name}\b|^{name} *=", source, re.MULTILINE) is not None
