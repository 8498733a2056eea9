"""How much memory each gradient takes against the number of steps: ``make bench-memory``.

A network of 64 units and 16 inputs, 10² to 10⁵ steps. Every number comes from a process of its own, and is measured two
ways: the bytes that autograd keeps for the way back, as hooks on saved tensors see them, and what the operating system
says the process has needed at most, above what it needed before the solve.
"""

import argparse
import json
import resource
import subprocess
import sys
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.conversation import ONE_THREAD
from benchmarks.machine import description
from benchmarks.table import markdown
from ndelib import odeint
from tools.common import BUILD, ROOT, run_program

KINDS: dict[str, dict[str, Any]] = {
    "backprop": {"gradient": "backprop"},
    "checkpoint": {"gradient": "checkpoint"},
    'checkpoint, "log"': {"gradient": "checkpoint", "checkpoints": "log"},
    "adjoint": {"gradient": "adjoint", "deviation": "ignore"},
    "reversible": {"gradient": "reversible", "method": "asynchronous_leapfrog"},
}
STEPS = [100, 1000, 10_000, 100_000]
STATE = 16 * 64 * 4
"""bytes of the state: 16 inputs, 64 units, float32"""


class Network(nn.Module):
    """One layer whose flow neither grows nor shrinks much, so that it can be walked back."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, (16, 64)."""
        return torch.tanh(self.linear(y))


class Kept(torch.autograd.graph.saved_tensors_hooks):
    """A context that adds up what autograd saves, each storage once."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        super().__init__(self.look, lambda tensor: tensor)

    def look(self, tensor: Tensor) -> Tensor:
        """Note a tensor that is saved."""
        storage = tensor.untyped_storage()
        self.sizes[storage.data_ptr()] = storage.nbytes()
        return tensor


def high_water() -> int:
    """Return the most bytes of memory that this process has had at a time."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(kind: str, steps: int) -> dict[str, int]:
    """Return the bytes kept between the two passes, and the growth of the process over both."""
    torch.manual_seed(0)
    model, y0 = Network(), torch.randn(16, 64)

    def run(steps: int) -> int:
        kept = Kept()
        with kept:
            options = {"method": "midpoint", "step_size": 1 / steps, **KINDS[kind]}
            loss = odeint(model, y0, [0.0, 1.0], **options)[-1].square().sum()
        torch.autograd.grad(loss, tuple(model.parameters()))
        return sum(kept.sizes.values())

    run(3)  # so that what is loaded at the first call does not count
    before = high_water()
    return {"kept": run(steps), "grown": high_water() - before}


def megabytes(size: int) -> str:
    """Return a number of bytes in units of a million."""
    return f"{size / 1e6:.3g} MB" if size >= 1e5 else f"{size / 1e3:.3g} kB"


def main() -> None:
    """Measure one number in this process, or all of them, each in another."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradient_memory", description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=2, metavar=("GRADIENT", "STEPS"), help="print one measurement as JSON")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one[0], int(arguments.one[1]))))
        return
    environment = ONE_THREAD | {"PYTHONPATH": str(ROOT), "MALLOC_TRIM_THRESHOLD_": "0"}
    lines = [["gradient", *(f"{steps} steps" for steps in STEPS)], [":--", *("--:" for _ in STEPS)]]
    for kind in KINDS:
        cells = []
        for steps in STEPS:
            command = [sys.executable, "-m", "benchmarks.gradient_memory", "--one", kind, str(steps)]
            answer = json.loads(subprocess.check_output(command, cwd=ROOT, env=environment, text=True))
            cells.append(f"{megabytes(answer['kept'])} / {megabytes(answer['grown'])}")
            print(f"{kind}, {steps} steps: {cells[-1]}", flush=True)
        lines.append([kind, *cells])
    legend = f"Saved by autograd / growth of the process; the state has {STATE} bytes."
    table = f"{markdown(lines)}\n\n{legend}\n{description()}\n"
    folder = BUILD / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gradient_memory.md").write_text(f"# Memory of a gradient against the number of steps\n\n{table}")
    print(f"\n{table}")


if __name__ == "__main__":
    run_program(main)
