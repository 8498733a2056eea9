"""Every page of the site as a reader meets it: on a desk and on a phone, by day and by night, by mouse and keyboard."""

import pytest
from playwright.sync_api import Browser

from tests.site import checks
from tests.site.pages import (
    CHAPTERS,
    DESK,
    PAGES,
    PHONE,
    SMALL,
    THEMES,
    WITH_SLIDERS,
    Visit,
    every_chapter,
    every_chapter_with_sliders,
    every_page,
    opened,
    visiting,
)

KNOWN: set[str] = set()
"""The kinds of text that were found good on an earlier page."""


def test_there_are_pages_to_look_at():
    assert "intro.html" in PAGES
    assert "chapters/01_vector_fields.html" in WITH_SLIDERS


def test_the_address_of_the_site_leads_to_the_landing_page(browser: Browser, site: str):
    for page, _ in opened(browser, f"{site}/", DESK, "light"):
        page.wait_for_url("**/intro.html")


@pytest.mark.parametrize("theme", THEMES)
def test_a_page_begins_in_the_theme_of_the_reader(browser: Browser, site: str, theme: str):
    for page, complaints in opened(browser, f"{site}/intro.html", DESK, theme):
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        assert complaints == []


@every_page
def test_a_page_is_quiet_and_asks_for_nothing_of_others(visit: Visit, site: str):
    assert visit.complaints == []
    assert {url for url in visit.asked if not url.startswith((f"{site}/", "data:", "blob:"))} == set()


@every_page
def test_a_page_is_accessible(visit: Visit):
    page = visit.look()
    assert checks.broken_rules(page) == []
    assert checks.faulty_formulas(page) == []
    assert checks.formulas_out_of_reach(page) == []


@pytest.mark.parametrize("theme", THEMES)
@every_page
def test_text_can_be_read(visit: Visit, theme: str):
    assert checks.pale_text(visit.look(DESK, theme), KNOWN) == []


@pytest.mark.parametrize("size", [PHONE, SMALL], ids=["phone", "small"])
@every_page
def test_a_page_fits_a_phone(visit: Visit, size: tuple[int, int]):
    page = visit.look(size)
    assert checks.beside_the_screen(page) == []
    assert checks.formulas_out_of_reach(page) == []


@every_chapter
def test_a_chapter_shows_its_equations_and_pictures(visit: Visit):
    page = visit.look()
    assert page.locator("mjx-container").count() > 0
    assert checks.cut_formulas(page) == []
    assert checks.pictures_without_words(page) == []


@every_chapter_with_sliders
def test_sliders_work_by_keyboard_and_by_mouse(visit: Visit):
    page = visit.look()
    for figure in page.locator(".nde-slider").all():
        image, slider, output = figure.locator("img"), figure.locator("input").first, figure.locator("output").first

        def state(image=image, slider=slider, output=output):
            seen = (image.get_attribute("src"), image.get_attribute("alt"))
            return (*seen, output.text_content(), slider.get_attribute("aria-valuetext"))

        def differs(before, after):
            return all(old != new for old, new in zip(before, after, strict=True))

        figure.scroll_into_view_if_needed()
        label = page.locator(f"label[for='{slider.get_attribute('id')}']")
        assert label.text_content().strip()
        start = state()
        slider.focus()
        page.keyboard.press("ArrowRight")
        moved = state()
        assert differs(start, moved)
        page.keyboard.press("ArrowLeft")
        assert state() == start
        box = slider.bounding_box()
        page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
        assert differs(start, state())
        assert slider.input_value() == slider.get_attribute("max")


# --- The checks themselves ----------------------------------------------------------------------------------------


INPUT, BUTTON = ".nde-slider input", "button.theme-switch-button"
# What is done to which part of the page, and the rule that must notice it.
FAULTS = {
    "a picture without words": ("picture => picture.removeAttribute('alt')", ".nde-figure img", "image-alt"),
    "a slider without a name": ("slider => document.querySelector(`label[for=${slider.id}]`).remove()", INPUT, "label"),
    "a button without a name": ("b => { b.innerHTML = b.title = ''; b.ariaLabel = null; }", BUTTON, "button-name"),
}
PALE = {
    "a link": "a.reference",
    "one word of code": ".highlight pre span >> nth=40",
    "a claim": ".nde-claim",
    "one formula": "mjx-container >> nth=20",
    "the words of a caption": "figcaption",
}


@pytest.fixture(scope="module")
def spoilt(browser: Browser, site: str):
    """A page of its own, to be made worse."""
    with visiting(browser, site, CHAPTERS[0]) as visit:
        yield visit


def test_a_fault_against_a_rule_is_found(spoilt: Visit):
    page = spoilt.look()
    for plant, where, _ in FAULTS.values():
        page.locator(f".bd-main {where}").first.evaluate(plant)
    found = {fault.partition(":")[0] for fault in checks.broken_rules(page)}
    assert {rule for *_, rule in FAULTS.values()} <= found


@pytest.mark.parametrize(("theme", "color"), [("light", "#a8a8a8"), ("dark", "#606060")])
def test_pale_text_is_found_wherever_it_stands(spoilt: Visit, theme: str, color: str):
    page = spoilt.look(DESK, theme)
    for name, where in PALE.items():
        part = page.locator(f".bd-article {where}").first
        part.evaluate("(part, color) => part.style.setProperty('color', color, 'important')", color)
        found = checks.pale_text(page) + checks.faulty_formulas(page)
        part.evaluate("part => part.style.removeProperty('color')")
        assert found, f"{name}, pale, is not found"
    assert checks.pale_text(page) == []


def test_a_faulty_formula_is_found(spoilt: Visit):
    page = spoilt.look()
    assert checks.faulty_formulas(page) == []
    assert checks.cut_formulas(page) == []
    formula = page.locator('mjx-container[display="true"]').first
    formula.locator("mjx-math").first.evaluate("inside => (inside.style.cssText = 'display: block; width: 3000px')")
    assert len(checks.cut_formulas(page)) == 1
    assert len(checks.formulas_out_of_reach(page)) == 1
    glyphs = page.locator("mjx-container >> nth=5").locator("mjx-mi").first
    glyphs.evaluate("glyphs => glyphs.replaceWith(document.createElement('mjx-merror'))")
    page.locator("mjx-container >> nth=6").locator("mjx-assistive-mml").evaluate("told => told.remove()")
    faults = [fault.partition(":")[0] for fault in checks.faulty_formulas(page)]
    assert {"an error", "not told"} <= set(faults)


def test_what_lies_beside_the_screen_is_found(spoilt: Visit):
    page = spoilt.look(PHONE)
    assert checks.beside_the_screen(page) == []
    page.locator(".prev-next-area i").last.evaluate("i => (i.style.cssText = 'position: relative; left: 60px')")
    assert len(checks.beside_the_screen(page)) >= 1


def test_a_picture_that_did_not_come_is_found(spoilt: Visit):
    page = spoilt.look()
    before = len(checks.pictures_without_words(page))
    page.locator(".bd-article img").last.evaluate(
        "image => { image.src = 'missing.png'; return image.decode().catch(() => 0); }"
    )
    assert len(checks.pictures_without_words(page)) == before + 1
