"""Render the executed chapters as a web site.

The sources of the site are staged in ``_build/site-src``: the pages, the chapters with their outputs, the page of
claims, MathJax. A staged file is rewritten only when its content changes, so Sphinx reads again only what changed.
The site is built aside and moved to ``_build/html`` when it is complete; when a build fails, no site is left there.

``python -m tools.site`` executes what is stale and renders the book; ``--chapter 01`` does both for one chapter;
``--stage`` stops before rendering.
"""

import argparse
import filecmp
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import distribution
from pathlib import Path

import yaml
from nbformat import NotebookNode

from tools.address import with_address
from tools.chapters import all_chapters, canonical_text, find_chapter
from tools.common import BUILD, ROOT, Problem, relative, run_program, step
from tools.execute import bring_up_to_date, executed_chapter
from tools.pages.claims import claims_page, without_claim_data
from tools.pages.finish import finish
from tools.pages.header import with_header
from tools.pages.landing import landing_page
from tools.pages.theorems import theorems_page

SOURCES = BUILD / "site-src"
HTML = BUILD / "html"
PAGES = (
    "_config.yml",
    "_toc.yml",
    "references.bib",
    "intro.md",
    "contents.md",
    "lecturers.md",
    "references.md",
    "glossary.md",
    "notation.md",
)

# The parts of MathJax: those that _config.yml makes pages load, and what these load when a formula needs it. The usual
# bundle also has a menu, as large as all the rest, that would ask for files which are not here.
MATHJAX = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions",
    "output/chtml.js",
    "output/chtml/fonts/tex.js",
    "output/chtml/fonts/woff-v2",
    "a11y/assistive-mml.js",
)

# In the preview of one chapter, links to the other chapters lead nowhere; every other warning still counts.
LINKS_TO_OTHER_PAGES = ["myst.xref_missing", "ref", "toc.not_readable", "toc.not_included"]


def stage(chapters: Sequence[tuple[Path, NotebookNode]], folder: Path, changed: dict[str, str] | None = None) -> None:
    """Write the sources of the site into ``folder``.

    Args:
        chapters: path and executed notebook of each chapter on the site.
        folder: where to write; files there that do not belong to the site any more are removed.
        changed: staged files whose content is not that of the repository, by name.
    """
    pages = [*PAGES, *(relative(path) for path in (ROOT / "api").glob("*.md"))]
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in pages}
    changed = changed or {}
    made: dict[str, Callable[[], str]] = {
        "intro.md": lambda: landing_page(texts["intro.md"], chapters),
        "_config.yml": lambda: with_address(texts["_config.yml"]),
        "claims.md": lambda: claims_page(chapters),
        "theorems.md": lambda: theorems_page(chapters),
    }
    texts |= {name: make() for name, make in made.items() if name not in changed}
    shown = [(path, with_header(path, without_claim_data(notebook))) for path, notebook in chapters]
    texts |= {f"chapters/{path.name}": canonical_text(notebook) for path, notebook in shown}
    texts |= changed
    files = {name: text.encode() for name, text in texts.items()}
    students = [folder / f"{folder.name}.ipynb" for folder in (ROOT / "exercises").glob("[0-9][0-9]_*")]
    # Chapters offer these to download: the students' notebooks, and themselves, as they are in the repository.
    files |= {relative(path): path.read_bytes() for path in students if path.exists()}
    files |= {f"notebooks/{path.name}": path.read_bytes() for path, _ in chapters if path.exists()}
    files |= {f"_static/{name}": content for name, content in _tree(ROOT / "_static")}
    files |= {f"_extra/_static/mathjax/{name}": content for name, content in mathjax_files()}
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def mathjax_files() -> Iterable[tuple[str, bytes]]:
    """Return what a page needs of MathJax: see ``MATHJAX`` (under 2 MB of the package's 24)."""
    package = distribution("sphinx-mathjax-offline")
    folder = Path(str(package.locate_file("sphinx-mathjax-offline/static/mathjax")))
    for part in MATHJAX:
        yield from _tree(folder, part)


def _tree(folder: Path, part: str = ".") -> Iterable[tuple[str, bytes]]:
    """Return name, relative to ``folder``, and content of the files under ``folder / part``."""
    start = folder / part
    for path in [start] if start.is_file() else sorted(start.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def render(sources: Path, workplace: Path) -> Path:
    """Build the site with warnings as errors; return its folder. Raise ``Problem`` when Jupyter Book finds a fault."""
    if not _has_all(sources / "_static", workplace / "_build" / "html" / "_static"):
        # Sphinx copies style sheets and pictures only when a page changed too: start anew when one of them changed.
        shutil.rmtree(workplace / "_build", ignore_errors=True)
    log = workplace / "warnings.txt"
    if not jupyter_book(sources, workplace, log, "-n", "-W", "--keep-going"):
        # Sphinx warns about a page only when it reads it: start anew, or the next build would find nothing wrong.
        shutil.rmtree(workplace / "_build", ignore_errors=True)
        text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(encoding="utf-8")).replace(f"{sources}/", "")
        print(text, file=sys.stderr)
        raise Problem(f"the site has faults; the first: {first_fault(text)}")
    return workplace / "_build" / "html"


def jupyter_book(sources: Path, workplace: Path, log: Path, *options: str) -> bool:
    """Let Jupyter Book build ``sources`` in ``workplace`` and write what it says to ``log``; say whether it could."""
    workplace.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).parent / "jupyter-book"), "build", "-q", *options, str(sources)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # the book's own extensions, and the ndelib it documents
    with log.open("w", encoding="utf-8") as said:
        done = subprocess.run([*command, "--path-output", str(workplace)], stdout=said, stderr=said, env=environment)
    return done.returncode == 0


def _has_all(wanted: Path, present: Path) -> bool:
    """Say whether every file under ``wanted`` is under ``present`` too, with the same content."""
    files = [path.relative_to(wanted) for path in wanted.rglob("*") if path.is_file()]
    return all((present / name).is_file() and filecmp.cmp(wanted / name, present / name, False) for name in files)


def first_fault(log: str) -> str:
    """Return the line of Jupyter Book's output that says what is wrong: a warning, or the name of an exception."""
    lines = log.splitlines()
    faults = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
    faults += [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return re.sub(r"(\.ipynb):(\d+)", _cell_and_line, " ".join(faults[0].split())) if faults else "see above"


def _cell_and_line(match: re.Match[str]) -> str:
    """Translate the line number of a notebook, in which MyST-NB counts ten thousand for each cell."""
    cell, line = divmod(int(match[2]), 10_000)
    return f"{match[1]}, cell {cell}, line {line}"


def publish(built: Path, html: Path) -> None:
    """Put a copy of the complete site at ``html``, in the place of an older one."""
    complete = html.with_suffix(".new")
    shutil.rmtree(complete, ignore_errors=True)
    shutil.copytree(built, complete)
    finish(complete)
    shutil.rmtree(html, ignore_errors=True)
    complete.rename(html)


def executed(paths: Sequence[Path]) -> list[tuple[Path, NotebookNode]]:
    """Return the chapters at ``paths`` with their outputs; raise ``Problem`` for one that was not executed."""
    chapters = []
    for path in paths:
        notebook = executed_chapter(path)
        if notebook is None:
            raise Problem(f"chapters/{path.name} changed while the book was being built; build it again")
        chapters.append((path, notebook))
    return chapters


def stage_book() -> None:
    """Execute what is stale and write the sources of the whole site."""
    bring_up_to_date(all_chapters())
    stage(executed(all_chapters()), SOURCES)


def check_toc(chapters: Sequence[Path]) -> None:
    """Raise ``Problem`` unless ``_toc.yml`` lists exactly the chapters that are on disk."""
    toc = set(re.findall(r"chapters/(\w+)", (ROOT / "_toc.yml").read_text(encoding="utf-8")))
    disk = {path.stem for path in chapters}
    for name in sorted(disk - toc):
        raise Problem(f"_toc.yml does not list chapters/{name}, which is on disk: add it to its part")
    for name in sorted(toc - disk):
        raise Problem(f"_toc.yml lists chapters/{name}, but there is no chapters/{name}.ipynb")


def build_book(html: Path = HTML) -> None:
    """Execute what is stale, render the book to ``html``; leave nothing there when that fails."""
    try:
        check_toc(all_chapters())
        bring_up_to_date(all_chapters())
        with step("Rendering the site"):
            stage(executed(all_chapters()), SOURCES)
            publish(render(SOURCES, BUILD / "site"), html)
    except BaseException:
        shutil.rmtree(html, ignore_errors=True)
        raise


def build_chapter(number: str) -> Path:
    """Execute one chapter if it is stale and render it alone; return its page."""
    path = find_chapter(number)
    html = BUILD / "chapter" / path.stem
    try:
        bring_up_to_date([path])
        with step(f"Rendering {path.stem}"):
            sources = BUILD / "chapter-src" / path.stem
            stage(executed([path]), sources, _alone(path))
            publish(render(sources, BUILD / "chapter-site" / path.stem), html)
    except BaseException:
        shutil.rmtree(html, ignore_errors=True)
        raise
    return html / "chapters" / f"{path.stem}.html"


def _alone(path: Path) -> dict[str, str]:
    """Return the settings of a site that has one chapter."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["sphinx"]["config"]["suppress_warnings"] = LINKS_TO_OTHER_PAGES
    toc = {
        "format": "jb-book",
        "root": f"chapters/{path.stem}",
        "chapters": [{"file": "claims"}, {"file": "references"}],
    }
    return {"_config.yml": yaml.safe_dump(config), "_toc.yml": yaml.safe_dump(toc)}


def main() -> None:
    """Build what the command line asks for, and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chapter", metavar="N", help="only this chapter")
    parser.add_argument("--stage", action="store_true", help="execute what is stale and write the sources of the site")
    arguments = parser.parse_args()
    start = time.perf_counter()
    if arguments.stage:
        stage_book()
        return
    if arguments.chapter is not None:
        page = build_chapter(arguments.chapter)
    else:
        build_book()
        page = HTML / "index.html"
    print(f"Done in {time.perf_counter() - start:.1f} s. Open {page.as_uri()}")


if __name__ == "__main__":
    run_program(main)
