"""How soon a chapter can be read, opened from the disk: ``python -m benchmarks.page_load``, or ``make bench-site``.

Chromium opens every chapter of the built site five times, each time with an empty cache, and says when it first painted
something, when the page could be used (all of its structure read), when it was complete, and when MathJax had set the
last formula: medians, in milliseconds since the page was asked for.
"""

import statistics
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tools.browser import find_chromium, sandbox_options
from tools.common import Problem, run_program
from tools.site import HTML

ROUNDS = 5
MOMENTS = "first paint", "interactive", "loaded", "formulas set"
WATCH = """(() => {
  const look = setInterval(() => {
    if (!window.MathJax?.startup?.promise) return;
    clearInterval(look);
    MathJax.startup.promise.then(() => { window.formulasSet = performance.now(); });
  }, 5);
})();"""
TIMES = """() => {
  const page = performance.getEntriesByType("navigation")[0];
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return [paint.startTime, page.domInteractive, page.loadEventEnd, window.formulasSet];
}"""


def times(browser: Browser, page: Path) -> list[float]:
    """Return the moments of one visit, in milliseconds."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.add_init_script(WATCH)
    tab.goto(page.as_uri())
    tab.wait_for_function("window.formulasSet")
    moments: list[float] = tab.evaluate(TIMES)
    context.close()
    return moments


def main() -> None:
    """Measure every chapter, and print a table."""
    pages = sorted((HTML / "chapters").glob("*.html"))
    executable = find_chromium()
    if not pages or executable is None:
        raise Problem("there is no site, or no Chromium: run 'make book', and see README for Chromium")
    print(f"| chapter | {' | '.join(MOMENTS)} |", "|---|" + "---:|" * len(MOMENTS), sep="\n")
    with sync_playwright() as playwright:
        for page in pages:
            visits = []
            for _ in range(ROUNDS):  # a new browser each time: its caches are as cold as they get
                browser = playwright.chromium.launch(executable_path=executable, args=sandbox_options())
                visits.append(times(browser, page))
                browser.close()
            medians = map(statistics.median, zip(*visits, strict=True))
            print(f"| {page.stem} | {' | '.join(f'{value:.0f}' for value in medians)} |", flush=True)


if __name__ == "__main__":
    run_program(main)
