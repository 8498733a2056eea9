"""The last touches to a page: what they take away, what they mend, and what they leave alone."""

import base64
import io
import re
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont
from PIL import Image

from tools.pages.finish import PRELOADED, finish, finished_page, plain_tokens
from tools.pages.rules import leave_out_rules, words_of


def png(color: str) -> bytes:
    packed = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(packed, "PNG")
    return packed.getvalue()


def uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def test_pictures_become_files_each_of_them_once(tmp_path: Path) -> None:
    text = f'<img src="{uri(png("red"))}" alt="red"><script>{{"src": "{uri(png("red"))}"}}</script>'
    page = finished_page(text, tmp_path, tmp_path / "chapters" / "a.html")
    (picture,) = (tmp_path / "_images").iterdir()
    assert picture.read_bytes() == png("red")
    assert page.count(f"../_images/{picture.name}") == 2
    assert '<img loading="lazy" src="../_images/' in page
    finished_page(f'<img src="{uri(png("blue"))}">', tmp_path, tmp_path / "b.html")
    assert len(list((tmp_path / "_images").iterdir())) == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('<div class="proof admonition" id="proof">', '<div class="proof admonition">'),
        ('<section id="exercise-content">', "<section>"),
        ('<section id="proofs">', '<section id="proofs">'),
        ('<div role="doc-biblioentry">', '<div role="listitem">'),
        ('<script defer src="../_static/scripts/fontawesome.js?digest=1"></script>', ""),
        ('<i class="fa-solid fa-bars"></i>', '<i aria-hidden="true" class="fa-solid fa-bars"></i>'),
        ('<i class="theme-switch fas fa-sun">', '<i aria-hidden="true" class="theme-switch fas fa-sun">'),
        ('<span class="fa-solid fa-bars"></span>', '<span aria-hidden="true" class="fa-solid fa-bars"></span>'),
        ('<i class="fancy">', '<i class="fancy">'),
        ('<link rel="stylesheet" href="../_static/sphinx-design.min.css?v=6" />', ""),
        ('<script data-a="b" src="../_static/design-tabs.js?v=f"></script>', ""),
        ('<script src="../searchindex.js"></script>', ""),
        ('<script src="../_static/doctools.js?v=1"></script>', '<script src="../_static/doctools.js?v=1"></script>'),
    ],
)
def test_a_page_is_mended(tmp_path: Path, before: str, after: str) -> None:
    assert finished_page(before, tmp_path, tmp_path / "a.html") == after


def test_the_type_of_a_page_is_asked_for_before_its_style(tmp_path: Path) -> None:
    text = '<title>A</title><link rel="stylesheet" href="../_static/fonts.css"><svg><title>B</title></svg>'
    page = finished_page(text, tmp_path, tmp_path / "chapters" / "a.html")
    assert page.count("preload") == 1
    assert page.index('../_static/fonts/" + name') < page.index("stylesheet")
    assert all(name in page for name in PRELOADED)
    static = Path(__file__).parent.parent / "_static"
    assert all((static / "fonts" / name).is_file() for name in PRELOADED)


def test_a_page_with_cards_keeps_their_style(tmp_path: Path) -> None:
    text = '<link href="_static/sphinx-design.min.css" /><div class="docutils sd-card">'
    assert finished_page(text, tmp_path, tmp_path / "a.html") == text


def test_tokens_that_look_like_no_token_lose_their_tag(tmp_path: Path) -> None:
    rules = [("", "background: #f2f2f2; color: #080808"), (".n ", "color: #080808"), (".k ", "color: #6730C5")]
    rules += [(".p ", "color: #080808"), (".nb ", "color: #080808; font-weight: bold")]
    light = "".join(f'html[data-theme="light"] .highlight {token}{{ {rule} }} /* */\n' for token, rule in rules)
    dark = light.replace('"light"', '"dark"').replace(".p { color: #080808", ".p { color: red")
    dark = dark.replace("#080808", "#F8F8F2")
    (tmp_path / "pygments.css").write_text(light + dark)
    assert plain_tokens(tmp_path / "pygments.css") == ["n"]
    code = '<span class="k">def</span> <span class="n">f</span><span class="p">(</span>'
    page = finished_page(code, tmp_path, tmp_path / "a.html", ["n"])
    assert page == '<span class="k">def</span> f<span class="p">(</span>'


def test_the_page_of_the_search_keeps_its_index(tmp_path: Path) -> None:
    text = '<script src="searchindex.js"></script>'
    assert finished_page(text, tmp_path, tmp_path / "search.html") == text


def test_the_first_page_is_a_whole_page(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=intro.html" />\n')
    finish(tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert 'content="0; url=intro.html"' in text


def test_only_icons_that_a_page_shows_are_left(tmp_path: Path) -> None:
    theme = pytest.importorskip("pydata_sphinx_theme").__path__[0]
    static = tmp_path / "_static"
    there = Path(theme) / "theme" / "pydata_sphinx_theme" / "static"
    for name in ("styles/pydata-sphinx-theme.css", "vendor/fontawesome/webfonts/fa-solid-900.ttf"):
        (static / name).parent.mkdir(parents=True, exist_ok=True)
        (static / name).write_bytes((there / name).read_bytes())
    (tmp_path / "a.html").write_text('<i class="fa-solid fa-bars"></i>')
    (static / "own.css").write_text('p::before { content: "\\f303"; }')  # fa-pencil
    finish(tmp_path)
    sheet = (static / "styles" / "pydata-sphinx-theme.css").read_text()
    assert ".fa-bars:before" in sheet
    assert ".fa-lemon:before" not in sheet
    assert 'fa-solid-900.woff) format("woff")' in sheet
    glyphs = TTFont(static / "vendor" / "fontawesome" / "webfonts" / "fa-solid-900.woff").getBestCmap()
    assert {0xF0C9, 0xF303} <= set(glyphs)
    assert len(glyphs) < 30


def test_rules_for_classes_that_the_site_does_not_have_are_left_out(tmp_path: Path):
    (tmp_path / "_static" / "mathjax").mkdir(parents=True)
    (tmp_path / "page.html").write_text('<p class="card open">')
    (tmp_path / "_static" / "menu.js").write_text('element.classList.add("show")')
    (tmp_path / "_static" / "mathjax" / "tex.js").write_text('"carousel"')
    kept = [
        "p > a:hover { color: red }",
        ".card.show { color: red }",
        ".card:not(.carousel) { color: red }",
        ":is(.carousel, .card) a { color: red }",
        r".w\/2 { color: red }",
        "@font-face { font-family: Inter }",
        "@media print { .open { color: red } }",
    ]
    dropped = [".carousel { color: red }", ".card .carousel a { color: red }", "@media print { .carousel { top: 0 } }"]
    sheet = tmp_path / "_static" / "theme.css"
    sheet.write_text("\n".join([*kept, *dropped, ".carousel, [href='.png'].card { color: blue }"]))
    leave_out_rules(sheet, words_of(tmp_path))
    same = [re.sub(r"\s", "", rule) for rule in [*kept, "[href='.png'].card { color: blue }"]]
    assert re.sub(r"\s", "", sheet.read_text()) == "".join(same).replace("'", '"')
