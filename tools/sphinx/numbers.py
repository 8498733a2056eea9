"""Numbers of theorems, definitions, algorithms and exercises that begin with the chapter: *Theorem 16.3*.

Sphinx counts them through the whole book, as the titles of our chapters carry their numbers themselves. Then a new
chapter would change the numbers in all chapters after it, and "exercise 3" in a text would not be what stands there.
"""

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

Numbers = dict[str, dict[str, dict[str, tuple[int, ...]]]]
"""Page → kind → label → number, as Sphinx keeps them in ``env.toc_fignumbers``."""

CHAPTER = re.compile(r"chapters/(\d\d)_")


def by_chapter(numbers: Numbers) -> Numbers:
    """Return ``numbers`` counted anew in each chapter, with the chapter's number in front; other pages keep theirs."""
    counted: Numbers = {}
    for page, kinds in numbers.items():
        chapter = CHAPTER.match(page)
        counted[page] = {
            kind: {label: (int(chapter[1]), k) for k, label in enumerate(sorted(labels, key=labels.__getitem__), 1)}
            if chapter
            else labels
            for kind, labels in kinds.items()
        }
    return counted


def _put_back(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Before Sphinx counts: give it its own old numbers to compare with, or it would write every chapter anew."""
    env.toc_fignumbers = getattr(env, "numbers_through_the_book", env.toc_fignumbers)
    return []


def _count_by_chapter(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """After Sphinx has counted: keep its numbers for the next build, and use ours."""
    env.numbers_through_the_book = env.toc_fignumbers  # type: ignore[attr-defined]
    env.toc_fignumbers = by_chapter(env.toc_fignumbers)
    return []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the two steps around Sphinx's own, which has the priority 500."""
    app.connect("env-get-updated", _put_back, priority=400)
    app.connect("env-get-updated", _count_by_chapter, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
