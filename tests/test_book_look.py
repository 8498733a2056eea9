"""What the build makes for the look of the site: the chapter graph, the hero, headers of chapters, the landing page."""

import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.chapters import KERNEL, all_chapters, canonical_text, read_notebook, title
from tools.common import ROOT, Problem
from tools.pages.claims import MIME_TYPE
from tools.pages.graph import Chapter, all_of, chapter_graph, read_plan, without_shortcuts
from tools.pages.header import Execution, execution, header, length, with_header
from tools.pages.hero import POINTS, SIZE, draw, hero_figure
from tools.pages.landing import landing_page

RUN = Execution(datetime(2026, 3, 5, tzinfo=UTC), 41.6, "3.12.1")


def a_chapter(*prose: str) -> NotebookNode:
    cells = [new_markdown_cell("# 7 A chapter\n\nA question."), *map(new_markdown_cell, prose), new_code_cell("x = 1")]
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


# --- The plan and its graph ---------------------------------------------------------------------------------------


def test_the_plan_and_the_contents_are_the_same_list() -> None:
    contents = (ROOT / "contents.md").read_text(encoding="utf-8")
    listed: dict[str, list[tuple[int, str]]] = {}
    for line in contents.splitlines():
        if line.startswith("## "):
            part = listed.setdefault(line[3:], [])
        elif entry := re.match(r"(\d+)\. \[?(.+?)(?:\]\(| \*\(planned\))", line):
            part.append((int(entry[1]), entry[2]))
    assert listed == {name: [(c.number, c.title) for c in chapters] for name, chapters in read_plan().items()}


@pytest.mark.parametrize("path", all_chapters(), ids=lambda path: path.stem)
def test_a_written_chapter_needs_what_its_box_says(path: Path) -> None:
    written = {int(other.name[:2]) for other in all_chapters()}
    (chapter,) = [chapter for chapter in all_of(read_plan()) if chapter.file == path.stem]
    (cell,) = [cell for cell in read_notebook(path).cells if "{admonition} Before you start" in cell.source]
    box = cell.source.split("{admonition} Before you start")[1]
    assert set(chapter.needs) & written == {int(number) for number in re.findall(r"chapter (\d+)", box)} & written
    assert title(read_notebook(path)) == f"{chapter.number} {chapter.title}"


def test_a_chapter_cannot_need_a_later_one(tmp_path: Path) -> None:
    data = tmp_path / "chapters.yml"
    data.write_text("- {part: 'Part I: A', chapters: [{number: 1, file: 01_a, title: A, needs: [2]}]}")
    with pytest.raises(Problem, match="chapter 1 needs 2, which does not come before it"):
        read_plan(data)


def test_shortcuts_are_not_drawn() -> None:
    chapters = [Chapter(n, f"0{n}_a", "A", needs) for n, needs in [(1, ()), (2, (1,)), (3, (1, 2)), (4, (1, 3))]]
    assert without_shortcuts(chapters) == {1: (), 2: (1,), 3: (2,), 4: (3,)}


def test_the_graph_links_the_written_chapters_and_names_the_others() -> None:
    parts = {"Part I: A & B": [Chapter(1, "01_a", "One", ()), Chapter(2, "02_b", "Two <", (1,))]}
    parts["Part II: C"] = [Chapter(3, "03_c", "Three", (2,))]
    graph = ElementTree.fromstring(chapter_graph(parts, ["01_a", "03_c"]))
    assert [link.get("href") for link in graph.iter("a")] == ["chapters/01_a.html", "chapters/03_c.html"]
    said = ["".join(entry.itertext()) for entry in graph.iter("li")]
    assert said == ["1 One begin here", "2 Two < planned, after 1", "3 Three after 2"]
    assert [(path.get("data-from"), path.get("data-to")) for path in graph.iter("path")] == [("1", "2"), ("2", "3")]


def test_the_graph_has_no_empty_line_which_would_end_it_in_markdown() -> None:
    graph = chapter_graph(read_plan(), ["01_vector_fields"])
    assert "\n\n" not in graph
    assert len(list(ElementTree.fromstring(graph).iter("li"))) == 30


# --- The hero -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figure() -> str:
    return draw()


def test_the_flow_of_the_hero_brings_every_point_to_its_side(figure: str) -> None:
    drawing = ElementTree.fromstring(figure)
    for name, sign in (("nde-points nde-a", 1), ("nde-points nde-b", -1)):
        points = drawing.findall(f".//g[@class='{name}']/circle")
        assert len(points) == POINTS
        assert min(sign * (int(point.get("cx", "")) - SIZE / 2) for point in points) > 50
    assert f"{2 * POINTS} of {2 * POINTS} points" in figure


def test_the_hero_is_the_same_each_time(figure: str) -> None:
    assert figure == draw()


def test_the_hero_is_small_described_and_complete_without_its_script(figure: str) -> None:
    assert len(figure.encode()) < 60_000
    drawing = ElementTree.fromstring(figure)
    ways, points = list(drawing.iter("polyline")), list(drawing.iter("circle"))
    assert len(ways) == len(points) == 2 * POINTS
    for way, point in zip(ways, points, strict=True):
        assert way.get("points", "").split()[-1] == f"{point.get('cx')},{point.get('cy')}"
        numbers = [int(number) for number in re.findall(r"-?\d+", way.get("points", ""))]
        assert 0 < min(numbers) < max(numbers) < SIZE
    assert "spiral" in drawing.find("svg").get("aria-label")
    assert not re.search(r"#[0-9a-f]{3}|rgb|<style", figure), "colours come from the theme"


def test_the_hero_is_kept_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, drawn = tmp_path / "hero.html", iter(["one", "two"])
    monkeypatch.setattr("tools.pages.hero.draw", lambda: next(drawn))
    assert [hero_figure(kept), hero_figure(kept)] == ["one", "one"]
    monkeypatch.setattr("tools.pages.hero.library_key", lambda code: "another")
    assert hero_figure(kept) == "two"


# --- The header of a chapter --------------------------------------------------------------------------------------


def test_the_length_counts_words_formulas_and_shown_code_until_the_exercises() -> None:
    prose = "word " * 100
    displays = "$$x$$ (eq-a)\n\n" * 4
    hidden = new_code_cell("x = 1\n" * 900, metadata={"tags": ["hide-input"]})
    notebook = a_chapter(prose, displays, ":::{prf:theorem} T\n:label: a\n:::", "<details>" + prose + "</details>")
    notebook.cells += [hidden, new_code_cell("x = 1\n\n" * 40)]
    notebook.cells.append(new_markdown_cell(f"## Exercises\n\n:::{{exercise}}\n{prose}\n:::\n\n:::{{exercise}}\n:::"))
    measured = length(notebook)
    assert (measured.text, measured.code, measured.exercises) == (3, 2, 2)


@pytest.mark.parametrize("path", all_chapters(), ids=lambda path: path.stem)
def test_the_time_that_a_chapter_promises_is_that_of_its_length(path: Path) -> None:
    notebook = read_notebook(path)
    text = " ".join(" ".join(cell.source for cell in notebook.cells).split())
    promised = re.search(r"Reading takes about (\d+) minutes", text)
    assert promised, "the box Before you start says how long reading takes"
    measured = length(notebook)
    assert int(promised[1]) == pytest.approx(measured.text + measured.code, rel=0.15)


def test_the_header_tells_when_and_by_what_and_offers_the_notebook_and_the_assignment() -> None:
    path = all_chapters()[0]
    text = header(path, read_notebook(path), RUN)
    assert "Executed 5 March 2026 in 42 s, with Python 3.12.1 and PyTorch 2." in text
    assert f"<../notebooks/{path.name}>" in text
    assert f"<../exercises/{path.stem}/{path.name}>" in text
    assert "colab" not in text


def test_the_header_leads_to_the_release_on_colab_when_there_is_an_address(tmp_path: Path) -> None:
    (tmp_path / "ndelib").mkdir()
    (tmp_path / "ndelib" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "_config.yml").write_text("repository: {url: https://github.com/owner/book}\n")
    text = header(Path("07_a.ipynb"), a_chapter(), None, tmp_path)
    assert "(https://colab.research.google.com/github/owner/book/blob/v1.2.3/chapters/07_a.ipynb)" in text
    assert "download" not in text, "there is no file to offer"
    assert "Executed" not in text


def test_the_header_stands_under_the_title_and_takes_the_badge_in(tmp_path: Path) -> None:
    notebook = a_chapter()
    notebook.cells.insert(1, new_markdown_cell("[Open in Colab](…)", metadata={"tags": ["colab-badge"]}))
    before = canonical_text(notebook)
    shown = with_header(Path("07_a.ipynb"), notebook, tmp_path)
    assert shown.cells[0].source.startswith("# 7 A chapter\n\n::::{only} html and not epub\n")
    assert shown.cells[0].source.endswith("::::\n\nA question.")
    assert len(shown.cells) == len(notebook.cells) - 1
    assert canonical_text(notebook) == before


def test_the_execution_is_read_from_the_kept_notebook(tmp_path: Path) -> None:
    notebook = a_chapter()
    assert execution(tmp_path / "missing.ipynb") is None
    (tmp_path / "07_a.ipynb").write_text(canonical_text(notebook))
    assert execution(tmp_path / "07_a.ipynb") is None
    notebook.metadata["language_info"] = {"name": "python", "version": "3.13.0"}
    stamps = {"iopub.status.busy": "2026-03-05T10:00:00.5Z", "shell.execute_reply": "2026-03-05T10:01:00.5Z"}
    notebook.cells[-1].metadata["execution"] = stamps
    (tmp_path / "07_a.ipynb").write_text(canonical_text(notebook))
    run = execution(tmp_path / "07_a.ipynb")
    assert run is not None
    assert (run.date.date().isoformat(), run.seconds, run.python) == ("2026-03-05", 60, "3.13.0")


# --- The landing page ---------------------------------------------------------------------------------------------


def test_the_landing_page_is_filled_and_counts_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.pages.landing.hero_figure", lambda: "<figure></figure>")
    notebook = a_chapter()
    notebook.cells[-1].outputs = [new_output("display_data", data={MIME_TYPE: {}})] * 3
    page = landing_page((ROOT / "intro.md").read_text(encoding="utf-8"), [(Path("01_vector_fields.ipynb"), notebook)])
    assert "<!-- build:" not in page
    assert "1 of 30 chapters written · [3 claims](claims.md)" in page
    assert "<figure></figure>" in page
    assert 'class="nde-graph"' in page
    with pytest.raises(Problem, match="nothing is made for <!-- build: poem -->"):
        landing_page("<!-- build: poem -->", [])
