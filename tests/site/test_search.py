"""Who searches for a word finds its page: among the first two behind the glossary, as another may say as much of it."""

from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from tests.site.pages import DESK, PAGES, opened

QUERIES = {
    "trace determinant rule": "chapters/01_vector_fields.html",
    "gradient flow": "chapters/01_vector_fields.html",
    "odeint": "api/ndelib.html",
    "dense output": "chapters/03_solving_odes.html",
    "stiff": "chapters/04_stiff_and_symplectic.html",
    "symplectic": "chapters/04_stiff_and_symplectic.html",
    "adjoint": "chapters/08_adjoints.html",
    "BrownianMotion": "chapters/16_sdes.html",
    "Stratonovich": "chapters/16_sdes.html",
    "Fokker–Planck": "chapters/16_sdes.html",
    "augmented": "chapters/09_topology.html",
    "multiple shooting": "chapters/12_learning_vector_fields.html",
    "universal differential equation": "chapters/13_pinns_and_udes.html",
    "threshold": "chapters/14_sindy.html",
    "limit cycle": "chapters/05_bifurcations.html",
    "MultipleShooting": "api/models.html",
    "Noether": "chapters/23_mechanics.html",
    "HNN": "chapters/24_hamiltonian_networks.html",
    "mass matrix": "chapters/26_lagrangian_networks.html",
}


def results(browser: Browser, site: str, query: str) -> list[str]:
    """Return the pages that the search finds, the best first."""
    for page, complaints in opened(browser, f"{site}/search.html?q={quote(query)}", DESK, "light"):
        page.wait_for_function("document.querySelector('#search-results .search-summary').innerText.includes('found')")
        links = page.locator("#search-results li > a").evaluate_all("links => links.map(link => link.href)")
        assert complaints == []
    names = [link.removeprefix(f"{site}/").split("#")[0].split("?")[0] for link in links]
    return list(dict.fromkeys(names))


@pytest.mark.parametrize("query", QUERIES)
def test_a_search_finds_the_page(browser: Browser, site: str, query: str):
    pages = [page for page in results(browser, site, query) if page != "glossary.html"]
    assert QUERIES[query] in pages[:2]


def test_an_excerpt_is_of_the_text(browser: Browser, site: str):
    for page, _ in opened(browser, f"{site}/search.html?q=stiff", DESK, "light"):
        excerpt = page.locator("#search-results p.context").first
        excerpt.wait_for()
        assert "stiff" in excerpt.inner_text().lower()
        told = page.locator("#search-results").inner_text()
        assert ".ipynb" not in told
        assert "Executed" not in told


def test_there_are_ten_queries_for_pages_that_exist():
    assert len(QUERIES) >= 10
    assert set(QUERIES.values()) <= set(PAGES)


def test_a_search_for_nothing_in_the_book_says_so(browser: Browser, site: str):
    for page, _ in opened(browser, f"{site}/search.html?q=zyxwvut", DESK, "light"):
        page.get_by_text("did not match any documents").wait_for()
