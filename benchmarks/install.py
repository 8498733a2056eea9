"""Create the environment of the benchmarks, ``_build/bench-venv``: ndelib's peers. Run with the book's Python.

The versions are those of ``requirements.txt`` beside this file. A peer that cannot be installed is left out, with a
word; the table says so in its row.
"""

import hashlib
import shutil
import subprocess
import sys

from tools.common import BUILD, ROOT, Problem, run_program, step

VENV = BUILD / "bench-venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed-from"
REQUIREMENTS = ROOT / "benchmarks" / "requirements.txt"
ALONE = ROOT / "benchmarks" / "requirements-alone.txt"


def wanted_state() -> str:
    """Return a text that changes whenever the environment has to be installed again."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + ALONE.read_bytes()).hexdigest()
    return f"Python {sys.version_info[0]}.{sys.version_info[1]}\n{VENV}\n{digest}\n"


def packages(text: str) -> list[str]:
    """Return the lines of a requirements file that name a package."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def pip(*arguments: str) -> bool:
    """Run pip in the environment of the benchmarks, and tell whether it succeeded."""
    # No warnings: pip says a line about every package that a local index of the machine lacks.
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "-qqq", *arguments]
    return subprocess.call(command) == 0


def install() -> None:
    """Create the environment and install all peers at once, or one by one those that can be installed."""
    shutil.rmtree(VENV, ignore_errors=True)
    if subprocess.call([sys.executable, "-m", "venv", VENV]) != 0:
        raise Problem(f"{sys.executable} -m venv {VENV} failed; it says why above.")
    wanted = packages(REQUIREMENTS.read_text())
    torch = next(package for package in wanted if package.startswith("torch=="))
    complete = pip("-r", str(REQUIREMENTS))
    if not complete:
        for package in wanted:
            # torch is named every time: without a version, a peer could bring another build of it.
            if not pip(torch, package):
                if package == torch:
                    raise Problem(f"{torch} could not be installed; pip says why above.")
                print(f"   {package} could not be installed: its rows will say so")
    for package in packages(ALONE.read_text()):
        if not pip("--no-deps", package):
            complete = False
            print(f"   {package} could not be installed: its rows will say so")
    if complete:  # what is missing is tried again the next time
        STAMP.write_text(wanted_state())


def main() -> None:
    """Install, unless what is wanted is there already."""
    if not STAMP.exists() or STAMP.read_text() != wanted_state():
        with step("Installing ndelib's peers into _build/bench-venv (a minute or more, the first time)"):
            install()


if __name__ == "__main__":
    run_program(main)
