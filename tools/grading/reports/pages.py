"""HTML: a feedback page for each student, and one page for the lecturer about the class."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from tools.assignments import MasterQuestion
from tools.grading.reports.items import ENOUGH, Question
from tools.grading.reports.similarity import Pair
from tools.grading.text import visible

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
section { border-left: 4px solid #d55e00; padding: 0.1rem 1rem; margin: 1rem 0; }
section.full { border-color: #009e73; }
.hint { font-style: italic; }
.comment { border: 1px solid #8888; padding: 0.5rem 1rem; }
pre { overflow-x: auto; border-bottom: 1px solid #8888; padding-bottom: 0.5rem; font-size: 0.85em; }
code { font-size: 0.9em; overflow-wrap: anywhere; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { text-align: left; padding: 0.2rem 0.8rem 0.2rem 0; border-bottom: 1px solid #8888; vertical-align: top; }
td.number { text-align: right; }
"""
LONGEST_CODE = 200_000
"""Characters of a notebook's code that its page shows."""
# No script and nothing from elsewhere runs in a page, whatever a submission has put into its messages.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(title: str, body: str) -> str:
    """Return a whole page around ``body``."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


@dataclass(frozen=True)
class Marks:
    """What a student gets: points of the questions, in all, comments of the lecturer, and the code that was judged."""

    points: Mapping[str, float]
    total: float | None
    comments: Sequence[tuple[str, str]] = ()
    code: Sequence[str] = ()


def feedback(
    title: str, who: str, outcome: dict[str, Any], questions: Sequence[MasterQuestion], note: str, marks: Marks
) -> str:
    """Return a student's page: points, what every failed test teaches, what the lecturer says, and the code.

    Of a hidden test it shows the author's hint alone. Its message would show its data, and a submission may have put
    into an error whatever its functions were called with. Without ``questions``, nothing was graded, it has no points.
    """
    total = sum(question["points"] for question in questions)
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{escape(visible(who))}</p>"]
    if questions and marks.total is not None:
        parts.append(f"<p><strong>{marks.total:g} of {in_points(total)}</strong></p>")
    if note:
        parts.append(f"<p>{_text(note)}</p>")
    asked = {question["name"] for question in questions}
    parts += [f'<p class="comment">{_text(comment)}</p>' for name, comment in marks.comments if name not in asked]
    happened = [*outcome["undone"], *outcome["errors"]]
    if happened:
        items = "".join(f"<li>{_text(what)}</li>" for what in happened)
        parts.append(f"<p>When your notebook was run from top to bottom:</p><ul>{items}</ul>")
    for question in questions:
        name = question["name"]
        comments = [comment for about, comment in marks.comments if about == name]
        verdicts = outcome["tests"].get(name, [])
        parts.append(_question(question, marks.points.get(name, 0.0), verdicts, comments))
    if marks.code:
        parts.append(_code(marks.code))
    return page(title, "\n".join(parts))


def _code(cells: Sequence[str]) -> str:
    """Return the cells that were judged, folded; of a very long notebook the beginning."""
    shown, left = [], LONGEST_CODE
    for source in cells:
        shown.append(f"<pre>{escape(visible(source[:left]))}</pre>")
        left -= len(source)
        if left <= 0:
            shown.append("<p>…</p>")
            break
    return f"<details><summary>The code that was judged</summary>{''.join(shown)}</details>"


def _question(question: MasterQuestion, score: float, verdicts: list[dict[str, Any]], comments: Sequence[str]) -> str:
    messages: dict[str, None] = {f'<p class="comment">{_text(comment)}</p>': None for comment in comments}
    for verdict in verdicts:
        if not verdict["passed"]:
            if verdict["hidden"]:
                messages[f"<p>A hidden test ({in_points(verdict['points'])}) fails. {_hint(verdict)}</p>"] = None
            else:
                said = verdict["message"].removesuffix(verdict["hint"]).strip()
                messages[f"<p>{_text(said)} {_hint(verdict)}</p>"] = None
    full = ' class="full"' if score == question["points"] else ""
    heading = f"{question['name']} · {question['title']} · {score:g} of {in_points(question['points'])}"
    return f"<section{full}><h2>{escape(heading)}</h2>{''.join(messages)}</section>"


def in_points(number: float) -> str:
    """Return so many points in words."""
    return f"{number:g} point{'' if number == 1 else 's'}"


def _hint(verdict: dict[str, Any]) -> str:
    return f'<span class="hint">{_text(verdict["hint"])}</span>' if verdict["hint"] else ""


def class_report(
    title: str,
    summary: dict[str, str],
    items: Sequence[Question],
    pairs: Sequence[Pair],
    attention: Mapping[str, str],
    links: Mapping[str, str],
) -> str:
    """Return the lecturer's page: numbers, what needs a look, item analysis, commonest failures, pairs that are alike.

    ``attention`` says of submissions why to look at them; ``links`` are the pages of all.
    """
    parts = [f"<h1>{escape(title)}</h1>", _table(["", ""], [[key, value] for key, value in summary.items()])]
    head = ["question", "points", "mean", "all points", "goes with the rest", "remark"]
    rows = []
    for q in items:
        shares = [_percent(q.mean), _percent(q.full), _number(q.discrimination)]
        rows.append([f"{q.name} · {q.title}", f"{q.points:g}", *shares, q.remark])
    if attention:
        parts.append("<h2>To look at</h2>")
        parts.append(
            _rows(["submission", "why"], [[_link(name, links), _text(why)] for name, why in attention.items()])
        )
    parts += [
        "<h2>Questions</h2>",
        _table(head, rows),
        "<p>The mean is the share of the points that were earned. How a question goes with the rest is the correlation"
        " of its points with those of all other questions: near 1, whoever has it has the others too; below 0.2, it"
        f" measures something else, or nothing. Of fewer than {ENOUGH} submissions it says little.</p>",
        "<h2>What goes wrong</h2>",
    ]
    for question in items:
        for test in question.tests:
            if test.failing:
                kind = "hidden" if test.hidden else "public"
                name = f"{escape(question.name)}: <code>{escape(test.name)}</code>"
                parts.append(f"<h3>{name}, {kind}, failed by {_percent(test.failing)}</h3>")
                found = [[str(len(who)), _text(message), _folded(who, links)] for message, who in test.messages]
                parts.append(_rows(["students", "message", "who"], found))
    parts.append("<h2>Alike</h2>")
    if pairs:
        found = [
            [_link(pair.first, links), _link(pair.second, links), _percent(pair.share), str(pair.shared)]
            for pair in pairs
        ]
        parts.append(_rows(["first", "second", "shared", "fingerprints"], found))
    parts.append(
        "<p>Shared is the part of the shorter submission that stands in the other one too, names, numbers, texts and"
        " comments apart, without what was handed out and what many have. It is a reason to look, and no proof: short"
        " questions have few right answers.</p>"
    )
    return page(title, "\n".join(parts))


def _link(name: str, links: Mapping[str, str]) -> str:
    target = links.get(name)
    return f'<a href="{escape(quote(target))}">{_text(name)}</a>' if target else _text(name)


def _folded(names: Sequence[str], links: Mapping[str, str]) -> str:
    listed = ", ".join(_link(name, links) for name in names)
    return listed if len(names) <= 3 else f"<details><summary>{len(names)}</summary>{listed}</details>"


def _table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table of plain text."""
    return _rows(head, [[_text(cell) for cell in row] for row in rows])


def _rows(head: list[str], rows: list[list[str]]) -> str:
    """Return a table of cells in HTML."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.0f} %"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _text(text: str) -> str:
    """Plain text as HTML: escaped, line breaks kept, `code` set as code."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", escape(visible(text))).replace("\n", "<br>")
