"""The last touches to the built site, before anyone sees it: valid, and light to load.

Sphinx and the theme write what no reader needs: pictures inside the pages, once more for every frame of a slider; an
icon library of 1.5 MB for some twenty icons; style rules for what the book does not have; the search index on pages
that do not search; a tag around every comma of the code. And they repeat ids, which HTML forbids.
"""

import base64
import hashlib
import io
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from fontTools import subset

from tools.pages.rules import leave_out_rules, words_of
from tools.pages.search import rank_by_occurrence

LARGE_SHEETS = ("styles/pydata-sphinx-theme.css", "styles/sphinx-book-theme.css")
PICTURES = "_images"
DATA_URI = re.compile(r"data:image/(png|jpeg|gif);base64,([A-Za-z0-9+/=]+)")

# sphinx-proof and sphinx-exercise give every proof and every exercise of a page the same id.
REPEATED_IDS = re.compile(r' id="(?:proof|proof-content|exercise-content)"')
REPAIRS = [
    # docutils gives the entries of a bibliography a role that WAI-ARIA has withdrawn; in a list they are items.
    (re.compile(r'role="doc-biblioentry"'), 'role="listitem"'),
    (REPEATED_IDS, ""),
    # The theme's icons are shown twice over: by a script, and by a font, which is enough. The script would also hide
    # the icons from screen readers.
    (re.compile(r'<script [^>]*src="[^"]*/fontawesome\.js[^"]*"></script>'), ""),
    (re.compile(r'<(i|span) class="(?=[^"]*\bfa[srb-])'), r'<\1 aria-hidden="true" class="'),
    # The theme's button that unfolds the pages below another one has an icon and no name.
    (re.compile(r'<summary>(?=<span class="toctree-toggle")'), '<summary aria-label="The pages below this one">'),
    # The theme's scripts give only the first of these buttons its work, and that is in the top bar, which is hidden.
    (re.compile(r'class="pst-navbar-icon sidebar-toggle (?:primary|secondary)-toggle"'), 'class="pst-navbar-icon"'),
    # Sphinx writes a field of several paragraphs, such as what a function returns, as paragraphs inside of one.
    (re.compile(r"<p>(?=<p>)"), ""),
    (re.compile(r"(?<=</p>)\s*</p>"), ""),
    # Pictures in the text know their width and height, so the page does not jump when they come late.
    (re.compile(r'<img src="(?=[^"]*\b_images/)'), '<img loading="lazy" src="'),
]
# The theme loads these on every page for a search as you type, which the book does not use.
SEARCH = re.compile(r'<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>\n?')
# Cards, grids and tabs, of use only to a page that has some.
DESIGN = re.compile(r"<link [^>]*sphinx-design[^>]*/>\n?|<script [^>]*design-tabs\.js[^>]*></script>\n?")

# The type that every page shows is asked for at once, not when the style sheet that names it has come. By a script,
# because a browser that reads from the disk refuses it this way, and says so.
PRELOADED = ("inter.woff2", "jetbrains-mono.woff2")
PRELOAD = """
<script>
  if (location.protocol !== "file:") for (const name of {names}) {{
    const link = document.createElement("link");
    const href = "{up}_static/fonts/" + name;
    Object.assign(link, {{ rel: "preload", as: "font", type: "font/woff2", crossOrigin: "", href }});
    document.head.append(link);
  }}
</script>"""

REDIRECT = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{page}</title><meta http-equiv="refresh" content="0; url={page}"></head>
<body><p><a href="{page}">{page}</a></p></body>
</html>
"""


def finish(site: Path) -> None:
    """Mend every page of ``site`` in place, take pictures out of it, leave out icons and rules that none needs."""
    icons: set[str] = set()
    plain = plain_tokens(site / "_static" / "pygments.css")
    for page in sorted(site.rglob("*.html")):
        if "_static" in page.relative_to(site).parts:
            continue
        before = page.read_text(encoding="utf-8")
        text = finished_page(before, site, page, plain)
        icons |= set(re.findall(r"\bfa-[\w-]+", text))
        if text != before:
            page.write_text(text, encoding="utf-8")
    _mend_excerpts(site / "_static" / "searchtools.js")
    _mend_style_of_proofs(site / "_static" / "proof.css")
    _leave_out_icons(site / "_static", icons)
    words = words_of(site)
    rank_by_occurrence(site)
    for name in LARGE_SHEETS:
        leave_out_rules(site / "_static" / name, words)


def finished_page(text: str, site: Path, page: Path, plain: Collection[str] = ()) -> str:
    """Return the finished text of ``page``; its pictures become files of ``site``.

    ``plain`` are the classes of Pygments that look like no class at all: they make up a third of a chapter's bytes.
    """
    redirect = re.fullmatch(r'\s*<meta http-equiv="Refresh" content="0; url=([\w./-]+)" />\s*', text)
    if redirect:
        return REDIRECT.format(page=redirect[1])
    up = "../" * (len(page.relative_to(site).parts) - 1)
    text = DATA_URI.sub(lambda match: up + _picture(match[1], base64.b64decode(match[2]), site), text)
    for pattern, replacement in REPAIRS:
        text = pattern.sub(replacement, text)
    if plain:
        text = re.sub(rf'<span class="(?:{"|".join(plain)})">([^<]*)</span>', r"\1", text)
    if not re.search(r'class="[^"]*\bsd-', text):
        text = DESIGN.sub("", text)
    text = text.replace("</title>", "</title>" + PRELOAD.format(up=up, names=list(PRELOADED)), 1)
    return text if page.name == "search.html" else SEARCH.sub("", text)


def plain_tokens(sheet: Path) -> list[str]:
    """Return the classes of tokens that ``sheet`` gives the colour that code has anyway, in both themes."""
    if not sheet.exists():
        return []
    rules = re.findall(
        r'html\[data-theme="(\w+)"\] \.highlight (?:\.(\w+) )?\{ ([^}]*) \}', sheet.read_text(encoding="utf-8")
    )
    base = {theme: declared.rpartition("color: ")[2] for theme, token, declared in rules if not token}
    same = [token for theme, token, declared in rules if token and declared == f"color: {base.get(theme)}"]
    return sorted(token for token, count in Counter(same).items() if count == len(base))


def _picture(kind: str, content: bytes, site: Path) -> str:
    """Write a picture to a file that is named by its content; return its path from the top of the site."""
    name = f"{PICTURES}/{hashlib.sha256(content).hexdigest()[:16]}.{kind}"
    path = site / name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return name


def _mend_excerpts(script: Path) -> None:
    """Let the search take its excerpts from the text.

    What the theme calls the main part begins with its buttons, and a chapter's text with when it was executed.
    """
    if script.exists():
        text = script.read_text(encoding="utf-8")
        text = text.replace('[role="main"]', "article.bd-article")
        script.write_text(text.replace('[".headerlink"', '[".nde-chapter-header", ".headerlink"'), encoding="utf-8")


def _mend_style_of_proofs(sheet: Path) -> None:
    """Give the one rule that looks for the repeated id the class that has the same meaning."""
    if sheet.exists():
        sheet.write_text(sheet.read_text(encoding="utf-8").replace("div#proof{", "div.proof.admonition:not([id]){"))


def _leave_out_icons(static: Path, used: set[str]) -> None:
    """Leave only the ``used`` icons, and those that style sheets name by number, in the theme's sheet and font."""
    sheet = static / "styles" / "pydata-sphinx-theme.css"
    fonts = static / "vendor" / "fontawesome" / "webfonts"
    if not sheet.exists():
        return

    def rule(match: re.Match[str]) -> str:
        names = re.findall(r"\.(fa-[\w-]+):before", match[0])
        return match[0] if used.intersection(names) else ""

    text = re.sub(r'(?:\.fa-[\w-]+:before,?)+\{content:"[^"]*"\}', rule, sheet.read_text(encoding="utf-8"))
    sheets = [text, *(path.read_text(encoding="utf-8") for path in static.rglob("*.css") if path != sheet)]
    numbers = {int(code, 16) for css in sheets for code in re.findall(r"\\([0-9a-f]{2,4})\b", css)}
    (fonts / "fa-solid-900.woff").write_bytes(_subset(fonts / "fa-solid-900.ttf", numbers))
    text = re.sub(
        r'url\(([^()]*fa-solid-900)\.woff2\) format\("woff2"\),url\([^()]*\) format\("truetype"\)',
        r'url(\1.woff) format("woff")',
        text,
    )
    sheet.write_text(text, encoding="utf-8")
    for name in ("fa-solid-900.woff2", "fa-solid-900.ttf"):
        (fonts / name).unlink(missing_ok=True)
    for path in (static / "scripts").glob("fontawesome.js*"):
        path.unlink()


def _subset(font: Path, numbers: set[int]) -> bytes:
    """Return a font with only the glyphs of the code points ``numbers``."""
    options = subset.Options(flavor="woff", layout_features=[], glyph_names=False, notdef_outline=True)
    loaded = subset.load_font(str(font), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=numbers)
    subsetter.subset(loaded)
    packed = io.BytesIO()
    subset.save_font(loaded, packed, options)
    return packed.getvalue()
