"""Write the setup cell and the Colab badge of every notebook: ``python -m tools.stamp``.

The repository's public address stands in ``_config.yml`` and the version in ``ndelib/__init__.py``, nowhere else.
Until there is an address, no notebook has a badge and no setup cell an install line: an address that nobody has
claimed belongs to whoever claims it.
"""

import argparse
import re
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

from tools.common import ROOT, Problem, run_program

# In the form that `ruff check` and `ruff format` want, so that formatting notebooks does not undo the stamp.
SETUP = """\
import importlib.util
import sys

if "google.colab" in sys.modules and importlib.util.find_spec("ndelib") is None:
{install}
import ndelib

device = ndelib.setup(seed=0)"""

# What chapters import and Colab lacks, in the versions of requirements.lock. With --no-deps each brings only itself, so
# whatever it needs must be something that Colab has.
COLAB_LACKS = ("torchdiffeq==0.2.5",)

INSTALL = '    %pip install -q --no-deps {lacking} "ndelib @ {address}/archive/refs/tags/v{version}.zip"'

NO_ADDRESS = """\
    raise ImportError(
        "This copy of the book has no public address yet, "
        "so Colab cannot fetch ndelib: see its README."
    )"""

_GITHUB = re.compile(r"https://github\.com/(?P<repository>[A-Za-z0-9-]+/(?!.*\.git$)[A-Za-z0-9._-]+)")
_THIS_MACHINE = re.compile(r"http://127\.0\.0\.1:\d+")


def configured_address(root: Path) -> str:
    """Read the repository's public address from ``_config.yml``; empty while it has none."""
    path = root / "_config.yml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        address = str((config.get("repository") or {}).get("url") or "").removesuffix("/").removesuffix(".git")
    except FileNotFoundError:
        raise Problem(f"{path.name}: not found, so the repository's address is not known") from None
    except (yaml.YAMLError, AttributeError):
        raise Problem(f"{path.name}: not readable as YAML with an entry `repository: url:`") from None
    if address and not _GITHUB.fullmatch(address):
        raise Problem(
            f"{path.name}: repository url {address!r} is not of the form https://github.com/OWNER/REPOSITORY,"
            " which is all that Colab opens"
        )
    return address


def library_version(root: Path) -> str:
    """Read ``__version__`` from ndelib's source, without importing it."""
    path = root / "ndelib" / "__init__.py"
    found = re.search(r'^__version__ = "([^"]+)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise Problem(f'{path.relative_to(root)}: no line of the form __version__ = "1.2.3"')
    return found[1]


def setup_source(address: str, version: str) -> str:
    """Return the setup cell's source; with an empty address it installs from nowhere."""
    lacking = " ".join(f'"{pin}"' for pin in COLAB_LACKS)
    install = INSTALL.format(lacking=lacking, address=address, version=version) if address else NO_ADDRESS
    return SETUP.format(install=install)


def badge_source(address: str, version: str, path: str) -> str | None:
    """Return the badge's Markdown for the notebook at ``path`` in the repository, or None where Colab cannot open it.

    A link without a picture: the site fetches nothing from other hosts, and Colab's own badge is on one.
    """
    on_github = _GITHUB.fullmatch(address)
    if not on_github:
        return None
    repository = on_github["repository"]
    return f"[Open in Colab](https://colab.research.google.com/github/{repository}/blob/v{version}/{path})"


def notebooks(root: Path) -> list[Path]:
    """Every notebook that has a setup cell: chapters, masters of assignments and students' notebooks."""
    return sorted([*root.glob("chapters/*.ipynb"), *root.glob("exercises/*/*.ipynb")])


def public_path(path: Path, root: Path) -> str:
    """Return the path a reader opens: for the master of an assignment, the notebook that students get."""
    if path.name == "master.ipynb":
        path = path.with_name(f"{path.parent.name}.ipynb")
    return path.relative_to(root).as_posix()


def stamp(notebook: NotebookNode, address: str, version: str, path: str) -> list[str]:
    """Stamp a notebook in place and say what changed: parts of "setup cell" and "Colab badge".

    Args:
        notebook: nbformat 4.5, with one code cell tagged ``setup`` and a title cell (``# …``).
        address: of the repository; empty: no badge, and a setup cell that installs nothing.
        version: of ndelib; ``v`` and it is the tag in both links.
        path: of the notebook in the repository, as its readers open it.

    Raises:
        Problem: no setup cell or more than one, or no title where a badge must go below it.
    """
    changed = []
    setup = _setup_cell(notebook)
    source = setup_source(address, version)
    if (setup.source, setup.get("id")) != (source, "setup"):
        setup.source, setup["id"] = source, "setup"
        changed.append("setup cell")

    before = notebook.cells
    notebook.cells = [cell for cell in before if "colab-badge" not in _tags(cell)]
    badge = badge_source(address, version, path)
    if badge:
        cell = nbformat.v4.new_markdown_cell(badge, id="colab-badge", metadata={"tags": ["colab-badge"]})
        notebook.cells.insert(_below_title(notebook), cell)
    if notebook.cells != before:
        changed.append("Colab badge")
    return changed


def _tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def _setup_cell(notebook: NotebookNode) -> NotebookNode:
    found = [cell for cell in notebook.cells if cell.cell_type == "code" and "setup" in _tags(cell)]
    if len(found) != 1:
        raise Problem(
            f"{len(found) or 'no'} code cells with the tag `setup`; "
            "one is needed: add an empty code cell below the title, tag it `setup`, run `make stamp`"
        )
    return found[0]


def _below_title(notebook: NotebookNode) -> int:
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            return number + 1
    raise Problem("no title for the Colab badge to go below: begin with a Markdown cell `# …`")


def stamp_file(path: Path, root: Path, address: str, version: str, *, write: bool) -> list[str]:
    """Stamp one notebook file and return what differed; the file is touched only to ``write`` a difference."""
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        changed = stamp(notebook, address, version, public_path(path, root))
    except Problem as error:
        raise Problem(f"{path.relative_to(root)}: {error}") from None
    except nbformat.reader.NotJSONError:
        raise Problem(f"{path.relative_to(root)}: not a notebook (its JSON does not parse)") from None
    if changed and write:
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")
    return changed


def main(arguments: list[str] | None = None, root: Path = ROOT) -> None:
    """Stamp, or with ``--check`` only compare, every notebook under ``root``.

    Raises:
        Problem: one line for each notebook that cannot be stamped or, with ``--check``, differs.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.stamp", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; name each notebook that differs")
    parser.add_argument("--address", help="instead of _config.yml's; http://127.0.0.1:PORT is taken too, for tests")
    options = parser.parse_args(arguments)

    address, version = _address(options.address, root), library_version(root)
    problems = []
    for path in notebooks(root):
        try:
            changed = stamp_file(path, root, address, version, write=not options.check)
        except Problem as problem:
            problems.append(str(problem))
            continue
        for part in changed:
            if options.check:
                problems.append(f"{path.relative_to(root)}: {part} differs from what `make stamp` writes")
            else:
                print(f"{path.relative_to(root)}: {part} written")
    if problems:
        raise Problem("\n".join(problems))


def _address(option: str | None, root: Path) -> str:
    if option is None:
        return configured_address(root)
    if option and not (_GITHUB.fullmatch(option) or _THIS_MACHINE.fullmatch(option)):
        raise Problem(f"--address {option!r} is neither https://github.com/OWNER/REPOSITORY nor http://127.0.0.1:PORT")
    return option


if __name__ == "__main__":
    run_program(main)
