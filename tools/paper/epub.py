"""The book for an e-book reader: one EPUB of all pages, made by Sphinx from what the PDF is made from.

E-book readers run no scripts, so a slider is its first picture and formulas are MathML, which the readers of Apple and
Kobo, Thorium and Calibre show. What Sphinx writes is mended and checked by ``tools/paper/epub_pages.py``.
``python -m tools.paper.epub`` writes ``_build/book.epub``.
"""

import argparse
import uuid
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

import ndelib
from tools.chapters import all_chapters
from tools.common import BUILD, ROOT, Problem, run_program, step
from tools.execute import bring_up_to_date
from tools.pages.claims import claims_page
from tools.paper.cells import OUTPUTS, for_print, preface, promise
from tools.paper.epub_pages import faults, finished
from tools.site import executed, first_fault, jupyter_book, stage

SOURCES = BUILD / "epub-src"
WORKPLACE = BUILD / "epub"
EPUB = BUILD / "book.epub"


def settings() -> dict[str, Any]:
    """Return the book's settings with those of the EPUB."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    sphinx = config["sphinx"]["config"]
    sphinx["extensions"] += ["tools.sphinx.mathml"]
    sphinx |= OUTPUTS
    sphinx |= {
        "project": config["title"],
        "version": ndelib.__version__,
        "html_math_renderer": "mathml",
        "epub_basename": "book",
        "epub_show_urls": "no",
        "epub_use_index": False,
        "epub_tocdepth": 2,
        "epub_tocscope": "includehidden",  # the list of the pages is hidden on the site, which shows it at the side
        "epub_uid": "book",
        "epub_scheme": "UUID",
        "epub_identifier": uuid.uuid5(uuid.NAMESPACE_URL, f"{config['title']} {ndelib.__version__}").urn,
        "epub_description": promise((ROOT / "intro.md").read_text(encoding="utf-8")),
        "epub_contributor": config["author"],
        "epub_copyright": "Text and figures: CC BY 4.0. Code: MIT.",
        # Pages of the search and of the kinds of an index; and what only the site has.
        "epub_exclude_files": ["search.xhtml", "prf-prf.xhtml", "py-modindex.xhtml"],
    }
    return config


def read_epub(path: Path) -> dict[str, bytes]:
    """Return the content of each file of the EPUB at ``path``, by its name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def write_epub(book: dict[str, bytes], path: Path) -> None:
    """Write ``book`` to ``path``: what the file is stands first in it, and is not compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", book["mimetype"], zipfile.ZIP_STORED)
        for name in sorted(book.keys() - {"mimetype"}):
            archive.writestr(name, book[name])


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
        book = finished(read_epub(made))
        if wrong := faults(book, [f"chapters/{path.stem}" for path, _ in chapters]):
            raise Problem("the EPUB has faults:\n" + "\n".join(wrong))
        write_epub(book, epub)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the EPUB."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    build_epub()
    print(f"Done: {EPUB}")


if __name__ == "__main__":
    run_program(main)
