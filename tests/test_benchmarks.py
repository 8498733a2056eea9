"""The table of the benchmarks computes what its columns say. No peer is needed, and nothing is timed."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import controlled, conversation, install, problems, run
from benchmarks.libraries import with_ndelib
from benchmarks.libraries.fields_in_torch import stochastic_solver, torch_solver
from benchmarks.problems import PROBLEMS, Problem
from benchmarks.reference import network_vjp, reference
from benchmarks.table import Row, block, duration, fastest_ratio, overhead, ratio, spread, summary, three_digits
from benchmarks.worker import largest_error
from ndelib import sdeint

BASELINE = Row("torchdiffeq", walls=[1.0, 4.0, 1.0], fields=[0.01, 0.04, 0.01], nfe=50, error=1e-4)


def problem(name: str) -> Problem:
    return next(p for p in PROBLEMS if p.name == name)


def test_a_ratio_compares_times_of_the_same_round() -> None:
    # The machine was four times slower in the second round, and this solver had no third: the ratio of the two medians
    # would be 1.25.
    assert ratio(Row("a", walls=[0.5, 2.0]), BASELINE) == 0.5


def test_the_fastest_times_are_compared_with_each_other() -> None:
    assert fastest_ratio(Row("a", walls=[0.3, 0.2, 9.0]), BASELINE) == pytest.approx(0.2)


def test_the_overhead_of_a_solver_that_costs_nothing_is_one() -> None:
    free = Row("free", walls=[0.6, 2.0, 0.5], fields=[0.01, 0.04, 0.02], nfe=50)  # a busy machine is no overhead
    assert overhead(free) == pytest.approx(1.0)
    assert overhead(BASELINE) == pytest.approx(2.0)


def test_the_overhead_is_unknown_without_evaluations_or_their_time() -> None:
    assert overhead(Row("a", walls=[1.0], fields=[0.1])) is None
    assert overhead(Row("a", walls=[1.0], nfe=10)) is None


def test_the_spread_is_the_interquartile_range_relative_to_the_median() -> None:
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert spread([2.0, 2.0, 2.0]) == 0.0
    assert spread([1.0, 2.0]) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.234, "1.23 s"), (0.0123, "12.3 ms"), (0.000456, "456 µs"), (1.5e-7, "0.150 µs"), (None, "–"), (83.0, "83.0 s")],
)
def test_a_time_has_three_digits_and_a_unit(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_have_three_digits() -> None:
    assert [three_digits(x) for x in (0.01979, 0.593, 1.4, 12.34, 1234.5)] == [
        "0.0198",
        "0.593",
        "1.40",
        "12.3",
        "1234",
    ]


def test_a_table_has_a_line_for_every_solver_and_says_why_numbers_are_absent() -> None:
    rows = [Row("ndelib", walls=[0.4, 1.6, 0.4], nfe=40, fields=[0.01, 0.04, 0.01], error=2e-4), BASELINE]
    text = block("Title", "rk4.", [*rows, Row("torchode", absent="cannot: has no implicit method")])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 5
    assert len({line.count("|") for line in lines}) == 1
    assert re.search(r"ndelib +\| 400 ms +\| 0\.400 +\| 400 ms +\| 0\.400 .*\| 40 +\| 2e-04 +\| 1\.00 ", lines[2])
    assert "cannot: has no implicit method" in lines[4]


def test_a_table_without_torchdiffeq_has_no_ratios() -> None:
    broken = Row("torchdiffeq", walls=[1.0], absent="failed: stopped after 60 s")
    assert "| – " in block("Title", "", [Row("ndelib", walls=[0.4]), broken]).splitlines()[6]


def test_stochastic_problems_are_compared_with_torchsde() -> None:
    rows = [Row("ndelib", walls=[0.2]), Row("torchsde", walls=[2.0])]
    assert "| 0.100 |" in block("Title", "", rows)
    taking_part = [solver for solver in run.SOLVERS if run.takes_part(solver, problem("geometric-euler"))]
    assert taking_part == ["ndelib", "diffrax", "torchsde", "torchsde, dt known", "torchsde, path kept"]
    assert not any("torchsde" in solver for solver in run.SOLVERS if run.takes_part(solver, problem("rk4")))


def test_only_ndelib_and_pysindy_find_equations_and_ndelib_finds_those_of_lorenz() -> None:
    found = problem("sindy")
    assert [solver for solver in run.SOLVERS if run.takes_part(solver, found)] == ["ndelib", "pysindy"]
    assert not any(run.takes_part("pysindy", other) for other in PROBLEMS if other is not found)
    solver = with_ndelib.prepare(found, "ndelib")
    coefficients, exact = solver.to_numpy(solver.solve()), reference(found)
    assert ((coefficients != 0) == (exact != 0)).all()
    assert largest_error(coefficients, exact, gradient=False) < 0.01  # h² times third derivatives
    rows = [Row("ndelib", walls=[0.2]), Row("pysindy", walls=[1.0])]
    assert "| 0.200 |" in block(found.title, run.conditions(found), rows)


@pytest.mark.parametrize("method", ["euler", "milstein", "srk"])
def test_ndelib_has_the_moments_of_geometric_brownian_motion(method: str) -> None:
    torch.manual_seed(0)
    wanted = problem(f"geometric-{method}")
    solver = stochastic_solver(wanted, lambda sde, y0, ts: sdeint(sde, y0, ts, method=method, dt=0.01))
    # Of 10240 samples, three standard deviations of the mean square: Var y² = e^{(4a + 6b²) t} − e^{(4a + 2b²) t}.
    chance = 3 * np.sqrt((np.exp(0.4 + 0.54) - np.exp(0.4 + 0.18)) / 10_240)
    assert largest_error(solver.to_numpy(solver.solve()), reference(wanted), gradient=False) < chance


def test_the_summary_has_every_problem_and_every_solver() -> None:
    text = summary({"A": [Row("ndelib", walls=[0.2]), BASELINE], "B": [BASELINE, Row("scipy", absent="cannot")]})
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert cells[0][1:] == ["ndelib", "torchdiffeq", "scipy"]
    assert cells[2:] == [["A", "0.200", "1.00", "–"], ["B", "–", "1.00", "–"]]


def test_an_error_is_the_largest_over_times_and_the_samples_of_the_reference() -> None:
    exact = np.zeros((3, 2, 1))
    result = np.zeros((3, 5, 1))
    result[1, 1], result[2, 4] = -0.5, 9.0  # the last sample is not in the reference
    assert largest_error(result, exact, gradient=False) == 0.5
    assert largest_error(np.array([1.0, 4.5]), np.array([1.0, 5.0]), gradient=True) == pytest.approx(0.1)


def test_a_solution_at_too_few_times_is_an_error() -> None:
    with pytest.raises(ValueError, match="returned 2 of 3 requested times"):
        largest_error(np.zeros((2, 1, 1)), np.zeros((3, 1, 1)), gradient=False)


@pytest.mark.parametrize("name", ["lotka-volterra-256", "van-der-pol-256", "robertson", "mlp"])
def test_a_field_is_the_same_in_numpy_and_torch(name: str) -> None:
    seen = []

    def solve(f, y0, t, parameters):  # type: ignore[no-untyped-def]
        seen.append(f(t[0], y0))
        return y0

    torch_solver(problem(name), solve).solve()
    expected = problem(name).numpy_field()(0.0, problem(name).y0)
    np.testing.assert_allclose(seen[0].numpy(), expected, rtol=1e-5, atol=1e-5)


def test_robertsons_jacobian_is_the_derivative_of_its_field() -> None:
    y = torch.tensor([[0.9, 2e-5, 0.1], [0.2, 1e-6, 0.8]], dtype=torch.float64)
    arrays = problems.Arrays(torch.stack, lambda y: y.unbind(-1), torch.tanh)
    expected = torch.func.vmap(torch.func.jacrev(lambda y: problems.robertson(arrays, y)))(y)
    np.testing.assert_allclose(problems.robertson_jacobian(y.numpy()), expected.numpy(), rtol=1e-12)


def test_the_derivatives_behind_the_reference_gradient_are_those_of_autograd() -> None:
    weights = problems.network_weights()
    tensors = [tuple(torch.tensor(part, requires_grad=True) for part in layer) for layer in weights]
    y = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(5, 2, dtype=torch.float64)
    arrays = problems.Arrays(torch.stack, lambda y: y.unbind(-1), torch.tanh)
    value = problems.network(arrays, y, tensors)
    to_y, *to_weights = torch.autograd.grad(value, [y, *(part for layer in tensors for part in layer)], cotangent)
    flat = torch.cat([part.flatten() for part in to_weights])
    found = network_vjp(weights, y.detach().numpy(), cotangent.numpy())
    for ours, theirs in zip(found, (value.detach(), to_y, flat), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9, atol=1e-9)


def test_a_smaller_batch_is_the_beginning_of_a_larger_one() -> None:
    small, large = problem("lotka-volterra-256").y0, problem("lotka-volterra-16384").y0
    np.testing.assert_array_equal(small, large[:256])


def test_the_reference_keeps_lotka_and_volterras_invariant() -> None:
    x, z = np.unstack(reference(problem("lotka-volterra-256")), axis=-1)
    invariant = x - 3.0 * np.log(x) + z - 1.5 * np.log(z)
    assert np.ptp(invariant, axis=0).max() < 1e-9


@pytest.mark.parametrize("name", ["controlled-linear", "controlled-cubic"])
def test_the_reference_of_a_controlled_equation_is_what_ndelib_comes_to(name: str) -> None:
    exact = replace(problem(name), batch=3, dtype="float64", rtol=1e-7, atol=1e-8)
    solver = with_ndelib.prepare(exact, "ndelib")
    expected = controlled.solution(exact.t[:3], 3, name == "controlled-cubic")
    np.testing.assert_allclose(solver.to_numpy(solver.solve())[:3], expected, atol=1e-4)


def test_a_solver_that_does_not_answer_is_given_up_and_one_that_ends_is_noticed() -> None:
    talk = conversation.Conversation("none", "none", patience=0.3)
    talk.stop()
    for program, answer in (("import time; time.sleep(60)", "stopped after 0 s"), ("raise SystemExit(3)", "status 3")):
        talk.command = [sys.executable, "-c", program]
        talk.patience = 0.3 if "sleep" in program else 60.0
        talk.start()
        try:
            assert answer in talk.ask("measure")["failed"]
        finally:
            talk.stop()


def test_a_peer_that_cannot_be_installed_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[tuple[str, ...]] = []

    def pip(*arguments: str) -> bool:
        commands.append(arguments)
        return "-r" not in arguments and not any(argument.startswith("torchode") for argument in arguments)

    monkeypatch.setattr(install, "pip", pip)
    monkeypatch.setattr(install, "VENV", tmp_path / "venv")
    monkeypatch.setattr(install, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(install.subprocess, "call", lambda command: 0)
    install.install()
    assert capsys.readouterr().out.count("could not be installed") == 1
    one_by_one = [c for c in commands if "-r" not in c and "--no-deps" not in c]
    assert any("diffrax" in c[-1] for c in one_by_one)
    assert all(c[0].startswith("torch==") for c in one_by_one)  # no peer may choose another build of torch
    assert not (tmp_path / "stamp").exists()  # what is missing is tried again


def test_the_versions_of_torch_numpy_and_scipy_are_those_of_the_lock() -> None:
    locked = install.packages((Path(install.ROOT) / "requirements.lock").read_text())
    named = install.packages(install.REQUIREMENTS.read_text())
    assert all(
        re.fullmatch(r"[\w-]+==[\w.]+", package) for package in named + install.packages(install.ALONE.read_text())
    )
    assert {package for package in named if re.match("(torch|numpy|scipy)==", package)} <= set(locked)


def test_the_reference_gradient_of_the_classifier_is_what_ndelib_comes_to() -> None:
    exact = replace(problem("classifier"), batch=5, dtype="float64", rtol=1e-8, atol=1e-9)
    solver = with_ndelib.prepare(exact, "ndelib")
    found = solver.to_numpy(solver.solve())
    assert largest_error(found, reference(exact), gradient=True) < 1e-6
    assert solver.count() > 12
