"""How the search learns which page says most about a word."""

import json
from collections import Counter
from pathlib import Path

from tools.pages.search import occurrences, rank_by_occurrence, stems


def share(counts: dict[str, Counter[str]], word: str) -> dict[str, int]:
    found = json.loads(occurrences(counts))
    return {found["pages"][int(place)]: value for place, value in found["shares"].get(word, {}).items()}


def test_words_are_counted_by_their_stem_and_only_in_the_article(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    page.write_text("<nav>Solving</nav><article>Solve it, <b>solving</b> the stiff <code>odeint</code></article>")
    assert stems(page) == {"solv": 2, "stiff": 1, "odeint": 1}
    page.write_text("<p>no article</p>")
    assert stems(page) == {}


def test_a_page_that_says_more_has_a_larger_share() -> None:
    counts = {"a": Counter(flow=9, rest=90), "b": Counter(flow=3, rest=96), "c": Counter(rest=99)}
    found = share(counts, "flow")
    assert 100 > found["a"] > found["b"] > 0
    assert "c" not in found


def test_the_same_count_weighs_more_on_a_shorter_page() -> None:
    found = share({"short": Counter(flow=4, rest=20), "long": Counter(flow=4, rest=400)}, "flow")
    assert found["short"] > found["long"]


def test_a_rare_word_counts_more_than_one_that_every_page_has() -> None:
    pages = {str(number): Counter(rest=10) for number in range(10)}
    pages["0"]["flow"] = pages["1"]["flow"] = 5
    rarity = json.loads(occurrences(pages))["rarity"]
    assert rarity["flow"] > 5 * rarity["rest"] > 0


def test_the_counts_stand_behind_the_scorer(tmp_path: Path) -> None:
    rank_by_occurrence(tmp_path)  # a site without a search
    static, pages = tmp_path / "_static", tmp_path / "chapters"
    static.mkdir()
    pages.mkdir()
    (static / "language_data.js").write_text("var OCCURRENCES;\n")
    (pages / "a.html").write_text("<article>flow flow flow</article>")
    (pages / "b.html").write_text("<article>flow and rest</article>")
    rank_by_occurrence(tmp_path)
    first, second = (static / "language_data.js").read_text().splitlines()
    assert first == "var OCCURRENCES;"
    found = json.loads(second.removeprefix("OCCURRENCES = ").removesuffix(";"))
    assert found["pages"] == ["chapters/a", "chapters/b"]
    assert list(found["shares"]) == ["flow"]
