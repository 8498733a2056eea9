"""A site with a public address has a sitemap and a card for each page; a site without one has no address in it."""

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from bs4 import BeautifulSoup
from PIL import Image

from tools.address import site_address, with_address
from tools.common import ROOT, Problem
from tools.site import render

ADDRESS = "https://book.example/nde/"
CONFIG = (ROOT / "_config.yml").read_text(encoding="utf-8")


def addressed(address: str) -> str:
    config = yaml.safe_load(CONFIG)
    config["html"]["baseurl"] = address
    return yaml.safe_dump(config)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a site of two pages that has an address, with the book's settings and warnings as errors."""
    folder = tmp_path_factory.mktemp("address")
    sources = folder / "sources"
    shutil.copytree(ROOT / "_static", sources / "_static")
    (sources / "_extra").mkdir()
    shutil.copy(ROOT / "references.bib", sources)
    (sources / "_config.yml").write_text(with_address(addressed(ADDRESS.rstrip("/"))))
    (sources / "_toc.yml").write_text("format: jb-book\nroot: intro\nchapters:\n  - file: part/second\n")
    (sources / "intro.md").write_text("# The book\n\nHow it begins.\n")
    (sources / "part").mkdir()
    (sources / "part" / "second.md").write_text("# 16 Stochastic differential equations\n\nNoise – that stays.\n")
    return render(sources, folder / "built")


def test_the_sitemap_has_the_address_of_each_page(built: Path) -> None:
    places = ElementTree.parse(built / "sitemap.xml").iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")
    assert {place.text for place in places} == {f"{ADDRESS}intro.html", f"{ADDRESS}part/second.html"}


@pytest.mark.parametrize("name", ["intro.html", "part/second.html"])
def test_each_page_has_a_card_that_is_on_the_disk(built: Path, name: str) -> None:
    page = BeautifulSoup((built / name).read_text(encoding="utf-8"), "html.parser")
    card = {tag["property"]: tag["content"] for tag in page.find_all("meta", property=True)}
    assert card["og:url"] == ADDRESS + name
    assert card["og:site_name"] == "Neural Differential Equations"
    assert page.find("link", rel="canonical")["href"] == ADDRESS + name
    image = built / card["og:image"].removeprefix(ADDRESS)
    assert Image.open(image).size == (1146, 600)


def test_without_an_address_nothing_is_switched_on() -> None:
    assert with_address(addressed("")) == addressed("")


@pytest.mark.parametrize("address", ["book.example", "http://book.example/", "https://book.example/?a", "javascript:x"])
def test_what_is_no_address_of_a_site_is_a_problem(address: str) -> None:
    with pytest.raises(Problem, match="is not of the form"):
        site_address({"html": {"baseurl": address}})


@pytest.mark.parametrize("address", ["https://book.example", "https://a.b/c", "https://a.b/c/"])
def test_the_address_ends_with_a_slash(address: str) -> None:
    assert site_address({"html": {"baseurl": address}}) == address.rstrip("/") + "/"
