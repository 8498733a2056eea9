"""Create and update ``.venv``, the environment in which everything else runs.

Run by whatever Python the machine calls ``python3``, before anything is installed. So this file imports the standard
library only and is written so that Python 3.6 can read it: a reader with the wrong Python must see one clear
sentence, not a ``SyntaxError``.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time

OLDEST, NEWEST = (3, 11), (3, 13)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "installed-from")


class Problem(Exception):
    """Something that the reader has to put right; the message says what and how, in one line."""


def version_problem(version: tuple) -> str:
    """Return why this Python cannot be used, or an empty text. ``version`` starts with (major, minor)."""
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return ""
    needed = f"Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    return f"The book needs {needed}; this is {version[0]}.{version[1]}. Name another: make PYTHON=python3.12 book"


def supported_on_path() -> str:
    """Return the path of the newest supported Python that this machine can run, or an empty text."""
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        path = shutil.which(f"python3.{minor}")
        # A name on the path can be a stub that only says what to install, so ask it for its version.
        if path and succeeds([path, "-c", f"import sys; sys.exit(sys.version_info[:2] != (3, {minor}))"]):
            return path
    return ""


def check_modules() -> None:
    """Raise ``Problem`` when this Python cannot create environments (Debian packages that part separately)."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        raise Problem(
            f"This Python has no module {error.name}, so it cannot create an environment. "
            f"On Debian and Ubuntu: sudo apt install {package}"
        ) from None


def wanted_state() -> str:
    """Return a text that changes whenever the environment has to be installed again."""
    digest = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    # An environment cannot be moved (its scripts name its folder), so the folder is part of what it is.
    return f"Python {sys.version_info[0]}.{sys.version_info[1]}\n{VENV}\n{digest.hexdigest()}\n"


def installed_state() -> str:
    """Return the text that the last complete installation left, or an empty one."""
    if not os.path.exists(STAMP) or not succeeds([PYTHON, "-c", ""]):
        return ""
    with open(STAMP, encoding="utf-8") as file:
        return file.read()


def install() -> None:
    """Create the environment, install the locked versions, and ndelib itself in place."""
    check_modules()
    unregister_git_filter()
    wanted = wanted_state()  # of now: who edits the lock while pip works wants another installation
    if installed_state().splitlines()[:2] != wanted.splitlines()[:2]:
        print("== Creating the environment .venv", flush=True)
        shutil.rmtree(VENV, ignore_errors=True)
        if not succeeds([sys.executable, "-m", "venv", VENV]):
            raise Problem(f"{sys.executable} -m venv {VENV} failed; run it to see why.")
    elif os.path.exists(STAMP):
        os.remove(STAMP)  # until this installation is complete, there is none
    print("== Installing requirements.lock (several minutes the first time: PyTorch is large)", flush=True)
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    if subprocess.call([*pip, "-r", os.path.join(ROOT, "requirements.lock")]) != 0:
        raise Problem("Installing requirements.lock failed; pip says why above.")
    if subprocess.call([*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT]) != 0:
        raise Problem("Installing ndelib failed; pip says why above.")
    with open(STAMP, "w", encoding="utf-8") as file:
        file.write(wanted)


def register_git_filter() -> None:
    """In a git checkout, let git strip the outputs of notebooks as they are added (see ``.gitattributes``)."""
    if not os.path.exists(os.path.join(ROOT, ".git")) or not shutil.which("git"):
        return
    strip = ".venv/bin/python -m tools.strip"
    for key, value in (("filter.nbstripout.clean", strip), ("diff.ipynb.textconv", f"{strip} --textconv")):
        subprocess.call(["git", "-C", ROOT, "config", "--local", key, value])


def unregister_git_filter() -> None:
    """Take the filter out while the environment that it runs in is being made."""
    if os.path.exists(os.path.join(ROOT, ".git")) and shutil.which("git"):
        for section in ("filter.nbstripout", "diff.ipynb"):
            succeeds(["git", "-C", ROOT, "config", "--local", "--remove-section", section])


def succeeds(command: list) -> bool:
    """Run a command silently and tell whether it could be run and returned zero."""
    try:
        return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def python_of_environment() -> str:
    """Return the Python of an existing environment if it is a supported one that still runs, or an empty text."""
    check = f"import sys; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST})"
    return PYTHON if os.path.exists(STAMP) and succeeds([PYTHON, "-c", check]) else ""


def main(chosen: bool = True) -> int:
    """Bring ``.venv`` up to date and return the exit status.

    ``chosen``: whether the reader named this Python. One who did so before need not name it again.
    """
    try:
        present = "" if chosen else python_of_environment()
        if present and installed_state().splitlines()[:2] != wanted_state().splitlines()[:2]:
            return subprocess.call([present, os.path.abspath(__file__)])
        if os.name == "nt":
            raise Problem("On Windows, use WSL: README.md says how.")
        problem = version_problem(tuple(sys.version_info))
        if problem:
            other = supported_on_path()
            if not other:
                raise Problem(problem)
            return subprocess.call([other, os.path.abspath(__file__)])
        if installed_state() != wanted_state():
            start = time.time()
            install()
            print(f"== Environment: done in {time.time() - start:.1f} s\n", flush=True)
        register_git_filter()
    except Problem as problem:
        print(f"make: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("make: stopped; the next command takes up the installation again", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(chosen="--default" not in sys.argv))
