"""Creating the environment, and running all checks: what a person sees when something is missing or fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import environment
from tools.check import Check, reasons, run_all
from tools.common import ROOT


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 4, "final", 0), (3, 13)])
def test_the_promised_pythons_are_accepted(version: tuple) -> None:
    assert environment.version_problem(version) == ""


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 14, 0), (2, 7, 18), (4, 0)])
def test_other_pythons_get_one_line_that_says_what_to_do(version: tuple) -> None:
    problem = environment.version_problem(version)
    assert f"this is {version[0]}.{version[1]}" in problem
    assert "3.11 to 3.13" in problem
    assert "\n" not in problem


def test_a_supported_python_is_looked_for_before_giving_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stub = tmp_path / "python3.13"
    stub.write_text("#!/bin/sh\necho 'not installed' >&2\nexit 127\n")
    real = tmp_path / "python3.12"
    real.write_text("#!/bin/sh\nexit 0\n")
    for program in (stub, real):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.supported_on_path() == str(real)
    real.unlink()
    assert environment.supported_on_path() == ""


def test_an_unsupported_python_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "OLDEST", (3, 98))
    monkeypatch.setattr(environment, "NEWEST", (3, 99))
    assert environment.main() == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_missing_system_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(environment.Problem, match=rf"ensurepip.*apt install python3\.{sys.version_info[1]}-venv"):
        environment.check_modules()


def test_a_broken_installation_is_not_taken_for_a_complete_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When pip fails half way, one line says so and no stamp is left that would call the environment complete."""
    monkeypatch.setattr(environment, "VENV", str(tmp_path))
    monkeypatch.setattr(environment, "PYTHON", "/bin/false")
    monkeypatch.setattr(environment, "STAMP", str(tmp_path / "installed-from"))
    monkeypatch.setattr(environment, "succeeds", lambda command: True)
    monkeypatch.setattr(environment, "wanted_state", lambda: f"Python\n{tmp_path}\nnew\n")
    (tmp_path / "installed-from").write_text(f"Python\n{tmp_path}\nold\n")
    assert environment.main() == 1
    assert "pip says why above" in capsys.readouterr().err
    assert not (tmp_path / "installed-from").exists()


def test_a_lock_that_changes_while_pip_works_is_installed_next_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text("before")
    monkeypatch.setattr(environment, "ROOT", str(tmp_path))
    monkeypatch.setattr(environment, "VENV", str(tmp_path / "venv"))
    monkeypatch.setattr(environment, "STAMP", str(tmp_path / "stamp"))

    def pip(command: list[str], **options: object) -> int:
        (tmp_path / "requirements.lock").write_text("after")
        return 0

    monkeypatch.setattr(environment.subprocess, "call", pip)
    wanted = environment.wanted_state()
    environment.install()
    assert environment.installed_state() == wanted != environment.wanted_state()


@pytest.mark.parametrize("chosen", [False, True])
def test_a_python_that_was_chosen_once_stays_until_another_is_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: bool
) -> None:
    (tmp_path / "installed-from").write_text(f"Python 3.99\n{tmp_path}\n")
    monkeypatch.setattr(environment, "VENV", str(tmp_path))
    monkeypatch.setattr(environment, "STAMP", str(tmp_path / "installed-from"))
    monkeypatch.setattr(environment, "PYTHON", sys.executable)
    monkeypatch.setattr(environment, "install", lambda: calls.append("installed anew"))
    monkeypatch.setattr(environment, "register_git_filter", lambda: None)
    monkeypatch.setattr(environment.subprocess, "call", lambda command, **options: calls.append(command[0]) or 0)
    calls: list[str] = []
    assert environment.main(chosen) == 0
    assert calls[-1] == ("installed anew" if chosen else sys.executable)


def test_an_interrupted_installation_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(environment, "installed_state", lambda: "")
    monkeypatch.setattr(environment, "install", interrupted)
    assert environment.main() == 1
    assert capsys.readouterr().err == "make: stopped; the next command takes up the installation again\n"


def test_the_bootstrap_script_is_readable_by_an_old_python() -> None:
    import ast

    source = (ROOT / "tools" / "environment.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))


def test_a_chapter_that_is_missing_ends_make_with_that_line() -> None:
    command = [sys.executable, "-m", "tools.site", "--chapter", "99"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [done.stderr.strip()]
    assert "no chapter '99'" in done.stderr


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "tests/a.py:3: AssertionError\nFAILED tests/a.py::b - boom\nFAILED tests/c.py::d",
            ["tests/a.py::b - boom", "tests/c.py::d"],
        ),
        ("ndelib/a.py:3:5: F401 unused\nFound 1 error.", ["ndelib/a.py:3:5: F401 unused"]),
        (
            "unformatted: File would be reformatted\n  --> chapters/01_a.ipynb:cell 2:5:23",
            ["chapters/01_a.ipynb:cell 2:5:23"],
        ),
        (
            "FAILED 01_a.ipynb - ---\nmake: chapters/01_a.ipynb, cell 2 (id b): NameError: x",
            ["chapters/01_a.ipynb, cell 2 (id b): NameError: x"],
        ),
        ("ERROR: file or directory not found: tests/site", ["file or directory not found: tests/site"]),
        ("\n".join(f"make: {n}" for n in range(7)), ["0", "1", "2", "3", "4", "and 2 more"]),
        ("silence", []),
    ],
)
def test_the_reasons_of_a_failed_step_are_found_in_its_output(output: str, expected: list[str]) -> None:
    assert reasons(output.splitlines()) == expected


def test_all_checks_run_and_the_last_line_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    def python(code: str) -> list[str]:
        return [sys.executable, "-c", code]

    checks = [
        Check("good", python("pass")),
        Check("bad", python("print('make: a.ipynb, cell 3: 1 is not 2'); raise SystemExit(1)")),
        Check("dependent", python("pass"), needs="bad"),
        Check("another", python("pass"), needs="good"),
    ]
    assert run_all(checks) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "Checks: 2 passed, 2 failed"
    bad = next(number for number, line in enumerate(lines) if line.startswith("bad "))
    assert "FAILED" in lines[bad]
    assert lines[bad + 1] == "    a.ipynb, cell 3: 1 is not 2"
    assert "dependent    not run: it needs bad" in lines
    assert run_all(checks[:1]) == 0
    assert capsys.readouterr().out.endswith("Checks: 1 passed, 0 failed\n")
