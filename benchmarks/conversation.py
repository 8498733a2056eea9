"""The driver's side of ``worker.py``: a solver in a process of its own, asked one question at a time."""

import json
import os
import select
import subprocess
import sys
from typing import Any

from tools.common import ROOT

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NPROC": "1",  # the size of XLA's pool of threads
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
    "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",  # else only the first run ever would see what compiling costs
    "PYTHONWARNINGS": "ignore",
}


class Conversation:
    """A process that has imported one library; a new one takes its place when it crashes or does not come back."""

    def __init__(self, library: str, solver: str, patience: float) -> None:
        self.command = [sys.executable, "-m", "benchmarks.worker", library, solver]
        self.patience = patience
        self.start()

    def start(self) -> None:
        """Start the process; it imports its library when it is asked for the first time."""
        self.process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=os.environ | ONE_THREAD,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, question: str, **details: Any) -> dict[str, Any]:
        """Return the answer, or why there is none as ``{"failed": …}``."""
        if self.process.poll() is not None:
            self.start()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"ask": question, **details}) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], self.patience)[0]:
            self.stop()
            return {"failed": f"stopped after {self.patience:.0f} s"}
        line = self.process.stdout.readline()
        if not line:
            return {"failed": f"its process ended with status {self.process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
