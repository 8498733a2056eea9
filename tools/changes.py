"""What a change can touch: the files that differ from the main branch, and the tests that stand nearest to them.

A test stands near a module that it imports. A name that is imported from a package, ``from ndelib import odeint``, is
followed to the file that has it, so a door that hands names on brings nothing nearer. Nearest are the tests that are
named after a module or import it themselves; then those of the same room, ``tests/solvers/steps`` for
``ndelib/solvers/steps``, that reach it through others. For a file that is not Python, the tests that name it are near.
"""

import ast
import subprocess
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tools.common import ROOT
from tools.imports import imports, modules

PACKAGES = ("ndelib", "tools", "tests", "benchmarks")
FAR = 1000


class Nearness(NamedTuple):
    """Test files for a change, the nearest first, and those that reach what changed from farther away."""

    near: list[str]
    far: list[str]


def git(*arguments: str, root: Path = ROOT) -> str:
    """Return what git prints, without the last line's end; empty where it fails."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    return done.stdout.rstrip("\n") if done.returncode == 0 else ""


def changed_files(root: Path = ROOT) -> tuple[str, list[str]]:
    """Return the commit that the working tree is compared with, and the paths that differ or are gone.

    It is where the branch left main. On main itself it is the last commit, or the one before if nothing else differs.
    """
    head = git("rev-parse", "HEAD", root=root)
    bases = [git("merge-base", "HEAD", main, root=root) for main in ("main", "origin/main")]
    base = next((base for base in bases if base and base != head), head)
    new = git("ls-files", "--others", "--exclude-standard", "-z", root=root).split("\0")
    changed = git("diff", "--name-only", "--no-renames", "-z", base, root=root).split("\0")
    if base == head and not any(changed + new):
        base = git("rev-parse", "HEAD~1", root=root) or head
        changed = git("diff", "--name-only", "--no-renames", "-z", base, root=root).split("\0")
    return git("log", "-1", "--format=%h %s", base, root=root), sorted({*changed, *new} - {""})


class Graph:
    """Which Python file of the repository imports which."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        paths = {name: path for package in PACKAGES for name, path in modules(root / package).items()}
        self.modules = {name: path.relative_to(root).as_posix() for name, path in paths.items()}
        self.trees = {self.modules[name]: _read(path, name) for name, path in paths.items()}
        # A test may import what lies beside it by its name alone.
        self.beside = {(Path(path).parent, Path(path).stem): path for path in self.trees if path.startswith("tests/")}

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """The files that each file imports, with names followed through packages to the files that have them."""
        return {path: self._imported(path) for path in self.trees}

    @cached_property
    def tests(self) -> list[str]:
        """The files of tests, without those of the built site."""
        names = [path for path in self.trees if path.startswith("tests/") and Path(path).name.startswith("test_")]
        return [path for path in names if not path.startswith("tests/site/")]

    def _imported(self, path: str) -> set[str]:
        names = {one.path for one in imports(self.trees[path])}
        for node in ast.walk(self.trees[path]):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):  # ndelib.odeint
                names.add(f"{node.value.id}.{node.attr}")
        beside = {self.beside.get((Path(path).parent, name.partition(".")[0]), "") for name in names}
        return ({self._behind(name) for name in names} | beside) - {"", path}

    def _behind(self, name: str) -> str:
        """Return the file that has what is imported by a dotted ``name``; empty if it is none of ours."""
        if name in self.modules:
            return self.modules[name]
        module, _, last = name.rpartition(".")
        path = self.modules.get(module, "")
        for one in imports(self.trees[path]) if path.endswith("/__init__.py") else []:
            if one.name == last and one.path != name:
                return self._behind(one.path)
        return path

    def distances(self, changed: str) -> dict[str, int]:
        """Return for each test file that depends on a changed file through how many imports it does; itself: 0."""
        importers: dict[str, set[str]] = {}
        for path, others in self.imports.items():
            for other in others:
                importers.setdefault(other, set()).add(path)
        found, ring, distance = {changed: 0}, {changed}, 0
        while ring:
            distance += 1
            ring = {path for other in ring for path in importers.get(other, ())} - set(found)
            found |= dict.fromkeys(ring, distance)
        return {path: found[path] for path in self.tests if path in found}

    def texts(self, path: str) -> set[str]:
        """Return the texts in a file, with which it may name other files."""
        constants = (node.value for node in ast.walk(self.trees[path]) if isinstance(node, ast.Constant))
        return {text.strip("/") for text in constants if isinstance(text, str)}


def _read(path: Path, name: str) -> ast.Module:
    """Return the code of the module ``name``, with absolute names in all its imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package[: len(package) - node.level + 1]
            node.module, node.level = ".".join([*above, *([node.module] if node.module else [])]), 0
    return tree


def nearest_tests(changed: Iterable[str], graph: Graph | None = None) -> Nearness:
    """Return the tests that ``changed`` files can touch, those that stand near and those that stand far."""
    graph = graph or Graph()
    nearness: dict[str, int] = {}
    for path in changed:
        ranks = _of_module(path, graph) if path.endswith(".py") else _of_other_file(path, graph)
        for test, rank in ranks.items():
            nearness[test] = min(rank, nearness.get(test, FAR))
    order = sorted(nearness, key=lambda test: (nearness[test], test))
    return Nearness([t for t in order if nearness[t] < FAR], [t for t in order if nearness[t] >= FAR])


def _of_module(path: str, graph: Graph) -> dict[str, int]:
    """Return how near each test stands to a Python file, 0 first, ``FAR`` if it only reaches it through others."""
    distances = graph.distances(path)
    top, _, below = path.partition("/")
    room = "tests" if top == "tests" else f"tests/{below}".rpartition("/")[0]
    closest = min(distances.values(), default=0)
    ranks = {}
    for test, distance in distances.items():
        named = Path(test).stem.startswith(f"test_{Path(path).stem}")
        mirrored = room != "tests" and Path(test).parent.as_posix() == room
        near = distance <= max(1, closest) or mirrored
        ranks[test] = 0 if named or test == path else distance if near else FAR
    return ranks


def _of_other_file(path: str, graph: Graph) -> dict[str, int]:
    """Return the tests that name a file, or the folder that it lies in."""
    names = {path, Path(path).name, Path(path).parent.name} - {""}
    return {test: 1 for test in graph.tests if names & graph.texts(test)}
