"""The reference on the finished site: tips by mouse, keyboard and tap, and links between chapters and entries."""

import re
from html import unescape

import pytest
from playwright.sync_api import Browser, Page

from tests.site.pages import CHAPTERS, DESK, PAGES, PHONE, opened
from tools.pages.theorems import KINDS
from tools.site import HTML

TEXT = {name: (HTML / name).read_text(encoding="utf-8") for name in PAGES}
SOME = "chapters/04_stiff_and_symplectic.html"


def shown(page: Page) -> list[str]:
    """Return the words of the tips that can be seen."""
    return page.locator(".nde-tip.nde-shown").all_inner_texts()


def test_there_are_tips_in_every_chapter():
    for name in CHAPTERS:
        assert TEXT[name].count('class="nde-term"') >= 10, name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_tip_shows_by_mouse_stays_under_it_and_escape_closes_it(browser: Browser, site: str, theme: str):
    for page, complaints in opened(browser, f"{site}/{SOME}", DESK, theme):
        term = page.locator(".nde-term", has_text="stiff").first
        term.scroll_into_view_if_needed()
        page.wait_for_timeout(400)  # scrolling, which may be smooth, closes a tip
        term.hover()
        (words,) = shown(page)
        assert words.startswith("A problem is stiff for a method if")
        page.locator(".nde-tip.nde-shown").hover()
        page.wait_for_timeout(400)
        assert shown(page) == [words]
        page.keyboard.press("Escape")
        assert shown(page) == []
        term.hover()
        page.mouse.move(5, 5)
        page.wait_for_timeout(400)
        assert shown(page) == []
        assert complaints == []


def test_a_tip_shows_by_keyboard_and_enter_leads_to_the_glossary(browser: Browser, site: str):
    for page, _ in opened(browser, f"{site}/{SOME}", DESK, "light"):
        term = page.locator(".nde-term").nth(1)
        page.locator(".nde-term").first.focus()
        page.keyboard.press("Tab")
        while not term.evaluate("term => term === document.activeElement"):
            page.keyboard.press("Tab")
        assert shown(page) == [page.locator(f"#{term.get_attribute('aria-describedby')}").inner_text()]
        assert term.evaluate("term => getComputedStyle(term).outlineStyle") != "none"
        page.keyboard.press("Escape")
        assert shown(page) == []
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"/glossary\.html#term-"))


def test_on_a_phone_a_tap_shows_the_tip_within_the_screen_and_a_second_follows_it(browser: Browser, site: str):
    context = browser.new_context(viewport={"width": PHONE[0], "height": PHONE[1]}, has_touch=True)
    page = context.new_page()
    page.goto(f"{site}/{SOME}", wait_until="networkidle")
    for number in range(page.locator(".nde-term").count()):
        term = page.locator(".nde-term").nth(number)
        if not term.is_visible():
            continue  # in a closed solution
        term.tap()
        assert len(shown(page)) == 1, term.inner_text()
        box = page.locator(".nde-tip.nde-shown").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE[0]
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= PHONE[1]
    term.tap()
    page.wait_for_url("**/glossary.html#**")
    context.close()


def test_paper_shows_the_words_only(browser: Browser, site: str):
    for page, _ in opened(browser, f"{site}/{SOME}", DESK, "light"):
        page.emulate_media(media="print")
        assert page.locator(".nde-tip").first.evaluate("tip => getComputedStyle(tip).display") == "none"
        assert "none" in page.locator(".nde-term").first.evaluate("term => getComputedStyle(term).textDecoration")


def test_a_name_in_code_leads_to_its_entry_and_the_entry_back(browser: Browser, site: str):
    for page, _ in opened(browser, f"{site}/chapters/01_vector_fields.html", DESK, "light"):
        names = page.locator("a.sphinx-codeautolink-a", has_text=re.compile("^odeint$"))
        name = names.locator("visible=true").first  # the first of all is in a folded cell
        name.focus()
        assert name.evaluate("name => getComputedStyle(name).outlineStyle") != "none"
        name.press("Enter")
        page.wait_for_url("**/api/ndelib.html#ndelib.odeint")
        entry = page.locator("dl:has(> dt[id='ndelib.odeint'])")
        assert "gradient" in entry.locator("dt").first.inner_text()
        entry.locator("summary").click()
        entry.get_by_role("link", name="1 Rates of change as vector fields / A rule for velocity").click()
        page.wait_for_url("**/chapters/01_vector_fields.html#a-rule-for-velocity")


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_has_links_in_its_code(name: str):
    links = re.findall(r'<a class="sphinx-codeautolink-a" href="([^"]+)"', TEXT[name])
    assert len(links) > 20
    assert any(link.startswith("../api/plotting.html#ndelib.plotting.caption") for link in links)


def test_every_link_of_the_reference_leads_to_an_anchor_that_exists():
    anchors = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in TEXT.items()}
    pages = [name for name in PAGES if name.startswith("api/")]
    pages += ["glossary.html", "notation.html", "theorems.html", "references.html"]
    kinds = r'class="(?:nde-term|sphinx-codeautolink-a)"'
    found = [(name, link) for name in CHAPTERS for link in re.findall(rf"<a[^>]*{kinds}[^>]*>", TEXT[name])]
    found += [(name, link) for name in pages for link in re.findall(r'<a class="reference internal"[^>]*>', TEXT[name])]
    assert len(found) > 1000
    for name, link in found:
        path, _, anchor = unescape(re.search(r'href="([^"]*)"', link)[1]).partition("#")
        folder = name.split("/")[:-1]
        for part in path.split("/") if path else []:
            folder = folder[:-1] if part == ".." else [*folder, part]
        target = "/".join(folder) if path else name
        assert target in anchors, f"{name}: {link}"
        assert not anchor or anchor in anchors[target], f"{name}: {link}"


def test_every_work_says_which_chapters_cite_it():
    entries = TEXT["references.html"].split('<div class="citation"')[1:]
    assert len(entries) > 50
    assert [entry[:60] for entry in entries if 'class="cited-in"' not in entry] == []
    assert re.search(r'Cited in chapters <a [^>]*href="chapters/03_[^"]*#id\d+"', TEXT["references.html"])


def test_the_page_of_theorems_has_their_numbers():
    page = TEXT["theorems.html"]
    names = re.findall(r">(?:Theorem|Definition) (\d+\.\d+)<", page)
    assert len(names) >= 25
    assert "16.1" in names
    assert "Theorems" in KINDS.values()


def test_tips_are_not_in_the_index_of_the_search():
    words = (HTML / "searchindex.js").read_text(encoding="utf-8")
    assert "ndelib.odeint" in words or "odeint" in words
    # Every tip on A-stability says "wherever"; of the chapters only those that use the word themselves may be listed.
    assert "A problem is stiff for a method if" not in words
