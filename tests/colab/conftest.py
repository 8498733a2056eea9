"""Fixtures: the release's archive on this machine, and a machine with Colab's versions."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools import stamp
from tools.common import ROOT

from .archive import serve, zip_of_tree
from .machine import Machine, new_machine


def pytest_configure(config: pytest.Config) -> None:
    """Let the slow tests be chosen, or left out, by name."""
    config.addinivalue_line("markers", "colab: runs a notebook in a clean environment with Colab's versions")


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Serve the working tree as the release that setup cells install, and return the repository's address."""
    version = stamp.library_version(ROOT)
    content = zip_of_tree(ROOT, f"neural-differential-equations-{version}")
    with serve(f"/archive/refs/tags/v{version}.zip", content) as url:
        yield url


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a fresh machine with Colab's versions and without ndelib."""
    return new_machine(tmp_path)


@pytest.fixture(scope="session")
def furnished(address: str, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Return a machine on which a setup cell has installed the library already, for many notebooks."""
    folder = tmp_path_factory.mktemp("furnished")
    machine = new_machine(folder)
    setup = new_code_cell(stamp.setup_source(address, stamp.library_version(ROOT)))
    machine.execute(new_notebook(cells=[setup]), folder)
    return machine
