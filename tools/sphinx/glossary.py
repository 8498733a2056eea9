"""A Sphinx extension: the first use of a glossary term in a chapter shows its definition.

Notebooks hold plain text, which reads the same everywhere, so the build finds the terms. The word becomes a link to
the glossary that is described by a tip; the tip stands in the page, and ``_static/reference.js`` shows it. A term with
a bracket, such as *order (of a method)*, is looked up but never marked: its word has other meanings too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import glossary, pending_xref
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

PAGE = "glossary"
CHAPTERS = "chapters/"


@dataclass(frozen=True)
class Entry:
    """An entry of the glossary: its names, its anchor on the page, and the first paragraph of its definition."""

    names: tuple[str, ...]
    anchor: str
    definition: nodes.paragraph


class TermMark(nodes.inline):
    """A word with a tip. What the tip says is no child, so that the search does not find it in every chapter."""


def entries(document: nodes.document) -> list[Entry]:
    """Return the entries of all glossaries in ``document``."""
    items = [item for box in document.findall(glossary) for item in box.findall(nodes.definition_list_item)]
    return [_entry(item) for item in items]


def _entry(item: nodes.definition_list_item) -> Entry:
    terms = list(item.findall(nodes.term))
    definition = next(item.findall(nodes.paragraph)).deepcopy()
    for link in list(definition.findall(lambda node: isinstance(node, (nodes.reference, pending_xref)))):
        link.replace_self(nodes.Text(link.astext()))
    return Entry(tuple(term.astext() for term in terms), terms[0]["ids"][0], definition)


def pattern(names: Sequence[str]) -> re.Pattern[str]:
    """Return what finds any of ``names`` as a whole word, longer ones first, in the plural too."""
    words = [_as_written(name) for name in sorted(names, key=len, reverse=True) if "(" not in name]
    return re.compile(rf"(?<![\w-])(?:{'|'.join(words)})s?(?![\w-])") if words else re.compile(r"(?!)")


def _as_written(name: str) -> str:
    """Return a pattern for ``name`` at the start of a sentence or in it, with any apostrophe, over a line's end."""
    first = f"[{name[0].upper()}{name[0]}]" if name[0].islower() else re.escape(name[0])
    rest = re.escape(name[1:]).replace(r"\ ", r"\s+").replace("'", "['’]")
    return first + rest


def mark(document: nodes.document, known: Sequence[Entry], address: str) -> None:
    """Mark the first use of each of the ``known`` entries in the running text of ``document``."""
    left = list(known)
    for text in list(document.findall(nodes.Text)):
        if _is_prose(text):
            text.parent.replace(text, _marked(text.astext(), left, address))


def _is_prose(text: nodes.Text) -> bool:
    """Say whether ``text`` stands directly in a paragraph: no heading, code, formula, link, emphasis or caption."""
    if not isinstance(text.parent, nodes.paragraph):
        return False
    node = text.parent
    while node := node.parent:
        if isinstance(node, (nodes.table, nodes.figure, nodes.footnote, nodes.topic)):
            return False
    return True


def _marked(text: str, left: list[Entry], address: str) -> list[nodes.Node]:
    """Return ``text`` with marks; an entry that was used is taken from those that are ``left``."""
    found: list[nodes.Node] = []
    start = 0
    while match := pattern([name for entry in left for name in entry.names]).search(text, start):
        entry = next(entry for entry in left if pattern(entry.names).fullmatch(match[0]))
        left.remove(entry)
        found += [nodes.Text(text[start : match.start()])] if match.start() > start else []
        word = TermMark("", match[0], address=f"{address}#{entry.anchor}", tip=f"tip-{entry.anchor}")
        word["definition"] = entry.definition
        found.append(word)
        start = match.end()
    return [*found, nodes.Text(text[start:])] if start < len(text) else found


def on_resolved(app: Sphinx, document: nodes.document, page: str) -> None:
    """Mark the terms of a chapter of the site."""
    if page.startswith(CHAPTERS) and PAGE in app.env.found_docs and app.builder.format == "html":
        mark(document, entries(app.env.get_doctree(PAGE)), app.builder.get_relative_uri(page, PAGE))


def visit(translator: HTML5Translator, node: TermMark) -> None:
    """Write the link."""
    attributes = {"href": node["address"], "class": "nde-term", "aria-describedby": node["tip"]}
    translator.body.append(translator.starttag(node, "a", "", **attributes))


def depart(translator: HTML5Translator, node: TermMark) -> None:
    """Write the tip behind it."""
    translator.body.append(f'</a><span class="nde-tip" role="tooltip" id="{node["tip"]}">')
    for child in node["definition"].children:
        child.walkabout(translator)
    translator.body.append("</span>")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx; a change of this file makes all pages again."""
    app.add_config_value("sphinx_glossary", Path(__file__).read_text(encoding="utf-8"), "env")
    app.add_node(TermMark, html=(visit, depart))
    app.connect("doctree-resolved", on_resolved)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
