"""What makes the site pleasant, as far as a browser can tell: the landing page, type, headers, the way on, paper."""

import pytest
from playwright.sync_api import Browser, Page

from tests.site.pages import CHAPTERS, DESK, PHONE, Visit, every_chapter, opened
from tools.pages.graph import all_of, read_plan, without_shortcuts
from tools.site import HTML

PLACES = (
    "[...document.querySelectorAll('.nde-points circle')].map(c => c.getAttribute('cx') + ' ' + c.getAttribute('cy'))"
)

# Letters in a line: of the paragraphs without mathematics, those that fill at least four lines.
# How many letters a full line has: those of the paragraph, times its width by the length of its text on one line.
LETTERS_A_LINE = """() => [...document.querySelectorAll('.bd-article section > p')]
    .filter(p => !p.querySelector('.math, code, mjx-container') && p.innerText.length > 200)
    .map(p => {
        const line = p.cloneNode(true);
        Object.assign(line.style, {position: 'absolute', width: 'max-content', maxWidth: 'none', whiteSpace: 'nowrap'});
        p.after(line);
        const letters = p.innerText.length * p.clientWidth / line.getBoundingClientRect().width;
        line.remove();
        return letters;
    })"""


def moves(page: Page) -> bool:
    """Tell whether the points of the figure are elsewhere within a few seconds; they rest at both ends of their way."""
    before = page.evaluate(PLACES)
    for _ in range(20):
        page.wait_for_timeout(100)
        if page.evaluate(PLACES) != before:
            return True
    return False


# --- The landing page ---------------------------------------------------------------------------------------------


def test_one_screen_says_what_the_book_is_and_where_to_begin(browser: Browser, site: str):
    for page, _ in opened(browser, f"{site}/intro.html"):
        for selector in (
            ".bd-article h1",
            ".nde-hero svg",
            ".nde-button >> nth=1",
            ".nde-promise pre",
            ".nde-path >> nth=2",
        ):
            box = page.locator(selector).first.bounding_box()
            assert box["y"] + box["height"] <= DESK[1], f"{selector} is below the first screen"
        graph = page.locator(".nde-graph").bounding_box()
        assert graph["y"] < DESK[1], "the graph of the chapters does not begin on the first screen"


def test_the_figure_moves_and_stops_by_its_button_and_by_its_slider(browser: Browser, site: str):
    for page, _ in opened(browser, f"{site}/intro.html", reduced_motion="no-preference"):
        button, slider = page.locator(".nde-hero button"), page.locator(".nde-hero input")
        assert moves(page)
        button.focus()
        page.keyboard.press("Enter")
        assert button.inner_text() == "Play"
        assert not moves(page)
        button.click()
        assert moves(page)
        slider.fill("0.5")
        assert button.inner_text() == "Play"
        assert not moves(page)


def test_the_figure_stands_still_for_those_who_ask_for_it_and_can_still_be_used(browser: Browser, site: str):
    for page, _ in opened(browser, f"{site}/intro.html", reduced_motion="reduce"):
        assert not moves(page)
        ends = page.evaluate(PLACES)
        page.locator(".nde-hero input").fill("0")
        starts = page.evaluate(PLACES)
        assert all(start != end for start, end in zip(starts, ends, strict=True))
        ways = page.evaluate("[...document.querySelectorAll('.nde-ways polyline')].map(w => w.getAttribute('points'))")
        assert starts == [way.split()[0].replace(",", " ") for way in ways]


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_the_graph_leads_to_the_chapters_that_exist(browser: Browser, site: str, size: tuple[int, int]):
    for page, _ in opened(browser, f"{site}/intro.html", size):
        links = page.locator(".nde-graph a")
        assert [link.get_attribute("href") for link in links.all()] == CHAPTERS
        entries = page.locator(".nde-graph li")
        assert entries.count() == 30
        for entry in entries.all():
            box = entry.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= size[0]
            assert entry.evaluate("e => e.firstElementChild.scrollHeight <= e.clientHeight + 1"), "a title is cut off"
        assert page.locator(".nde-graph > svg").is_visible() == (size == DESK)


def test_the_graph_shows_the_way_to_a_chapter_by_mouse_and_by_keyboard(browser: Browser, site: str):
    needs = without_shortcuts(all_of(read_plan()))

    def way(number: int) -> set[int]:
        return {number}.union(*(way(need) for need in needs[number]))

    marked = "[...document.querySelectorAll('.nde-graph li.nde-on-way')].map(e => Number(e.dataset.chapter))"
    for page, _ in opened(browser, f"{site}/intro.html"):
        page.locator(".nde-graph li[data-chapter='28']").hover()
        assert set(page.evaluate(marked)) == way(28)
        page.mouse.move(0, 0)
        assert page.evaluate(marked) == []
        page.locator(".nde-graph li[data-chapter='8'] a").focus()
        assert set(page.evaluate(marked)) == way(8)


# --- Menus --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "name"), [("primary", "Contents"), ("secondary", "Summary")])
def test_on_a_phone_a_button_opens_the_menu_and_escape_closes_it(browser: Browser, site: str, side: str, name: str):
    for page, _ in opened(browser, f"{site}/{CHAPTERS[0]}", PHONE):
        entry = page.locator(f"#pst-{side}-sidebar-modal").get_by_role("link", name=name, exact=True)
        assert entry.count() == 0
        page.locator(f".{side}-toggle").locator("visible=true").first.click()
        entry.wait_for(state="visible")
        box = entry.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE[0]
        page.keyboard.press("Escape")
        page.locator(f"#pst-{side}-sidebar-modal").wait_for(state="hidden")


def test_on_a_desk_a_button_takes_the_menu_away_and_brings_it_back(browser: Browser, site: str):
    for page, _ in opened(browser, f"{site}/{CHAPTERS[0]}"):
        menu, button = page.locator("#pst-primary-sidebar"), page.locator(".primary-toggle").locator("visible=true")
        assert menu.bounding_box()["x"] == 0
        button.first.click()
        page.wait_for_function("document.querySelector('#pst-primary-sidebar').getBoundingClientRect().right <= 0")
        button.first.click()
        page.wait_for_function("document.querySelector('#pst-primary-sidebar').getBoundingClientRect().left === 0")


# --- Chapters -----------------------------------------------------------------------------------------------------


@every_chapter
def test_a_line_of_text_has_the_length_that_reads_well(visit: Visit):
    letters = visit.look().evaluate(LETTERS_A_LINE)
    assert letters
    assert min(letters) >= 62
    assert max(letters) <= 80


@every_chapter
def test_a_line_of_code_fits_the_column(visit: Visit):
    """Code in the chapters has at most 88 letters a line: no line of it has to be scrolled on a desk."""
    cut = """[...document.querySelectorAll('.cell_input pre')]
        .filter((code) => code.innerText.split('\\n').every((line) => line.length <= 88))
        .filter((code) => code.scrollWidth > code.clientWidth)
        .map((code) => code.innerText)"""
    assert visit.look().evaluate(cut) == []


@every_chapter
def test_a_chapter_says_how_long_it_is_and_offers_its_notebook(visit: Visit):
    page = visit.look(PHONE)
    header = page.locator("h1 + .nde-chapter-header")
    assert "min of text" in header.inner_text()
    assert "Executed" in header.inner_text()
    with page.expect_download() as waiting:
        header.get_by_role("link", name="Notebook").click()
    assert waiting.value.suggested_filename == visit.name.removeprefix("chapters/").replace(".html", ".ipynb")
    assert header.get_by_role("link", name="Graded assignment").is_visible()


@every_chapter
def test_the_way_on_has_titles(visit: Visit):
    links = visit.look().locator(".prev-next-area a")
    assert links.count() == 2
    for link in links.all():
        there = (HTML / "chapters" / (link.get_attribute("href") or "")).resolve().read_text(encoding="utf-8")
        assert f"<h1>{link.locator('.prev-next-title').inner_text()}<" in there


# --- Paper --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["intro.html", *CHAPTERS[:1]])
def test_paper_has_the_text_and_nothing_to_click(browser: Browser, site: str, name: str):
    for page, _ in opened(browser, f"{site}/{name}", theme="dark"):
        root = page.locator("html")
        assert root.get_attribute("data-theme") == "dark"
        closed = page.locator("details:not([open])").count()
        page.emulate_media(media="print")
        page.wait_for_function("document.documentElement.dataset.theme === 'light'")
        for hidden in (".bd-sidebar-primary", ".bd-header-article", ".prev-next-area", "button", ".nde-control"):
            assert not any(part.is_visible() for part in page.locator(hidden).all()), f"{hidden} is on paper"
        assert page.locator(".bd-article p >> nth=3").is_visible()
        assert page.locator("details:not([open])").count() == 0
        page.emulate_media(media="screen")
        page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
        assert page.locator("details:not([open])").count() == closed
