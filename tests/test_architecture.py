"""The floors of ndelib: a file imports from its own floor's folder or from lower floors, never up."""

import ast
from pathlib import Path

import pytest

import ndelib

ROOT = Path(ndelib.__file__).parent
FLOORS = [
    {"solvers"},
    {"adjoints", "dynamics"},
    {"models", "discovery", "physics", "meanfield"},
    {"training", "plotting", "claims", "datasets"},
    {"exercises", "colab"},  # what a notebook calls before and after the chapter itself
]
FLOOR = {name: number for number, floor in enumerate(FLOORS) for name in floor}


def imported(path: Path) -> set[str]:
    """Return the rooms of ndelib, `solvers` and so on, that a file imports from, also inside functions."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "ndelib":
            rooms |= {alias.name for alias in node.names} & set(FLOOR)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ndelib."):
            rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ndelib.")}
    return rooms


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_never_go_up(path: Path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if room == "__init__":
        return  # the door of the house opens every room
    assert room in FLOOR, f"ndelib/{room} has no floor: give it one in this test"
    above = {other for other in imported(path) if other != room and FLOOR[other] >= FLOOR[room]}
    assert not above, f"{path.relative_to(ROOT.parent)} imports from {', '.join(sorted(above))}, which is not below it"


def test_an_import_that_goes_up_would_be_seen(tmp_path: Path):
    (tmp_path / "up.py").write_text("def f():\n    from ndelib import plotting\n    import ndelib.claims\n")
    assert imported(tmp_path / "up.py") == {"plotting", "claims"}
