"""The floors of ndelib: a file imports from its own room or from lower floors, never up, and nothing in a circle."""

import ast
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ndelib
from tools.imports import imported, modules

ROOT = Path(ndelib.__file__).parent
TOOLS = ROOT.parent / "tools"
WORKER = TOOLS / "grading" / "judging" / "worker"
MODULES = modules(ROOT)
LARGEST_ROOM = 15  # files: what fits one sitting

# Lowest first. A name is a file or a folder; what stands on one floor of the house are separate rooms. Inside a house
# the files in front, without a folder, may import each other where no circle comes of it.
FLOORS = {
    "ndelib": [
        {"solvers", "progress"},
        {"adjoints", "dynamics"},
        {"models", "discovery", "physics", "meanfield", "ensembles"},
        {"least_squares", "lbfgs"},
        {"training", "plotting", "claims", "datasets"},
        {"exercises", "colab"},  # what a notebook calls before and after the chapter itself
    ],
    "ndelib.solvers": [
        {"graph", "errors"},
        {"steps"},
        {"control", "field", "options", "diagnosis", "clock"},
        {"loops"},
        {"solution", "problem"},
        {"events", "stochastic", "controlled"},
        {"odeint", "solve_ivp"},
    ],
    "ndelib.dynamics": [
        {"classification", "fixed_points", "frozen", "linearisation", "lipschitz", "lyapunov", "zeros"},
        {"systems"},
        {"attractors"},
        {"continuation"},
        {"nonsmooth"},
    ],
    "ndelib.models": [
        {"wrapper"},
        {"fields", "galerkin", "augmented", "depth", "hypersolvers", "regularisation"},
        {"neural_ode"},
        {"residual", "sequences", "trajectories", "universal", "physics_informed"},
    ],
    "ndelib.models.sequences": [{"samples"}, {"paths", "recurrent"}, {"cde"}],
    "ndelib.discovery": [
        {"data", "estimator", "least_squares", "derivatives"},
        {"sindy", "symbolic", "forecasting"},
    ],
    "ndelib.physics": [
        {"states", "networks", "features"},
        {"mechanics"},
        {"systems"},
        {"lagrangian", "hamiltonian"},
    ],
    "ndelib.adjoints": [
        {"errors", "parameters", "memory"},
        {"backward"},
        {"odeint", "sdeint", "cdeint"},
        {"compare", "segments"},
    ],
}


def imports_of(path: Path, known: Iterable[str] = MODULES) -> set[str]:
    """Return which of the ``known`` modules a file imports, also inside functions and ``if TYPE_CHECKING``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and path.parent == WORKER and node.level == 1:
            # Behind the wall its package has another name, so there imports are relative.
            node.module, node.level = ".".join(filter(None, ("tools.grading.judging.worker", node.module))), 0
    return imported(tree, known)


def climbs(name: str, others: Iterable[str], floors: Mapping[str, list[set[str]]]) -> list[str]:
    """Return what the module ``name`` imports from rooms that are not below its own."""
    wrong = []
    for other in others:
        mine, its = name.split("."), other.split(".")
        depth = next((i for i, (a, b) in enumerate(zip(mine, its, strict=False)) if a != b), None)
        if depth is None:
            continue  # a package and what lies in it
        house = ".".join(mine[:depth])
        if house not in floors:
            continue  # two files of one room
        level = {room: number for number, floor in enumerate(floors[house]) for room in floor}
        for room in (mine[depth], its[depth]):
            assert room in level, f"{house}.{room} has no floor: give it one in this test"
        both_in_front = house != "ndelib" and len(mine) == len(its) == depth + 1 and not is_folder(house, mine, its)
        if level[its[depth]] > level[mine[depth]] or (level[its[depth]] == level[mine[depth]] and not both_in_front):
            wrong.append(other)
    return wrong


def is_folder(house: str, mine: list[str], its: list[str]) -> bool:
    """Tell whether one of the two rooms of ``house`` is a folder."""
    folder = ROOT.joinpath(*house.split(".")[1:])
    return any((folder / parts[-1]).is_dir() for parts in (mine, its))


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_never_go_up(name: str):
    if (ROOT / "/".join(name.split(".")[1:])).is_dir():
        return  # the door of a room opens what lies in it; what the room imports is seen in its files
    above = climbs(name, imports_of(MODULES[name]), FLOORS)
    assert not above, f"{name} imports from {', '.join(above)}, which is not below it"


@pytest.mark.parametrize("root", [ROOT, TOOLS], ids=lambda root: root.name)
def test_no_module_imports_itself_through_others(root: Path):
    # A package imports what it offers, so a file that asks a package for a name depends on the file that has it.
    known = modules(root)
    graph = {name: imports_of(path, known) for name, path in known.items() if path.name != "__init__.py"}
    assert any(graph.values())
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_no_room_is_too_large():
    sizes = {folder: len(list(folder.glob("*.py"))) for folder in [ROOT, *ROOT.rglob("*")] if folder.is_dir()}
    assert {folder.name: size for folder, size in sizes.items() if size > LARGEST_ROOM} == {}


def test_an_import_that_goes_up_would_be_seen(tmp_path: Path):
    (tmp_path / "up.py").write_text("def f():\n    from ndelib import plotting\n    import ndelib.claims\n")
    others = imports_of(tmp_path / "up.py")
    assert others == {"ndelib.plotting", "ndelib.claims"}
    assert set(climbs("ndelib.solvers.loops.adaptive", others, FLOORS)) == others
    assert climbs("ndelib.solvers.steps.newton", ["ndelib.solvers.control"], FLOORS) == ["ndelib.solvers.control"]
    assert climbs("ndelib.solvers.events.watch", ["ndelib.solvers.stochastic.brownian"], FLOORS)
    assert not climbs("ndelib.solvers.options", ["ndelib.solvers.control", "ndelib.solvers.steps.methods"], FLOORS)
