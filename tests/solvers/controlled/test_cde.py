"""Controlled equations are the ordinary ones that they reduce to: exact solutions, invariance, shapes, errors."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from ndelib import CubicSpline, LinearInterpolation, cdeint, natural_cubic_coeffs, odeint, solve_ivp
from ndelib import hermite_cubic_coefficients_with_backward_differences as hermite_coeffs
from ndelib.solvers import cde_to_ode
from ndelib.solvers.steps.methods import METHODS

PATHS = {
    "linear": LinearInterpolation,
    "hermite": lambda x, t=None: CubicSpline(hermite_coeffs(x, t), t),
    "natural": lambda x, t=None: CubicSpline(natural_cubic_coeffs(x, t), t),
}
every_path = pytest.mark.parametrize("kind", PATHS)
TIGHT = {"rtol": 1e-10, "atol": 1e-11}
T = torch.tensor([0.0, 0.7, 1.0, 1.9, 2.4], dtype=torch.float64)
"""times of five observations"""


def data(*batch, channels=2, seed=0, length=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, length, channels, generator=generator, dtype=torch.float64)


class Net(nn.Module):
    """g(z) = tanh(W z + b), (*, hidden, channels)."""

    def __init__(self, hidden=3, channels=2):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(hidden, hidden * channels, dtype=torch.float64)
        self.channels = channels
        self.times = []

    def forward(self, t, z):
        self.times.append(t.item())
        return torch.tanh(self.linear(z)).reshape(*z.shape, self.channels)


A = torch.tensor([[[0.3, -1.0], [0.5, 0.1]], [[-0.2, 0.4], [1.1, 0.6]]], dtype=torch.float64)
"""two matrices that do not commute"""


def linear_field(t, z):
    """Return dz = A₀ z dX⁰ + A₁ z dX¹."""
    return torch.einsum("cij,...j->...ic", A, z)


def exponentials(increments):
    """Return the product over a path of exp(A₀ Δ⁰ + A₁ Δ¹), the first rightmost.  increments: (n, 2) -> (2, 2)."""
    total = torch.eye(2, dtype=torch.float64)
    for factor in torch.linalg.matrix_exp(torch.einsum("nc,cij->nij", increments, A)):
        total = factor @ total
    return total


@every_path
def test_with_one_channel_only_the_ends_of_the_path_matter(kind):
    x, z0 = data(4, channels=1), data(length=4)
    X = PATHS[kind](x, T)
    z = cdeint(X, lambda t, z: (z @ A[0].T).unsqueeze(-1), z0, T, **TIGHT)
    moved = (x - x[:, :1]).unsqueeze(-1) * A[0]
    torch.testing.assert_close(
        z, (torch.linalg.matrix_exp(moved) @ z0[:, None, :, None]).squeeze(-1), rtol=0, atol=1e-8
    )


def test_along_a_linear_path_matrices_that_do_not_commute_multiply_in_order():
    x, z0 = data(), torch.tensor([1.0, -0.5], dtype=torch.float64)
    z = cdeint(LinearInterpolation(x, T), linear_field, z0, **TIGHT)
    torch.testing.assert_close(z[-1], exponentials(x.diff(dim=0)) @ z0, rtol=0, atol=1e-8)
    assert (exponentials(x.diff(dim=0).flip(0)) @ z0 - z[-1]).norm() > 0.1


@pytest.mark.parametrize("kind", ["hermite", "natural"])
def test_along_a_cubic_path_they_are_a_product_of_small_steps(kind):
    x, z0 = data(), torch.tensor([1.0, -0.5], dtype=torch.float64)
    X = PATHS[kind](x, T)

    def product(n):
        fine = torch.cat([torch.linspace(a, b, n + 1, dtype=torch.float64)[:-1] for a, b in pairwise(T.tolist())])
        return exponentials(X.evaluate(torch.cat([fine, T[-1:]])).diff(dim=0)) @ z0

    exact = (4 * product(800) - product(400)) / 3  # their error is O(h²)
    torch.testing.assert_close(cdeint(X, linear_field, z0, **TIGHT)[-1], exact, rtol=1e-8, atol=0)


class Curve:
    """X(t) = (t, sin t), a path that is known and not interpolated."""

    def derivative(self, t):
        return torch.stack([torch.ones_like(t), torch.cos(t)])


def test_along_a_known_path_it_is_the_ordinary_equation():
    g, z0, t = Net(), data(length=4, channels=3), torch.linspace(0, 2, 5, dtype=torch.float64)

    def f(t, z):
        columns = g(t, z)
        return columns[..., 0] + columns[..., 1] * torch.cos(t)

    z = cdeint(Curve(), g, z0, t, **TIGHT)
    torch.testing.assert_close(z, odeint(f, z0, t, **TIGHT).movedim(0, -2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_its_order_across_the_corners_of_a_path(name):
    """Of dq = p dX, dp = −q dX, which turns by X_T − X_0."""
    x = torch.tensor([[0.0], [1.0], [0.2], [0.9], [1.5]], dtype=torch.float64)
    X, method = LinearInterpolation(x, [0.0, 0.5, 1.0, 2.0, 2.5]), METHODS[name]
    q0, p0 = torch.tensor([[1.0], [0.5]], dtype=torch.float64)
    options = {"rtol": 1e-13, "atol": 1e-13} if method.solves_stages else {}
    options |= {"omega": 2.0} if "omega" in method.options else {}

    def error(step_size):
        options["step_size"] = step_size
        if "split" in method.options:
            pair = (lambda t, p: p.unsqueeze(-1), lambda t, q: -q.unsqueeze(-1))
            q, p = cdeint(X, pair, (q0, p0), method=name, **options)
        else:
            turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
            z = cdeint(X, lambda t, z: (z @ turn.T).unsqueeze(-1), torch.cat([q0, p0]), method=name, **options)
            q, p = z.split(1, -1)
        return math.hypot(
            q[-1].item() - math.cos(1.5) - 0.5 * math.sin(1.5), p[-1].item() + math.sin(1.5) - 0.5 * math.cos(1.5)
        )

    # a multistep method is one only some steps after each corner
    h = 1 / 32 if method.kind == "multistep" else 1 / 8 if method.order <= 5 else 1 / 2
    coarse, fine = error(h), error(h / 2)
    assert math.log2(coarse / fine) > method.order - 0.4 or fine < 1e-12


def test_adaptive_steps_end_at_observations_and_the_field_is_asked_on_their_side():
    for Path in PATHS.values():
        g = Net()
        with torch.no_grad():
            cdeint(Path(data(), T), g, data(length=1, channels=3)[0])
        assert not set(T.tolist()) & set(g.times)
        assert min(g.times) >= T[0] and max(g.times) <= T[-1]  # noqa: PT018


def test_steps_across_corners_are_wrong_and_dear():
    x = data(channels=2, length=20, seed=5)
    X, z0 = LinearInterpolation(x), data(length=1, channels=3)[0]
    exact = cdeint(X, Net(), z0, **TIGHT)
    cost, error = {}, {}
    for name, options in (("end", {}), ("cross", {"step_at": ()})):
        g = Net()
        error[name] = (cdeint(X, g, z0, **options) - exact).abs().max().item()
        cost[name] = len(g.times)
    assert cost["end"] < 0.5 * cost["cross"]
    assert error["end"] < 0.1 * error["cross"]


def test_linear_paths_through_the_same_points_at_other_times_give_the_same():
    x, z0 = data(3), data(length=3, channels=3)
    squeezed = torch.tensor([-5.0, -4.99, 3.0, 3.5, 100.0], dtype=torch.float64)
    first, second = (cdeint(LinearInterpolation(x, t), Net(), z0, t, **TIGHT) for t in (T, squeezed))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-8)


@every_path
def test_how_fast_a_path_is_run_through_does_not_matter(kind):
    X, z0 = PATHS[kind](data(), T), data(length=1, channels=3)[0]

    class Slow:
        """X(φ(s)) for φ(s) = 2.4 s², 0 ≤ s ≤ 1."""

        def derivative(self, s):
            return 4.8 * s * X.derivative(2.4 * s**2)

    s = (T / 2.4).sqrt()
    slowly = cdeint(Slow(), Net(), z0, s, step_at=s.tolist(), **TIGHT)
    torch.testing.assert_close(slowly, cdeint(X, Net(), z0, T, **TIGHT), rtol=0, atol=1e-8)


@every_path
def test_walked_back_the_path_undoes_itself(kind):
    X, z0 = PATHS[kind](data(3), T), data(length=3, channels=3)
    there = cdeint(X, Net(), z0, T, **TIGHT)
    back = cdeint(X, Net(), there[:, -1], T.flip(0), **TIGHT)
    torch.testing.assert_close(back.flip(-2), there, rtol=0, atol=1e-7)


@every_path
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_batches_of_any_shape_are_samples_of_their_own(kind, batch):
    x, z0 = data(*batch), data(*batch, length=1, channels=3).squeeze(-2)
    z = cdeint(PATHS[kind](x, T), Net(), z0, T, method="rk4")
    assert z.shape == (*batch, 5, 3)
    assert torch.equal(z[..., 0, :], z0)
    one = cdeint(PATHS[kind](x[(0,) * len(batch)], T), Net(), z0[(0,) * len(batch)], T, method="rk4")
    torch.testing.assert_close(z[(0,) * len(batch)], one)


def test_one_path_may_drive_many_states():
    z0 = data(4, length=6, channels=3)
    z = cdeint(LinearInterpolation(data(6), T), Net(), z0)
    assert z.shape == (4, 6, 2, 3)
    torch.testing.assert_close(
        z[1], cdeint(LinearInterpolation(data(6), T), Net(), z0[1], method="dopri8", **TIGHT), rtol=0, atol=1e-3
    )


def test_without_times_the_solution_is_wanted_at_both_ends():
    X, z0 = PATHS["hermite"](data(), T), data(length=1, channels=3)[0]
    torch.testing.assert_close(cdeint(X, Net(), z0), cdeint(X, Net(), z0, T[[0, -1]]))


@every_path
def test_single_precision_stays_single(kind):
    x, z0, g = data(3), data(length=3, channels=3), Net()
    exact = cdeint(PATHS[kind](x, T), g, z0, T, **TIGHT)
    z = cdeint(PATHS[kind](x.float(), T.float()), g.float(), z0.float(), T.float(), rtol=1e-5, atol=1e-6)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.double(), exact, rtol=0, atol=2e-4)


def test_states_may_be_tuples_complex_or_products():
    X, z0 = PATHS["hermite"](data(3), T), data(length=3, channels=3)
    expected = cdeint(X, Net(), z0, T)
    a, b = cdeint(X, lambda t, z: Net()(t, torch.cat(z, -1)).split([1, 2], -2), (z0[:, :1], z0[:, 1:]), T)
    torch.testing.assert_close(torch.cat([a, b], -1), expected)

    class Product(nn.Module):
        def prod(self, t, z, dXdt):
            return (Net()(t, z) * dXdt.unsqueeze(-2)).sum(-1)

    torch.testing.assert_close(cdeint(X, Product(), z0, T), expected)
    turning = cdeint(X, lambda t, z: 1j * torch.stack([z, 2 * z], -1), z0 + 0j, T, **TIGHT)
    angle = (X.evaluate(T) - X.evaluate(T[:1])) @ torch.tensor([1.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(turning, torch.exp(1j * angle).unsqueeze(-1) * z0[:, None], rtol=0, atol=1e-8)


def test_as_an_ordinary_equation_it_has_events_and_dense_output():
    X, z0 = (
        LinearInterpolation(torch.tensor([[0.0], [2.0], [0.5]], dtype=torch.float64)),
        torch.ones(1, dtype=torch.float64),
    )
    field = cde_to_ode(X, lambda t, z: z.unsqueeze(-1))
    solution = solve_ivp(field, (0, 2), z0, events=lambda t, z: z[0] - math.e, dense=True, step_at=X.kinks, rtol=1e-9)
    torch.testing.assert_close(
        solution.t_events[0], torch.tensor([1 / 2, 5 / 3], dtype=torch.float64), rtol=0, atol=1e-7
    )
    assert solution.sol(1.5).item() == pytest.approx(math.exp(1.25), rel=1e-6)


def test_a_step_can_be_compiled_or_traced():
    """The path then finds its interval without asking for the time; so it must where a compiler traces it."""
    X, z0 = PATHS["natural"](data(3), T), data(length=3, channels=3)
    field, g = cde_to_ode(X, lambda t, z: torch.tanh(z).unsqueeze(-1) * torch.ones(2, dtype=z.dtype)), []
    compiled = torch.compile(field, backend=lambda module, inputs: g.append(module) or module.forward, fullgraph=True)
    for time in (0.3, 1.95):
        t = torch.tensor(time, dtype=torch.float64)
        torch.testing.assert_close(compiled(t, z0), field(t, z0))
    assert len(g) == 1


def call(**changes):
    x, z0 = data(3), data(length=3, channels=3)
    arguments = {"X": PATHS["hermite"](x, T), "func": Net(), "z0": z0, "t": T, **changes}
    return cdeint(**arguments)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"func": lambda t, z: z}, ValueError, r"here \(3, 3, 2\): a row for each of the 3 components of z"),
        ({"func": lambda t, z: z.unsqueeze(-1)}, ValueError, r"It returned \(3, 3, 1\)"),
        ({"func": lambda t, z: [z]}, TypeError, "func.* must return a tensor, got list"),
        (
            {"func": lambda t, z: torch.zeros(3, 3, 2)},
            TypeError,
            "X has the dtype torch.float64 and func.* torch.float32",
        ),
        ({"func": None}, TypeError, "func must be a function"),
        ({"X": data(3)}, TypeError, "X must be a path .* got Tensor: data become a path by"),
        ({"t": [0.0, 1.0, 2.5]}, ValueError, "t goes from 0 to 2.5, and the path X from 0 to 2.4"),
        ({"t": [-1.0, 1.0]}, ValueError, "t goes from -1 to 1"),
        ({"t": [0.0, 1.0, 1.0]}, ValueError, "strictly increasing or strictly decreasing"),
        ({"z0": data(length=4, channels=3)}, ValueError, r"with the batch dimensions \(3,\) of X; got \(4, 3\)"),
        ({"z0": data(length=3)[0]}, ValueError, r"with the batch dimensions \(3,\) of X; got \(2,\)"),
        ({"z0": torch.tensor(1.0)}, ValueError, "z0 must have the shape .* got a single number"),
        ({"z0": [1.0, 2.0]}, TypeError, "y0 must be a tensor"),
        ({"X": Curve(), "t": None}, ValueError, "t must be given: a Curve has no interval"),
        ({"adjoint": True}, TypeError, 'write gradient="adjoint"'),
        ({"backend": "torchsde"}, TypeError, "'backend' is not an option"),
        ({"batch": "independent"}, ValueError, "the samples of a path share their times"),
        ({"rtool": 1.0}, TypeError, "did you mean 'rtol'"),
        ({"method": "rk44"}, ValueError, "did you mean 'rk4'"),
    ],
)
def test_what_does_not_fit_is_named(changes, kind, message):
    with pytest.raises(kind, match=message):
        call(**changes)
