"""How much a reader has to load. Bytes are counted, not seconds: those depend on who else uses the machine."""

import statistics
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import Browser

from tests.site.pages import CHAPTERS, Visit, every_chapter, visiting
from tools.site import HTML

HEAVIEST, MEDIAN = 2_500_000, 2_000_000


def own_files(name: str) -> set[Path]:
    """Return what only this page asks for: itself and its pictures. A slider's other frames come when one moves it."""
    page = HTML / name
    pictures = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select(".bd-article img[src]")
    return {page, *((page.parent / picture["src"]).resolve() for picture in pictures)}


def weight(files: set[Path]) -> int:
    """Return the bytes of files, without compression."""
    return sum(file.stat().st_size for file in files)


def loaded(visit: Visit) -> set[Path]:
    """Return the files of the site that a reader loads who reads the page to its end."""
    paths = {unquote(urlsplit(url).path).lstrip("/") for url in visit.asked if url.startswith("http")}
    return {(HTML / path).resolve() for path in paths}


@every_chapter
def test_no_chapter_is_heavy(visit: Visit):
    files = loaded(visit)
    assert {file.resolve() for file in own_files(visit.name)} <= files
    assert weight(files) <= HEAVIEST


def test_the_median_chapter_is_light(browser: Browser, site: str):
    """What all chapters share is seen on one of them; with it, each chapter's own files make its weight."""
    with visiting(browser, site, CHAPTERS[0]) as visit:
        shared = weight(loaded(visit) - {file.resolve() for file in own_files(visit.name)})
    weights = {name: shared + weight(own_files(name)) for name in CHAPTERS}
    assert statistics.median(weights.values()) <= MEDIAN, weights


@pytest.mark.parametrize("name", CHAPTERS)
def test_no_picture_is_inside_a_page(name: str):
    assert "data:image/png;base64" not in (HTML / name).read_text(encoding="utf-8")
