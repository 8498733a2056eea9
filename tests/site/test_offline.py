"""The site needs nothing but itself: no address of others, and not even a server."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser

from tests.site.pages import CHAPTERS, DESK, WITH_SLIDERS, opened
from tools.site import HTML

STAND_INS = {"Inter until it comes", "Inter until it comes, wide"}  # a machine need not have what these ask for
SHEETS = sorted(path.relative_to(HTML).as_posix() for path in HTML.rglob("*.css"))


@pytest.mark.parametrize("name", SHEETS)
def test_a_style_sheet_names_nothing_of_others(name: str):
    text = (HTML / name).read_text(encoding="utf-8")
    assert re.findall(r"(?:@import|url\()\s*(?:url\()?[\"']?(?:https?:)?//[^\"')]+", text) == []


# All chapters have the same template; that the files which one names are there, each page's own tests see.
@pytest.mark.parametrize("name", sorted({CHAPTERS[0], *WITH_SLIDERS[:1], CHAPTERS[-1]}))
def test_a_chapter_reads_from_the_disk(browser: Browser, name: str):
    for page, complaints in opened(browser, (HTML / name).as_uri(), DESK, "light"):
        page.wait_for_selector("mjx-container", state="attached")  # the first may be in a tip
        assert page.locator("mjx-merror").count() == 0
        fonts = page.evaluate("[...document.fonts].map(f => [f.family.replace(/MJX.*/, 'MJX'), f.status])")
        assert {"Inter", "JetBrains Mono", "MJX"} <= {family for family, status in fonts if status == "loaded"}
        assert {family for family, status in fonts if status == "error"} <= STAND_INS
        if name in WITH_SLIDERS:
            figure = page.locator(".nde-slider").first
            image = figure.locator("img")
            figure.scroll_into_view_if_needed()
            before = image.get_attribute("src")
            figure.locator("input").first.focus()
            page.keyboard.press("ArrowRight")
            assert image.get_attribute("src") != before
            assert image.evaluate("image => image.decode().then(() => image.naturalWidth > 0)")
        assert complaints == []


def test_the_search_works_from_the_disk(browser: Browser):
    address = f"{(HTML / 'search.html').as_uri()}?q=odeint"
    for page, _ in opened(browser, address, DESK, "light"):
        page.wait_for_selector("#search-results li a")
        target = page.locator("#search-results li a").first.evaluate("link => link.href")
        assert Path(unquote(urlsplit(target).path)).is_file()
