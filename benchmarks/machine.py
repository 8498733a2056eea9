"""What a table was measured on: without it, its times mean nothing."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import ndelib

PACKAGES = [
    "torch",
    "torchdiffeq",
    "torchdyn",
    "torchode",
    "torchsde",
    "torchcde",
    "pysindy",
    "scipy",
    "numpy",
    "jax",
    "diffrax",
]


def processor() -> str:
    """Return the name of the processor, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def description() -> str:
    """Return processor, cores, system and the versions of what is compared, as a line of Markdown."""
    versions = [f"ndelib {ndelib.__version__}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} not installed")
    system = f"{processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    return f"{system}; {', '.join(versions)}."
