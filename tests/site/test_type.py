"""The type of the site: it is the book's own on every machine, and nothing breaks for a reader who has another."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import pytest
from playwright.sync_api import Browser, Page

from tests.site import checks
from tests.site.pages import CHAPTERS, DRAWN, PHONE, READ, SMALL, Visit, each, every_page, new_page, visiting
from tools.pages.finish import PRELOADED
from tools.site import HTML

SHEET = (HTML / "_static" / "fonts.css").read_text(encoding="utf-8") if HTML.exists() else ""

# DejaVu is far wider than the book's type, and Matplotlib brings it to every machine.
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
WIDE = ("DejaVuSans", "DejaVuSansMono")

# The letters that a page shows, formulas apart, by the first font that their style asks for.
LETTERS = """() => {
    const letters = {};
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const parent = node.parentElement;
        if (parent.closest("mjx-container, script, style, noscript, svg")) continue;
        const family = getComputedStyle(parent).fontFamily.split(",")[0].replaceAll('"', "");
        letters[family] = (letters[family] ?? "") + node.data;
    }
    for (const family in letters) letters[family] = [...new Set(letters[family])].sort().join("").trim();
    return letters;
}"""
SHOW = """async ([letters, family]) => {
    const box = document.createElement("div");
    box.id = "shown-letters";
    box.style.cssText = `font: 16px "${family}"; position: fixed; inset: 0 auto auto 0; visibility: hidden`;
    box.textContent = letters;
    document.body.append(box);
    await document.fonts.load(`16px "${family}"`, letters);
    await document.fonts.ready;
}"""
# The letters that no font has are drawn like one that is none.
NOBODY_HAS = """([letters, family]) => {
    const drawn = (letter) => {
        const canvas = document.createElement("canvas");
        canvas.width = canvas.height = 60;
        const pen = canvas.getContext("2d");
        pen.font = `30px "${family}"`;
        pen.fillText(letter, 10, 40);
        return canvas.toDataURL();
    };
    const none = drawn("\\u{10FFFD}");
    return [...letters].filter((letter) => drawn(letter) === none);
}"""

MATHEMATICS = "ẋẍ λ² ∇ ∂ − ≤ ½ αβγδεθΓΔΩφ ∫∑√∞≈≠ →↦ ∘∝∈ ‖·‖ x₀xₙ xⁿ ✓✗ éüß"


def has(page: Page, letters: str, family: str) -> bool:
    """Say whether the fonts that the page brings have all the letters."""
    page.evaluate(SHOW, [letters, family])
    tools = page.context.new_cdp_session(page)
    tools.send("DOM.enable")
    tools.send("CSS.enable")
    root = tools.send("DOM.getDocument")["root"]["nodeId"]
    box = tools.send("DOM.querySelector", {"nodeId": root, "selector": "#shown-letters"})["nodeId"]
    used = tools.send("CSS.getPlatformFontsForNode", {"nodeId": box})["fonts"]
    tools.detach()
    page.evaluate("document.getElementById('shown-letters').remove()")
    return all(font["isCustomFont"] for font in used) and not page.evaluate(NOBODY_HAS, [letters, family])


def serve_fonts(page: Page) -> None:
    """Let the page have Matplotlib's fonts, at addresses such as ``/wide/DejaVuSans.ttf``."""
    page.route("**/wide/*.ttf", lambda route: route.fulfill(path=FONTS / Path(route.request.url).name))


@contextmanager
def in_wide_type(page: Page) -> Iterator[None]:
    """Show the page in DejaVu, as if a reader had set that."""
    serve_fonts(page)
    faces = "".join(f"@font-face {{ font-family: {name}; src: url(/wide/{name}.ttf) }}" for name in WIDE)
    families = ("base: DejaVuSans", "heading: DejaVuSans", "monospace: DejaVuSansMono")
    rules = "".join(f"--pst-font-family-{family} !important;" for family in families)
    style = page.add_style_tag(content=f"{faces} html {{ {rules} }}")
    page.evaluate("Promise.all(['DejaVuSans', 'DejaVuSansMono'].map(name => document.fonts.load(`16px ${name}`)))")
    yield
    style.evaluate("style => style.remove()")


@every_page
def test_every_letter_is_in_the_fonts_of_the_site(visit: Visit):
    letters = visit.look().evaluate(LETTERS)
    assert set(letters) <= {"Inter", "JetBrains Mono"}
    for family, shown in letters.items():
        lacking = [] if has(visit.page, shown, family) else [one for one in shown if not has(visit.page, one, family)]
        assert lacking == [], f"{family} lacks these: name them in tools/fonts.py, and 'make fonts'"


def test_the_letters_of_mathematics_are_there(browser: Browser, site: str):
    with visiting(browser, site, "intro.html") as visit:
        for family in ("Inter", "JetBrains Mono"):
            assert has(visit.page, MATHEMATICS, family)
            assert not has(visit.page, "字", family), "a letter that is in none of the fonts is not noticed"


@every_page
def test_a_page_holds_in_wide_type(visit: Visit):
    page = visit.look()
    with in_wide_type(page):
        assert checks.cut_formulas(page) == []
        for size in (PHONE, SMALL):
            visit.look(size)
            assert checks.beside_the_screen(page) == []


@each(CHAPTERS[:1])
def test_formulas_have_the_same_width_in_any_type(visit: Visit):
    page = visit.look()
    widths = "[...document.querySelectorAll('mjx-container mjx-math')].map(f => f.getBoundingClientRect().width)"
    before = page.evaluate(widths)
    text = "document.querySelector('.bd-article').scrollHeight"
    narrow = page.evaluate(text)
    with in_wide_type(page):
        assert page.evaluate(widths) == pytest.approx(before, abs=0.1)
        assert page.evaluate(text) > narrow, "the type is not wide"


def test_a_page_without_its_fonts_is_read_in_those_of_the_machine(browser: Browser, site: str):
    context, page, _ = new_page(browser, PHONE)
    page.route("**/*.woff2", lambda route: route.abort())
    page.goto(f"{site}/{CHAPTERS[0]}", wait_until="networkidle")
    page.evaluate(READ)  # formulas are set, and those that are too wide scroll
    page.evaluate(DRAWN)
    assert checks.beside_the_screen(page) == []
    assert page.locator(".bd-article h1").bounding_box()["height"] > 20
    context.close()


def test_what_stands_in_for_the_type_has_its_width_and_height(browser: Browser, site: str):
    """The stand-in's numbers in fonts.css, given to Matplotlib's DejaVu, so that any machine can tell."""
    face = re.search(r'@font-face \{\s*font-family: "Inter until it comes, wide";[^}]*\}', SHEET)[0]
    face = re.sub(r"src: [^;]*;", "src: url(/wide/DejaVuSans.ttf);", face).replace(
        "Inter until it comes, wide", "stand-in"
    )
    with visiting(browser, site, CHAPTERS[0]) as visit:
        page = visit.page
        serve_fonts(page)
        page.add_style_tag(content=face)
        page.evaluate("document.fonts.load('16px stand-in')")
        sizes = page.evaluate(
            """() => ["Inter", "stand-in"].map((family) => {
                const words = [...document.querySelectorAll(".bd-article section > p")].map((p) => p.textContent);
                const box = document.createElement("span");
                box.style.cssText = `font: 16px "${family}"; white-space: nowrap; position: absolute`;
                box.textContent = words.join(" ").replace(/[^A-Za-z ,.]/g, "");
                document.body.append(box);
                return [box.getBoundingClientRect().width, box.getBoundingClientRect().height];
            })"""
        )
        assert sizes[1] == pytest.approx(sizes[0], rel=0.02)


@each(CHAPTERS[:1])
def test_the_type_of_every_page_is_asked_for_once(visit: Visit):
    preloaded = visit.page.locator("link[rel=preload][as=font]").evaluate_all("links => links.map(link => link.href)")
    assert [Path(url).name for url in preloaded] == list(PRELOADED)
    asked = [url for url in visit.asked if Path(url).name.split("?")[0] in PRELOADED]
    assert sorted(asked) == sorted(preloaded), "the style sheet asks for other addresses"


def test_fonts_have_their_licences_beside_them():
    folder = HTML / "_static" / "fonts"
    for name, words in (
        ("Inter", "SIL OPEN FONT LICENSE"),
        ("JetBrainsMono", "SIL OPEN FONT LICENSE"),
        ("DejaVu", "Bitstream Vera"),
    ):
        assert words in (folder / f"LICENSE-{name}.txt").read_text(encoding="utf-8")
    assert sum(file.stat().st_size for file in folder.glob("*.woff2")) < 200_000
