"""Every notebook, alone in an empty folder on a machine like Colab, installs the book's library and runs.

With ``FULL=1`` each chapter does so on a fresh machine, to its last line. Without, the setup cell, which is the same in
every notebook (``test_stamp.py``), installs once, for a small notebook that is looked at closely; chapters then meet
Colab's versions cell by cell, with little CPU time for each. What takes longer is stopped, and cells that need its
results are left out. Whether the numbers are right is seen where the book's own outputs are made.
"""

import json
from pathlib import Path

import nbclient.exceptions
import nbformat
import pytest
from nbformat import NotebookNode

from tests.conftest import FULL, full
from tools import stamp
from tools.common import ROOT

from .in_image import BLANK
from .machine import Machine, pins

pytestmark = pytest.mark.colab

BUDGET = Path(__file__).with_name("budget.py")
CELL_S = 1.5  # of CPU, for a cell of a chapter
STALL_S = 120  # of wall-clock time: a cell that takes so long, with so little work, has stopped
TRAINING_STEPS = 5
FORGET = "%reset -f\nimport torch\ntorch.set_default_dtype(torch.float32)\ndel torch"
LEAST_RUN = 0.2  # of a chapter's cells, on a machine so busy that its CPU time is worth a third; else it is most

CHAPTERS = [path for path in stamp.notebooks(ROOT) if path.parent.name == "chapters"]
STUDENTS = [path for path in stamp.notebooks(ROOT) if path.name == f"{path.parent.name}.ipynb"]

# A notebook that uses what chapters use; it keeps this test alive while a chapter is being rewritten.
SMALL = [
    "import matplotlib.pyplot as plt\nplt.plot([0, 1], [0, 1]);",
    "from ipywidgets import interact\ninteract(lambda a: a, a=(0.0, 1.0));",
    "import torch\ntorch.ones(2, device=device).numpy(force=True).sum()",
]


def small_notebook() -> NotebookNode:
    title = nbformat.v4.new_markdown_cell("# A small notebook")
    setup = nbformat.v4.new_code_cell(metadata={"tags": ["setup"]})
    return nbformat.v4.new_notebook(cells=[title, setup, *map(nbformat.v4.new_code_cell, SMALL)])


def run_alone(
    notebook: NotebookNode, machine: Machine, address: str, folder: Path, *, allow_errors: bool = False
) -> None:
    """Stamp ``notebook`` with ``address``, run it in place in the empty ``folder``, and check what it left behind."""
    version = stamp.library_version(ROOT)
    stamp.stamp(notebook, address, version, "notebook.ipynb")
    folder.mkdir()
    nbformat.write(notebook, folder / "notebook.ipynb")
    witness = nbformat.v4.new_code_cell("import ndelib\nprint(ndelib.__file__)")
    notebook.cells.append(witness)
    before = machine.freeze()

    machine.execute(notebook, folder, allow_errors=allow_errors)

    assert not errors_of(witness), f"ndelib cannot be imported: {errors_of(witness)}"
    archive = f"{address}/archive/refs/tags/v{version}.zip"
    assert Path(witness.outputs[0].text.strip()).is_relative_to(machine.site_packages), "another ndelib was imported"
    assert machine.origin("ndelib") == archive, "ndelib was not installed from the release's archive"
    after = machine.freeze()
    assert before - after == set(), "the notebook removed or replaced packages that Colab ships"
    arrived = {line.partition(" @ ")[0] for line in after - before}
    assert arrived == {"ndelib", *stamp.COLAB_LACKS}, "something else arrived than what the setup cell names"
    left = {path.name for path in folder.iterdir()} - {"notebook.ipynb"}
    assert not left, f"the notebook left files that its reader did not ask for: {sorted(left)}"


def errors_of(cell: NotebookNode) -> str:
    return "; ".join(f"{out.ename}: {out.evalue}" for out in cell.outputs if out.output_type == "error")


def text_of(cell: NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def test_a_small_notebook_runs(machine: Machine, address: str, tmp_path: Path) -> None:
    notebook = small_notebook()
    versions = nbformat.v4.new_code_cell(
        "import json\nfrom importlib.metadata import version\n"
        "names = ('numpy', 'matplotlib', 'ipywidgets', 'ipython', 'ipykernel')\n"
        "print(json.dumps({name: version(name) for name in names}))"
    )
    notebook.cells.append(versions)
    run_alone(notebook, machine, address, tmp_path / "content")

    setup = next(cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", []))
    assert text_of(setup).splitlines()[-1].startswith(f"ndelib {stamp.library_version(ROOT)} · torch ")
    pinned = {pin.name: str(pin.specifier)[2:] for pin in pins() if not pin.marker or pin.marker.evaluate()}
    shown = json.loads(text_of(versions))
    assert shown == {name: pinned[name] for name in shown}, "the kernel does not run with Colab's versions"


def test_a_copy_without_an_address_says_so_on_colab(machine: Machine, tmp_path: Path) -> None:
    notebook = small_notebook()
    stamp.stamp(notebook, "", "0.0.0", "notebook.ipynb")
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="no public address yet"):
        machine.execute(notebook, tmp_path)


def run_beside_others(notebook: NotebookNode, machine: Machine, folder: Path) -> None:
    """Run ``notebook`` in place, past errors, on a machine that has the library; it must leave that as it was."""
    folder.mkdir(exist_ok=True)
    before = machine.packages()
    machine.execute(notebook, folder, allow_errors=True, timeout=STALL_S)
    assert machine.packages() == before, "the notebook installed, removed or replaced packages"
    assert list(folder.iterdir()) == [], "the notebook left files that its reader did not ask for"


def run_in_little_time(notebook: NotebookNode, machine: Machine, folder: Path, cell_s: float) -> list[str]:
    """Do so with ``cell_s`` seconds of CPU for each cell from the one after the setup on.

    Returns for each code cell the error that ended it, ``OverBudget`` among them, or an empty text.
    """
    setup = next(place for place, cell in enumerate(notebook.cells) if "setup" in cell.metadata.get("tags", []))
    rules = nbformat.v4.new_code_cell(
        "budget = {'__name__': 'budget'}\n"
        f"exec(open({str(BUDGET)!r}, encoding='utf-8').read(), budget)\n"
        f"budget['limit_cells'](get_ipython(), {cell_s})\n"
        f"budget['shorten_training']({TRAINING_STEPS})"
    )
    notebook.cells.insert(setup + 1, rules)
    try:
        run_beside_others(notebook, machine, folder)
    except nbclient.exceptions.CellTimeoutError:
        # Seen once in thirty runs: a cell that is stopped at a bad moment leaves a kernel that never answers. It is the
        # fault of the stopping; a notebook that really hangs does so again.
        run_beside_others(notebook, machine, folder)
    notebook.cells.remove(rules)
    assert not errors_of(rules)
    return [errors_of(cell) for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.skipif(not FULL, reason="the long form: FULL=1")
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_chapter_runs(path: Path, machine: Machine, address: str, tmp_path: Path) -> None:
    run_alone(nbformat.read(path, as_version=4), machine, address, tmp_path / "content")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_each_cell_of_a_chapter_meets_colabs_versions(path: Path, furnished: Machine, tmp_path: Path) -> None:
    ended = run_in_little_time(nbformat.read(path, as_version=4), furnished, tmp_path / "content", CELL_S)
    stopped = [error for error in ended if error.startswith("OverBudget")]
    # A stopped cell has drawn fewer random numbers than it would, and a model is hardly trained: what is claimed of
    # them need not hold.
    trains = any("ndelib.training" in cell.source for cell in nbformat.read(path, as_version=4).cells)
    forgiven = ("OverBudget", "ClaimFailed") if stopped or trains else ("OverBudget",)
    assert [error for error in ended if error and not error.startswith(forgiven)] == []
    assert len(stopped) < (1 - LEAST_RUN) * len(ended), f"too few cells run: {len(stopped)} are stopped or left out"


SLOW_CONTEXT = """\
class Slow:
    def __enter__(self):
        setattr(math, "depth", math.depth + 1)
        sum(range(10**4))

    def __exit__(self, *_):
        sum(range(10**4))
        setattr(math, "depth", math.depth - 1)

while True:
    with Slow():
        sum(range(10**4))
"""

LIMITED = [
    ("n, kept = 0, []", ""),
    ("slow = 1\nwhile True:\n    n += 1\n    kept.append(n)", "OverBudget: more than"),
    ("print(slow)", "OverBudget: needs"),
    ("def later():\n    return kept", "OverBudget: needs"),
    ("later()", "OverBudget: needs"),
    ("slow = 2\nprint(slow)", ""),
    ("print(slow)", ""),
    ("try:\n    while True: pass\nexcept Exception: pass", "OverBudget: more than"),
    ("print(undefined)\nafter = 1", "NameError"),
    ("print(after)", "OverBudget: needs"),
    ("import time\ntime.sleep(1.0)", ""),
    ("while True:\n    with torch.no_grad():\n        pass", "OverBudget: more than"),
    ("torch.set_grad_enabled(False)\nwhile True: pass", "OverBudget: more than"),
    ("assert torch.is_grad_enabled()", ""),
    ("import math\nmath.depth = 0", ""),
    *[(SLOW_CONTEXT, "OverBudget: more than")] * 3,
    ("assert math.depth == 0", ""),
]


def test_a_cell_over_its_budget_is_stopped_and_what_needs_it_is_left_out(furnished: Machine, tmp_path: Path) -> None:
    notebook = small_notebook()
    stamp.stamp(notebook, "", stamp.library_version(ROOT), "notebook.ipynb")
    notebook.cells += [nbformat.v4.new_code_cell(source) for source, _ in LIMITED]
    ended = run_in_little_time(notebook, furnished, tmp_path / "content", 0.5)
    assert ended[: -len(LIMITED)] == [""] * (1 + len(SMALL))
    for (source, wanted), error in zip(LIMITED, ended[-len(LIMITED) :], strict=True):
        assert error.startswith(wanted), source
        assert bool(error) == bool(wanted), source


def faults_of_assignment(cells: list[NotebookNode]) -> list[str]:
    """Return which cells of a student's notebook that was run ended with an error and should not.

    A blank may fail, and so may what uses its result; everything above the first one, and every check, may not.
    """
    code = [cell for cell in cells if cell.cell_type == "code"]
    blanks = [number for number, cell in enumerate(code) if BLANK.search(cell.source)]
    if not blanks:
        return ["nothing is left for the student to fill in"]
    sound = [cell for number, cell in enumerate(code) if number < blanks[0] or "grader.check(" in cell.source]
    return [f"{cell.source!r} ended with {errors_of(cell)}" for cell in sound if errors_of(cell)]


def run_assignments(notebooks: list[NotebookNode], machine: Machine, folder: Path) -> list[list[str]]:
    """Run students' notebooks one after the other in one kernel, whose names are removed before each; return faults.

    A kernel with all that assignments import takes longer to start than most of them take to run.
    """
    cells = []
    for notebook in notebooks:
        cells += [nbformat.v4.new_code_cell(FORGET), *notebook.cells]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # two notebooks may use the same ones
    run_beside_others(nbformat.v4.new_notebook(cells=cells), machine, folder)
    return [faults_of_assignment(notebook.cells) for notebook in notebooks]


# The long form gives each a kernel of its own.
@pytest.mark.parametrize(
    "paths", full([[path] for path in STUDENTS], [STUDENTS]), ids=lambda paths: paths[0].name if FULL else "all"
)
def test_assignments_start_and_their_checks_answer(paths: list[Path], furnished: Machine, tmp_path: Path) -> None:
    notebooks = [nbformat.read(path, as_version=4) for path in paths]
    found = run_assignments(notebooks, furnished, tmp_path / "content")
    assert {path.name: faults for path, faults in zip(paths, found, strict=True) if faults} == {}


def test_an_assignment_cannot_lean_on_the_one_before(furnished: Machine, tmp_path: Path) -> None:
    blank, check = "answer = ...", 'grader.check("q1")'
    grader = "class grader:\n    check = print"
    first = ["import torch, missing_on_colab", "torch.set_default_dtype(torch.float64)", grader, blank, check]
    second = ["import torch", "assert torch.ones(1).dtype == torch.float32", blank, check]
    of_both = [nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, code)]) for code in (first, second)]
    faults = run_assignments(of_both, furnished, tmp_path / "content")
    assert ["missing_on_colab" in faults[0][0], len(faults[0])] == [True, 1]
    assert ["'grader' is not defined" in faults[1][0], len(faults[1])] == [True, 1]
