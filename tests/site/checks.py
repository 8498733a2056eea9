"""What can be wrong with an open page: each check returns the faults it finds, so that a planted one can be found."""

import axe_playwright_python.sync_playwright as axe
from playwright.sync_api import Page

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

# Colour contrast is by far the dearest rule: for every piece of text it asks what lies behind it, and a chapter has
# thousands of coloured words of code. Text of the same colours, size and weight on the same ground, within text of the
# same colour, has the same contrast. So one of each kind is marked, and the rule looks at those; kinds that were found
# good on an earlier page are not looked at again.
UNMARK = """() => document.querySelectorAll("[data-kind-of-text]")
    .forEach((element) => element.removeAttribute("data-kind-of-text"))"""
MARK_KINDS_OF_TEXT = """(known) => {
    const grounds = new Map(), kinds = new Set(known), found = [];
    const ground = (element) => {  // all that an element and those around it paint behind the text
        if (!element) return "";
        if (!grounds.has(element)) {
            const style = getComputedStyle(element);
            const paint = [style.backgroundColor, style.backgroundImage];
            paint.push(style.opacity, style.filter, style.mixBlendMode);
            if (!["static", "relative"].includes(style.position)) paint.push(element.className);  // lies on others
            grounds.set(element, `${ground(element.parentElement)}/${paint}`);
        }
        return grounds.get(element);
    };
    for (const element of document.body.querySelectorAll("*")) {
        const text = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
        if (!text && !element.placeholder && element.localName !== "mjx-c") continue;
        if (!element.checkVisibility({ visibilityProperty: true })) continue;
        const style = getComputedStyle(element);
        const around = element.parentElement ? getComputedStyle(element.parentElement).color : "";
        const look = [style.color, style.fontSize, style.fontWeight, style.textShadow, style.textDecoration, around];
        const kind = `${element.matches("a")}/${look}/${ground(element)}`;
        if (kinds.has(kind)) continue;
        element.dataset.kindOfText = kinds.size;
        kinds.add(kind);
        found.push(kind);
    }
    return found;
}"""

# axe lays a grid over all that a page shows, and most of a chapter's elements are pieces of formulas, all of one make,
# and words of code. So while axe looks, all formulas but a few are blank, of the same size; ``faulty_formulas`` looks
# at each. For the rules on colours, code is blank as well, but for that which has a kind of text that is looked at.
BLANK = """(selector) => {
    const few = new Set(["true", null].flatMap((kind) => [...document.querySelectorAll("mjx-container")]
        .filter((formula) => formula.getAttribute("display") === kind).slice(0, 5)));
    const blank = [...document.querySelectorAll(selector)]
        .filter((element) => !few.has(element) && !element.querySelector("[data-kind-of-text]"));
    const sizes = blank.map((element) => [element.offsetWidth, element.offsetHeight]);
    window.blanked = blank.map((element) => [element, [...element.childNodes], element.getAttribute("style") ?? ""]);
    blank.forEach((element, i) => {
        element.replaceChildren();
        element.style.cssText += `; display: inline-block; width: ${sizes[i][0]}px; height: ${sizes[i][1]}px`;
    });
}"""
FILL = """() => window.blanked.forEach(([element, content, style]) => {
    element.replaceChildren(...content);
    element.setAttribute("style", style);
})"""

# Formulas that are cut at the edge of the text instead of fitting it.
CUT_FORMULAS = """() => [...document.querySelectorAll('mjx-container[display="true"]')]
    .filter((formula) => formula.scrollWidth > formula.clientWidth + 1)
    .map((formula) => formula.closest(".math").id || formula.textContent.slice(0, 80))"""

# What MathJax left undone, could not read, or does not tell a screen reader; and formulas in another colour than the
# text around them.
FAULTY_FORMULAS = """() => {
    const text = (element) => (element.closest(".math") ?? element).textContent.slice(0, 80);
    const named = (what, elements) => elements.map((element) => `${what}: ${text(element)}`);
    const formulas = [...document.querySelectorAll("mjx-container")];
    const color = (element) => getComputedStyle(element).color;
    return [
        ...named("not typeset", [...document.querySelectorAll(".math:not(:has(mjx-container))")]),
        ...named("an error", [...document.querySelectorAll("mjx-merror")]),
        ...named("not told", formulas.filter((f) => !f.querySelector("mjx-assistive-mml > math > *"))),
        ...named("coloured", [...document.querySelectorAll("mjx-c, mjx-utext")]
            .filter((glyph) => color(glyph) !== color(glyph.closest("mjx-container").parentElement))),
    ];
}"""

# Formulas that are wider than their place, and that the keyboard cannot scroll.
OUT_OF_REACH = """() => [...document.querySelectorAll("mjx-container:is([display], .nde-wide)")]
    .filter((formula) => formula.scrollWidth > formula.clientWidth + 1 && formula.tabIndex !== 0)
    .map((formula) => (formula.closest(".math") ?? formula).textContent.slice(0, 80))"""

# Words and pictures that lie, at least in part, beside the screen, where nothing can be scrolled to show them.
OUTSIDE = """() => {
    const scrolls = (element) => {
        for (let e = element; e && e !== document.body; e = e.parentElement) {
            const style = getComputedStyle(e);
            if (style.position === "fixed" || ["auto", "scroll"].includes(style.overflowX)) return true;
        }
        return false;
    };
    const walker = document.createTreeWalker(document.querySelector(".bd-main"), NodeFilter.SHOW_TEXT);
    const range = document.createRange(), found = [];
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (!node.data.trim() || node.parentElement.closest("mjx-assistive-mml")) continue;  // those are only heard
        range.selectNodeContents(node);
        const box = range.getBoundingClientRect();
        if (box.width && (box.left < 0 || box.right > innerWidth + 0.5)) found.push([node.parentElement, node.data]);
    }
    for (const element of document.querySelectorAll(".bd-main :is(img, svg, i, input, button, mjx-container)")) {
        const box = element.getBoundingClientRect();
        if (box.width && (box.left < 0 || box.right > innerWidth + 0.5)) found.push([element, element.outerHTML]);
    }
    return found
        .filter(([element]) => !scrolls(element) && element.checkVisibility({ visibilityProperty: true }))
        .map(([, what]) => what.trim().slice(0, 80));
}"""


COLOR_RULES = ["color-contrast", "link-in-text-block"]


def broken_rules(page: Page) -> list[str]:
    """Return what axe finds against WCAG, levels A and AA, whatever the theme: all rules but those on colours."""
    page.evaluate(UNMARK)
    options = {"runOnly": LEVELS, "rules": {rule: {"enabled": False} for rule in COLOR_RULES}}
    return _violations(page, options, "mjx-container")


def pale_text(page: Page, known: set[str] | None = None) -> list[str]:
    """Return the kinds of text that do not stand out from what is behind them, or links from the text around them.

    Kinds that are ``known`` to be good are left out; good ones are added to them.
    """
    page.evaluate(UNMARK)
    kinds = page.evaluate(MARK_KINDS_OF_TEXT, list(known or ()))
    if not kinds:
        return []
    options = {"runOnly": {"type": "rule", "values": COLOR_RULES}}
    found = _violations(page, options, "mjx-container, pre", {"include": [["[data-kind-of-text]"]]})
    if known is not None and not found:
        known.update(kinds)
    return found


def _violations(page: Page, options: dict, blank: str, context: dict | None = None) -> list[str]:
    page.evaluate(BLANK, blank)
    found = axe.Axe().run(page, context, options | {"resultTypes": ["violations"]}).response["violations"]
    page.evaluate(FILL)
    return [
        f"{rule['id']}: {node['html'][:120]} ({node['failureSummary']})" for rule in found for node in rule["nodes"]
    ]


def cut_formulas(page: Page) -> list[str]:
    """Return the displayed formulas that are wider than their place."""
    return page.evaluate(CUT_FORMULAS)


def faulty_formulas(page: Page) -> list[str]:
    """Return what is wrong with formulas, other than their width."""
    return page.evaluate(FAULTY_FORMULAS)


def formulas_out_of_reach(page: Page) -> list[str]:
    """Return the formulas of which a part can be seen by mouse or finger only."""
    return page.evaluate(OUT_OF_REACH)


def pictures_without_words(page: Page) -> list[str]:
    """Return the pictures of the text that did not come, or have no alternative text."""
    return page.evaluate(
        """() => [...document.querySelectorAll(".bd-article img")]
            .filter((image) => !image.alt.trim() || !image.naturalWidth)
            .map((image) => image.outerHTML.slice(0, 120))"""
    )


def beside_the_screen(page: Page) -> list[str]:
    """Return what a reader cannot see: how far the page scrolls sideways, and words or pictures that are cut."""
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return ([f"the page is {wide} px too wide"] if wide > 0 else []) + page.evaluate(OUTSIDE)
