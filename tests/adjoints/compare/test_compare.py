"""The table of gradients: errors against an exact gradient, memory by counting, failures in a row of their own."""

import copy
import math
import re
import warnings
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

from ndelib.adjoints import odeint
from ndelib.adjoints.compare import compare_gradients
from ndelib.adjoints.compare.differentiable import Differentiable, finite_differences
from ndelib.adjoints.memory import TensorMemory
from tests.conftest import full

SOLVES = ("backprop", "checkpoint", "adjoint", "interpolated")
TIMES = torch.tensor(full([0.0, 0.5, 2.0], [0.0, 0.25, 1.0]), dtype=torch.float64)


class Decay(nn.Module):
    """dy/dt = −k y: y(T) = y₀ exp(−k T), so that ∂y(T)²/∂y₀ = 2 y₀ exp(−2kT) and ∂y(T)²/∂k = −2T y(T)²."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.k = nn.Parameter(torch.tensor(0.7, dtype=dtype))

    def forward(self, t, y):
        return -self.k * y


class Net(nn.Module):
    def __init__(self, width=6, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 2)).to(dtype)

    def forward(self, t, y):
        return self.layers(y) * torch.cos(t)


class Turning(nn.Module):
    """dy/dt = k A y with a matrix that is neither parameter nor buffer."""

    def __init__(self):
        super().__init__()
        self.k = nn.Parameter(torch.tensor(0.7))
        self.A = torch.tensor([[0.0, 1.0], [-1.0, -0.2]])

    def forward(self, t, y):
        return self.k * (y @ self.A.T)


def exact_decay(y0, k, times):
    """Return the gradient of y(T)² for y0, k, and the times: it depends on T − t₀."""
    span = (times[-1] - times[0]).item()
    square = y0**2 * math.exp(-2 * k * span)
    by_time = torch.zeros_like(times)
    by_time[0], by_time[-1] = 2 * k * square, -2 * k * square
    return times.new_tensor(2 * square / y0), times.new_tensor(-2 * span * square), by_time


@pytest.mark.parametrize("gradient", [*SOLVES, "forward"])
def test_gradients_and_errors_are_those_of_an_exact_solution(gradient):
    y0 = torch.tensor(1.3, dtype=torch.float64)
    exact = exact_decay(1.3, 0.7, TIMES)
    times = TIMES.clone().requires_grad_()
    table = compare_gradients(Decay(), y0, times, gradients=[gradient], rtol=1e-9, atol=1e-11, repetitions=1, loss=last)
    (row,) = table
    assert row.failure == ""
    for found, expected in zip(row.gradients, exact, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    for found, expected in zip(table.reference_gradients, exact, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    given = compare_gradients(
        Decay(), y0, times, gradients=[gradient], rtol=1e-9, atol=1e-11, repetitions=1, loss=last, reference=exact
    )[gradient]
    for name, found, expected in zip(("y0", "params", "t"), row.gradients, exact, strict=True):
        by_hand = ((found - expected).norm() / expected.norm()).item()
        assert given.errors[name] == pytest.approx(by_hand, rel=1e-6, abs=1e-16)
    assert given.error == max(given.errors.values())
    assert table.reference == "backpropagation through dopri8 with rtol = 1e-13 in float64"


def last(ys):
    return ys[-1].square().sum()


def test_the_error_falls_with_the_tolerance_and_shows_a_wrong_gradient():
    y0 = torch.tensor([1.0, -0.5], dtype=torch.float64)
    net = Net(dtype=torch.float64)
    entries = [{"gradient": "backprop", "rtol": 10.0**-n, "atol": 10.0**-n} for n in (3, 6, 9)]
    times = [0.0, 0.5, 2.0]  # long enough for several steps with each tolerance
    errors = [row.error for row in compare_gradients(net, y0, times, gradients=entries, repetitions=1)]
    assert errors[0] > 30 * errors[1] > 900 * errors[2] > 0
    right = compare_gradients(net, y0, TIMES, gradients=["backprop"], repetitions=1).reference_gradients
    wrong = (right[0] * 1.5, *right[1:])
    row = compare_gradients(net, y0, TIMES, gradients=["backprop"], repetitions=1, reference=wrong)["backprop"]
    assert row.errors["y0"] == pytest.approx(1 / 3, rel=1e-3)
    assert row.error == row.errors["y0"] > 1e3 * row.errors["params"]


def test_the_reference_of_a_float32_model_is_float64_and_leaves_the_model_as_it_was():
    net = Turning()
    before = copy.deepcopy(net.state_dict())
    table = compare_gradients(net, torch.tensor([1.0, -0.5]), TIMES, repetitions=1, gradients=["backprop", "forward"])
    assert table.reference.endswith("in float64")
    assert all(g.dtype == torch.float64 for g in table.reference_gradients)
    assert all(row.error < 1e-5 for row in table)
    assert net.A.dtype == torch.float32
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.dtype == torch.float32
        assert parameter.grad is None


def test_a_function_that_closes_over_float32_tensors_says_that_its_reference_is_float32():
    A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]], requires_grad=True)
    table = compare_gradients(
        lambda t, y: y @ A.T, torch.ones(2), TIMES, params=[A], gradients=["backprop"], repetitions=1
    )
    assert table.reference.endswith("in float32")
    assert table["backprop"].error < 1e-4


def test_finite_differences_agree_with_backpropagation():
    y0 = torch.tensor([1.0, -0.5], dtype=torch.float64)
    net = Net(width=full(6, 2), dtype=torch.float64)  # each weight takes four solves
    before = copy.deepcopy(net.state_dict())
    table = compare_gradients(
        net, y0, TIMES.clone().requires_grad_(), gradients=["backprop"], repetitions=1, reference="finite differences"
    )
    by_backprop = compare_gradients(net, y0, TIMES.clone().requires_grad_(), gradients=["backprop"], repetitions=1)
    assert table.reference.startswith("finite differences through dopri8")
    for found, expected in zip(table.reference_gradients, by_backprop.reference_gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_finite_differences_are_of_fourth_order():
    # Exact for a polynomial of degree four in y0, up to rounding; a formula of second order would be off by h² = 1e-6.
    problem = Differentiable.of(
        lambda t, y: 0 * y, torch.tensor(0.5, dtype=torch.float64), TIMES, None, (), lambda ys: (ys[-1] ** 4).sum()
    )
    (found,) = finite_differences(problem, {"method": "rk4", "gradient": "backprop"})
    assert found.item() == pytest.approx(4 * 0.5**3, abs=1e-11)


def test_complex_states_tuples_and_pairs_of_functions():
    times = torch.tensor([0.0, 0.3, 0.5], dtype=torch.float64, requires_grad=True)
    k = torch.tensor(0.3 + 0.4j, dtype=torch.complex128, requires_grad=True)
    z0 = torch.tensor([0.3 + 0.2j, 0.1], dtype=torch.complex128)
    y0 = torch.tensor([1.0, 0.5], dtype=torch.float64), torch.tensor([0.0, 0.2], dtype=torch.float64)
    gradients = full(("backprop", "checkpoint", "forward"), ("checkpoint", "forward"))
    tables = [
        compare_gradients(lambda t, z, k: 1j * k * t * z**2, z0, times, args=(k,), **common(gradients)),
        compare_gradients(lambda t, y: (y[1] * t.cos(), -y[0].sin()), y0, times, **common(gradients)),
        compare_gradients(
            (lambda t, p: p * (1 + t), lambda t, q: -q.sin()),
            y0,
            times,
            method="yoshida4",
            step_size=0.02,
            **common(gradients),
        ),
    ]
    for table in tables:
        assert [row.failure for row in table] == [""] * len(gradients)
        assert all(row.error < 1e-6 for row in table), str(table)
        assert set(table["forward"].errors) >= {"y0", "t"}


def common(gradients):
    return {
        "gradients": gradients,
        "rtol": 1e-9,
        "atol": 1e-11,
        "repetitions": 1,
        "reference": "finite differences",
        "loss": lambda ys: sum((p.abs() ** 2).sum() + p[-1].real.sum() for p in (ys if type(ys) is tuple else [ys])),
    }


def test_parameters_of_a_method_of_a_module_and_shared_ones_are_found_once():
    net = Net(width=2, dtype=torch.float64)
    net.layers[2].weight = net.layers[0].weight
    table = compare_gradients(
        net.forward,
        torch.ones(2, dtype=torch.float64),
        TIMES,
        repetitions=1,
        gradients=["backprop", "forward", "adjoint"],
    )
    assert [len(row.gradients) for row in table] == [4, 4, 4]  # y0, one weight, two biases
    assert all(row.error < 1e-5 for row in table)


def test_calls_of_f_are_counted():
    def f(t, y):
        return -y

    y0 = torch.ones(3, dtype=torch.float64)
    table = compare_gradients(f, y0, [0.0, 1.0], method="rk4", step_size=0.1, gradients=["backprop", "forward"])
    assert (table["backprop"].calls_forward, table["backprop"].calls_backward) == (40, 0)
    assert table["forward"].calls_forward == 3 * 40
    checkpoint = compare_gradients(f, y0, [0.0, 1.0], method="rk4", step_size=0.1, gradients=["checkpoint"])
    assert checkpoint["checkpoint"].calls_backward >= 40


def test_memory_of_backpropagation_grows_with_the_steps_and_that_of_checkpoints_by_a_state_a_step():
    net = Net(dtype=torch.float64)
    y0 = torch.ones(1000, 2, dtype=torch.float64)
    state = 16_000

    def kept(gradient, steps):
        options = {"method": "rk4", "step_size": 1 / steps, "reference": {"rtol": 1e-6}}
        row = compare_gradients(net, y0, [0.0, 1.0], gradients=[gradient], repetitions=1, **options)
        return row[gradient].kept

    n = full(20, 5)
    assert kept("backprop", 2 * n) - kept("backprop", n) > n * 4 * state
    assert n * state <= kept("checkpoint", 2 * n) - kept("checkpoint", n) < n * 1.1 * state
    assert kept("adjoint", 2 * n) == kept("adjoint", n) < 20 * state


@pytest.mark.parametrize("gradient", SOLVES)
def test_bytes_are_those_counted_by_hand(gradient):
    net, y0 = Net(), torch.ones(100, 2, requires_grad=True)
    with TensorMemory() as memory:
        value = last(odeint(net, y0, TIMES, gradient=gradient))
        kept = memory.live
        torch.autograd.grad(value, (y0, *net.parameters()))
    row = compare_gradients(net, y0, TIMES, last, gradients=[gradient], repetitions=1)[gradient]
    assert (row.kept, row.peak) == (kept, memory.peak)


def test_what_was_measured_but_the_time_is_the_same_every_time():
    gradients = full([*SOLVES, "forward"], ["checkpoint", "adjoint"])

    def measured():
        table = compare_gradients(Net(width=1), torch.ones(2), TIMES, gradients=gradients, repetitions=1)
        return [(r.calls_forward, r.calls_backward, r.kept, r.peak, r.errors) for r in table]

    assert measured() == measured()


def test_times_are_medians_and_positive():
    row = compare_gradients(Net(), torch.ones(2), TIMES, gradients=["backprop"], repetitions=2)["backprop"]
    assert row.seconds == row.seconds_forward + row.seconds_backward
    assert row.seconds_forward > 0
    assert row.seconds_backward > 0


def test_a_failure_has_a_row_and_leaves_the_others_alone():
    table = compare_gradients(
        Net(width=100), torch.ones(2), TIMES, gradients=["reversible", "backprop", "forward", "nonsense"], repetitions=1
    )
    assert [bool(row.failure) for row in table] == [True, False, True, True]
    assert "ValueError" in table["reversible"].failure
    assert "504 solves" in table["forward"].failure  # 2 + 2·100 + 100 + 100·2 + 2
    assert table["reversible"].peak is None
    assert math.isnan(table["reversible"].error)
    assert table["backprop"].error < 1e-5
    assert "504 solves" in str(table).replace("\n    ", " ")
    assert "504 solves" in table._repr_html_()


def test_an_undeclared_parameter_is_the_failure_of_those_that_need_to_know():
    k = torch.tensor(0.5, requires_grad=True)
    table = compare_gradients(
        lambda t, y: -k * y, torch.ones(2), TIMES, gradients=["backprop", "checkpoint"], repetitions=1
    )
    assert "params" in table["checkpoint"].failure
    assert table["backprop"].failure == ""


def test_a_failed_reference_gives_no_errors_and_says_why():
    def blows_up(t, y):
        return y**2

    table = compare_gradients(blows_up, torch.ones(1, dtype=torch.float64), [0.0, 2.0], gradients=["backprop"])
    assert "nothing, because the reference failed" in table.reference
    assert table["backprop"].failure
    assert table.reference_gradients == ()
    steady = compare_gradients(
        lambda t, y: -y, torch.ones(1), [0.0, 1.0], gradients=["backprop"], reference={"method": "nonsense"}
    )
    assert math.isnan(steady["backprop"].error)
    assert steady["backprop"].gradients[0].item() == pytest.approx(2 * math.exp(-2), rel=1e-5)


def test_a_gradient_that_is_nan_is_not_hidden_by_one_that_is_right():
    a = torch.zeros((), requires_grad=True)
    row = compare_gradients(
        lambda t, y, a: y * a.sqrt(),
        torch.ones(2),
        [0.0, 1.0],
        args=(a,),
        gradients=["backprop"],
        reference=(torch.full((2,), 2.0), torch.zeros(())),
        repetitions=1,
    )["backprop"]
    assert row.errors["y0"] == 0
    assert math.isnan(row.error)


def test_the_warning_of_an_adjoint_is_told_in_the_table_and_not_elsewhere():
    # Walking y' = −8 y back over one unit multiplies the error of the solve by e⁸.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = compare_gradients(
            lambda t, y: -8 * (y - t.cos()), torch.ones(1, dtype=torch.float64), [0.0, 1.0], gradients=["adjoint"]
        )
    row = table["adjoint"]
    assert row.warning or "AdjointError" in row.failure
    assert "adjoint:" in str(table)


def test_other_warnings_arrive():
    def f(t, y):
        warnings.warn("beware", UserWarning, stacklevel=1)
        return -y

    with pytest.warns(UserWarning, match="beware"):
        compare_gradients(
            f, torch.ones(1), [0.0, 1.0], gradients=["backprop"], repetitions=1, reference=(torch.ones(1),)
        )


def test_rows_are_found_by_label_and_by_gradient():
    table = compare_gradients(
        Net(),
        torch.ones(2),
        TIMES,
        gradients=[
            "checkpoint",
            {"gradient": "checkpoint", "checkpoints": "log"},
            {"gradient": "backprop", "rtol": 1e-3},
        ],
        repetitions=1,
    )
    assert [row.label for row in table] == ["checkpoint", "checkpoint, checkpoints=log", "backprop, rtol=0.001"]
    assert table["checkpoint, checkpoints=log"] is table.rows[1]
    assert table["checkpoint"] is table.rows[0]
    assert table["backprop"] is table.rows[2]
    with pytest.raises(KeyError, match="checkpoints=log"):
        table["adjoint"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"repetitions": 0}, "repetitions = 0"),
        ({"reference": "guess"}, "'guess'"),
        ({"reference": (torch.zeros(3),)}, "shapes"),
        ({"method": "nonsense"}, "nonsense"),
    ],
)
def test_wrong_arguments_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        compare_gradients(lambda t, y: -y, torch.ones(2), TIMES, **wrong)


def test_an_entry_that_is_no_gradient_is_named():
    with pytest.raises(TypeError, match="'method'"):
        compare_gradients(lambda t, y: -y, torch.ones(2), TIMES, gradients=[{"method": "rk4"}])


class Outline(HTMLParser):
    """What a table consists of: its tags in order, and the scopes of its headings."""

    def __init__(self, html):
        super().__init__()
        self.open, self.scopes, self.cells = [], [], 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "th":
            self.scopes.append(dict(attrs).get("scope"))
        self.cells += tag == "td"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_table_reads_as_text_and_as_html():
    table = compare_gradients(Net(), torch.ones(2), TIMES, gradients=["backprop", "reversible"], repetitions=1)
    lines = str(table).splitlines()
    assert lines[0].split()[:4] == ["gradient", "method", "forward", "backward"]
    assert re.match(r"backprop +dopri5 .* (ms|s) .* k?B .*e-0\d", lines[2])
    assert len(lines[0]) == len(lines[1]) == len(lines[2])
    assert all(len(line) <= 100 for line in lines)
    html = table._repr_html_()
    outline = Outline(html)
    assert outline.open == []
    assert outline.scopes == ["col"] * 9 + ["row"] * 2
    assert outline.cells == 16
    assert "<caption>" in html
    assert "gradient=&#x27;reversible&#x27;" in html  # messages are escaped


@pytest.mark.usefixtures("traced_if_short")
def test_compiled_steps_are_timed_but_not_watched():
    row = compare_gradients(
        Decay(), torch.ones(2), TIMES, gradients=[{"gradient": "backprop", "compile": "step"}], repetitions=1
    ).rows[0]
    if row.failure:
        pytest.skip(f"nothing compiles here: {row.failure}")
    assert row.kept is None
    assert row.calls_forward is None
    assert row.seconds > 0
    assert row.error < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_cuda_the_allocator_agrees():
    net = Net(width=64, dtype=torch.float64).cuda()
    y0 = torch.ones(4096, 2, dtype=torch.float64, device="cuda")
    table = compare_gradients(net, y0, TIMES, gradients=[*SOLVES], repetitions=1)
    on_cpu = compare_gradients(net.cpu(), y0.cpu(), TIMES, gradients=[*SOLVES], repetitions=1)
    for row, other in zip(table, on_cpu, strict=True):
        assert row.failure == ""
        assert row.error < 1e-5
        assert row.peak == pytest.approx(other.peak, rel=0.05)
        assert row.cuda_peak == pytest.approx(row.peak, rel=0.2)
