"""How much a reader has to load. Bytes are counted, not seconds: those depend on who else uses the machine."""

import statistics
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser

from tests.site.pages import CHAPTERS, DESK
from tools.site import HTML

HEAVIEST, MEDIAN = 2_500_000, 2_000_000


def weight(browser: Browser, site: str, name: str) -> int:
    """Return the bytes of everything that a reader loads who reads a page to its end, without compression.

    A slider's other frames come only when the reader reaches for it.
    """
    context = browser.new_context(viewport={"width": DESK[0], "height": DESK[1]})
    page, paths = context.new_page(), set()
    page.on("request", lambda request: paths.add(urlsplit(request.url)) if request.url.startswith(site) else None)
    page.goto(f"{site}/{name}", wait_until="networkidle")
    for image in page.locator(".bd-article img").all():
        image.evaluate("image => { image.loading = 'eager'; return image.decode(); }")
    context.close()
    return sum((HTML / unquote(path).lstrip("/")).stat().st_size for path in {parts.path for parts in paths})


@pytest.fixture(scope="module")
def weights(browser: Browser, site: str) -> dict[str, int]:
    return {name: weight(browser, site, name) for name in CHAPTERS}


def test_the_median_chapter_is_light(weights: dict[str, int]):
    assert statistics.median(weights.values()) <= MEDIAN, weights


def test_no_chapter_is_heavy(weights: dict[str, int]):
    assert max(weights.values()) <= HEAVIEST, weights


@pytest.mark.parametrize("name", CHAPTERS)
def test_no_picture_is_inside_a_page(name: str):
    assert "data:image/png;base64" not in (HTML / name).read_text(encoding="utf-8")
