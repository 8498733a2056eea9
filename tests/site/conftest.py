"""The finished site, served on this machine, and a browser to look at it with."""

import functools
import http.server
import os
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.site.pages import Visit, visiting
from tools.browser import find_chromium, sandbox_options
from tools.site import HTML

# A test must not wait for services that the browser itself would like to reach.
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without writing a line for each."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """Serve the site; return its address. `make book` builds it, `make test` before it comes here."""
    if not (HTML / "index.html").is_file():
        pytest.fail("there is no site to look at: build it first, with 'make book'", pytrace=False)
    handler = functools.partial(QuietHandler, directory=str(HTML))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Chromium, the system's own; skip where there is none, but not in CI."""
    executable = find_chromium()
    if executable is None:
        missing = "no Chromium on this machine (Debian: apt install chromium), so nobody looked at the site"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*QUIET, *sandbox_options()])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def visit(request: pytest.FixtureRequest, browser: Browser, site: str) -> Iterator[Visit]:
    """Keep a page open for all tests that look at it, one after the other: see ``tests.site.pages.each``."""
    with visiting(browser, site, request.param) as visit:
        yield visit
