"""`make stamp`: the setup cell and the Colab badge of every notebook come from one address and one version."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tools import stamp
from tools.common import ROOT, Problem

ADDRESS = "https://github.com/an-owner/a-book"
LOCAL = "http://127.0.0.1:8123"


def markdown(source: str, name: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(source, id=name)


def code(source: str, name: str, **metadata: object) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, id=name, metadata=metadata)


def write_notebook(path: Path, *cells: nbformat.NotebookNode) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells), metadata={"kernelspec": kernel}), path)
    return path


def source_of(path: Path, name: str) -> str | None:
    return next((cell.source for cell in nbformat.read(path, as_version=4).cells if cell.id == name), None)


def write_address(root: Path, address: str) -> None:
    (root / "_config.yml").write_text(f'title: A book\nrepository:\n  url: "{address}"\n')


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Make a small copy of the book: one chapter, one assignment with its student notebook, no address yet."""
    write_address(tmp_path, "")
    (tmp_path / "ndelib").mkdir()
    (tmp_path / "ndelib" / "__init__.py").write_text('"""A library."""\n\n__version__ = "1.2.3"\n')
    title, text = markdown("# 1 Flüsse, ẋ = f(x)", "title"), markdown("Text.", "text")
    empty = code("", "setup", tags=["setup"])
    write_notebook(tmp_path / "chapters" / "01_flows.ipynb", title, empty, text, code("1 + 1", "sum"))
    assignment = tmp_path / "exercises" / "01_flows"
    config = nbformat.v4.new_raw_cell("# ASSIGNMENT CONFIG", id="config")
    write_notebook(assignment / "master.ipynb", config, title, empty, text)
    write_notebook(assignment / "01_flows.ipynb", title, empty, text)
    return tmp_path


def chapter(book: Path) -> Path:
    return book / "chapters" / "01_flows.ipynb"


def problem(book: Path, *arguments: str) -> str:
    """Return what the author is told when stamping fails."""
    with pytest.raises(Problem) as caught:
        stamp.main(list(arguments), book)
    return str(caught.value)


def contents(book: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in stamp.notebooks(book)}


def test_without_an_address_nothing_points_anywhere(book):
    stamp.main([], book)
    for path in stamp.notebooks(book):
        text = path.read_text(encoding="utf-8")
        assert "http" not in text
        assert "%pip" not in text
        assert "raise ImportError" in (source_of(path, "setup") or "")
        assert source_of(path, "colab-badge") is None


def test_with_an_address_the_install_line_is_pinned_quoted_and_guarded(book):
    write_address(book, ADDRESS)
    stamp.main([], book)
    for path in stamp.notebooks(book):
        assert (source_of(path, "setup") or "").splitlines()[:6] == [
            "import importlib.util",
            "import sys",
            "",
            'if "google.colab" in sys.modules and importlib.util.find_spec("ndelib") is None:',
            f'    %pip install -q --no-deps "torchdiffeq==0.2.5" "ndelib @ {ADDRESS}/archive/refs/tags/v1.2.3.zip"',
            "import ndelib",
        ]


def test_what_colab_lacks_is_installed_in_the_version_that_the_book_is_built_with():
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert set(stamp.COLAB_LACKS) <= set(locked)


def test_badge_stands_below_the_title_and_opens_the_readers_notebook_at_the_tag(book):
    write_address(book, ADDRESS)
    stamp.main([], book)
    for path, opened in [
        (chapter(book), "chapters/01_flows.ipynb"),
        (book / "exercises/01_flows/master.ipynb", "exercises/01_flows/01_flows.ipynb"),
        (book / "exercises/01_flows/01_flows.ipynb", "exercises/01_flows/01_flows.ipynb"),
    ]:
        cells = nbformat.read(path, as_version=4).cells
        title = next(number for number, cell in enumerate(cells) if cell.source.startswith("# 1"))
        badge = cells[title + 1]
        link = f"https://colab.research.google.com/github/an-owner/a-book/blob/v1.2.3/{opened}"
        assert (badge.id, badge.cell_type, badge.source) == (
            "colab-badge",
            "markdown",
            f"[Open in Colab]({link})",
        )
        assert badge.metadata.tags == ["colab-badge"]


def test_the_setup_cell_is_valid_and_says_what_is_missing_on_colab(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="no public address yet, so Colab cannot fetch ndelib: see its README"):
        exec(stamp.setup_source("", "1.2.3"), {})


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_lint_and_format_leave_the_stamped_cell_alone(book, address):
    write_address(book, address)
    stamp.main([], book)
    for verb in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *verb, "--no-cache", f"--config={ROOT / 'chapters' / 'ruff.toml'}"]
        done = subprocess.run([*command, chapter(book)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_stamping_twice_changes_nothing(book, address, capsys):
    write_address(book, address)
    stamp.main([], book)
    first = contents(book)
    capsys.readouterr()
    stamp.main([], book)
    assert contents(book) == first
    assert capsys.readouterr().out == ""


def test_removing_the_address_gives_back_the_same_bytes(book):
    stamp.main([], book)
    without = contents(book)
    write_address(book, ADDRESS)
    stamp.main([], book)
    assert contents(book) != without
    write_address(book, "")
    stamp.main([], book)
    assert contents(book) == without


def test_only_the_two_cells_change_and_the_file_keeps_its_canonical_form(book):
    before = nbformat.read(chapter(book), as_version=4)
    write_address(book, ADDRESS)
    stamp.main([], book)
    text = chapter(book).read_text(encoding="utf-8")
    after = nbformat.reads(text, as_version=4)
    ours = ("setup", "colab-badge")
    assert [cell for cell in after.cells if cell.id not in ours] == [
        cell for cell in before.cells if cell.id not in ours
    ]
    assert after.metadata == before.metadata
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    assert "ẋ" in text


def test_check_names_what_differs_and_writes_nothing(book):
    stamp.main([], book)
    write_address(book, ADDRESS)
    before = contents(book)
    error = problem(book, "--check")
    assert contents(book) == before
    for part in ("setup cell", "Colab badge"):
        assert f"chapters/01_flows.ipynb: {part} differs from what `make stamp` writes" in error.splitlines()


def test_check_sees_a_setup_cell_that_was_edited_by_hand(book):
    stamp.main([], book)
    path = chapter(book)
    path.write_text(path.read_text(encoding="utf-8").replace("setup(seed=0)", "setup(seed=1)"), encoding="utf-8")
    told = problem(book, "--check")
    assert told == "chapters/01_flows.ipynb: setup cell differs from what `make stamp` writes"


def test_a_new_version_moves_both_links(book):
    write_address(book, ADDRESS)
    stamp.main([], book)
    (book / "ndelib" / "__init__.py").write_text('__version__ = "1.3.0"\n')
    assert "/01_flows.ipynb: setup cell differs" in problem(book, "--check")
    stamp.main([], book)
    assert "/v1.3.0.zip" in (source_of(chapter(book), "setup") or "")
    assert "/blob/v1.3.0/" in (source_of(chapter(book), "colab-badge") or "")


def test_the_otter_release_may_drop_the_cell_id_and_stamping_restores_it(book):
    path = write_notebook(book / "chapters" / "02.ipynb", markdown("# 2", "t"), code("x", "other", tags=["setup"]))
    stamp.main([], book)
    assert source_of(path, "setup") == stamp.setup_source("", "1.2.3")


@pytest.mark.parametrize("copied", [f"{ADDRESS}/", f"{ADDRESS}.git"])
def test_an_address_as_browsers_and_clone_buttons_give_it_is_taken(book, copied):
    write_address(book, copied)
    assert stamp.configured_address(book) == ADDRESS


@pytest.mark.parametrize(
    "address",
    [
        "http://github.com/an-owner/a-book",
        "https://github.com/an-owner",
        "https://example.org/an-owner/a-book",
        'https://github.com/an-owner/a-book" ; touch x; "',
        LOCAL,
    ],
)
def test_an_address_that_colab_cannot_open_is_one_clear_line(book, address):
    (book / "_config.yml").write_text(json.dumps({"repository": {"url": address}}))
    before = contents(book)
    error = problem(book)
    assert error.startswith("_config.yml: repository url ")
    assert "\n" not in error
    assert contents(book) == before


def test_a_local_address_is_for_tests_only_and_makes_no_badge(book):
    stamp.main(["--address", LOCAL], book)
    assert f'"ndelib @ {LOCAL}/archive/refs/tags/v1.2.3.zip"' in (source_of(chapter(book), "setup") or "")
    assert source_of(chapter(book), "colab-badge") is None
    assert "--address" in problem(book, "--address", "http://192.0.2.1:80")


@pytest.mark.parametrize("text", ["repository: [", "- a list", "repository: text"])
def test_a_config_that_cannot_be_read_is_one_clear_line(book, text):
    (book / "_config.yml").write_text(text)
    assert problem(book) == "_config.yml: not readable as YAML with an entry `repository: url:`"


def test_a_missing_config_is_one_clear_line(book):
    (book / "_config.yml").unlink()
    assert problem(book).startswith("_config.yml: not found")


def test_a_notebook_without_a_setup_cell_is_named_and_the_others_are_stamped(book):
    write_notebook(book / "chapters" / "00_none.ipynb", markdown("# 0", "title"), code("1", "one"))
    error = problem(book)
    assert error.startswith("chapters/00_none.ipynb: no code cells with the tag `setup`; one is needed: add ")
    assert "\n" not in error
    assert "raise ImportError" in (source_of(chapter(book), "setup") or "")


def test_a_notebook_with_two_setup_cells_or_no_title_or_broken_json_is_named(book):
    write_address(book, ADDRESS)
    setup = code("", "setup", tags=["setup"])
    write_notebook(book / "chapters" / "02_two.ipynb", markdown("# 2", "t"), setup, code("", "b", tags=["setup"]))
    write_notebook(book / "chapters" / "03_no_title.ipynb", markdown("Text", "t"), setup)
    (book / "chapters" / "04_broken.ipynb").write_text("{")
    assert [line.partition(";")[0] for line in problem(book).splitlines()] == [
        "chapters/02_two.ipynb: 2 code cells with the tag `setup`",
        "chapters/03_no_title.ipynb: no title for the Colab badge to go below: begin with a Markdown cell `# …`",
        "chapters/04_broken.ipynb: not a notebook (its JSON does not parse)",
    ]


@pytest.mark.parametrize("path", stamp.notebooks(ROOT), ids=lambda path: str(path.relative_to(ROOT)))
def test_committed_notebooks_are_stamped(path):
    address, version = stamp.configured_address(ROOT), stamp.library_version(ROOT)
    changed = stamp.stamp_file(path, ROOT, address, version, write=False)
    name = path.relative_to(ROOT)
    assert not changed, "; ".join(f"{name}: {part} differs from what `make stamp` writes" for part in changed)
