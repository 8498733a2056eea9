"""A machine like Colab's, as a virtual environment: its versions, its `google.colab`, its kernel."""

import asyncio
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from dataclasses import dataclass
from pathlib import Path

import nbclient
import nbformat
from filelock import FileLock
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.common import BUILD, ROOT
from tools.stamp import COLAB_LACKS

WHEELS = "wheels"  # folder of the base environment: what pip needs to build ndelib, and what comes with it
REQUIREMENTS = Path(__file__).with_name("colab-requirements.txt")

# Of the environment that the tests run in, what must not reach the machine: it would change which code runs there.
HIDDEN = ("PIP_", "PYTHON", "VIRTUAL_ENV", "MPLBACKEND", "NDELIB_", "OMP_", "MKL_", "JPY_", "PYTEST_", "COVERAGE_")


def pins() -> list[Requirement]:
    """Return Colab's versions; where a package has two, their markers say for which Python."""
    lines = (line.partition("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


@dataclass(frozen=True)
class Machine:
    """One virtual environment that one notebook runs on, with a folder for whatever is not the notebook's."""

    environment: Path
    scratch: Path

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.environment / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where this machine's own pip installs."""
        return site_packages(self.environment)

    def variables(self) -> dict[str, str]:
        """Return the environment variables of the kernel and of its pip, which has no package index.

        Only the book's own archive, what builds it, and in a folder the packages that the setup cell takes from the
        index on Colab are to be had, so no test waits for an index to answer.
        """
        ours = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
        ours |= {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": (base_environment() / WHEELS).as_uri(),  # pip splits a path at its spaces
        }
        # Pip keeps the wheels it builds under the archive's address. Our port can come back with other contents, so
        # the cache must not outlive the run.
        caches = {"PIP_CACHE_DIR": "pip", "IPYTHONDIR": "ipython", "MPLCONFIGDIR": "matplotlib"}
        return ours | {name: str(self.scratch / folder) for name, folder in caches.items()}

    def freeze(self) -> set[str]:
        """Return the lines of `pip freeze`: every package with its version."""
        command = [str(self.python), "-m", "pip", "freeze", "--all"]
        return set(subprocess.check_output(command, text=True, env=self.variables()).splitlines())

    def origin(self, package: str) -> str:
        """Return the address that ``package`` was installed from; empty where pip found it in an index."""
        for file in self.site_packages.glob(f"{package}-*.dist-info/direct_url.json"):
            return str(json.loads(file.read_text())["url"])
        return ""

    def packages(self) -> set[str]:
        """Return every package with its version, as the folders of their metadata are named; quicker than `freeze`."""
        folders = (self.site_packages, site_packages(base_environment()))
        return {path.name for folder in folders for path in folder.glob("*.dist-info")}

    def execute(
        self, notebook: nbformat.NotebookNode, folder: Path, *, allow_errors: bool = False, timeout: int = 300
    ) -> None:
        """Run ``notebook`` in place, in this machine's kernel, with ``folder`` as the working directory."""
        kernels = self.scratch / "kernels"
        (kernels / "colab").mkdir(parents=True, exist_ok=True)
        launch = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": launch, "display_name": "Colab", "language": "python"}
        (kernels / "colab" / "kernel.json").write_text(json.dumps(spec))
        specs = KernelSpecManager(kernel_dirs=[str(kernels)])
        manager = AsyncKernelManager(kernel_name="colab", kernel_spec_manager=specs)
        where = {"metadata": {"path": str(folder)}}
        client = nbclient.NotebookClient(
            notebook, km=manager, timeout=timeout, startup_timeout=180, allow_errors=allow_errors, resources=where
        )
        # nbclient would play the front end of output widgets, on the channel on which it waits for the cell's reply:
        # such a message can swallow the reply's arrival, and the wait then ends only with the time-out.
        client.widget_registry.clear()
        asyncio.run(client.async_execute(cleanup_kc=True, env=self.variables()))


def new_machine(folder: Path) -> Machine:
    """Make a fresh machine in ``folder``: an empty environment on top of the one with Colab's versions.

    What a notebook installs lands in the empty one, so the costly one below stays clean and tests can run in parallel.
    """
    below = base_environment()
    environment, scratch = folder / "environment", folder / "scratch"
    subprocess.run([below / "bin" / "python", "-m", "venv", "--without-pip", environment], check=True)
    here = site_packages(environment)
    (here / "colab-versions.pth").write_text(f"{site_packages(below)}\n")
    # On Colab the kernel imports google.colab before the first cell, and other processes (pip) do not.
    (here / "google" / "colab").mkdir(parents=True)
    (here / "google" / "colab" / "__init__.py").touch()
    configuration = environment / "etc" / "ipython" / "ipython_config.py"
    configuration.parent.mkdir(parents=True)
    configuration.write_text('get_config().InteractiveShellApp.exec_lines = ["import google.colab"]\n')
    scratch.mkdir()
    return Machine(environment, scratch)


def base_environment() -> Path:
    """Return the environment with Colab's versions beside our torch, made once and kept under ``_build/colab``."""
    torch = importlib.metadata.distribution("torch")
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    pinned = REQUIREMENTS.read_text(encoding="utf-8")
    key = (pinned, backend, COLAB_LACKS, sys.version, torch.version, str(torch.locate_file("torch")))
    environment = BUILD / "colab" / hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    complete = environment / "complete"
    environment.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(environment.with_suffix(".lock")):
        if not complete.exists():
            shutil.rmtree(environment, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
            pip = [str(environment / "bin" / "python"), "-m", "pip", "-qq"]
            subprocess.run([*pip, "install", "--no-deps", "--only-binary=:all:", "-r", str(REQUIREMENTS)], check=True)
            wheels = [*pip, "download", "-d", str(environment / WHEELS)]
            subprocess.run([*wheels, *backend], check=True)
            subprocess.run([*wheels, "--no-deps", "--only-binary=:all:", *COLAB_LACKS], check=True)
            link_torch(site_packages(environment))
            complete.touch()
    return environment


def link_torch(target: Path) -> None:
    """Show our torch, and what it needs beyond the pins (CUDA's libraries), to another environment without a copy."""
    waiting, seen = ["torch"], {canonicalize_name(pin.name) for pin in pins()}
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            if not (target / top).exists():
                (target / top).symlink_to(Path(str(distribution.locate_file(top))))
        needed = map(Requirement, distribution.requires or [])
        waiting += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]


def site_packages(environment: Path) -> Path:
    """Return where pip installs in a virtual environment."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(environment)}))
