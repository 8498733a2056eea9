"""Which files stand behind a piece of code: all whose change can change what it computes, and not the whole library."""

import importlib
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch

import ndelib
from tools.common import ROOT, Problem
from tools.imports import files_behind, modules

LIBRARY = ROOT / "ndelib"

SMALL = {
    "__init__.py": """\
from typing import TYPE_CHECKING
from lib.solve import odeint, solve_ivp
from lib.colab import setup
if TYPE_CHECKING:
    from lib import models, plots
def __getattr__(name):
    import importlib
    return importlib.import_module(f"lib.{name}")
""",
    "colab.py": "def setup():\n    from lib import plots\n    plots.style()\n",
    "solve/__init__.py": "from lib.solve.odeint import odeint\nfrom lib.solve.ivp import solve_ivp\n",
    "solve/odeint.py": "from lib.solve.steps import METHODS\ndef odeint(): return METHODS\n",
    "solve/ivp.py": "from lib.solve.events import Event\ndef solve_ivp(): return Event\n",
    "solve/steps.py": "METHODS = {}\n",
    "solve/rare.py": "from lib.solve import steps\nsteps.METHODS['rare'] = 1\n",
    "solve/events.py": "class Event: ...\n",
    "plots/__init__.py": "from lib.plots.curve import curve\nfrom lib.plots.paint import style\n",
    "plots/curve.py": "from lib.solve import odeint\ndef curve(): odeint()\n",
    "plots/paint.py": "def style(): ...\n",
    "models/__init__.py": "from lib.models.net import Net\n",
    "models/net.py": "class Net: ...\n",
    "exercises/__init__.py": "from lib.exercises.grader import Grader\n",
    "exercises/grader.py": "class Grader: ...\n",
    "exercises/01.json": "{}",
}
DOORS = {"__init__.py", "solve/__init__.py"}
ODEINT = DOORS | {"solve/odeint.py", "solve/steps.py"}
PAINT = {"plots/__init__.py", "plots/paint.py"}
SETUP = DOORS | {"colab.py"} | PAINT


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A library with a lazy door, two folders of solvers and plots, and one that nothing else uses."""
    for name, text in SMALL.items():
        (tmp_path / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / name).write_text(text)
    return tmp_path / "lib"


def names(code: list[str], package: Path) -> set[str]:
    return {path.relative_to(package).as_posix() for path in files_behind(code, package)}


@pytest.mark.parametrize(
    ("code", "behind"),
    [
        ("x = 1", set()),
        ("import lib\nlib.odeint()", ODEINT),
        ("import lib as n\nn.odeint()", ODEINT),
        ("from lib import odeint\nodeint()", ODEINT),
        ("from lib.solve import odeint", ODEINT),
        ("from lib.solve.odeint import odeint", ODEINT),
        ("import lib.solve.odeint\nlib.solve.odeint.odeint()", ODEINT),
        ("import lib\nlib.solve.odeint()", ODEINT),
        ("def f():\n    import lib\n    return lib.odeint()", ODEINT),
        ("from lib.solve import steps", DOORS | {"solve/steps.py"}),
        ("import lib\nlib.setup()", SETUP),
        ("import lib\nlib.models.Net()", DOORS | {"models/__init__.py", "models/net.py"}),
        ("from lib import plots\nplots.style()", DOORS | PAINT),
        ("from lib import plots\nplots.curve()", ODEINT | {"plots/__init__.py", "plots/curve.py"}),
        ("program = 'lib.odeint()'", ODEINT),
        (
            "from lib.exercises import Grader",
            DOORS | {f"exercises/{name}" for name in ("__init__.py", "grader.py", "01.json")},
        ),
    ],
)
def test_names_are_followed_to_the_files_that_have_them(small: Path, code: str, behind: set[str]) -> None:
    # Colab's setup is handed on by the door, and every other file in it: none counts until its name is used.
    assert names([code], small) == behind


@pytest.mark.parametrize(
    "code",
    [
        "import lib\nprint(dir(lib))",
        "import lib\ngetattr(lib, input())",
        "from lib import *",
        "import importlib\nimportlib.import_module(f'lib.{1 + 1}')",
        "program = 'from lib import odeint'",
        "x = = 1",
    ],
)
def test_where_the_name_is_not_known_everything_counts(small: Path, code: str) -> None:
    assert names([code], small) == SMALL.keys()


def test_cells_share_their_names(small: Path) -> None:
    assert names(["import lib", "lib.models.Net()"], small) >= {"models/net.py"}
    assert names(["from lib import plots", "plots.style()"], small) == DOORS | PAINT


@pytest.mark.parametrize(
    "act",
    [
        "from lib.solve import steps\nsteps.METHODS['x'] = 1",
        "from lib.solve.steps import METHODS\nMETHODS.update(x=1)",
        "from lib.solve.steps import register\nX = register('x')",
        "from lib.solve.steps import register\n@register\ndef step(): ...",
        "import torch\ntorch.set_default_dtype(torch.float64)",
        "import torch\ntorch.backends.cudnn.enabled = False",
        "x = = 1",
    ],
)
def test_a_file_whose_import_does_more_than_define_names_counts_wherever_it_is_imported(small: Path, act: str) -> None:
    (small / "solve" / "ivp.py").write_text(f"{act}\n")
    assert "solve/ivp.py" in names(["import lib\nlib.odeint()"], small)


@pytest.mark.parametrize(
    "definition",
    [
        "METHODS = {}\nMETHODS['x'] = 1\nMETHODS |= {'y': 2}",
        "import torch\nHALF = torch.tensor(0.5)\n@torch.no_grad()\ndef step():\n    print('x')",
        "from lib.solve.events import Event\nEVENT = Event()\nclass Later(Event):\n    '''Words.'''\n    x: int = 1",
    ],
)
def test_a_file_that_defines_names_counts_only_where_they_are_used(small: Path, definition: str) -> None:
    (small / "solve" / "ivp.py").write_text(f"{definition}\n")
    assert "solve/ivp.py" not in names(["import lib\nlib.odeint()"], small)


def test_a_new_file_counts_when_a_file_that_counts_imports_it(small: Path) -> None:
    (small / "solve" / "new.py").write_text("ORDER = 5\n")
    assert "solve/new.py" not in names(["import lib\nlib.odeint()"], small)
    (small / "solve" / "steps.py").write_text("from lib.solve.new import ORDER\nMETHODS = {'rk5': ORDER}\n")
    assert "solve/new.py" in names(["import lib\nlib.odeint()"], small)


def test_a_relative_import_is_refused_with_its_place(small: Path) -> None:
    (small / "solve" / "odeint.py").write_text("from . import steps\n")
    with pytest.raises(Problem, match=r"odeint\.py, line 1: relative imports"):
        files_behind(["import lib\nlib.odeint()"], small)


# --- The library itself: what is run is a part of what counts ------------------------------------------------------

FIELD = "import torch, ndelib\ny = torch.ones(2, requires_grad=True)\n"
USES = {
    "odeint": "ndelib.odeint(lambda t, y: -y, y, torch.tensor([0.0, 1.0])).sum().backward()",
    "a stiff method": "ndelib.odeint(lambda t, y: -y, y, torch.tensor([0.0, 1.0]), method='esdirk54')",
    "an adjoint": "ndelib.odeint_adjoint(lambda t, y: -y, y, torch.tensor([0.0, 1.0])).sum().backward()",
    "an event": "ndelib.solve_ivp(lambda t, y: -y, (0.0, 1.0), y.detach(), events=lambda t, y: y[0] - 0.5)",
    "all methods": "ndelib.methods(), ndelib.sde_methods()",
    "a spline": "ndelib.CubicSpline(ndelib.natural_cubic_coeffs(torch.rand(1, 5, 2)))",
    "a phase line": "ndelib.plotting.phase_line(lambda t, y: y - y**3, -2, 2)",
    "the setup": "ndelib.setup(seed=0)",
    "noise": """
class Noise:
    noise_type, sde_type = "diagonal", "ito"
    def f(self, t, y): return -y
    def g(self, t, y): return 0.1 * y
ndelib.sdeint(Noise(), torch.ones(2, 2), torch.tensor([0.0, 1.0]), method="euler", dt=0.5)
""",
}


def files_run(code: str) -> set[Path]:
    """Return the files of ndelib in which ``code`` calls a function, beside those that an import runs."""
    for name in modules(LIBRARY):
        importlib.import_module(name)
    seen: set[str] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if frame.f_code.co_name != "<module>":
            seen.add(frame.f_code.co_filename)

    program = compile(code, "<code>", "exec")
    sys.setprofile(note)
    try:
        exec(program, {})
    finally:
        sys.setprofile(None)
    return {Path(name) for name in seen if Path(name).is_relative_to(LIBRARY)}


@pytest.fixture
def own_state() -> Iterator[None]:
    """Leave threads and figures as they were."""
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.set_num_threads(threads)
    plt.close("all")


@pytest.mark.usefixtures("own_state")
@pytest.mark.parametrize("use", USES)
def test_no_function_of_a_file_that_does_not_count_is_called(use: str) -> None:
    code = FIELD + USES[use]
    run, behind = files_run(code), set(files_behind([code], LIBRARY))
    assert run, "nothing of ndelib was called: the search below looks for something"
    assert run <= behind
    assert len(behind) < len(list(LIBRARY.rglob("*.py"))), "everything counts: nothing is gained"


def test_a_solve_depends_on_neither_the_exercises_nor_the_dynamics() -> None:
    behind = names([FIELD + USES["odeint"]], LIBRARY)
    assert not {name for name in behind if name.startswith(("exercises/", "dynamics/", "claims", "plotting/"))}
    assert "solvers/steps/tableaus.py" in behind
    assert ndelib.odeint.__module__ == "ndelib.adjoints.odeint"
    assert "adjoints/odeint.py" in behind


def test_only_the_door_of_the_library_imports_by_a_name_that_is_made() -> None:
    command = ["grep", "-rlE", "import_module|__import__", "--include=*.py", "."]
    assert subprocess.check_output(command, cwd=LIBRARY, text=True).split() == ["./__init__.py"]
