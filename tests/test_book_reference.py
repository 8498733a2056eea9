"""The reference part of the book: the library's pages, the glossary, notation, theorems, and links among them."""

import ast
import importlib
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.chapters import all_chapters, read_notebook
from tools.common import ROOT, Problem
from tools.pages.theorems import ALGORITHMS, Statement, algorithms, statements, theorems_page
from tools.paper.pdf import contents
from tools.sphinx.glossary import Entry, TermMark, mark, pattern
from tools.sphinx.reference import ChapterAnalyser, escape_docstring, outdated, show_colons

PACKAGES = [
    "ndelib",
    "ndelib.solvers",
    "ndelib.adjoints",
    "ndelib.dynamics",
    "ndelib.models",
    "ndelib.discovery",
    "ndelib.physics",
    "ndelib.training",
    "ndelib.datasets",
    "ndelib.plotting",
    "ndelib.exercises",
]
ENTRY = re.compile(r"^\.\. (?:auto(?:function|class|exception)|(data)):: (\S+)", re.MULTILINE)


def documented() -> Counter[str]:
    """Return the full names that have an entry on the pages of the library, with how many."""
    found: Counter[str] = Counter()
    for page in (ROOT / "api").glob("*.md"):
        module = f"ndelib.{page.stem}."  # which `data` stands under
        found.update(module + name if data else name for data, name in ENTRY.findall(page.read_text(encoding="utf-8")))
    return found


def object_at(name: str) -> object:
    """Import the object with the given full name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def test_every_public_object_has_one_entry() -> None:
    entries = documented()
    assert [name for name, count in entries.items() if count > 1] == []
    places: dict[int, list[str]] = {}
    for name in entries:
        places.setdefault(id(object_at(name)), []).append(name)
    public = [f"{package}.{name}" for package in PACKAGES for name in importlib.import_module(package).__all__]
    public += [f"ndelib.claims.{name}" for name in ("claim", "Claim", "ClaimFailed")]
    for name in public:
        value = object_at(name)
        if type(value).__name__ != "module":
            assert len(places.get(id(value), [])) == 1, (
                f"{name} needs one entry on a page in api/: {places.get(id(value))}"
            )


def test_what_the_chapters_import_of_the_library_has_an_entry() -> None:
    entries = {id(object_at(name)) for name in documented()}
    for path in all_chapters():
        for cell in read_notebook(path).cells:
            if cell.cell_type != "code" or "ndelib" not in cell.source or "%pip" in cell.source:
                continue
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ndelib"):
                    for alias in node.names:
                        value = object_at(f"{node.module}.{alias.name}")
                        assert type(value).__name__ == "module" or id(value) in entries, f"{path.name}: {alias.name}"


def test_shapes_and_norms_in_docstrings_are_no_markup() -> None:
    lines = [
        "States (T, *), *emphasised*, a cost (*c), |y|, and ``f(*args) | g``.",
        "",
        "Args:",
        "    **options: more.",
    ]
    escape_docstring(None, "function", "f", None, None, lines)
    assert lines[0] == r"States (T, \*), *emphasised*, a cost (\*c), \|y\|, and ``f(*args) | g``."
    assert lines[3] == "    **options: more."


def test_the_code_of_an_example_stays_as_it_is() -> None:
    lines = [
        "Solve (T, *).",
        "",
        "Example:",
        "    >>> a = 2 * 3 | 4  # ``b`` * c",
        "    >>> print(a, '*')",
        "    6 *",
        "",
        "A (*).",
    ]
    before = list(lines)
    escape_docstring(None, "function", "f", None, None, lines)
    assert lines[1:-1] == before[1:-1]
    assert (lines[0], lines[-1]) == (r"Solve (T, \*).", r"A (\*).")


def test_words_before_a_colon_are_no_type() -> None:
    lines = ["Return it.", "", "Args:", "    x: a number.", "", "Returns:", "    On the line: one.", "", "More: text."]
    before = list(lines)
    escape_docstring(None, "function", "f", None, None, lines)
    assert [index for index, line in enumerate(lines) if ":" not in line and ":" in before[index]] == [6]
    show_colons(None, "function", "f", None, None, lines)
    assert lines == before


def section(title: str, *content: nodes.Node, name: str = "") -> nodes.section:
    made = nodes.section("", *([nodes.title("", title)] if title else []), *content)
    made["ids"] = [name or title.lower()]
    return made


def test_theorems_and_boxes_are_no_headings_for_the_code_below_them() -> None:
    document = new_document(str(ROOT / "chapters" / "x.ipynb"))
    box = nodes.admonition("", nodes.title("", "Before you start"))
    theorem = section("", nodes.paragraph("", "It holds."), name="proof-content")
    code = nodes.literal_block("", "import ndelib\nndelib.methods()", language="python")
    document += section("Chapter", box, section("Part", theorem, code))
    analyser = ChapterAnalyser(
        document,
        source_dir=ROOT,
        global_preface=[],
        custom_blocks={},
        concat_default=True,
        default_highlight_lang="python",
        warn_default_parse_fail=False,
    )
    document.walkabout(analyser)
    (found,) = analyser.source_transforms
    assert found.example.headings == ["Chapter", "Part"]
    assert found.example.ref_id == "part"


def test_pages_that_collect_are_made_again_with_the_chapters() -> None:
    class Environment:
        found_docs = frozenset({"intro", "chapters/01_a", "chapters/03_b", "api/ndelib", "references", "glossary"})

    env = Environment()
    assert outdated(None, env, set(), {"chapters/01_a"}, set()) == {"api/ndelib", "references"}
    assert outdated(None, env, set(), {"glossary"}, set()) == {"chapters/01_a", "chapters/03_b"}
    assert outdated(None, env, set(), {"intro"}, set()) == set()
    assert outdated(None, env, {"chapters/03_b"}, set(), set()) == env.found_docs


def parsed(text: str) -> nodes.document:
    document = new_document("x", get_default_settings(Parser))
    Parser().parse(text, document)
    return document


def marks(document: nodes.document) -> list[str]:
    return [word.astext() for word in document.findall(TermMark)]


def entry(*names: str) -> Entry:
    return Entry(names, f"term-{names[0]}", nodes.paragraph("", "What it is."))


def test_the_first_use_of_a_term_in_prose_is_marked() -> None:
    text = "Fixed points\n============\n\n*fixed point*, ``fixed point``, a fixed\npoint, fixed points, FSAL, FSAL."
    document = parsed(text)
    mark(document, [entry("fixed point"), entry("FSAL", "first same as last")], "../glossary.html")
    assert marks(document) == ["fixed\npoint", "FSAL"]
    (first, _) = document.findall(TermMark)
    assert first["address"] == "../glossary.html#term-fixed point"
    assert document.astext() == parsed(text).astext(), "the text itself stays as it was"


@pytest.mark.parametrize(
    ("names", "text", "found"),
    [
        (["adjoint", "continuous adjoint"], "the continuous adjoint", "continuous adjoint"),
        (["stiff"], "stiffness", None),
        (["Euler's method"], "Euler’s method", "Euler’s method"),
        (["order (of a method)"], "in order to", None),
        (["leapfrog"], "Leapfrog", "Leapfrog"),
        (["ODE"], "ode", None),
        (["saddle"], "two saddles", "saddles"),
    ],
)
def test_terms_are_found_as_they_are_written(names: list[str], text: str, found: str | None) -> None:
    match = pattern(names).search(text)
    assert (match and match[0]) == found


def glossary_names() -> list[str]:
    lines = (ROOT / "glossary.md").read_text(encoding="utf-8").split("```{glossary}")[1].splitlines()[2:]
    return [line for line in lines if line and not line.startswith((" ", "`"))]


def test_every_term_of_the_glossary_is_a_word_of_the_book() -> None:
    cells = [cell.source for path in all_chapters() for cell in read_notebook(path).cells]
    book = " ".join("\n".join(cells).replace("*", "").split()).lower()
    names = glossary_names()
    assert 60 <= len(names) <= 25 * len(all_chapters())
    known_elsewhere = {"log-signature", "brownian bridge", "wiener process", "lyapunov exponent", "butcher tableau"}
    known_elsewhere |= {"stratonovich's integral"}  # the chapter names it by half a sentence
    missing = {name.lower() for name in names if name.partition(" (")[0].lower() not in book} - known_elsewhere
    assert not missing, f"no chapter uses {missing}"
    assert len(names) == len({name.lower() for name in names})


def test_the_symbols_of_the_notation_stand_in_the_chapters_that_explain_them() -> None:
    chapters = {str(int(path.name[:2])): path for path in all_chapters()}
    text = {
        number: re.sub(r"\s", "", "\n".join(cell.source for cell in read_notebook(path).cells))
        for number, path in chapters.items()
    }
    rows = re.findall(
        r"^\| (.+?) \| .+ \| \[chapter (\d+)\]\(chapters/(\d+)_", (ROOT / "notation.md").read_text(), re.M
    )
    assert len(rows) > 60
    missing = []
    for symbols, number, file in rows:
        assert int(number) == int(file)
        for symbol in re.findall(r"\$(.+?)\$", symbols):
            for part in symbol.replace(r"\cdot", "").replace(r"\rvert", "").replace(r"\rVert", "").split("="):
                letters = re.sub(r"\s", "", part.split("(")[0])
                missing += [f"chapter {number}: {part}"] if letters not in text[number] else []
    assert missing == []


CHAPTER = new_notebook(
    cells=[
        new_markdown_cell("# 31 A chapter"),
        new_markdown_cell("## First part\n\n:::{prf:theorem} All is well\n:label: thm-well\nIt is.\n:::"),
        new_markdown_cell(
            ":::{prf:proof}\nBy hand.\n:::\n\n::::{prf:definition} Well\n:nonumber:\n:label: def-well\n::::"
        ),
        new_code_cell("def solve(f):\n    return f"),
    ]
)


def test_the_page_of_theorems_lists_them_by_kind_and_chapter() -> None:
    assert statements(CHAPTER) == [
        Statement("theorem", "All is well", "thm-well"),
        Statement("definition", "Well", "def-well"),
    ]
    page = theorems_page([(Path("31_a.ipynb"), CHAPTER)])
    assert page.index("## Definitions") < page.index("{prf:ref}`def-well`: Well") < page.index("## Theorems")
    assert "**31 A chapter**\n\n- {prf:ref}`thm-well`: All is well" in page
    assert "Lemmas" not in page
    assert "Methods in code" not in page


def test_every_theorem_of_the_book_is_listed() -> None:
    for path in all_chapters():
        notebook = read_notebook(path)
        text = "\n".join(cell.source for cell in notebook.cells)
        stated = re.findall(r"\{prf:(?!proof|ref)\w+\}", text)
        assert len(statements(notebook)) == len(stated), path.name


def test_an_algorithm_is_listed_with_the_section_that_writes_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALGORITHMS, "31", {"solve": "how to solve"})
    (line,) = algorithms(Path("31_a.ipynb"), CHAPTER)
    assert line == "- how to solve: `solve`, in [First part](chapters/31_a.ipynb#first-part)"
    monkeypatch.setitem(ALGORITHMS, "31", {"gone": "how to vanish"})
    with pytest.raises(Problem, match=r"31_a.ipynb defines no gone"):
        algorithms(Path("31_a.ipynb"), CHAPTER)


def test_the_pdf_has_the_glossary_but_not_the_library() -> None:
    files = re.findall(r"file: (\S+)", yaml.safe_dump(contents()))
    assert {"glossary", "notation", "theorems", "references"} <= set(files)
    assert [name for name in files if name.startswith("api/")] == []
