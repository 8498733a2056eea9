"""Making the site: the page of claims, staging, faults in one line, and the text form of a chapter."""

from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.chapters import KERNEL, all_chapters, canonical_text, faults, find_chapter, read_notebook
from tools.common import ROOT, Problem
from tools.pages.claims import MIME_TYPE, claims_in, claims_page, escape, processor, without_claim_data
from tools.serve import WATCHED
from tools.site import SOURCES, _has_all, check_toc, first_fault, publish, stage
from tools.text import to_notebook, to_text

CLAIM = {"sentence": "x* of |x| is 0", "expected": "0 ± 1e-3", "measured": "1e-4", "holds": True, "source": "[1]"}


def executed_notebook() -> NotebookNode:
    shown = new_output("display_data", data={MIME_TYPE: CLAIM, "text/html": "<b>✓</b>", "text/plain": "✓"})
    cells = [new_markdown_cell("# 7 A chapter"), new_code_cell("claim(…)", outputs=[shown]), new_code_cell("1 + 1")]
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def test_the_page_of_claims_has_every_claim_under_its_chapter() -> None:
    page = claims_page([(Path("chapters/07_a.ipynb"), executed_notebook())])
    assert "## [7 A chapter](chapters/07_a.ipynb)" in page
    assert r"| x\* of \|x\| is 0 | 0 ± 1e-3 | 1e-4 | \[1\] |" in page
    assert "Claims: 1. Measured with ndelib 0." in page


def test_mathematics_in_a_claim_is_left_to_mathjax() -> None:
    assert escape("at $x_1^*$ and x_1") == r"at $x_1^*$ and x\_1"


def test_the_site_shows_claims_without_the_data_behind_them() -> None:
    notebook = executed_notebook()
    assert claims_in(without_claim_data(notebook)) == []
    assert without_claim_data(notebook).cells[1].outputs[0].data["text/html"] == "<b>✓</b>"
    assert claims_in(notebook) == [CLAIM], "the executed notebook itself must keep them"


def test_folded_code_says_what_it_is_for() -> None:
    notebook = executed_notebook()
    folded = notebook.cells[1]
    folded.metadata["tags"] = ["hide-input"]
    assert without_claim_data(notebook).cells[1].metadata["mystnb"]["code_prompt_show"] == "How this is measured"
    folded.outputs[0].data = {"text/html": '<figure class="nde-figure">'}
    assert without_claim_data(notebook).cells[1].metadata["mystnb"]["code_prompt_show"] == "How this is drawn"
    folded.metadata["tags"] = []
    assert "mystnb" not in without_claim_data(notebook).cells[1].metadata


def test_the_processor_has_a_name_on_every_system(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: A fast one\n")
    assert processor(tmp_path / "cpuinfo") == "A fast one"
    assert processor(tmp_path / "missing") != ""


def test_staging_rewrites_only_what_changed_and_removes_what_is_gone(tmp_path: Path) -> None:
    chapter = (Path("chapters/31_a.ipynb"), executed_notebook())
    stage([chapter], tmp_path)
    (tmp_path / "chapters" / "08_gone.ipynb").write_text("{}")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    chapter[1].cells[0].source = "# 7 A chapter, reworded"
    stage([chapter], tmp_path)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    changed = {path.relative_to(tmp_path).as_posix() for path in before if after.get(path) != before[path]}
    assert changed == {"chapters/31_a.ipynb", "chapters/08_gone.ipynb", "claims.md"}


def test_what_the_site_is_staged_from_is_watched_while_it_is_served(tmp_path: Path) -> None:
    stage([(Path("chapters/31_a.ipynb"), executed_notebook())], tmp_path)
    staged = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    sources = {name for name in staged if (ROOT / name).is_file()} | {"chapters.yml", "chapters/01_vector_fields.ipynb"}
    assert {name for name in sources if not any((ROOT / name).is_relative_to(ROOT / one) for one in WATCHED)} == set()
    assert [name for name in WATCHED if not (ROOT / name).exists()] == []


def test_a_changed_style_sheet_is_noticed(tmp_path: Path) -> None:
    for folder in ("wanted", "present"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "book.css").write_text("p { color: red }")
    (tmp_path / "present" / "sphinx.css").write_text("")
    assert _has_all(tmp_path / "wanted", tmp_path / "present")
    (tmp_path / "wanted" / "book.css").write_text("p { color: teal }")
    assert not _has_all(tmp_path / "wanted", tmp_path / "present")
    assert not _has_all(tmp_path / "wanted", tmp_path / "missing")


def test_mathjax_is_staged_with_its_fonts(tmp_path: Path) -> None:
    stage([], tmp_path)
    mathjax = tmp_path / "_extra" / "_static" / "mathjax"
    assert (mathjax / "startup.js").exists()
    assert list(mathjax.glob("output/chtml/fonts/woff-v2/*Main-Regular.woff"))
    assert sum(path.stat().st_size for path in mathjax.rglob("*")) < 3_000_000


def test_a_published_site_replaces_the_older_one_whole(tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    (tmp_path / "html").mkdir()
    (tmp_path / "built" / "new.html").write_text("new")
    (tmp_path / "html" / "old.html").write_text("old")
    publish(tmp_path / "built", tmp_path / "html")
    assert [path.name for path in (tmp_path / "html").iterdir()] == ["new.html"]


@pytest.mark.parametrize(
    ("log", "fault"),
    [
        (
            "Running\n/a/b.md:3: WARNING: undefined label: 'x'\nb.md:4: WARNING: more",
            "/a/b.md:3: WARNING: undefined label: 'x'",
        ),
        ("Traceback\n  File x\na.b.MalformedError: bad toc\nRuntimeError: boxed", "a.b.MalformedError: bad toc"),
        ("chapters/02_a.ipynb:30002: WARNING: boo", "chapters/02_a.ipynb, cell 3, line 2: WARNING: boo"),
        ("nothing to say", "see above"),
    ],
)
def test_the_first_fault_of_a_build_is_one_line(log: str, fault: str) -> None:
    assert first_fault(log) == fault


def test_a_chapter_and_the_table_of_contents_must_name_each_other() -> None:
    chapters = all_chapters()
    check_toc(chapters)
    with pytest.raises(Problem, match=r"_toc.yml does not list chapters/02_new, which is on disk"):
        check_toc([*chapters, Path("chapters/02_new.ipynb")])
    with pytest.raises(Problem, match=r"there is no chapters/01_vector_fields.ipynb"):
        check_toc([])


@pytest.mark.parametrize("name", ["foo.ipynb", "2_x.ipynb", "02 x.ipynb", "02_.ipynb"])
def test_a_chapter_with_a_bad_name_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).touch()
    monkeypatch.setattr("tools.chapters.CHAPTERS", tmp_path)
    with pytest.raises(Problem, match=f"{name}: the file of a chapter is named NN_name.ipynb"):
        all_chapters()


def test_a_chapter_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "02_x.ipynb").write_bytes(b"\xff\xfe")
    with pytest.raises(Problem, match=r"02_x.ipynb is not UTF-8 text"):
        read_notebook(tmp_path / "02_x.ipynb")


def test_a_chapter_comes_back_from_its_text_byte_for_byte() -> None:
    cells = [
        new_markdown_cell("# 7 A chapter\n\n$$x_1$$ (eq-a)\n\n:::{note}\nText\n:::", id="title"),
        new_markdown_cell("Two prose cells in a row.\n\n```python\nnot_a_cell()\n```", id="prose"),
        new_code_cell("import ndelib", id="setup", metadata={"tags": ["setup"]}),
        new_code_cell(
            "%pip list\nx = '''\n+++\n'''", id="magic", metadata={"tags": ["hide-input"], "mystnb": {"a": 1}}
        ),
        new_code_cell("", id="empty"),
        new_markdown_cell("* a list\n  with ẋ – and ∇", id="end", metadata={"attachments": {}}),
    ]
    original = canonical_text(new_notebook(cells=cells, metadata={"kernelspec": KERNEL}))
    notebook = to_notebook(to_text(new_notebook(cells=cells, metadata={"kernelspec": KERNEL})))
    assert canonical_text(notebook) == original


def test_the_text_of_every_chapter_is_faithful() -> None:
    path = find_chapter("1")
    assert canonical_text(to_notebook(to_text(read_notebook(path)))) == path.read_text(encoding="utf-8")


def test_a_cell_added_in_the_text_gets_an_id() -> None:
    text = to_text(new_notebook(cells=[new_markdown_cell("# 7", id="title")], metadata={"kernelspec": KERNEL}))
    notebook = to_notebook(text + "\n```{code-cell}\n1 + 1\n```\n")
    assert notebook.cells[0].id == "title"
    assert notebook.cells[1].id


def test_text_that_is_no_notebook_is_a_problem_not_a_traceback() -> None:
    with pytest.raises(Problem, match="not a notebook in MyST"):
        to_notebook("```{code-cell}\n:tags: [unclosed\n\n1\n```\n")


@pytest.mark.parametrize("number", ["99", "", "one", "-1"])
def test_a_chapter_that_does_not_exist_is_one_clear_line(number: str) -> None:
    with pytest.raises(Problem, match=rf"no chapter '{number}' in chapters/ \(written so far: 01"):
        find_chapter(number)


def test_faults_of_form_are_named(chapter: Path) -> None:
    assert faults(chapter) == []
    good = chapter.read_text()
    for old, new, fault in [
        ('"name": "python3"', '"name": "my-kernel"', "kernelspec"),
        ("# 7 A small", "# A small", "must begin with the chapter's number"),
        ("{\n", "{  \n", "make format"),
    ]:
        chapter.write_text(good.replace(old, new, 1))
        assert any(fault in found for found in faults(chapter)), fault


def test_staged_sources_are_generated_things() -> None:
    assert "_build" in SOURCES.parts


def test_the_page_of_claims_reads_what_the_library_writes() -> None:
    from ndelib.claims import MIME_TYPE as WRITTEN  # here: it imports PyTorch, which the tools do without

    assert MIME_TYPE == WRITTEN
