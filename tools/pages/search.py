"""A search that puts the page first that says most about the words.

The index of Sphinx knows which pages have a word, not how often, and one word in a heading counts for all of them: with
thirty chapters the page that explains a term stands anywhere. So the search gets the counts, and ranks by Okapi BM25
(Robertson & Zaragoza, *Foundations and Trends in Information Retrieval* 3 (2009) 333): a word that few pages have
counts more than a common one, the tenth occurrence less than the first, an occurrence in a long page less than in a
short one.
"""

import json
import math
from collections import Counter
from pathlib import Path

from bs4 import BeautifulSoup
from sphinx.search.en import SearchEnglish

SATURATION = 1.2  # k₁ and b, with the values that most search engines have
LENGTH = 0.75
FEWEST = 2  # with one occurrence the page has the word, no more


def rank_by_occurrence(site: Path) -> None:
    """Give the search of the built ``site`` the counts of its words; a site without a search stays as it is."""
    script = site / "_static" / "language_data.js"  # where Sphinx puts the scorer
    if not script.exists():
        return
    counts = {page.relative_to(site).with_suffix("").as_posix(): stems(page) for page in sorted(site.rglob("*.html"))}
    counts = {page: words for page, words in counts.items() if words}
    text = script.read_text(encoding="utf-8")
    script.write_text(f"{text}OCCURRENCES = {occurrences(counts)};\n", encoding="utf-8")


def stems(page: Path) -> Counter[str]:
    """Return how often each word stands in the article of ``page``, by its stem, as Sphinx finds stems."""
    article = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").find("article")
    if article is None:
        return Counter()
    language = SearchEnglish({})
    words = Counter(
        word.lower() for word in language.split(article.get_text(" ")) if language.word_filter(word.lower())
    )
    found: Counter[str] = Counter()
    for word, count in words.items():
        found[language.stem(word)] += count
    return found


def occurrences(counts: dict[str, Counter[str]]) -> str:
    """Return, for ``_static/scorer.js``, the pages, and of each word its rarity and its share on pages in per cent."""
    pages = list(counts)
    lengths = {page: counts[page].total() for page in pages}
    average = sum(lengths.values()) / max(len(pages), 1)
    having = Counter(word for page in pages for word in counts[page])
    shares: dict[str, dict[int, int]] = {}
    for place, page in enumerate(pages):
        slack = SATURATION * (1 - LENGTH + LENGTH * lengths[page] / average)
        for word, count in counts[page].items():
            share = count / (count + slack)
            if having[word] > 1 and count >= FEWEST:
                shares.setdefault(word, {})[place] = round(100 * share)
    rarity = {word: round(math.log(1 + (len(pages) - having[word] + 0.5) / (having[word] + 0.5)), 2) for word in shares}
    return json.dumps({"pages": pages, "rarity": rarity, "shares": shares}, separators=(",", ":"))
