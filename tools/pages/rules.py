"""Style sheets without the rules that nothing on the site can match: of the theme's 310 kB most are for other sites."""

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import tinycss2

CLASS = re.compile(r"\.(-?[A-Za-z_][\w-]*)")
# What stands in these need not be there for a selector to match, or need not all be there.
ALTERNATIVES = re.compile(r":(?:not|is|where|has)\((?:[^()]|\([^()]*\))*\)")
WORD = re.compile(r"[\w-]+")


def words_of(site: Path) -> set[str]:
    """Return every word in the pages and scripts of ``site``: a class that is none of them is on no element, ever."""
    pages = (page for page in site.rglob("*.html"))
    scripts = (script for script in (site / "_static").rglob("*.js") if "mathjax" not in script.parts)
    return {word for file in (*pages, *scripts) for word in WORD.findall(file.read_text(encoding="utf-8"))}


def leave_out_rules(sheet: Path, words: Collection[str]) -> None:
    """Leave out of ``sheet`` the rules for classes that are none of the ``words``."""
    if sheet.exists():
        rules = tinycss2.parse_stylesheet(sheet.read_text(encoding="utf-8"), skip_comments=True, skip_whitespace=True)
        sheet.write_text("\n".join(_kept(rules, words)), encoding="utf-8")


def _kept(rules: Iterable[Any], words: Collection[str]) -> Iterator[str]:
    for rule in rules:
        if rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports") and rule.content is not None:
            inside = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
            kept = "\n".join(_kept(inside, words))
            if kept:
                yield f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{kept}}}"
        elif rule.type == "qualified-rule":
            selectors = [one for one in _selectors(rule.prelude) if _can_match(one, words)]
            if selectors:
                yield f"{','.join(selectors)}{{{tinycss2.serialize(rule.content)}}}"
        else:
            yield rule.serialize()


def _selectors(prelude: Iterable[Any]) -> list[str]:
    """Return the selectors that the commas of a rule part; those inside brackets part none."""
    parts: list[list[Any]] = [[]]
    for token in prelude:
        if token.type == "literal" and token.value == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return [tinycss2.serialize(part).strip() for part in parts]


def _can_match(selector: str, words: Collection[str]) -> bool:
    if "\\" in selector:  # an escaped letter: not worth the trouble
        return True
    return all(name in words for name in CLASS.findall(ALTERNATIVES.sub("", re.sub(r"\[[^\]]*\]", "", selector))))
