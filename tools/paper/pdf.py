"""The book on paper: one PDF of all pages, made by Sphinx and XeLaTeX from what the site is made from.

What paper cannot show is translated first (``tools/paper/cells.py``), and what Sphinx writes is mended
(``tools/paper/latex.py``). It needs ``latexmk``, XeLaTeX and the fonts that README names.
``python -m tools.paper.pdf`` writes ``_build/book.pdf``.
"""

import argparse
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tools.chapters import all_chapters
from tools.common import BUILD, ROOT, Problem, run_program, step
from tools.execute import bring_up_to_date
from tools.pages.claims import claims_page
from tools.paper.cells import OUTPUTS, as_a_plan, for_print, preface, with_long_tables
from tools.paper.latex import FONTS, PREAMBLE, as_a_book, faults
from tools.site import executed, first_fault, jupyter_book, stage

SOURCES = BUILD / "pdf-src"
WORKPLACE = BUILD / "pdf"
PDF = BUILD / "book.pdf"
NEEDED = ("latexmk", "xelatex")


def settings() -> dict[str, Any]:
    """Return the book's settings with those of its LaTeX."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["latex"] = {
        "latex_engine": "xelatex",
        "use_jupyterbook_latex": False,
        "latex_documents": {"targetname": "book.tex", "title": config["title"], "author": config["author"]},
    }
    config["sphinx"]["config"]["latex_elements"] = {
        "papersize": "a4paper",
        "pointsize": "11pt",
        "fontpkg": FONTS,
        "preamble": PREAMBLE,
        "extraclassoptions": "openany,oneside",
        "fncychap": "",
        "makeindex": "",  # the glossary's words would fill an index that needs one more program
        "printindex": "",
        "sphinxsetup": "verbatimwrapslines=true, verbatimforcewraps=true",
    }
    config["sphinx"]["config"] |= OUTPUTS
    config["sphinx"]["config"]["latex_show_urls"] = "no"
    config["sphinx"]["config"]["latex_domain_indices"] = False  # theorems have a list of their own
    return config


def contents() -> dict[str, Any]:
    """Return what is in the PDF: all but the reference of the library, which is for looking things up on a screen."""
    toc: dict[str, Any] = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    for part in toc["parts"]:
        part["chapters"] = [page for page in part["chapters"] if not page["file"].startswith("api/")]
    return toc


def parts() -> dict[str, str]:
    """Return the caption of each part by the page that it begins with."""
    return {part["chapters"][0]["file"]: part["caption"] for part in contents()["parts"] if "caption" in part}


def make_latex(sources: Path, workplace: Path) -> Path:
    """Translate the staged ``sources`` to LaTeX; return its folder."""
    shutil.rmtree(workplace / "_build" / "latex", ignore_errors=True)
    log = workplace / "sphinx.log"
    if not jupyter_book(sources, workplace, log, "--builder", "latex"):
        raise Problem(f"Sphinx could not write LaTeX, see {log}: {first_fault(log.read_text(encoding='utf-8'))}")
    folder = workplace / "_build" / "latex"
    for path in folder.glob("*.tex"):
        path.write_text(as_a_book(path.read_text(encoding="utf-8"), parts()), encoding="utf-8")
    return folder


def typeset(folder: Path) -> Path:
    """Run XeLaTeX until references are right; return the PDF."""
    (main,) = [path for path in folder.glob("*.tex") if r"\documentclass" in path.read_text(encoding="utf-8")]
    command = ["latexmk", "-xelatex", "-interaction=nonstopmode", "-halt-on-error", "-quiet", main.name]
    whole_lines = {**os.environ, "max_print_line": "1000"}  # or the log would cut what it says after 79 letters
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=whole_lines)
    if done.returncode != 0:
        log = main.with_suffix(".log")
        told = log.read_text(encoding="utf-8", errors="replace") if log.exists() else done.stdout + done.stderr
        first = re.search(r"^!.*(?:\n.*){0,6}", told, re.MULTILINE)
        raise Problem(f"XeLaTeX failed, see {log}: {first[0] if first else told[-500:]}")
    return main.with_suffix(".pdf")


def build_pdf(pdf: Path = PDF) -> list[str]:
    """Execute what is stale, write the PDF of the book, and return its faults."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        raise Problem(f"{' and '.join(missing)} not found: the README's section on the PDF names the packages")
    bring_up_to_date(all_chapters())
    with step("Typesetting the book"):
        chapters = executed(all_chapters())
        changed = {
            "_config.yml": yaml.safe_dump(settings(), allow_unicode=True),
            "_toc.yml": yaml.safe_dump(contents(), allow_unicode=True, sort_keys=False),
            "intro.md": preface((ROOT / "intro.md").read_text(encoding="utf-8")),
            "contents.md": as_a_plan((ROOT / "contents.md").read_text(encoding="utf-8")),
            "claims.md": with_long_tables(claims_page(chapters)),
        }
        stage([(path, for_print(notebook)) for path, notebook in chapters], SOURCES, changed)
        made = typeset(make_latex(SOURCES, WORKPLACE))
        shutil.copyfile(made, pdf)
    return faults(made.with_suffix(".log").read_text(encoding="utf-8", errors="replace"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the PDF, and say what is wrong with it."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    found = build_pdf()
    if found:
        raise Problem("the PDF has faults:\n" + "\n".join(found))
    print(f"Done: {PDF}")


if __name__ == "__main__":
    run_program(main)
