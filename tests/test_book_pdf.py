"""The book on paper: what becomes of outputs, headings and tables, and which faults are told."""

import base64
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ndelib.claims import claim
from tools.chapters import all_chapters, read_notebook
from tools.common import ROOT, Problem
from tools.pages.claims import MIME_TYPE
from tools.paper import epub
from tools.paper.cells import SLIDER, as_a_plan, for_print, preface, unfolded, with_long_tables
from tools.paper.latex import (
    FONTS,
    MAY_BREAK,
    MAY_BREAK_IN_A_TABLE,
    ROOM_FOR_A_BOX,
    ROOM_FOR_A_SECTION,
    as_a_book,
    faults,
    signs,
)
from tools.paper.pdf import parts, settings

PNG = base64.b64encode(b"picture").decode()


def printed(*outputs: NotebookNode, tags: Sequence[str] = ()) -> NotebookNode:
    cell = new_code_cell("1", outputs=list(outputs), metadata={"tags": list(tags)})
    original = new_notebook(cells=[new_markdown_cell("# 7 A chapter"), cell])
    before = str(original)
    made = for_print(original).cells[1]
    assert str(original) == before, "the executed notebook itself must stay"
    return made


def test_a_slider_becomes_its_first_picture_with_the_caption() -> None:
    html = f'<figure class="nde-figure nde-slider"><img src="data:image/png;base64,{PNG}" alt="a"><input type="range">'
    html += "<figcaption>h &lt; 2 is *stable*</figcaption></figure><script>…</script>"
    picture, words = printed(new_output("display_data", {"text/html": html, "text/plain": "<HTML object>"})).outputs
    assert picture.data == {"image/png": PNG}
    assert words.data == {"text/markdown": rf"*h \< 2 is \*stable\** {SLIDER}"}
    plain = new_output("display_data", {"text/html": html.replace(" nde-slider", "")})
    assert printed(plain).outputs[1].data == {"text/markdown": r"*h \< 2 is \*stable\**"}


def test_a_picture_keeps_its_alternative_text() -> None:
    html = f'<figure><img src="data:image/png;base64,{PNG}" alt="a &lt; b"><figcaption>c</figcaption></figure>'
    figure = new_output("display_data", {"text/html": html})
    assert printed(figure).metadata["mystnb"] == {"image": {"alt": "a < b", "align": "center"}}
    assert "mystnb" not in printed(figure, figure).metadata, "which of the two would it be?"
    assert "mystnb" not in printed(new_output("stream", name="stdout", text="3")).metadata


def test_a_claim_becomes_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    text = "✓ Claim: x_1 grows (expected > 1; measured 2)"
    data = {MIME_TYPE: {"holds": True}, "text/html": "<div>…</div>", "text/plain": text}
    (shown,) = printed(new_output("display_data", data)).outputs
    assert shown.data == {"text/markdown": r"**✓ Claim.** x\_1 grows (expected \> 1; measured 2)"}


def test_the_text_of_a_claim_is_as_the_library_writes_it(capsys: pytest.CaptureFixture[str]) -> None:
    claim("it cools", -1.2e-5, equals=-1.2e-5, within=1e-7)
    text = capsys.readouterr().out.strip()
    (shown,) = printed(new_output("display_data", {MIME_TYPE: {"holds": True}, "text/plain": text})).outputs
    words = "it cools (expected −1.2·10⁻⁵ ± 10⁻⁷; measured −1.2·10⁻⁵)"
    assert shown.data == {"text/markdown": f"**✓ Claim.** {words}"}


def test_other_outputs_stay() -> None:
    output = new_output("stream", name="stdout", text="3\n")
    assert printed(output).outputs == [output]
    table = new_output("display_data", {"text/html": "<table></table>", "text/plain": "a b"})
    assert printed(table).outputs == [table]


def test_a_table_stays_one() -> None:
    html = "<table><caption>Cost</caption><thead><tr><th>a</th><th>b|c</th></tr></thead>"
    html += "<tbody><tr><th>x_1</th><td>1 &lt; 2</td></tr></tbody></table><p>And a note.</p>"
    (shown,) = printed(new_output("display_data", {"text/html": html, "text/plain": "wide"})).outputs
    table = "| a | b\\|c |\n|---|---|\n| x\\_1 | 1 \\< 2 |"
    assert shown.data == {"text/markdown": f"{table}\n\nCost\n\nAnd a note."}


def test_both_books_read_outputs_as_myst_which_has_tables_and_formulas() -> None:
    for config in (settings(), epub.settings()):
        assert config["sphinx"]["config"]["nb_render_markdown_format"] == "myst"


@pytest.mark.parametrize(
    ("tag", "left"), [("hide-input", "remove-input"), ("setup", "remove-cell"), ("other", "other")]
)
def test_what_the_site_folds_away_is_left_out(tag: str, left: str) -> None:
    assert printed(tags=[tag]).metadata["tags"] == [left]


def test_chapters_have_the_numbers_of_their_titles_and_other_pages_none() -> None:
    latex = as_a_book(
        "\\chapter{Contents}\n\\chapter{8 Differentiating}\n\\chapter{\\sphinxcode{a}}\n\\chapter{References}"
    )
    contents, eight, code = latex.splitlines()  # the bibliography has its own heading
    assert contents == r"\setcounter{secnumdepth}{-1}\chapter{Contents}"
    assert eight == r"\setcounter{secnumdepth}{1}\setcounter{chapter}{7}\chapter{Differentiating}"
    assert code == r"\setcounter{secnumdepth}{-1}\chapter{\sphinxcode{a}}"


def test_proofs_are_proofs() -> None:
    latex = "\\begin{sphinxadmonition}{note}\n\\sphinxAtStartPar\nProof. By (1).\n\\end{sphinxadmonition}"
    other = latex.replace("Proof.", "Note.")
    made = as_a_book(latex + other)
    assert made.startswith("\\begin{proof}By (1).\n\\end{proof}")
    assert made.endswith(other)


def test_parts_open_with_a_page_and_have_the_numbers_of_the_contents() -> None:
    chapter = "\\chapter{23 Least action}\n\\label{\\detokenize{a:b}}\\label{\\detokenize{chapters/23_a::doc}}\n"
    glossary = "\\chapter{Glossary}\n\\label{\\detokenize{a:b}}\\label{\\detokenize{glossary::doc}}\n"
    made = as_a_book(chapter + glossary, {"chapters/23_a": "Part VI: Physics", "glossary": "Reference"})
    assert re.findall(r"\\part\{.*\}|\\chapter\{.*\}", made) == [
        r"\part{Physics}",
        r"\chapter{Least action}",
        r"\part{Reference}",
        r"\chapter{Glossary}",
    ]
    assert r"\setcounter{part}{5}\part{Physics}" in made
    assert r"\setcounter{secnumdepth}{-2}\part{Reference}" in made
    with pytest.raises(Problem, match="no place for 'Part I: Dynamics'"):
        as_a_book(glossary, {"chapters/01_a": "Part I: Dynamics"})


def test_a_table_that_goes_on_has_no_number_since_no_table_has_one() -> None:
    head = r"\sphinxtablecontinued{\tablename\ \thetable{} \textendash{} continued from previous page}"
    assert as_a_book(head) == r"\sphinxtablecontinued{continued from previous page}"


def test_signs_that_the_type_lacks_are_made_of_others() -> None:
    made = signs().splitlines()
    assert r"\newunicodechar{ᵀ}{\textsuperscript{T}}" in made
    assert r"\newunicodechar{ⱼ}{\textsubscript{j}}" in made
    assert r"\newunicodechar{ᵦ}{\textsubscript{β}}" in made
    assert r"\newunicodechar{↦}{\ensuremath{\mapsto}}" in made
    assert "\n".join(made) in FONTS


def test_no_column_of_a_table_is_narrow() -> None:
    for columns, least in (("TTTT", "0.130"), ("TTTTTTTTT", "0.058")):
        table = rf"\begin{{tabulary}}{{\linewidth}}[t]{{{columns}}}"
        assert as_a_book(table) == rf"\setlength{{\tymin}}{{{least}\linewidth}}{table}"


def test_the_preface_has_a_heading() -> None:
    made = as_a_book("\\sphinxtableofcontents\n\\phantomsection\\label{\\detokenize{intro::doc}}\n\nA network is")
    assert r"\chapter*{About this book}" in made.partition("A network is")[0]


def test_every_part_of_the_contents_has_a_page_to_begin_with() -> None:
    found = parts()
    assert found["chapters/01_vector_fields"] == "Part I: Dynamics"
    assert found["glossary"] == "Reference"
    assert not [page for page in found if page.startswith("api/")]


def test_a_link_to_a_theorem_leads_to_its_box() -> None:
    box = "\\begin{sphinxadmonition}{note}{Theorem 1.1}\n\\end{sphinxadmonition}\n"
    for before in ("\\label{chapters/01_a:thm}\n", "\\phantomsection \\label{exercise:ex}\n\n"):
        label = re.findall(r"\\label\{.*?\}", before)[0]
        assert as_a_book(before + box).startswith(rf"{ROOM_FOR_A_BOX}\phantomsection{label}" + "\n\\begin{sphinxadm")


def test_no_heading_and_no_box_begins_where_the_page_ends() -> None:
    made = as_a_book("\\section{A}\ntext\n\\subsection{B}\n\\begin{sphinxadmonition}{note}{Check yourself}\n")
    assert made.count(ROOM_FOR_A_SECTION + "\n\\s") == 2
    assert ROOM_FOR_A_BOX + "\n\\begin{sphinxadmonition}" in made
    bold = "\n\\sphinxAtStartPar\n\\sphinxstylestrong{Answers.}\n"
    for after in ("\n\\sphinxAtStartPar\nYes.", "\\begin{enumerate}", "\\end{sphinxadmonition}"):
        assert r"\smallheading{Answers.}" in as_a_book(bold + after)
    assert as_a_book(bold.replace(".}\n", ".} Yes.\n\n")).endswith("\\sphinxstylestrong{Answers.} Yes.\n\n")


def test_long_code_in_a_table_may_be_broken() -> None:
    made = as_a_book(r"\sphinxcode{\sphinxupquote{method=HNN(EnergyNet(2 * n), f())}}")
    assert made.count(MAY_BREAK) == 3, 'after "=", "(" and "(", and not in "f()"'
    assert f"Energy{MAY_BREAK_IN_A_TABLE}Net" in made
    plain = made.replace(MAY_BREAK, "").replace(MAY_BREAK_IN_A_TABLE, "")
    assert plain == r"\sphinxcode{\sphinxupquote{method=HNN(EnergyNet(2 * n), f())}}"
    assert as_a_book("f(x) = EnergyNet") == "f(x) = EnergyNet"


def test_answers_and_solutions_stand_under_their_name() -> None:
    source = "1. Is it?\n\n<details><summary>Answers</summary>\n\n1. It is.\n\n</details>\n:::\n"
    assert unfolded(source) == "1. Is it?\n\n**Answers.**\n\n1. It is.\n\n\n:::\n"


@pytest.mark.parametrize("path", all_chapters(), ids=lambda path: path.stem[:2])
def test_nothing_that_the_site_folds_stays_without_its_name(path: Path) -> None:
    printed_cells = for_print(read_notebook(path)).cells
    text = "".join(cell.source for cell in printed_cells if cell.cell_type == "markdown")
    assert re.search(r"^\*\*Answers?\.\*\*$", text, re.MULTILINE)
    assert not re.search(r"</?(details|summary)", text)


def test_tables_of_claims_may_go_on_over_pages() -> None:
    table = "| a | b | c | d |\n|---|---|---|---|\n| 1 | 2 | 3 | 4 |\n"
    made = with_long_tables(f"words\n\n{table}\nmore\n")
    assert made.count(r"\raggedright") == 4, "words of one column of four are not stretched over the line"
    assert re.search(r"````\{table\}\n:class: longtable\n\n" + re.escape(table) + "````\n\nmore", made)


def test_what_a_reader_would_see_is_told() -> None:
    log = "\n".join(
        [
            "Missing character: There is no ᵀ (U+1D40) in font Linux Libertine O!",
            "Overfull \\hbox (17.2pt too wide) in paragraph at lines 1--2",
            "Overfull \\hbox (1.5pt too wide) in paragraph at lines 3--4",
            "LaTeX Warning: Reference `a' on page 1 undefined on input line 5.",
            "LaTeX Font Warning: Font shape undefined",
        ]
    )
    found = faults(log)
    assert len(found) == 3
    assert "1.5pt" not in "".join(found)


def test_the_landing_page_becomes_a_preface_without_sections_that_would_be_chapters() -> None:
    text = preface((ROOT / "intro.md").read_text(encoding="utf-8"))
    assert text.startswith("# Neural Differential Equations\n\nA deep network is")
    assert "every" in text.lower()
    assert not re.search(r"^##|<!--|:::|make book", text, re.MULTILINE)


def test_the_page_of_contents_is_not_a_second_table_of_contents() -> None:
    plan = as_a_plan((ROOT / "contents.md").read_text(encoding="utf-8"))
    assert plan.startswith("# The plan of the book\n")
    assert "# Contents" not in plan
