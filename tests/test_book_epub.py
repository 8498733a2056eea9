"""The formulas of the e-book, and what is found in one that is broken."""

import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from tools.chapters import all_chapters, read_notebook
from tools.paper.epub import faults
from tools.sphinx.mathml import mathml

MATHML = "{http://www.w3.org/1998/Math/MathML}"


def formulas(path: Path) -> list[tuple[str, bool]]:
    """Return the formulas of a chapter, and whether each is displayed."""
    reader = MarkdownIt().use(dollarmath_plugin, double_inline=True)
    text = "\n\n".join(cell.source for cell in read_notebook(path).cells if cell.cell_type == "markdown")
    tokens = [token for block in reader.parse(text) for token in (block, *(block.children or []))]
    return [(token.content, token.type != "math_inline") for token in tokens if token.type.startswith("math")]


@pytest.mark.parametrize("path", all_chapters(), ids=lambda path: path.stem)
def test_every_formula_of_a_chapter_becomes_mathml(path: Path) -> None:
    found = formulas(path)
    assert len(found) > 100
    for latex, display in found:
        element = ElementTree.fromstring(mathml(latex, display))
        assert element.tag == f"{MATHML}math"
        assert not [part.text for part in element.iter() if part.text and "\\" in part.text], latex


def test_a_fraction_and_aligned_lines_have_their_structure() -> None:
    fraction = ElementTree.fromstring(mathml(r"\tfrac12"))
    assert [part.text for part in fraction.find(f".//{MATHML}mfrac") or []] == ["1", "2"]
    lines = ElementTree.fromstring(mathml(r"\begin{aligned} a &= b \\ c &= d \end{aligned}", True))
    assert len(lines.findall(f".//{MATHML}mtr")) == 2


def test_letters_of_other_alphabets_are_letters_of_unicode() -> None:
    assert all(letter in mathml(r"\mathbb E\,\mathcal{L} \in \mathbb R") for letter in "𝔼ℒℝ")


def test_a_page_that_is_no_xml_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "book.epub"
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("good.xhtml", "<p>1 &lt; 2</p>")
        book.writestr("bad.xhtml", "<p>1 & 2</p>")
        book.writestr("picture.png", b"\x89PNG")
    assert [fault.split(":")[0] for fault in faults(path)] == ["bad.xhtml"]
