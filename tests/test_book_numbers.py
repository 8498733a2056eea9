"""Theorems and exercises carry the number of their chapter; a build after which nothing changed rewrites no page."""

from types import SimpleNamespace
from typing import Any

from tools.sphinx.numbers import setup

BY_SPHINX = {
    "chapters/03_solving_odes": {"theorem": {"order": (7,), "barrier": (8,)}, "exercise": {"by-hand": (9,)}},
    "chapters/16_sdes": {"theorem": {"ito": (10,), "isometry": (9,)}},
    "lecturers": {"figure": {"plan": (1,)}},
}


def steps() -> list[Any]:
    """Return what the extension does before and after Sphinx counts."""
    connected: dict[int, Any] = {}
    setup(SimpleNamespace(connect=lambda event, step, priority: connected.setdefault(priority, step)))  # type: ignore[arg-type]
    before, after = sorted(connected)
    assert before < 500 < after  # Sphinx's own
    return [connected[before], connected[after]]


def test_each_chapter_counts_its_own() -> None:
    _, count = steps()
    env = SimpleNamespace(toc_fignumbers=BY_SPHINX)
    count(None, env)
    assert env.toc_fignumbers == {
        "chapters/03_solving_odes": {"theorem": {"order": (3, 1), "barrier": (3, 2)}, "exercise": {"by-hand": (3, 1)}},
        "chapters/16_sdes": {"theorem": {"isometry": (16, 1), "ito": (16, 2)}},
        "lecturers": {"figure": {"plan": (1,)}},
    }


def test_sphinx_finds_its_own_numbers_again() -> None:
    put_back, count = steps()
    env = SimpleNamespace(toc_fignumbers=BY_SPHINX)
    put_back(None, env)
    assert env.toc_fignumbers == BY_SPHINX  # the first build
    count(None, env)
    put_back(None, env)
    assert env.toc_fignumbers == BY_SPHINX
