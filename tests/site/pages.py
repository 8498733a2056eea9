"""The pages of the site, and how a test opens one.

Opening a chapter and typesetting its formulas takes longer than most checks. So a page is opened once for all checks
that look at it: the fixture ``visit`` keeps it open, and a test that is ``every_page`` or ``every_chapter`` gets it in
any size and theme without loading it again. What only a few pages need is ``opened`` by the test itself.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request

from tools.site import HTML

FILES = {path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html")}
PAGES = sorted(name for name in FILES if not name.startswith("_") and name != "index.html")
CHAPTERS = [page for page in PAGES if page.startswith("chapters/")]
WITH_SLIDERS = [page for page in CHAPTERS if "nde-slider" in (HTML / page).read_text(encoding="utf-8")]
PHONE, SMALL, DESK = (360, 740), (320, 640), (1280, 900)
THEMES = ("light", "dark")


def each(names: Iterable[str]) -> pytest.MarkDecorator:
    """Run a test on the ``visit`` of each page; with ``--dist loadgroup`` a page stays with one worker."""
    pages = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]
    return pytest.mark.parametrize("visit", pages, indirect=True)


every_page, every_chapter, every_chapter_with_sliders = each(PAGES), each(CHAPTERS), each(WITH_SLIDERS)


@dataclass
class Visit:
    """A page that stays open: read to its end, every drop-down open, every picture there.

    ``asked`` are the addresses that it asked for until then, ``complaints`` what ``new_page`` says.
    """

    name: str
    page: Page
    complaints: list[str]
    asked: set[str] = field(default_factory=set)

    def look(self, size: tuple[int, int] = DESK, theme: str = "light") -> Page:
        """Show the page in this size and theme, with nothing pointed at, and return it."""
        self.page.mouse.move(0, 0)
        self.page.evaluate("document.activeElement?.blur()")
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.page.emulate_media(color_scheme=theme)
        self.page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
        self.page.evaluate(DRAWN)
        return self.page


@contextmanager
def visiting(browser: Browser, site: str, name: str) -> Iterator[Visit]:
    """Open a page of the site and read it to its end; a slider's other frames come only when one reaches for it."""
    context, page, complaints = new_page(browser)
    visit = Visit(name, page, complaints)

    def hear(request: Request) -> None:
        visit.asked.add(request.url)

    page.on("request", hear)
    page.goto(f"{site}/{name}", wait_until="networkidle")
    page.evaluate(READ)
    # A colour or a place that is still on its way to another is none that a reader reads.
    page.add_style_tag(content="*, ::before, ::after { transition: none !important }")
    page.wait_for_load_state("networkidle")
    page.remove_listener("request", hear)
    yield visit
    context.close()


DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
READ = """async () => {
    const formulas = document.querySelector("script[src*=mathjax]");
    while (formulas && !window.MathJax?.startup?.promise) await new Promise((done) => setTimeout(done, 20));
    await window.MathJax?.startup?.promise;
    document.querySelectorAll("details").forEach((details) => (details.open = true));
    for (const image of document.querySelectorAll(".bd-article img")) {
        image.loading = "eager";
        await image.decode().catch(() => null);
    }
    await document.fonts.ready;
}"""


def new_page(
    browser: Browser, size: tuple[int, int] = DESK, theme: str = "light", **options: object
) -> tuple[BrowserContext, Page, list[str]]:
    """Return an empty page and the list of what it will complain about: errors of scripts, files that did not come.

    ``options`` are playwright's for a context, such as ``reduced_motion``.
    """
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=theme, **options)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"not loaded: {request.url}"))
    page.on("response", lambda answer: answer.status >= 400 and complaints.append(f"{answer.status}: {answer.url}"))
    return context, page, complaints


def opened(
    browser: Browser, address: str, size: tuple[int, int] = DESK, theme: str = "light", **options: object
) -> Iterator[tuple[Page, list[str]]]:
    """Open a page for one test, as ``new_page`` makes it; also give what it complained about."""
    context, page, complaints = new_page(browser, size, theme, **options)
    page.goto(address, wait_until="networkidle")
    yield page, complaints
    context.close()
