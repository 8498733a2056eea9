"""A solution is data: it can be stored and copied, and gives the same bits in another process."""

import copy
import io
import pickle
import subprocess
import sys

import pytest
import torch

from ndelib import solve_ivp
from ndelib.solvers import Event
from ndelib.solvers.solution import Solution
from ndelib.solvers.steps.methods import METHODS

Y0 = torch.tensor([1.0, 0.3], dtype=torch.float64)
TIMES = torch.linspace(0.0, 3.0, 7, dtype=torch.float64)


def solve(method="dopri5", grad=False, **options):
    y0 = Y0.clone().requires_grad_(grad)
    field, events = (
        lambda t, y: torch.stack([y[1], -y[0]]),
        [Event(lambda t, y: y[0]), Event(lambda t, y: y, terminal=False)],
    )
    fixed = {} if METHODS[method].adaptive else {"step_size": 0.1}
    return solve_ivp(field, (0.0, 3.0), y0, method=method, dense=True, events=events, **fixed, **options)


def by_torch(solution):
    file = io.BytesIO()
    torch.save(solution, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def by_pickle(solution):
    return pickle.loads(pickle.dumps(solution))


WAYS = {"pickle": by_pickle, "torch.save": by_torch, "copy.deepcopy": copy.deepcopy}


def tensors(solution):
    return [
        solution.t,
        solution.y,
        *solution.t_events[:1],
        *solution.t_events[1],
        *solution.y_events[1],
        solution.sol(TIMES),
    ]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3", "kvaerno3", "reversible_dopri5", "rk4"])
def test_a_copy_has_the_same_bits(way, method):
    solution = solve(method)
    again = way(solution)
    assert all(map(torch.equal, tensors(solution), tensors(again)))
    assert (again.status, again.steps, again.nfe, again.message) == (
        solution.status,
        solution.steps,
        solution.nfe,
        solution.message,
    )


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_copy_of_a_solution_with_a_graph_has_its_numbers(way):
    solution = solve(grad=True)
    again = way(solution)
    assert solution.y.requires_grad
    assert not any(x.requires_grad for x in tensors(again))
    assert all(map(torch.equal, tensors(solution), tensors(again)))


def test_parts_resets_and_samples_survive():
    pair = solve_ivp(
        lambda t, y: (y[1], -y[0]),
        (0.0, 3.0),
        (Y0[0], Y0[1]),
        dense=True,
        events=Event(lambda t, y: y[0], reset=lambda t, y: (y[0], -0.5 * y[1])),
    )
    again = by_pickle(pair)
    assert all(map(torch.equal, pair.sol(TIMES), again.sol(TIMES)))
    assert all(map(torch.equal, pair.y, again.y))
    samples = solve_ivp(lambda t, y: -y, (0.0, 1.0), torch.ones(3, 2), batch="independent")
    assert torch.equal(by_pickle(samples).steps, samples.steps)


def test_another_process_reads_the_same_numbers(tmp_path):
    solution = solve("dopri8")
    (tmp_path / "solution.pickle").write_bytes(pickle.dumps(solution))
    program = (
        "import pickle, sys, torch\n"
        "solution = pickle.loads(open(sys.argv[1], 'rb').read())\n"
        "times = torch.linspace(0.0, 3.0, 7, dtype=torch.float64)\n"
        "print(solution.sol(times).flatten().view(torch.int64).tolist())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "solution.pickle")], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == str(solution.sol(TIMES).flatten().view(torch.int64).tolist())


def test_f_and_the_events_are_not_in_it():
    assert isinstance(by_pickle(solve()), Solution)  # lambdas cannot be pickled
