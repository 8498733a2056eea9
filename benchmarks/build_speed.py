"""How long the book takes to build, beside the usual way: ``python -m benchmarks.build_speed``, or ``make bench-site``.

Three times are measured: ``make book`` with nothing kept, the same after one word of one chapter changed, and the usual
way, Jupyter Book with ``execute_notebooks: force``, which executes the same chapters one after the other inside Sphinx.
All three work on copies in a temporary folder. Nothing else should run meanwhile. ``--chapters 16`` takes only some.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks.machine import processor
from tools.chapters import all_chapters, find_chapter
from tools.common import ROOT, Problem, run_program

LEFT_OUT = (".git", ".venv", "_build", "__pycache__", ".*_cache", ".hypothesis", "grades", "dist")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def copy_of_the_book(folder: Path, chapters: Sequence[Path]) -> Path:
    """Copy the repository, without what was built, and with only these chapters."""
    book = folder / "book"
    shutil.copytree(ROOT, book, ignore=shutil.ignore_patterns(*LEFT_OUT))
    wanted = {path.stem for path in chapters}
    toc = yaml.safe_load((book / "_toc.yml").read_text(encoding="utf-8"))
    for part in toc["parts"]:
        pages = [(page, page["file"]) for page in part["chapters"]]
        kept = [page for page, name in pages if not name.startswith("chapters/") or Path(name).name in wanted]
        part["chapters"] = kept
    toc["parts"] = [part for part in toc["parts"] if part["chapters"]]
    (book / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")
    for path in (book / "chapters").glob("*.ipynb"):
        if path.stem not in wanted:
            path.unlink()
    return book


def timed(command: Sequence[str], folder: Path, **variables: str) -> tuple[float, str]:
    """Run a command; return its wall time in seconds and what it printed. Raise ``Problem`` when it fails."""
    start = time.perf_counter()
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(folder), **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise Problem(f"{' '.join(command[-4:])} failed: {(done.stdout + done.stderr)[-2000:]}")
    return seconds, done.stdout


def make_book(book: Path) -> tuple[float, list[float]]:
    """Do what ``make book`` does; return its seconds and those of each chapter that it executed."""
    seconds, said = timed([sys.executable, "-m", "tools.site"], book)
    return seconds, [float(found) for found in re.findall(r"^([\d.]+)s call", said, flags=re.MULTILINE)]


def change_a_word(notebook: Path) -> None:
    """Change the text of a chapter's last Markdown cell."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    cell = [cell for cell in content["cells"] if cell["cell_type"] == "markdown"][-1]
    cell["source"] = [*cell["source"], "\n\nOne more sentence.\n"]
    notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def usual_way(book: Path) -> float:
    """Let Jupyter Book execute and render the same sources by itself; return the seconds.

    The sources are those that ``make book`` staged, with notebooks as they are committed: without outputs.
    """
    sources = book / "_build" / "site-src"
    for path in (book / "chapters").glob("*.ipynb"):
        shutil.copy(path, sources / "chapters" / path.name)
    config = yaml.safe_load((sources / "_config.yml").read_text(encoding="utf-8"))
    config["execute"] = {"execute_notebooks": "force", "timeout": 600, "run_in_temp": True}
    (sources / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    program = str(Path(sys.executable).parent / "jupyter-book")
    command = [program, "build", "-q", str(sources), "--path-output", str(book / "_build" / "usual")]
    return timed(command, book, NDELIB_STATIC="1")[0]


def table(cold: float, chapters: Sequence[float], text: float, usual: float) -> str:
    """Return the result as Markdown. The limits are those that the book has set itself, for a machine of two cores."""
    total = sum(chapters)
    rows = [
        ("`make book`, nothing kept", cold, f"{total / 2 + 60:.0f} (half of the chapters' time, and 60)"),
        ("`make book`, one word changed", text, "20"),
        ("Jupyter Book, executing inside Sphinx", usual, "–"),
    ]
    lines = ["| | seconds | at most |", "|---|---:|---:|"]
    lines += [f"| {name} | {seconds:.1f} | {limit} |" for name, seconds, limit in rows]
    lines += [
        "",
        f"The chapters add up to {total:.1f} s. {processor()}, {os.cpu_count()} cores.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chapters", nargs="+", metavar="N", help="only these chapters")
    numbers = parser.parse_args().chapters
    chapters = [find_chapter(number) for number in numbers] if numbers else all_chapters()
    load = os.getloadavg()[0]
    if load > 1:
        print(f"The machine is busy (load {load:.1f}): these times will be too long.", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="build-speed-") as folder:
        book = copy_of_the_book(Path(folder), chapters)
        if numbers:  # pages name chapters that are not there
            config = yaml.safe_load((book / "_config.yml").read_text(encoding="utf-8"))
            config["sphinx"]["config"]["suppress_warnings"] = ["myst.xref_missing", "ref"]
            (book / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        cold, of_chapters = make_book(book)
        change_a_word(book / "chapters" / chapters[-1].name)
        text, executed = make_book(book)
        if executed:
            raise Problem("a changed word made a chapter run again")
        print(table(cold, of_chapters, text, usual_way(book)))


if __name__ == "__main__":
    run_program(main)
