"""The formulas of the e-book, and what is found in one that is broken."""

import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from tools.chapters import all_chapters, read_notebook
from tools.paper.epub import read_epub, settings, write_epub
from tools.paper.epub_pages import faults, finished
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


PAGE = """<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml"><head><title>a</title>
<link rel="stylesheet" type="text/css" href="../_static/site.css" />
<script src="../_static/site.js"></script></head>
<body><div id="proof">1</div><div id="proof">2</div><h2 id="here">A</h2>{more}</body></html>"""
MATH = '<math xmlns="http://www.w3.org/1998/Math/MathML"><mi>x</mi></math>'
OPF = """<package><metadata><dc:identifier id="book">urn:uuid:1</dc:identifier></metadata>
  <manifest>
    <item id="one" href="chapters/01_a.xhtml" media-type="application/xhtml+xml" />
    <item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
    <item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml" />
    <item id="css" href="_static/site.css" media-type="text/css" />
    <item id="gone" href="_static/gone.js" media-type="text/javascript" />
    <item id="epub" href="_static/epub.css" media-type="text/css" />
    <item id="pygments" href="_static/pygments.css" media-type="text/css" />
    <item id="png" href="_static/file.png" media-type="image/png" />
  </manifest>
  <spine><itemref idref="one" />
    <itemref idref="nowhere" /></spine></package>"""


def sphinx_epub(more: str = MATH) -> dict[str, bytes]:
    """An EPUB of one chapter with the faults that Sphinx leaves in it."""
    texts = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": "<container/>",
        "content.opf": OPF.replace("<package>", '<package xmlns:dc="http://purl.org/dc/elements/1.1/">'),
        "toc.ncx": '<ncx><head><meta name="dtb:uid" content="book"/></head></ncx>',
        "nav.xhtml": '<html><head></head><body><nav><a href="chapters/01_a.xhtml">1</a></nav></body></html>',
        "chapters/01_a.xhtml": PAGE.format(more=more),
        "_static/site.css": ".a { & b { color: red } }",
        "_static/epub.css": "a { background: url(file.png) }",
        "_static/pygments.css": "",
        "_static/file.png": "",
    }
    return {name: text.encode() for name, text in texts.items()}


def test_what_sphinx_leaves_in_an_epub_is_told_and_mended() -> None:
    told = "\n".join(faults(sphinx_epub(), ["chapters/01_a"]))
    for fault in (
        "chapters/01_a.xhtml: id 'proof' stands 2 times",
        "chapters/01_a.xhtml: _static/site.js is not in the book",
        "content.opf: _static/gone.js is not in the book",
        "content.opf: no file has the id nowhere",
        "content.opf does not say that chapters/01_a.xhtml has formulas",
        "toc.ncx: the book has another identifier",
    ):
        assert fault in told
    mended = finished(sphinx_epub())
    assert faults(mended, ["chapters/01_a"]) == []
    assert "_static/site.css" not in mended, "readers do not know nested rules"
    assert b"dtb:uid" in mended["toc.ncx"]
    assert b"urn:uuid:1" in mended["toc.ncx"]
    assert b'href="../_static/reader.css"' in mended["chapters/01_a.xhtml"]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("<p>1 & 2</p>", "chapters/01_a.xhtml: not well-formed"),
        ('<a href="02_b.xhtml">2</a>', "chapters/02_b.xhtml is not in the book"),
        ('<a href="#there">2</a>', "chapters/01_a.xhtml has no place 'there'"),
        ('<i id="here" />', "id 'here' stands 2 times"),
        ('<img src="../_images/a.png" />', "_images/a.png is not in the book"),
    ],
)
def test_what_nothing_mends_is_told(more: str, fault: str) -> None:
    assert fault in "\n".join(faults(finished(sphinx_epub(more))))
    assert faults(finished(sphinx_epub('<a href="#here">1</a><a href="https://a.b/c#d">2</a>'))) == []


def test_a_chapter_that_the_table_of_contents_lacks_is_told() -> None:
    mended = finished(sphinx_epub())
    assert faults(mended, ["chapters/01_a", "chapters/02_b"]) == ["chapters/02_b is not in the table of contents"]


def test_the_table_of_contents_has_the_pages_whose_list_is_hidden() -> None:
    assert settings()["sphinx"]["config"]["epub_tocscope"] == "includehidden"


def test_an_epub_is_written_with_its_kind_first_and_not_compressed(tmp_path: Path) -> None:
    path = tmp_path / "book.epub"
    write_epub(sphinx_epub(), path)
    with zipfile.ZipFile(path) as archive:
        first = archive.infolist()[0]
    assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
    assert read_epub(path) == sphinx_epub()
