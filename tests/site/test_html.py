"""Every page is valid HTML, and every link inside the site leads somewhere. No browser is needed."""

from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import html5lib
import pytest
from bs4 import BeautifulSoup

from tests.site.pages import FILES, PAGES
from tools.site import HTML

NAMES = sorted(name for name in FILES if not name.startswith("_static/"))
LINKS = ("href", "src", "action", "poster")
REFERENCES = ("for", "aria-labelledby", "aria-describedby", "aria-controls", "headers")


@cache
def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def ids(path: Path) -> Counter[str]:
    return Counter(tag["id"] for tag in parsed(path).find_all(id=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_valid(name: str):
    text = (HTML / name).read_text(encoding="utf-8")
    parser = html5lib.HTMLParser()
    parser.parse(text)
    lines = text.splitlines()
    assert [f"{code} {data}: {lines[line - 1][:200]}" for (line, _), code, data in parser.errors] == []
    repeated = [name for name, count in ids(HTML / name).items() if count > 1]
    assert repeated == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_it_is(name: str):
    page = parsed(HTML / name)
    assert page.html["lang"] == "en"
    assert page.title.get_text().strip()
    assert len(page.select(".bd-article h1, .bd-search-container h1")) == 1
    assert page.find("meta", charset=True)


def jumps(page: BeautifulSoup) -> list[str]:
    """Return the headings that lie more than one level below the one before."""
    headings = page.select(", ".join(f".bd-article h{level}" for level in range(1, 7)))
    pairs = pairwise(headings)
    return [str(below)[:120] for above, below in pairs if int(below.name[1]) > int(above.name[1]) + 1]


@pytest.mark.parametrize("name", PAGES)
def test_headings_do_not_jump(name: str):
    assert jumps(parsed(HTML / name)) == []


def test_a_heading_that_jumps_is_found():
    page = BeautifulSoup("<article class=bd-article><h1>A</h1><h2>B</h2><h4>C</h4><h1>D</h1></article>", "html.parser")
    assert jumps(page) == ["<h4>C</h4>"]


@pytest.mark.parametrize("name", NAMES)
def test_links_inside_the_site_lead_somewhere(name: str):
    here, broken = (HTML / name).resolve(), []
    for tag in parsed(HTML / name).find_all(True):
        for address in filter(None, (tag.get(attribute) for attribute in LINKS)):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (here.parent / unquote(parts.path)).resolve() if parts.path else here
            found = target.is_file() or (target / "index.html").is_file()
            anchor = unquote(parts.fragment)
            if not found or (anchor and target.suffix == ".html" and anchor not in ids(target)):
                broken.append(address)
    assert broken == []


@pytest.mark.parametrize("name", NAMES)
def test_labels_and_descriptions_name_what_is_there(name: str):
    here = HTML / name
    named = [one for tag in parsed(here).find_all(True) for key in REFERENCES for one in _words(tag.get(key))]
    assert [one for one in named if one not in ids(here)] == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_on_a_page_comes_from_another_host(name: str):
    page = parsed(HTML / name)
    loaded = [tag.get("src") for tag in page.find_all(src=True)]
    loaded += [
        tag["href"] for tag in page.find_all("link", rel=True) if {"stylesheet", "preload", "icon"} & set(tag["rel"])
    ]
    assert [address for address in loaded if urlsplit(address).netloc] == []


def _words(value: str | list[str] | None) -> list[str]:
    return value.split() if isinstance(value, str) else value or []
