"""The parts of the landing page that the build makes: they take the place of the comments ``<!-- build: … -->``."""

import re
from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode

from tools.common import ROOT, Problem
from tools.pages.claims import claims_in
from tools.pages.graph import all_of, chapter_graph, read_plan
from tools.pages.hero import hero_figure
from tools.stamp import configured_address

PLACE = re.compile(r"<!-- build: (\w+) -->")
COLAB = 'On Google Colab there is nothing to install: every chapter has the link "Open in Colab" under its title.'


def landing_page(source: str, chapters: Sequence[tuple[Path, NotebookNode]], root: Path = ROOT) -> str:
    """Return ``intro.md`` with its places filled.

    Args:
        source: the page as it is in the repository.
        chapters: path and executed notebook of each chapter.
        root: of the repository, for its address.

    Raises:
        Problem: the page has a place that nothing is made for.
    """
    plan = read_plan()
    written = [path.stem for path, _ in chapters]
    claims = sum(len(claims_in(notebook)) for _, notebook in chapters)
    makers = {
        "hero": hero_figure,
        "graph": lambda: chapter_graph(plan, written),
        "facts": lambda: _facts(len(written), len(all_of(plan)), claims),
        "colab": lambda: COLAB if configured_address(root) else "",
    }

    def fill(place: re.Match[str]) -> str:
        if place[1] not in makers:
            raise Problem(f"intro.md: nothing is made for {place[0]}; there are: {', '.join(makers)}")
        return makers[place[1]]()

    return PLACE.sub(fill, source)


def _facts(written: int, planned: int, claims: int) -> str:
    return f"{written} of {planned} chapters written · [{claims} claims](claims.md), all measured by this build"
