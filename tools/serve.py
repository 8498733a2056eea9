"""Serve the book at a local address and rebuild it, in the browser too, whenever a source changes.

sphinx-autobuild watches and serves; before each build it stages the sources, so a chapter whose code changed is
executed again and one whose text changed is not.
"""

import shlex
import subprocess
import sys
from pathlib import Path

from tools.common import BUILD, ROOT, run_program
from tools.site import PAGES, SOURCES

HTML = BUILD / "serve"
WATCHED = (*PAGES, "chapters", "ndelib", "_static", "api", "chapters.yml", "exercises")
"""What the site is staged from: the pages, and what they are made of."""


def main() -> None:
    """Serve until interrupted."""
    programs = Path(sys.executable).parent
    # sphinx-autobuild runs Sphinx itself, which reads a conf.py: the one that Jupyter Book makes of _config.yml.
    configure = [str(programs / "jupyter-book"), "config", "sphinx", str(SOURCES)]
    SOURCES.mkdir(parents=True, exist_ok=True)
    HTML.mkdir(parents=True, exist_ok=True)
    (HTML / "index.html").write_text('<meta http-equiv="refresh" content="0; url=intro.html">\n', encoding="utf-8")
    watch = [f"--watch={ROOT / name}" for name in WATCHED]
    stage = [sys.executable, "-m", "tools.site", "--stage"]
    before = [f"--pre-build={shlex.join(command)}" for command in (stage, configure)]
    # Port 0 is any free one; the address is in the output.
    serve = [str(programs / "sphinx-autobuild"), *watch, *before, f"--re-ignore={SOURCES}", "--port=0", "-n", "-q"]
    sys.exit(subprocess.call([*serve, str(SOURCES), str(HTML)], cwd=ROOT))


if __name__ == "__main__":
    run_program(main)
