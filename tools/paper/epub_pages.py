"""The last touches to an EPUB that Sphinx has written, and what would be wrong with it for a reader's program.

Sphinx gives the pages the style sheets and scripts of the site, which e-book readers do not understand, names files
that it leaves out, does not say which pages have formulas, and some extensions repeat ids. An EPUB is a dictionary
here: the content of each file by its name.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from tools.pages.finish import REPEATED_IDS

PACKAGE, NAVIGATION, NCX = "content.opf", "nav.xhtml", "toc.ncx"
STYLES = ("_static/pygments.css", "_static/epub.css", "_static/reader.css")
READER_CSS = Path(__file__).with_name("reader.css")

LINK = re.compile(r'\s*<link rel="stylesheet"[^>]*/>')
SCRIPT = re.compile(r"<script\b[^>]*?(?:/>|>.*?</script>)", re.DOTALL)
VIEWPORT = re.compile(r'<meta name="viewport"[^>]*/>(?=<meta name="viewport")')
ITEM = re.compile(r'\s*<item id="([^"]+)" href="([^"]+)"([^>]*?)\s*/>')
REFERENCE = re.compile(r'\s*<itemref idref="([^"]+)"[^>]*/>')
ADDRESS = re.compile(r'\b(?:href|src)="([^"]+)"|\burl\(([^)]+)\)')
IDENTIFIER = re.compile(r"<dc:identifier[^>]*>([^<]+)<")
NCX_IDENTIFIER = re.compile(r'(?<=<meta name="dtb:uid" content=")[^"]*')
LEADING = (".xhtml", ".css")
"""Files that name other files."""


def finished(book: dict[str, bytes]) -> dict[str, bytes]:
    """Return ``book`` with its pages mended, the book's own style sheet, and without files that no page needs."""
    book = dict(book)
    for name in [name for name in book if name.endswith(".xhtml")]:
        book[name] = _page(name, book[name].decode()).encode()
    book["_static/reader.css"] = READER_CSS.read_bytes()
    needed = _needed([name for name in book if name.endswith(".xhtml")], book)
    book = {name: content for name, content in book.items() if not name.startswith("_static/") or name in needed}
    identifier = IDENTIFIER.search(book[PACKAGE].decode())
    if identifier and NCX in book:
        book[NCX] = NCX_IDENTIFIER.sub(identifier[1], book[NCX].decode()).encode()
    book[PACKAGE] = _package(book[PACKAGE].decode(), book).encode()
    return book


def _needed(pages: Iterable[str], book: dict[str, bytes]) -> set[str]:
    """Return the files that ``pages`` need: those that they name, and those that their style sheets name."""
    named = {target for page in pages for target, _ in _targets(page, book[page].decode())}
    sheets = [name for name in named if name.endswith(".css") and name in book]
    return named | {target for sheet in sheets for target, _ in _targets(sheet, book[sheet].decode())}


def _page(name: str, text: str) -> str:
    """Return a page with the style sheets of e-books in the place of the site's."""
    up = "../" * name.count("/")
    text = VIEWPORT.sub("", SCRIPT.sub("", LINK.sub("", REPEATED_IDS.sub("", text))))
    links = "".join(f'<link rel="stylesheet" type="text/css" href="{up}{style}" />\n' for style in STYLES)
    return text.replace("</head>", f"{links}</head>", 1)


def _package(text: str, book: dict[str, bytes]) -> str:
    """Return the list of files as ``book`` has them, with the pages that hold formulas marked."""
    kept = set()

    def item(match: re.Match[str]) -> str:
        identity, name, rest = match.groups()
        if name not in book:
            return ""
        kept.add(identity)
        has_formulas = name.endswith(".xhtml") and b"<math" in book[name] and "properties=" not in rest
        return match[0].replace(rest, f'{rest} properties="mathml"') if has_formulas else match[0]

    text = ITEM.sub(item, text)
    text = REFERENCE.sub(lambda match: match[0] if match[1] in kept else "", text)
    style = '<item id="reader-css" href="_static/reader.css" media-type="text/css" />'
    return text.replace("</manifest>", f"  {style}\n  </manifest>", 1)


def faults(book: dict[str, bytes], chapters: Iterable[str] = ()) -> list[str]:
    """Return what readers would choke on, or miss.

    That is: pages that are no XML, ids that stand twice, links and pictures that lead nowhere, a list of files that is
    not true, and ``chapters`` (names of pages, without what follows the dot) that are not in the table of contents.
    """
    wrong = []
    for name in book:
        if name.endswith((".xhtml", ".opf", ".ncx", ".xml")):
            try:
                ElementTree.fromstring(book[name])
            except ElementTree.ParseError as error:
                wrong.append(f"{name}: {error}")
    ids = {name: re.findall(r'\bid="([^"]+)"', book[name].decode()) for name in book if name.endswith(".xhtml")}
    wrong += [
        f"{name}: id {one!r} stands {count} times"
        for name in ids
        for one, count in Counter(ids[name]).items()
        if count > 1
    ]
    for name in [name for name in book if name.endswith(LEADING)]:
        for target, anchor in _targets(name, book[name].decode()):
            if target not in book:
                wrong.append(f"{name}: {target} is not in the book")
            elif anchor and anchor not in ids.get(target, ()):
                wrong.append(f"{name}: {target} has no place {anchor!r}")
    contents = {target for target, _ in _targets(NAVIGATION, book.get(NAVIGATION, b"").decode())}
    wrong += [
        f"{chapter} is not in the table of contents" for chapter in chapters if f"{chapter}.xhtml" not in contents
    ]
    return wrong + (_faults_of_package(book) if PACKAGE in book else [f"there is no {PACKAGE}"])


def _faults_of_package(book: dict[str, bytes]) -> list[str]:
    """Return where the list of files, or the order of pages, is not that of ``book``."""
    text = book[PACKAGE].decode()
    items = {identity: (name, rest) for identity, name, rest in ITEM.findall(text)}
    listed = {name for name, _ in items.values()} | {PACKAGE, "mimetype"}
    wrong = [f"{PACKAGE}: {name} is not in the book" for name, _ in items.values() if name not in book]
    wrong += [
        f"{PACKAGE} does not list {name}" for name in book if name not in listed and not name.startswith("META-INF/")
    ]
    wrong += [f"{PACKAGE}: no file has the id {one}" for one in REFERENCE.findall(text) if one not in items]
    identifier = IDENTIFIER.search(text)
    if identifier and NCX in book and f'content="{identifier[1]}"' not in book[NCX].decode():
        wrong.append(f"{NCX}: the book has another identifier")
    for name, rest in items.values():
        if b"<math" in book.get(name, b"") and "mathml" not in rest:
            wrong.append(f"{PACKAGE} does not say that {name} has formulas")
    return wrong


def _targets(name: str, text: str) -> set[tuple[str, str]]:
    """Return the files, and places in them, that the page or style sheet ``name`` leads to inside the book."""
    found = set()
    for address in ("".join(groups).strip("'\"") for groups in ADDRESS.findall(text)):
        path, _, anchor = unquote(address).partition("#")
        if not re.match(r"[a-z]+:", address):
            found.add((posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name, anchor))
    return found
