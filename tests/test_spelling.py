"""The spelling check reads prose, and only prose."""

from pathlib import Path

import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import spelling

WORDS = spelling.american_words()


def found(path: Path) -> list[str]:
    return [line.rpartition("/")[2] for line in spelling.americanisms(path, WORDS)]


def test_american_words_of_a_page_are_found_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("A page.\n\nIts behavior, and `color`.\n")
    assert found(tmp_path / "page.md") == ["page.md:3: behavior ==> behaviour"]


def test_a_notebook_is_read_cell_by_cell_and_its_code_is_not(tmp_path: Path) -> None:
    cells = [new_code_cell("behavior = 1"), new_markdown_cell("Good.\nNeighbors.")]
    write(new_notebook(cells=cells), tmp_path / "01_a.ipynb")
    assert found(tmp_path / "01_a.ipynb") == ["01_a.ipynb:cell 2:2: Neighbors ==> neighbours"]


def test_comments_and_docstrings_of_code_are_prose(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('"""One.\n\nThe neighbor.\n"""\ncolor = "favorite"  # my favorite\n')
    assert found(tmp_path / "a.py") == ["a.py:5: favorite ==> favourite", "a.py:3: neighbor ==> neighbour"]


@pytest.mark.parametrize(
    "text",
    [
        "$color$ and $$\ncolor\n$$",
        "```python\ncolor = 1\n```",
        "[a page](https://example.org/color.html)",
        "a computer program on disk, and the practice of it",
        "Hairer, *Behavior of Solutions*, 1993",
        "plt.color and set_color",
    ],
)
def test_code_formulas_addresses_and_titles_are_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "page.md").write_text(text)
    assert found(tmp_path / "page.md") == []


def test_british_words_are_right(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("optimise, optimiser, colour, behaviour, modelled, centre, grey, analyse")
    assert found(tmp_path / "page.md") == []


def test_the_files_of_the_book_are_read_and_what_is_built_is_not() -> None:
    names = {path.relative_to(spelling.ROOT).as_posix() for path in spelling.prose_files()}
    assert {"README.md", "chapters/01_vector_fields.ipynb", "ndelib/__init__.py", "tests/test_spelling.py"} <= names
    assert not [name for name in names if name.startswith(("_build/", ".venv/"))]
