"""The book for an e-book reader: one EPUB of all pages, made by Sphinx from what the PDF is made from.

E-book readers run no scripts, so a slider is its first picture and formulas are MathML, which the readers of Apple and
Kobo, Thorium and Calibre show. ``python -m tools.paper.epub`` writes ``_build/book.epub``.
"""

import argparse
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

import ndelib
from tools.chapters import all_chapters
from tools.common import BUILD, ROOT, Problem, run_program, step
from tools.execute import bring_up_to_date
from tools.pages.claims import claims_page
from tools.paper.cells import for_print, preface
from tools.site import executed, first_fault, jupyter_book, stage

SOURCES = BUILD / "epub-src"
WORKPLACE = BUILD / "epub"
EPUB = BUILD / "book.epub"


def settings() -> dict[str, Any]:
    """Return the book's settings with those of the EPUB."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    sphinx = config["sphinx"]["config"]
    sphinx["extensions"] += ["tools.sphinx.mathml"]
    sphinx |= {
        "project": config["title"],
        "version": ndelib.__version__,
        "html_math_renderer": "mathml",
        "epub_basename": "book",
        "epub_show_urls": "no",
        "epub_use_index": False,
        "epub_tocdepth": 2,
        # Pages of the search and of the kinds of an index; and what only the site has.
        "epub_exclude_files": ["search.xhtml", "prf-prf.xhtml", "py-modindex.xhtml"],
    }
    return config


def faults(epub: Path) -> list[str]:
    """Return what readers would choke on: pages that are no XML."""
    wrong = []
    with zipfile.ZipFile(epub) as book:
        for name in book.namelist():
            if name.endswith((".xhtml", ".opf", ".ncx", ".xml")):
                try:
                    ElementTree.fromstring(book.read(name))
                except ElementTree.ParseError as error:
                    wrong.append(f"{name}: {error}")
    return wrong


def build_epub(epub: Path = EPUB) -> None:
    """Execute what is stale and write the book to ``epub``."""
    bring_up_to_date(all_chapters())
    with step("Writing the EPUB"):
        chapters = executed(all_chapters())
        changed = {
            "_config.yml": yaml.safe_dump(settings(), allow_unicode=True),
            "intro.md": preface((ROOT / "intro.md").read_text(encoding="utf-8")),
            "claims.md": claims_page(chapters),
        }
        stage([(path, for_print(notebook)) for path, notebook in chapters], SOURCES, changed)
        log = WORKPLACE / "sphinx.log"
        if not jupyter_book(SOURCES, WORKPLACE, log, "--builder", "custom", "--custom-builder", "epub"):
            raise Problem(f"Sphinx could not write the EPUB, see {log}: {first_fault(log.read_text(encoding='utf-8'))}")
        made = WORKPLACE / "_build" / "epub" / "book.epub"
        if wrong := faults(made):
            raise Problem("pages of the EPUB are not well-formed:\n" + "\n".join(wrong))
        shutil.copyfile(made, epub)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the EPUB."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    build_epub()
    print(f"Done: {EPUB}")


if __name__ == "__main__":
    run_program(main)
