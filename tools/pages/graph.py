"""The graph of the chapters: what each needs before it, drawn for the landing page from ``chapters.yml``.

The graph is a list of links with an SVG of curves behind it. On a wide screen every part is a row of boxes and the
curves join them; on a phone the curves go and every entry says in words what it needs. ``_static/book.css`` does the
placing, ``_static/book.js`` brings out the way to the chapter that the reader points at.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tools.common import ROOT, Problem

DATA = ROOT / "chapters.yml"
COLUMNS = 6
"""Places in a row; a part has at most that many chapters."""

# A place is 100 × 100 units of the drawing; a box keeps these distances from the sides of its place, as in book.css.
SIDE, TOP = 7, 14


@dataclass(frozen=True)
class Chapter:
    """A chapter of the plan; ``needs`` are the numbers of those that it builds on directly."""

    number: int
    file: str
    title: str
    needs: tuple[int, ...]


Plan = dict[str, list[Chapter]]
"""The chapters of each part, by the part's name, in the book's order."""


def read_plan(path: Path = DATA) -> Plan:
    """Read the plan of the book; raise ``Problem`` when a chapter needs one that does not come before it."""
    parts = yaml.safe_load(path.read_text(encoding="utf-8"))
    plan = {
        part["part"]: [Chapter(**{**chapter, "needs": tuple(chapter["needs"])}) for chapter in part["chapters"]]
        for part in parts
    }
    before: set[int] = set()
    for chapter in all_of(plan):
        for need in chapter.needs:
            if need not in before:
                raise Problem(f"{path.name}: chapter {chapter.number} needs {need}, which does not come before it")
        before.add(chapter.number)
    return plan


def all_of(plan: Plan) -> list[Chapter]:
    """Return the chapters of all parts, in order."""
    return [chapter for part in plan.values() for chapter in part]


def without_shortcuts(chapters: Iterable[Chapter]) -> dict[int, tuple[int, ...]]:
    """Return the needs of each chapter without those that another of its needs has too (the transitive reduction)."""
    everything: dict[int, set[int]] = {}
    reduced = {}
    for chapter in chapters:
        indirect = set().union(*(everything[need] for need in chapter.needs))
        reduced[chapter.number] = tuple(need for need in chapter.needs if need not in indirect)
        everything[chapter.number] = {*chapter.needs, *indirect}
    return reduced


def chapter_graph(plan: Plan, written: Sequence[str]) -> str:
    """Return the graph as HTML without an empty line, for a MyST page.

    Args:
        plan: the chapters of each part.
        written: names of the files of those that exist, without ``.ipynb``.
    """
    needs = without_shortcuts(all_of(plan))
    places = {
        chapter.number: (column, row) for row, part in enumerate(plan.values()) for column, chapter in enumerate(part)
    }
    lines = ['<div class="nde-graph">', _curves(needs, places, rows=len(plan))]
    for row, (name, part) in enumerate(plan.items(), start=1):
        number, _, subject = name.partition(": ")
        lines.append(f'<div class="nde-lane"><p style="--row: {row}"><b>{number}</b> {html.escape(subject)}</p>')
        lines.append('<ul role="list">')
        lines += [_entry(chapter, needs[chapter.number], places[chapter.number], written) for chapter in part]
        lines.append("</ul></div>")
    return "\n".join([*lines, "</div>"])


def _entry(chapter: Chapter, needs: Sequence[int], place: tuple[int, int], written: Sequence[str]) -> str:
    title = f"<b>{chapter.number}</b> {html.escape(chapter.title)}"
    exists = chapter.file in written
    body = f'<a href="chapters/{chapter.file}.html">{title}</a>' if exists else f"<span>{title}</span>"
    numbers = [str(need) for need in needs]
    after = f"after {' and '.join(filter(None, [', '.join(numbers[:-1]), numbers[-1]]))}" if numbers else "begin here"
    said = after if exists else f"planned, {after}"
    return (
        f'<li class="{"nde-written" if exists else "nde-planned"}" data-chapter="{chapter.number}"'
        f' data-needs="{" ".join(numbers)}" style="--row: {place[1] + 1}; --column: {place[0] + 1}">'
        f"{body} <small>{said}</small></li>"
    )


def _curves(needs: Mapping[int, Sequence[int]], places: Mapping[int, tuple[int, int]], rows: int) -> str:
    paths = [
        f'<path d="{_curve(places[need], places[number])}" data-from="{need}" data-to="{number}"/>'
        for number, all_needs in needs.items()
        for need in all_needs
    ]
    size = f'viewBox="0 0 {100 * COLUMNS} {100 * rows}" preserveAspectRatio="none"'
    return f'<svg {size} aria-hidden="true" style="--rows: {rows}">{"".join(paths)}</svg>'


def _curve(start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the way from box to box: sideways to a neighbour, below to another one in the row, else downwards.

    Where rows lie between the two, the way goes down in the gap beside the boxes of those rows, where it is seen.
    """
    (x, y), (u, v) = ((100 * column, 100 * row) for column, row in (start, end))
    low, high = y + 100 - TOP, v + TOP
    if y == v and u - x == 100:
        return f"M{x + 100 - SIDE} {y + 50}H{u + SIDE}"
    if y == v:
        return f"M{x + 60} {low}C{x + 60} {low + 24} {u + 40} {low + 24} {u + 40} {low}"
    if v - y == 100:
        return f"M{x + 50} {low}C{x + 50} {low + TOP} {u + 50} {high - TOP} {u + 50} {high}"
    gap = u if u > x else u + 100
    into, out = y + 100 + TOP, v - TOP
    return f"M{x + 50} {low}C{x + 50} {into} {gap} {low} {gap} {into}V{out}C{gap} {high} {u + 50} {out} {u + 50} {high}"
