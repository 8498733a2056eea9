"""Every page of the site as a reader meets it: on a desk and on a phone, by day and by night, by mouse and keyboard."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.site.pages import CHAPTERS, DESK, PAGES, PHONE, WITH_SLIDERS, opened

LEVELS = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}


def test_there_are_pages_to_look_at():
    assert "intro.html" in PAGES
    assert "chapters/01_vector_fields.html" in WITH_SLIDERS


def test_the_address_of_the_site_leads_to_the_landing_page(browser: Browser, site: str):
    for page, _ in opened(browser, f"{site}/", DESK, "light"):
        page.wait_for_url("**/intro.html")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_quiet_and_accessible(browser: Browser, site: str, name: str, theme: str):
    for page, complaints in opened(browser, f"{site}/{name}", DESK, theme):
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        assert complaints == []
        # Closed drop-downs hide what is in them from the check as well.
        page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
        results = Axe().run(page, options=LEVELS)
        assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone(browser: Browser, site: str, name: str):
    for page, _ in opened(browser, f"{site}/{name}", PHONE, "light"):
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_shows_its_equations_and_pictures(browser: Browser, site: str, name: str):
    for page, _ in opened(browser, f"{site}/{name}", DESK, "light"):
        page.wait_for_selector("mjx-container", state="attached")  # the first may be in a tip
        assert page.locator("mjx-merror").count() == 0
        page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
        cut = "formula => formula.scrollWidth > formula.clientWidth + 1"
        formulas = page.locator('mjx-container[display="true"]')
        assert formulas.evaluate_all(f"formulas => formulas.filter({cut}).map(formula => formula.innerText)") == []
        unrendered = page.evaluate(
            "[...document.querySelectorAll('.math')].filter(m => !m.querySelector('mjx-container')).length"
        )
        assert unrendered == 0
        for image in page.locator(".bd-article img").all():
            assert image.get_attribute("alt"), image.get_attribute("src")[:80]
            image.scroll_into_view_if_needed()  # pictures come when they are near
            assert image.evaluate("image => image.decode().then(() => image.naturalWidth > 0)")


@pytest.mark.parametrize("name", WITH_SLIDERS)
def test_sliders_work_by_keyboard_and_by_mouse(browser: Browser, site: str, name: str):
    for page, _ in opened(browser, f"{site}/{name}", DESK, "light"):
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
