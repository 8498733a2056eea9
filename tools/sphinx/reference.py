"""A Sphinx extension: the chapters and the reference lead to each other.

Names of the library in the text of a chapter, such as ``odeint``, become links to its reference; sphinx-codeautolink
does the same for the code, and lists with each function the sections that use it. A work in the bibliography says
which chapters cite it.
"""

import re
from pathlib import Path
from typing import Any, cast

import sphinx_codeautolink.extension
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode
from sphinx_codeautolink.extension import SphinxCodeAutoLink
from sphinx_codeautolink.extension.backref import DetailsNode, SummaryNode
from sphinx_codeautolink.extension.block import CodeBlockAnalyser
from sphinxcontrib.bibtex.domain import BibtexDomain

CHAPTERS = "chapters/"
COLLECTING = ("api/", "references", "theorems")
"""Pages that say where in the chapters something is: they are made again when a chapter changes."""
TARGETS = ("api/", "glossary", "references")
"""Pages that chapters lead to by links that no author wrote: a change of theirs makes the chapters again."""


class ChapterAnalyser(CodeBlockAnalyser):
    """Reads the code of a page, with the headings it stands under.

    Theorems are sections without a title, and boxes have titles without a section: neither is a heading, but the
    original takes both for one.
    """

    def visit_title(self, node: nodes.title) -> None:
        """Enter the title of a section."""
        if isinstance(node.parent, nodes.section):
            super().visit_title(node)

    def visit_section(self, node: nodes.section) -> None:
        """Enter a section with a title."""
        if _has_title(node):
            super().visit_section(node)

    def depart_section(self, node: nodes.section) -> None:
        """Leave a section with a title."""
        if _has_title(node):
            super().depart_section(node)


def _has_title(section: nodes.section) -> bool:
    return any(type(child) is nodes.title for child in section)


def public_names(env: BuildEnvironment) -> dict[str, tuple[str, str]]:
    """Return page and anchor of each entry of the reference, by full name and, where it is the only one, short name."""
    objects = cast(PythonDomain, env.get_domain("py")).objects
    places = {name: (entry.docname, entry.node_id) for name, entry in objects.items() if entry.objtype != "module"}
    for name in sorted(places, key=lambda name: name.count(".")):  # ndelib.odeint before ndelib.solvers.odeint
        if objects[name].objtype in ("function", "class", "exception", "data"):
            places.setdefault(name.rpartition(".")[2], places[name])
            places.setdefault(name.removeprefix("ndelib."), places[name])
    return places


CODE = re.compile(r"(^ *>>> .*(?:\n.*\S.*)*|``[^`]+``)", re.MULTILINE)
"""What is code in a docstring: a paragraph that begins with Python's prompt, and what stands between back-ticks."""

HIDDEN_COLON = "\ue000"
"""Stands for a colon while napoleon reads: in a property's docstring and in what a function returns, it would take the
words before the colon for a type."""


def escape_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Protect shapes such as (T, *), (*c) and norms such as |y|, which mean something else in reStructuredText."""
    parts = CODE.split("\n".join(lines))
    for index in range(0, len(parts), 2):  # the others are code
        parts[index] = re.sub(r"(?<![\w*])\*(?![\w*]|$)|(?<![\w*])\*(?=\w+[,)])|\|", r"\\\g<0>", parts[index])
    text = "".join(parts)
    no_types = r".*" if what in ("property", "attribute") else r"(?<=^Returns:\n).*?(?=^\S|\Z)"
    hidden = re.sub(no_types, lambda match: match[0].replace(":", HIDDEN_COLON), text, flags=re.DOTALL | re.MULTILINE)
    lines[:] = hidden.split("\n")


def show_colons(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Undo what :func:`escape_docstring` did for napoleon."""
    lines[:] = [line.replace(HIDDEN_COLON, ":") for line in lines]


def find_by_short_name(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, text: nodes.Element
) -> nodes.reference | None:
    """Resolve a reference in a docstring, such as ``:func:`solve_ivp```, wherever the reference has its entry."""
    place = public_names(env).get(node["reftarget"]) if node.get("refdomain") == "py" else None
    return make_refnode(app.builder, node["refdoc"], *place, text) if place else None


def link_names(app: Sphinx, document: nodes.document, page: str) -> None:
    """Make links of the library's names in the text of a chapter."""
    if not page.startswith(CHAPTERS) or app.builder.format != "html":
        return
    places = public_names(app.env)
    for literal in list(document.findall(nodes.literal)):
        name = literal.astext().removesuffix("()")
        if name not in places or _is_inside(literal, nodes.reference):
            continue
        target, anchor = places[name]
        address = app.builder.get_relative_uri(page, target)
        literal.replace_self(nodes.reference("", "", literal.deepcopy(), refuri=f"{address}#{anchor}", internal=True))


def _is_inside(node: nodes.Node, kind: type[nodes.Node]) -> bool:
    while node := node.parent:
        if isinstance(node, kind):
            return True
    return False


def list_uses(app: Sphinx, document: nodes.document, page: str) -> None:
    """Turn sphinx-codeautolink's tables of the places that use a name, which stand in paragraphs, into lists."""
    for table in list(document.findall(DetailsNode)):
        links = [row.next_node(nodes.reference) for row in table.findall(nodes.row)]
        items = [nodes.list_item("", nodes.paragraph("", "", link)) for link in links]
        uses = DetailsNode("", SummaryNode("", "Used in the chapters"), nodes.bullet_list("", *items))
        table.parent.replace_self(uses)


def use_public_names(app: Sphinx, env: BuildEnvironment) -> None:
    """Tell sphinx-codeautolink where a name has its entry that is defined in one module and offered in another."""
    objects = cast(PythonDomain, env.get_domain("py")).objects
    app.config.codeautolink_inventory_map |= {name: entry.node_id for name, entry in objects.items() if entry.aliased}


def say_who_cites(app: Sphinx, document: nodes.document, page: str) -> None:
    """Add to each work in the bibliography the chapters that cite it, with a link to the first place in each."""
    if app.builder.format != "html":
        return
    keys = {citation.citation_id: citation.key for citation in cast(BibtexDomain, app.env.get_domain("cite")).citations}
    for entry in document.findall(nodes.citation):
        places = _first_citations(app.env, next(keys[name] for name in entry["ids"] if name in keys))
        if not places:
            continue
        said = nodes.inline("", "Cited in chapter " if len(places) == 1 else "Cited in chapters ", classes=["cited-in"])
        for index, (chapter, anchor) in enumerate(places):
            uri = f"{app.builder.get_relative_uri(page, chapter)}#{anchor}"
            said += [nodes.Text(", ")] if index else []
            said += nodes.reference("", _number(app.env, chapter), refuri=uri, internal=True)
        entry[-1] += [nodes.Text(" "), said, nodes.Text(".")]


def _first_citations(env: BuildEnvironment, key: str) -> list[tuple[str, str]]:
    """Return the chapters that cite the work, in their order, and the anchor of the first citation in each."""
    found: dict[str, tuple[int, str]] = {}
    for reference in cast(BibtexDomain, env.get_domain("cite")).citation_refs:
        if key in {target.key for target in reference.targets} and reference.docname.startswith(CHAPTERS):
            place = (reference.line, reference.citation_ref_id)
            found[reference.docname] = min(place, found.get(reference.docname, place))
    return [(chapter, anchor) for chapter, (_, anchor) in sorted(found.items())]


def _number(env: BuildEnvironment, chapter: str) -> str:
    return env.titles[chapter].astext().split()[0]


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> set[str]:
    """Name the pages that have to be made again, with the pages that changed."""
    pages = added | changed | removed
    if added or removed:
        return set(env.found_docs)  # the navigation of every page lists them
    again: tuple[str, ...] = COLLECTING if any(page.startswith(CHAPTERS) for page in pages) else ()
    again += (CHAPTERS,) if any(page.startswith(TARGETS) for page in pages) else ()
    return {page for page in env.found_docs if page.startswith(again)} if again else set()


def link_again(app: Sphinx, page: str, *_: object) -> None:
    """Have the code of every page that is written linked; sphinx-codeautolink knows only those whose source changed."""
    for listener in app.events.listeners["build-finished"]:
        extension = getattr(listener.handler, "__self__", None)
        if isinstance(extension, SphinxCodeAutoLink):
            extension.outdated_docs.add(str(Path(page)))


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx; a change of this file makes all pages again."""
    app.add_config_value("sphinx_reference", Path(__file__).read_text(encoding="utf-8"), "env")
    sphinx_codeautolink.extension.CodeBlockAnalyser = ChapterAnalyser
    app.connect("autodoc-process-docstring", escape_docstring, priority=100)
    app.connect("autodoc-process-docstring", show_colons, priority=900)
    app.connect("missing-reference", find_by_short_name)
    app.connect("env-updated", use_public_names, priority=400)
    app.connect("doctree-resolved", link_names)
    app.connect("doctree-resolved", list_uses, priority=900)
    app.connect("doctree-resolved", say_who_cites)
    app.connect("html-page-context", link_again)
    app.connect("env-get-outdated", outdated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
