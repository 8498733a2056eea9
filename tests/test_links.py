"""The weekly check of links reads Sphinx's report and the bibliography rightly. Nobody outside is asked."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools import links
from tools.common import ROOT, Problem


@pytest.fixture
def registry() -> Iterator[str]:
    """A registry on this machine that knows one DOI, and stumbles once."""
    asked: list[str] = []

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/10.1/stumbles" and asked.count(self.path) == 1:
                self.send_error(503)
            elif self.path in ("/10.1/known", "/10.1/stumbles"):
                self.send_response(200)
                self.end_headers()
            else:
                self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:
            """Keep the test's output quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_only_broken_links_are_named(tmp_path: Path) -> None:
    one = {"filename": "a.md", "lineno": 3, "uri": "https://a.example", "info": "404"}
    report = [
        one | {"status": status} for status in ("working", "redirected", "ignored", "unchecked", "broken", "timeout")
    ]
    (tmp_path / "output.json").write_text("\n".join(map(json.dumps, report)))
    assert links.broken(tmp_path / "output.json") == ["a.md:3: https://a.example: 404"] * 2


def test_every_doi_of_the_bibliography_is_found() -> None:
    text = (ROOT / "references.bib").read_text(encoding="utf-8")
    found = links.dois(text)
    assert len(found) == text.count("  doi ") > 50
    assert [doi for doi in found if not doi.startswith("10.")] == []


def test_a_doi_that_nobody_registered_is_named(registry: str) -> None:
    wrong = links.unregistered(["10.1/known", "10.1/stumbles", "10.1/typo"], registry)
    assert wrong == ["references.bib: doi 10.1/typo: not registered (404)"]


def test_a_registry_that_does_not_answer_is_no_success() -> None:
    assert "refused" in links.unregistered(["10.1/known"], "http://127.0.0.1:9/")[0]


def test_without_a_network_one_line_says_so(registry: str) -> None:
    links.require_network(registry)  # answers, if only that it has no such page
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with pytest.raises(Problem, match=r"^no network: http://127.0.0.1:\d+/ does not answer \(.+\)$"):
        links.require_network(nobody)
