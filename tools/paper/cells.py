"""What paper can show of a page: the cells of a chapter, their outputs, tables of claims and the landing page.

Paper has no sliders, no HTML and nothing that folds: a slider becomes its first picture, a claim a sentence, a figure
its picture with the caption below, and what the site folds stands open under its name.
"""

import re
from html import unescape

from nbformat import NotebookNode, from_dict, v4

from tools.common import Problem
from tools.pages.claims import MIME_TYPE, escape

PICTURE = re.compile(r'<img src="data:image/png;base64,([^"]+)"(?:\s+alt="([^"]*)")?')
FOLDED = re.compile(r"^<details>\s*<summary>(.+?)</summary>\n(.*?)^</details>", re.DOTALL | re.MULTILINE)
CAPTION = re.compile(r"<figcaption>(.*?)</figcaption>", re.DOTALL)

ROW = re.compile(r"<tr>(.+?)</tr>", re.DOTALL)
CELL = re.compile(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", re.DOTALL)
NOTE = re.compile(r"<(?:caption|p)\b[^>]*>(.*?)</(?:caption|p)>", re.DOTALL)
OUTPUTS = {"nb_render_markdown_format": "myst"}
"""The setting for what :func:`for_print` makes: by itself, MyST-NB knows no tables and no formulas in an output."""
SLIDER = "(On the site and in the notebook, this figure has sliders.)"

HIDDEN = {
    "hide-input": "remove-input",
    "hide-output": "remove-output",
    "hide-cell": "remove-cell",
    "setup": "remove-cell",
}
"""What the site folds away, paper leaves out; the setup cell is for Colab."""


def promise(landing: str) -> str:
    """Return the first sentences of the ``landing`` page, which say what the book is."""
    found = re.search(r"^:::\{div\} nde-promise\n(.+?)\n\n", landing, re.DOTALL | re.MULTILINE)
    if found is None:
        raise Problem("intro.md has no promise for the books on paper: no div nde-promise that begins with a paragraph")
    return " ".join(found[1].split())


def preface(landing: str) -> str:
    """Return what paper keeps of the ``landing`` page, in MyST: what the book is. The rest leads to other pages."""
    title = landing.partition("\n# ")[2].partition("\n")[0]
    different = landing.partition("## What is different here\n")[2]
    if not different:
        raise Problem("intro.md has no section 'What is different here' for the books on paper")
    return f"# {title}\n\n{promise(landing)}\n\n{different.strip()}\n"


def for_print(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of an executed ``notebook`` whose outputs paper can show."""
    copy = from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = unfolded(cell.source)
        if cell.cell_type == "code":
            tags = cell.metadata.get("tags", [])
            cell.metadata["tags"] = [HIDDEN.get(tag, tag) for tag in tags]
            cell.metadata |= _described(cell)
            cell.outputs = [new for output in cell.outputs for new in _translated(output)]
    return copy


def unfolded(markdown: str) -> str:
    """Return ``markdown`` with what it folds (answers, solutions, proofs) open below its name."""
    return FOLDED.sub(lambda match: f"**{match[1].strip()}.**\n{match[2]}", markdown)


def as_a_plan(contents: str) -> str:
    """Return the page of contents with another title: the books on paper have a table of contents, too."""
    return contents.replace("# Contents\n", "# The plan of the book\n", 1)


def with_long_tables(markdown: str) -> str:
    """Return ``markdown`` with its tables of four columns made such that they may go on over pages."""
    widths = "".join(rf">{{\raggedright\arraybackslash}}\X{{{tenths}}}{{10}}" for tenths in (4, 2, 2, 2))
    directives = f"```{{tabularcolumns}} {widths}\n```\n\n````{{table}}\n:class: longtable\n\n"
    return re.sub(r"((?:^\|.*\n)+)", lambda match: f"{directives}{match[1]}````\n", markdown, flags=re.MULTILINE)


def _described(cell: NotebookNode) -> dict[str, dict[str, dict[str, str]]]:
    """Return the metadata that gives the picture of a cell, if it has one, its alternative text: outputs cannot."""
    found = [PICTURE.search(output.get("data", {}).get("text/html", "")) for output in cell.outputs]
    texts = [unescape(picture[2]) for picture in found if picture and picture[2]]
    return {"mystnb": {"image": {"alt": texts[0], "align": "center"}}} if len(texts) == 1 else {}


def _translated(output: NotebookNode) -> list[NotebookNode]:
    data = output.get("data", {})
    html = data.get("text/html", "")
    if MIME_TYPE in data:
        text = data["text/plain"].removeprefix("✓ Claim: ")
        return [_markdown(f"**✓ Claim.** {escape(text)}")]
    picture = PICTURE.search(html)
    if picture is None:
        return [_markdown(table_as_markdown(html))] if ROW.search(html) else [output]
    shown = v4.new_output("display_data", {"image/png": picture[1]})
    words = CAPTION.search(html)
    if words is None:
        return [shown]
    text = f"*{_words(words[1])}*"
    return [shown, _markdown(f"{text} {SLIDER}" if "nde-slider" in html else text)]


def table_as_markdown(html: str) -> str:
    """Return the table of ``html``, whose first row is the headings, with caption and notes below it, in Markdown."""
    rows = [[_words(cell) for cell in CELL.findall(row)] for row in ROW.findall(html)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    notes = [_words(note) for note in NOTE.findall(html)]
    return "\n\n".join(["\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]), *notes])


def _words(html: str) -> str:
    """Return what ``html`` says, such that Markdown shows it as it stands, also in a table."""
    return escape(unescape(re.sub("<[^>]+>", "", html))).replace("|", r"\|")


def _markdown(text: str) -> NotebookNode:
    return v4.new_output("display_data", {"text/markdown": text})
