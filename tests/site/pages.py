"""The pages of the site, and how a test opens one."""

from collections.abc import Iterator

from playwright.sync_api import Browser, Page

from tools.site import HTML

FILES = {path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html")}
PAGES = sorted(name for name in FILES if not name.startswith("_") and name != "index.html")
CHAPTERS = [page for page in PAGES if page.startswith("chapters/")]
WITH_SLIDERS = [page for page in CHAPTERS if "nde-slider" in (HTML / page).read_text(encoding="utf-8")]
PHONE, DESK = (360, 740), (1280, 900)


def opened(
    browser: Browser, address: str, size: tuple[int, int] = DESK, theme: str = "light", **options: object
) -> Iterator[tuple[Page, list[str]]]:
    """Open a page; also give what it complained about: errors of scripts, and files that did not come.

    ``options`` are playwright's for a context, such as ``reduced_motion``.
    """
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=theme, **options)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"not loaded: {request.url}"))
    page.on("response", lambda answer: answer.status >= 400 and complaints.append(f"{answer.status}: {answer.url}"))
    page.goto(address, wait_until="networkidle")
    yield page, complaints
    context.close()
