"""Ask every page of others that the book links to whether it is still there: ``make links``, or each week in CI.

Sphinx's own builder for that, run through Jupyter Book on the sources of the site. It leaves DOIs out (_config.yml):
behind them are publishers that turn programs away. But the registry says whether a DOI is registered. All of it needs a
network and depends on other people's servers, so it is no part of ``make test``.
"""

import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from tools.common import BUILD, ROOT, Problem, run_program, step
from tools.site import SOURCES, jupyter_book, stage_book

WORKPLACE = BUILD / "links"
REGISTRY = "https://doi.org/api/handles/"
TRIES = 3


def broken(report: Path) -> list[str]:
    """Return a line for every address that does not answer, from Sphinx's report (one JSON object a line)."""
    answers = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    bad = [answer for answer in answers if answer["status"] in ("broken", "timeout")]
    return [f"{one['filename']}:{one['lineno']}: {one['uri']}: {one['info'] or one['status']}" for one in bad]


def dois(bibliography: str) -> list[str]:
    """Return the DOIs that a BibTeX file names."""
    return re.findall(r"^\s*doi\s*=\s*[{\"]([^}\"]+)", bibliography, flags=re.MULTILINE | re.IGNORECASE)


def unregistered(names: Iterable[str], registry: str = REGISTRY) -> list[str]:
    """Return a line for every DOI that the registry does not know, or that could not be asked for."""
    found = []
    for name in names:
        answer = _ask(registry + quote(name))
        if answer:
            found.append(f"references.bib: doi {name}: {answer}")
    return found


def require_network(registry: str = REGISTRY) -> None:
    """Raise ``Problem`` when the registry gives no answer at all: then every link would be called broken."""
    try:
        urllib.request.urlopen(registry, timeout=30).close()
    except urllib.error.HTTPError:
        pass  # it is there, and knows no such page
    except OSError as error:
        raise Problem(f"no network: {registry} does not answer ({getattr(error, 'reason', error)})") from None


def _ask(address: str) -> str:
    """Return what is wrong with an address, or an empty text; a server that stumbles is asked again."""
    wrong = ""
    for _ in range(TRIES):
        try:
            with urllib.request.urlopen(address, timeout=30):
                return ""
        except urllib.error.HTTPError as error:
            wrong = f"not registered ({error.code})" if error.code == 404 else str(error)
            if error.code == 404:
                break
        except OSError as error:
            wrong = str(error)
    return wrong


def main() -> None:
    """Check every link and every DOI, and name those that are broken."""
    require_network()
    stage_book()
    shutil.rmtree(WORKPLACE, ignore_errors=True)  # a page that was read before would not be asked again
    with step("Asking for every page that the book links to"):
        done = jupyter_book(SOURCES, WORKPLACE, WORKPLACE / "warnings.txt", "--builder", "linkcheck")
    report = WORKPLACE / "_build" / "html" / "output.json"
    if not report.exists():
        raise Problem(f"Sphinx did not check the links: see {WORKPLACE / 'warnings.txt'}")
    with step("Asking for every DOI"):
        found = broken(report) + unregistered(dois((ROOT / "references.bib").read_text(encoding="utf-8")))
    print("\n".join(found))
    if found or not done:
        raise Problem(f"{len(found)} links are broken: see above")


if __name__ == "__main__":
    run_program(main)
