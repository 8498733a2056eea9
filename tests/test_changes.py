"""``make check``: what changed, which tests stand near to it, and what is left out because the time is up."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.changes import Graph, changed_files, nearest_tests
from tools.check import checks_of_a_change
from tools.common import ROOT

FILES = {
    "ndelib/__init__.py": "from ndelib.solvers import odeint\n",
    "ndelib/solvers/__init__.py": "from ndelib.solvers.odeint import odeint\n",
    "ndelib/solvers/odeint.py": "from ndelib.solvers.steps.newton import solve\n\n\ndef odeint(): ...\n",
    "ndelib/solvers/steps/newton.py": "def solve(): ...\n",
    "ndelib/claims.py": "def claim(): ...\n",
    "tests/solvers/test_odeint.py": "from ndelib import odeint\n",
    "tests/solvers/steps/test_newton.py": "import ndelib.solvers.steps.newton\n",
    "tests/solvers/steps/test_order.py": "from problems import f\n\nfrom ndelib import odeint\n",
    "tests/solvers/steps/problems.py": "f = 1\n",
    "tests/test_claims.py": "from ndelib.claims import claim\n",
    "tests/test_book.py": "TEXT = 'contents.md'\n",
    "tests/site/test_look.py": "from ndelib.claims import claim\n",
    "contents.md": "# Contents\n",
}


def git(root: Path, *arguments: str) -> None:
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *author, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    git(tmp_path, "init", "--initial-branch=main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message=First")
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "near", "far"),
    [
        # Named after it, or in the same room; the tests of odeint reach it through odeint.
        ("ndelib/solvers/steps/newton.py", ["steps/test_newton.py", "steps/test_order.py"], ["test_odeint.py"]),
        # A name from a package stands for the file that has it, so both are direct; its own test comes first.
        ("ndelib/solvers/odeint.py", ["test_odeint.py", "steps/test_order.py"], []),
        ("tests/solvers/steps/problems.py", ["steps/test_order.py"], []),
        ("tests/solvers/steps/test_newton.py", ["steps/test_newton.py"], []),
    ],
)
def test_tests_stand_near_to_what_they_import(repository: Path, changed: str, near: list[str], far: list[str]) -> None:
    found = nearest_tests([changed], Graph(repository))
    assert [path.removeprefix("tests/solvers/") for path in found.near] == near
    assert [path.removeprefix("tests/solvers/") for path in found.far] == far


def test_other_files_stand_near_to_the_tests_that_name_them_and_the_site_is_left_out(repository: Path) -> None:
    found = nearest_tests(["contents.md", "ndelib/claims.py"], Graph(repository))
    assert found.near == ["tests/test_claims.py", "tests/test_book.py"]


def test_a_module_that_is_gone_leaves_no_error(repository: Path) -> None:
    (repository / "ndelib" / "claims.py").unlink()
    assert nearest_tests(["ndelib/claims.py"], Graph(repository)) == ([], [])


def test_what_changed_is_what_differs_from_where_the_branch_left_main(repository: Path) -> None:
    git(repository, "checkout", "-b", "work")
    (repository / "ndelib" / "claims.py").write_text("x = 1\n")
    git(repository, "commit", "--all", "--message=Second")
    (repository / "contents.md").unlink()
    (repository / "a new one.md").write_text("New.\n")
    base, changed = changed_files(repository)
    assert base.endswith("First")
    assert changed == ["a new one.md", "contents.md", "ndelib/claims.py"]


def test_on_main_it_is_what_is_not_committed_or_else_the_last_commit(repository: Path) -> None:
    assert changed_files(repository)[1] == []  # there is no commit before the first
    (repository / "contents.md").write_text("Changed.\n")
    base, changed = changed_files(repository)
    assert (base.partition(" ")[2], changed) == ("First", ["contents.md"])
    git(repository, "commit", "--all", "--message=Second")
    base, changed = changed_files(repository)
    assert (base.partition(" ")[2], changed) == ("First", ["contents.md"])


def test_every_module_of_the_library_has_a_test_near() -> None:
    graph = Graph()
    paths = [path for path in graph.trees if path.startswith("ndelib/") and not path.endswith("__init__.py")]
    assert [path for path in paths if not nearest_tests([path], graph).near] == []


def test_the_steps_of_a_change_are_lint_changed_chapters_and_near_tests() -> None:
    chapters = [f"chapters/{path.name}" for path in sorted((ROOT / "chapters").glob("*.ipynb"))]
    checks, left_out = checks_of_a_change([chapters[0], "ndelib/claims.py", "chapters/99_gone.ipynb"], now=1000.0)
    assert [check.title for check in checks] == ["ruff", "ruff format", "mypy", "notebooks", "near tests"]
    assert list(checks[3].command[2:]) == ["tools.execute", chapters[0][9:11]]
    assert "--until=1180.0" in checks[4].command
    assert "tests/test_claims.py" in checks[4].command
    assert "chapters that use what changed" in left_out
    assert [check.title for check in checks_of_a_change([], now=0.0)[0]] == ["ruff", "ruff format", "mypy"]


@pytest.mark.parametrize(("late", "outcome"), [(-1, "2 skipped"), (60, "2 passed")])
def test_tests_that_come_too_late_are_left_out_and_named(tmp_path: Path, late: int, outcome: str) -> None:
    (tmp_path / "test_a.py").write_text("def test_one(): ...\n\n\ndef test_two(): ...\n")
    until = ["-p", "tools.deadline", f"--until={time.time() + late}"]
    command = [sys.executable, "-m", "pytest", "-q", *until, "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert outcome in done.stdout
    assert ("left out: the time was up: 2 tests of test_a.py" in done.stdout) == (late < 0)
