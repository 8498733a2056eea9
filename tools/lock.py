"""Write ``requirements.lock``: the exact version of every package, for Python 3.11 to 3.13 and every platform.

uv does the resolving, because it is the one kept tool that resolves for all of them at once. It changes as little
as it can; ``--upgrade`` (any option of ``uv pip compile``) asks for the newest versions.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.common import ROOT, Problem, run_program

HEADER = """\
# The exact versions that CI and the published book are built with, for Python 3.11 to 3.13 on every platform.
# `make lock` writes this file; edit requirements.in instead. The accelerator packages of torch (nvidia-*, cuda-*,
# triton) are left out: a CPU build of torch has none, and every other build pins its own.
"""
ACCELERATOR = re.compile(r"(nvidia-|cuda-|triton\b)")
FOR_ALL = ["--universal", "--python-version=3.11", "--fork-strategy=fewest", "--no-annotate", "--no-header"]


def main() -> None:
    """Resolve ``requirements.in`` and rewrite the lock."""
    lock = ROOT / "requirements.lock"
    with tempfile.TemporaryDirectory() as folder:
        resolved = Path(shutil.copy(lock, folder))  # what is pinned there stays, where it can
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", *FOR_ALL, *sys.argv[1:]]
        done = subprocess.run(
            [*command, "requirements.in", "-o", str(resolved)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        if done.returncode != 0:
            raise Problem(f"requirements.in cannot be resolved: {' '.join(done.stderr.split())}")
        pins = [line for line in resolved.read_text().splitlines() if not ACCELERATOR.match(line)]
    lock.write_text(HEADER + "\n".join(pins) + "\n", encoding="utf-8")
    print(f"Wrote requirements.lock: {len(pins)} packages")


if __name__ == "__main__":
    run_program(main)
