"""The book on paper: one PDF of all pages, made by Sphinx and XeLaTeX from what the site is made from.

Paper has no sliders, no themes and no HTML, so what the chapters put out is translated first: a slider becomes its
first picture, a claim a sentence, a figure its picture with the caption below. It needs ``latexmk``, XeLaTeX and the
fonts that README names. ``python -m tools.paper.pdf`` writes ``_build/book.pdf``.
"""

import argparse
import re
import shutil
import subprocess
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

import yaml
from nbformat import NotebookNode, from_dict, v4

from tools.chapters import all_chapters
from tools.common import BUILD, ROOT, Problem, run_program, step
from tools.execute import bring_up_to_date
from tools.pages.claims import MIME_TYPE, claims_page, escape
from tools.site import executed, first_fault, jupyter_book, stage

SOURCES = BUILD / "pdf-src"
WORKPLACE = BUILD / "pdf"
PDF = BUILD / "book.pdf"
NEEDED = ("latexmk", "xelatex")
TOO_WIDE = 12.0
"""Points by which a line may stick out into the margin: less is not seen."""

PICTURE = re.compile(r'<img src="data:image/png;base64,([^"]+)"')
CAPTION = re.compile(r"<figcaption>(.*?)</figcaption>", re.DOTALL)

PREAMBLE = r"""
\setmainfont{Linux Libertine O}[Ligatures=TeX]
\setsansfont{DejaVu Sans}[Scale=MatchLowercase]
\setmonofont{DejaVu Sans Mono}[Scale=0.8]
\usepackage{amsthm}
\usepackage{newunicodechar}
\newunicodechar{ᵀ}{\textsuperscript{T}}
\renewcommand{\_}{\textunderscore\allowbreak}
"""

HIDDEN = {
    "hide-input": "remove-input",
    "hide-output": "remove-output",
    "hide-cell": "remove-cell",
    "setup": "remove-cell",
}
"""What the site folds away, paper leaves out; the setup cell is for Colab."""


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
        "fontpkg": PREAMBLE,
        "extraclassoptions": "openany,oneside",
        "fncychap": "",
        "makeindex": "",  # the glossary's words would fill an index that needs one more program
        "printindex": "",
        "sphinxsetup": "verbatimwrapslines=true, verbatimforcewraps=true",
    }
    config["sphinx"]["config"]["latex_show_urls"] = "no"
    config["sphinx"]["config"]["latex_domain_indices"] = False  # theorems have a list of their own
    return config


def contents() -> dict[str, Any]:
    """Return what is in the PDF: all but the reference of the library, which is for looking things up on a screen."""
    toc: dict[str, Any] = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    for part in toc["parts"]:
        part["chapters"] = [page for page in part["chapters"] if not page["file"].startswith("api/")]
    return toc


def preface(landing: str) -> str:
    """Return what paper keeps of the ``landing`` page, in MyST: what the book is. The rest leads to other pages."""
    promise = re.search(r"^:::\{div\} nde-promise\n(.+?)\n\n", landing, re.DOTALL | re.MULTILINE)
    title = landing.partition("\n# ")[2].partition("\n")[0]
    different = landing.partition("## What is different here\n")[2]
    if promise is None or not different:
        raise Problem("intro.md has no promise, or no section 'What is different here', for the books on paper")
    return f"# {title}\n\n{promise[1]}\n\n{different.strip()}\n"


def for_print(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of an executed ``notebook`` whose outputs paper can show."""
    copy = from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "code":
            tags = cell.metadata.get("tags", [])
            cell.metadata["tags"] = [HIDDEN.get(tag, tag) for tag in tags]
            cell.outputs = [new for output in cell.outputs for new in _translated(output)]
    return copy


def with_long_tables(markdown: str) -> str:
    """Return ``markdown`` with its tables of four columns made such that they may go on over pages."""
    widths = r"\X{4}{10}\X{2}{10}\X{2}{10}\X{2}{10}"
    directives = f"```{{tabularcolumns}} {widths}\n```\n\n````{{table}}\n:class: longtable\n\n"
    return re.sub(r"((?:^\|.*\n)+)", lambda match: f"{directives}{match[1]}````\n", markdown, flags=re.MULTILINE)


def _translated(output: NotebookNode) -> list[NotebookNode]:
    data = output.get("data", {})
    html = data.get("text/html", "")
    if MIME_TYPE in data:
        text = data["text/plain"].removeprefix("✓ Claim: ")
        return [_markdown(f"**✓ Claim.** {escape(text)}")]
    picture = PICTURE.search(html)
    if picture is None:
        return [output]
    shown = v4.new_output("display_data", {"image/png": picture[1]})
    words = CAPTION.search(html)
    return [shown, _markdown(f"*{escape(unescape(re.sub('<[^>]+>', '', words[1])))}*")] if words else [shown]


def _markdown(text: str) -> NotebookNode:
    return v4.new_output("display_data", {"text/markdown": text})


def make_latex(sources: Path, workplace: Path) -> Path:
    """Translate the staged ``sources`` to LaTeX; return its folder."""
    shutil.rmtree(workplace / "_build" / "latex", ignore_errors=True)
    log = workplace / "sphinx.log"
    if not jupyter_book(sources, workplace, log, "--builder", "latex"):
        raise Problem(f"Sphinx could not write LaTeX, see {log}: {first_fault(log.read_text(encoding='utf-8'))}")
    folder = workplace / "_build" / "latex"
    for path in folder.glob("*.tex"):
        path.write_text(as_a_book(path.read_text(encoding="utf-8")), encoding="utf-8")
    return folder


def as_a_book(latex: str) -> str:
    """Return ``latex`` with the chapters numbered as their titles say and no other page numbered, and with proofs."""

    def heading(match: re.Match[str]) -> str:
        number, title = match[1], match[2]
        if number is None:
            return rf"\setcounter{{secnumdepth}}{{-1}}\chapter{{{title}"
        return rf"\setcounter{{secnumdepth}}{{1}}\setcounter{{chapter}}{{{int(number) - 1}}}\chapter{{{title}"

    latex = latex.replace(r"\chapter{References}", "")  # the bibliography has a heading of its own
    latex = re.sub(r"\\chapter\{(?:(\d+) )?(.)", heading, latex)
    proof = r"\\begin\{sphinxadmonition\}\{note\}\s*\\sphinxAtStartPar\s*Proof\.\s*(.*?)\\end\{sphinxadmonition\}"
    return re.sub(proof, lambda match: rf"\begin{{proof}}{match[1]}\end{{proof}}", latex, flags=re.DOTALL)


def typeset(folder: Path) -> Path:
    """Run XeLaTeX until references are right; return the PDF."""
    (main,) = [path for path in folder.glob("*.tex") if r"\documentclass" in path.read_text(encoding="utf-8")]
    command = ["latexmk", "-xelatex", "-interaction=nonstopmode", "-halt-on-error", "-quiet", main.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        log = main.with_suffix(".log")
        told = log.read_text(encoding="utf-8", errors="replace") if log.exists() else done.stdout + done.stderr
        first = re.search(r"^!.*(?:\n.*){0,6}", told, re.MULTILINE)
        raise Problem(f"XeLaTeX failed, see {log}: {first[0] if first else told[-500:]}")
    return main.with_suffix(".pdf")


def faults(log: str) -> list[str]:
    """Return what a reader of the PDF would see: missing glyphs, lines that leave the page, links to nowhere."""
    found = re.findall(r"^Missing character: There is no .+", log, re.MULTILINE)
    wide = re.finditer(r"^Overfull \\hbox \(([\d.]+)pt too wide\).*", log, re.MULTILINE)
    found += [match[0] for match in wide if float(match[1]) > TOO_WIDE]
    return found + re.findall(r"^LaTeX Warning: (?:Reference|Citation|Hyper reference) .+", log, re.MULTILINE)


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
