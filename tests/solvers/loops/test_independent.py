"""``batch="independent"``: every sample as if it were alone, and none pays for another."""

import math
from itertools import product

import pytest
import torch

from ndelib import methods, odeint, solve_ivp
from ndelib.solvers import NonFiniteState, StepSizeTooSmall, TooManySteps
from ndelib.solvers.loops.independent import integrate_independent
from ndelib.solvers.options import read_options
from ndelib.solvers.steps.methods import find_method
from tests.conftest import full

NAMES = [method.name for method in methods() if method.adaptive and method.kind.startswith("explicit")]
# Of each kind one: without dense output of its own, the same with a last slope that is the next first one, that with
# dense output, and dense output that takes stages of its own. The others differ in their tables only.
KINDS = full(NAMES, ["heun2", "bosh3", "dopri5", "dopri8"])
# what a method of this order can reach in a test that runs for a second
RTOL = {"heun2": 1e-3, "ralston": 1e-3, "bosh3": 1e-4}
# The two loops round differently, and the rounding of a tiny error estimate moves the next steps a little: what the
# steps do to the solution then changes by far less than the tolerance.
ROUNDING = 1e-4
MU = torch.tensor([1.0, 50.0, 5.0], dtype=torch.float64)


def van_der_pol(t, y, mu):
    return torch.stack([y[..., 1], mu * (1 - y[..., 0] ** 2) * y[..., 1] - y[..., 0]], dim=-1)


def start(n):
    return torch.tensor([[2.0, 0.0], [2.0, 0.0], [1.0, 1.0]], dtype=torch.float64)[:n]


def solve(f, y0, t, method="dopri5", **options):
    """Return the states and what each sample needed."""
    return integrate_independent(f, y0, t, find_method(method), read_options({"batch": "independent", **options}))


def alone(f, y0, t, **options):
    """Solve one sample by the loop that has one step size, and count the calls of f."""
    calls = []

    def counted(t, y):
        calls.append(t.item())
        return f(t, y)

    return odeint(counted, y0, t, **options), calls


class Rows:
    """A field that remembers how many rows it was given, and at which times each argument was asked."""

    def __init__(self, f=lambda t, y, rate: -rate * y):
        self.f = f
        self.rows = []
        self.times = {}

    def __call__(self, t, y, label, *args):
        assert t.shape == (len(y), *[1] * (y.ndim - 1))
        assert t.dtype == y.dtype.to_real()
        self.rows.append(len(y))
        for name, time in zip(label.tolist(), t.flatten().tolist(), strict=True):
            self.times.setdefault(name, []).append(time)
        return self.f(t, y, *args)


@pytest.mark.parametrize("name", KINDS)
def test_an_easy_sample_needs_no_more_with_a_stiff_mate_than_alone(name):
    t = torch.linspace(0.0, 10.0, 6, dtype=torch.float64)
    rtol = RTOL.get(name, 1e-6)
    options = {"method": name, "rtol": rtol, "atol": 0.01 * rtol}
    both, counts = solve(van_der_pol, start(2), t, args=(MU[:2],), args_dims=(0,), **options)
    single, calls = alone(lambda t, y: van_der_pol(t, y, MU[0]), start(2)[0], t, **options)
    # Methods that are not FSAL ask, after a refusal, for all slopes again: that of this sample is known already.
    assert counts.nfe[0] == pytest.approx(len(calls), rel=0.05 if find_method(name).tableau.fsal else 0.1)
    assert torch.allclose(both[:, 0], single, rtol=0, atol=ROUNDING * rtol)
    _, calls_with_one_step_size = alone(lambda t, y: van_der_pol(t, y, MU[:2]), start(2), t, **options)
    assert len(calls_with_one_step_size) > 1.3 * counts.nfe[0]


@pytest.mark.parametrize("name", KINDS)
def test_results_do_not_depend_on_batch_mates(name):
    t = torch.linspace(0.0, 2.0, 9, dtype=torch.float64)
    rtol = RTOL.get(name, 1e-6)
    options = {"method": name, "rtol": rtol, "atol": 0.01 * rtol}
    together, counts = solve(van_der_pol, start(3), t, args=(MU,), args_dims=(0,), **options)
    for i in range(3):
        single, own = solve(van_der_pol, start(3)[i : i + 1], t, args=(MU[i : i + 1],), **options)
        assert torch.equal(together[:, i : i + 1], single)
        assert (counts.steps[i], counts.rejected[i], counts.nfe[i]) == (own.steps[0], own.rejected[0], own.nfe[0])
    # bit by bit, so also in any order and with any number of mates
    order = torch.tensor([2, 0, 1, 0, 2])
    shuffled, _ = solve(van_der_pol, start(3)[order], t, args=(MU[order],), args_dims=(0,), **options)
    assert torch.equal(shuffled, together[:, order])


def test_results_with_many_components_do_not_depend_on_batch_mates():
    y0 = torch.sin(torch.arange(21.0, dtype=torch.float64)).reshape(3, 7)
    rate = torch.tensor([[1.0], [30.0], [4.0]], dtype=torch.float64)
    together = odeint(
        lambda t, y, rate: -rate * y**3, y0, [0.0, 3.0], batch="independent", args=(rate,), args_dims=(0,)
    )
    for i in range(3):
        single = odeint(lambda t, y, r=rate[i]: -r * y**3, y0[i : i + 1], [0.0, 3.0], batch="independent")
        assert torch.equal(together[:, i : i + 1], single)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("name", KINDS)
def test_each_sample_agrees_with_its_own_solve_on_its_own_grid(name, direction):
    t = direction * torch.tensor(
        [[0.0, 0.1, 0.2, 3.0], [1.0, 1.5, 2.5, 2.6], [-1.0, 0.0, 0.01, 0.5]], dtype=torch.float64
    )

    def f(t, y, rate):
        return torch.cos(3 * t) * y - torch.sin(rate * y)

    y0 = torch.tensor([[1.0, 0.5], [2.0, -1.0], [0.3, 1.2]], dtype=torch.float64)
    rate = torch.tensor([[1.0], [0.1], [0.5]], dtype=torch.float64)
    options = {"method": name, "rtol": 1e-5, "atol": 1e-6}
    y = odeint(f, y0, t, batch="independent", args=(rate,), args_dims=(0,), **options)
    assert torch.equal(y[0], y0)
    for i in range(3):
        single = odeint(lambda t, y, r=rate[i]: f(t, y, r), y0[i], t[i], **options)
        assert torch.allclose(y[:, i], single, rtol=0, atol=ROUNDING * 1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_solutions_between_steps_are_as_accurate_as_at_steps(name):
    t = torch.linspace(0.0, 2.0, 401, dtype=torch.float64)
    rate = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    y0, rtol = torch.ones(2, 1, dtype=torch.float64), RTOL.get(name, 1e-6)
    y, counts = solve(
        lambda t, y, rate: rate * torch.cos(rate * t) * y, y0, t, name, args=(rate,), args_dims=(0,), rtol=rtol
    )
    assert counts.steps.max() < 200  # so that times do lie between steps
    exact = torch.exp(torch.sin(rate[:, 0] * t[:, None]))[..., None]
    assert ((y - exact).abs() / exact).max() < 100 * rtol


@pytest.mark.parametrize("name", NAMES)
def test_finished_samples_stop_costing(name):
    ends = torch.tensor([1.0, 10.0, 3.0, 20.0], dtype=torch.float64)
    t = ends[:, None] * torch.linspace(0.0, 1.0, 31, dtype=torch.float64)
    y0 = torch.ones(4, 1, dtype=torch.float64)
    f = Rows(lambda t, y: -y * torch.cos(t))
    _, counts = solve(f, y0, t, name, args=(torch.arange(4),), args_dims=(0,), rtol=1e-3, atol=1e-5)
    assert [len(f.times[i]) for i in range(4)] == counts.nfe.tolist()
    assert sum(f.rows) == counts.nfe.sum()
    # an eighth of the calls at most are those of dense output, for the samples that passed requested times
    assert f.rows.count(4) < 1.2 * counts.nfe[0]
    for i in range(4):
        _, calls = alone(lambda t, y: -y * torch.cos(t), y0[i], t[i], method=name, rtol=1e-3, atol=1e-5)
        assert counts.nfe[i] == pytest.approx(len(calls), rel=0.15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("direction", [1, -1])
def test_f_is_never_asked_outside_the_interval_of_its_sample(direction, dtype):
    ends = torch.rand(40, 2, generator=torch.Generator().manual_seed(1), dtype=dtype) - 0.4
    t = direction * torch.stack([ends.amin(dim=1), ends.mean(dim=1), ends.amax(dim=1)], dim=1)
    for name in NAMES:
        f = Rows(lambda t, y: y * torch.sin(5 * t))
        odeint(
            f,
            torch.ones(40, 1, dtype=dtype),
            t,
            method=name,
            batch="independent",
            rtol=1e-3,
            args=(torch.arange(40),),
            args_dims=(0,),
        )
        for i in range(40):
            low, high = sorted([t[i, 0].item(), t[i, -1].item()])
            assert min(f.times[i]) >= low
            assert max(f.times[i]) <= high


def test_tolerances_may_differ_from_sample_to_sample_and_from_component_to_component():
    y0 = start(1).expand(3, 2)
    mu = torch.full((3,), 2.0, dtype=torch.float64)
    rtol = torch.tensor([[1e-3], [1e-6], [1e-9]], dtype=torch.float64)
    y, counts = solve(van_der_pol, y0, [0.0, 5.0], args=(mu,), args_dims=(0,), rtol=rtol, atol=1e-3 * rtol)
    for i, r in enumerate(rtol.flatten().tolist()):
        single, calls = alone(lambda t, y: van_der_pol(t, y, 2.0), y0[i], [0.0, 5.0], rtol=r, atol=1e-3 * r)
        assert torch.allclose(y[:, i], single, rtol=0, atol=ROUNDING * r)
        assert len(calls) == counts.nfe[i]
    atol = torch.tensor([1e-9, 1e-2], dtype=torch.float64)
    y = odeint(van_der_pol, y0, [0.0, 5.0], batch="independent", args=(mu,), args_dims=(0,), rtol=0.0, atol=atol)
    single = odeint(lambda t, y: van_der_pol(t, y, 2.0), y0[0], [0.0, 5.0], rtol=0.0, atol=atol)
    assert torch.allclose(y[:, 2], single, rtol=0, atol=ROUNDING * 1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"controller": "i"},
        {"controller": "pid"},
        {"first_step": 0.5},
        {"max_step": 0.05},
        {"min_step": 1e-3},
        {"step_at": [1.0, 7.0, 2.5]},
        {"step_at": [4.0, 3.0]},
        {"first_step": 1e-3, "step_at": [1.0, 2.5]},
    ],
    ids=lambda options: next(iter(options)),
)
@pytest.mark.parametrize("direction", [1, -1])
def test_options_mean_what_they_mean_for_one_sample(options, direction):
    t = direction * torch.tensor([[0.0, 1.0, 4.0], [0.5, 2.0, 3.0]], dtype=torch.float64)
    options = {**options, "step_at": [direction * time for time in options.get("step_at", [])]}
    jumps = options["step_at"]

    def f(t, y, rate):
        side = sum(((direction * t) > direction * jump).to(y.dtype) for jump in jumps)
        return torch.sin(rate * t + y) + side

    y0, rate = torch.tensor([[0.2], [0.1]], dtype=torch.float64), torch.tensor([[2.0], [5.0]], dtype=torch.float64)
    y, counts = solve(f, y0, t, args=(rate,), args_dims=(0,), **options)
    for i in range(2):
        single, calls = alone(lambda t, y, r=rate[i]: f(t, y, r), y0[i], t[i], **options)
        assert torch.allclose(y[:, i], single, rtol=0, atol=ROUNDING * 1e-6)
        assert counts.nfe[i] == len(calls)


def test_a_jump_at_a_known_time_costs_no_rejections():
    t = torch.tensor([[0.0, 2.0], [0.5, 3.0]], dtype=torch.float64)
    y0 = torch.zeros(2, 1, dtype=torch.float64)

    def f(t, y):
        return torch.where(t > 1.0, 1.0, 0.0).to(y)

    y, counts = solve(f, y0, t, step_at=[1.0])
    assert torch.allclose(y[1, :, 0], torch.tensor([1.0, 2.0], dtype=torch.float64), rtol=1e-14)
    assert counts.rejected.sum() == 0
    assert solve(f, y0, t)[1].rejected.sum() > 0


def test_gradients_agree_with_finite_differences():
    t = torch.tensor([[0.0, 0.22, 0.9], [0.1, 0.13, 0.4]], dtype=torch.float64)
    wide = {"rtol": 0.1, "atol": 0.1, "first_step": 0.1, "max_step": 0.1}  # so that differences meet the same steps

    def last(y0, rate, common):
        def f(t, y, rate):
            return torch.sin(rate * y) * common + t

        return odeint(f, y0, t, batch="independent", args=(rate,), args_dims=(0,), **wide)

    y0 = torch.tensor([[1.0, 0.5], [0.3, -0.2]], dtype=torch.float64, requires_grad=True)
    rate = torch.tensor([[1.3], [0.7]], dtype=torch.float64, requires_grad=True)
    common = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    fast = {"fast_mode": full(False, True)}  # one random product of each Jacobian instead of all its entries
    assert torch.autograd.gradcheck(last, (y0, rate, common), **fast)
    assert torch.autograd.gradgradcheck(last, (y0, rate, common), **fast)


@pytest.mark.parametrize("name", full(NAMES, ["bosh3", "dopri5", "dopri8"]))
def test_gradients_of_adaptive_solves_are_those_of_the_solution(name):
    y0 = torch.tensor([[1.0], [2.0]], dtype=torch.float64, requires_grad=True)
    rate = torch.tensor([[1.0], [20.0]], dtype=torch.float64, requires_grad=True)
    t = torch.linspace(0.0, 1.0, 20, dtype=torch.float64)
    y = odeint(
        lambda t, y, rate: -rate * y, y0, t, method=name, batch="independent", args=(rate,), args_dims=(0,), rtol=1e-5
    )
    by_y0, by_rate = torch.autograd.grad(y[10].sum(), (y0, rate))
    decay = torch.exp(-rate * t[10]).detach()
    assert torch.allclose(by_y0, decay, rtol=1e-3, atol=1e-6)
    assert torch.allclose(by_rate, -t[10] * y0.detach() * decay, rtol=1e-3, atol=1e-5)


def test_a_step_into_nowhere_that_was_refused_leaves_no_nan_in_gradients():
    # The root is not defined for y < 0, where the first step of sample 0 leads; its slope is NaN there.
    y0 = torch.tensor([[1.0], [100.0]], dtype=torch.float64, requires_grad=True)
    seen = []

    def f(t, y):
        seen.append(y.detach().amin().item())
        return -torch.sqrt(y)

    y = odeint(f, y0, [0.0, 1.9], batch="independent", first_step=1.9, rtol=1e-8)
    assert min(seen) < 0
    # y = (√y₀ − t/2)², so ∂y/∂y₀ = (√y₀ − t/2)/√y₀
    (slope,) = torch.autograd.grad(y[-1].sum(), y0)
    assert torch.allclose(slope, torch.tensor([[0.05], [0.905]], dtype=torch.float64), rtol=1e-5)


def test_gradients_by_functorch_agree_with_those_of_autograd():
    def last(rate):
        return odeint(
            lambda t, y, rate: -rate * y, start(3), [0.0, 1.0], batch="independent", args=(rate,), args_dims=(0,)
        )[-1].sum()

    rate = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(last(rate), rate)
    assert torch.equal(torch.func.grad(last)(rate.detach()), expected)
    with pytest.raises(ValueError, match="cannot run inside vmap"):
        torch.func.vmap(last)(torch.stack([rate.detach(), rate.detach()]))


SHAPES, DTYPES = [(3,), (3, 1), (3, 2, 2)], [torch.float32, torch.complex64, torch.complex128]


@pytest.mark.parametrize(
    ("shape", "dtype"), full(list(product(SHAPES, DTYPES)), list(zip(SHAPES, DTYPES, strict=True)))
)
def test_any_shape_and_dtype(shape, dtype):
    y0 = torch.linspace(0.5, 2.0, math.prod(shape), dtype=torch.float64).reshape(shape).to(dtype)
    t = torch.tensor([[0.0, 0.1, 0.2, 1.0], [1.0, 1.1, 1.5, 3.0], [100.0, 100.1, 101.0, 101.5]], dtype=torch.float64)
    rate = torch.tensor([1.0, 2.0, 0.5], dtype=dtype).reshape(3, *[1] * (len(shape) - 1))
    if dtype.is_complex:
        rate = 1j * rate
    for name in KINDS:
        y = odeint(
            lambda t, y, rate: -rate * y,
            y0,
            t,
            method=name,
            batch="independent",
            args=(rate,),
            args_dims=(0,),
            rtol=1e-4,
        )
        assert y.dtype == dtype
        assert y.shape == (4, *shape)
        passed = (t - t[:, :1]).T.reshape(4, 3, *[1] * (len(shape) - 1)).to(rate.dtype)
        assert torch.allclose(y, y0 * torch.exp(-rate * passed), rtol=3e-3)


def test_one_time_gives_the_initial_states_and_one_sample_is_a_batch():
    assert torch.equal(
        odeint(van_der_pol, start(3), [0.5], batch="independent", args=(MU,), args_dims=(0,)), start(3)[None]
    )
    assert odeint(van_der_pol, start(1), [0.0, 1.0], batch="independent", args=(MU[:1],)).shape == (2, 1, 2)


ENDS = torch.tensor([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]], dtype=torch.float64)


def test_a_tensor_per_sample_in_a_closure_is_reported_with_the_remedy():
    with pytest.raises(ValueError, match=r"when 2 of the 3 samples were left.*pass tensors .* through args="):
        odeint(lambda t, y: -MU[:, None] * y, start(3), ENDS, batch="independent")
    # with one sample left such a tensor broadcasts to the wrong shape without an error of its own
    ends = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 3.0]], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"when 1 of the 3 samples .*shape of y.*through args="):
        odeint(lambda t, y: -torch.ones_like(MU)[:, None] * y, start(1).expand(3, 2), ends, batch="independent")


def test_errors_of_f_with_all_samples_are_its_own():
    with pytest.raises(ZeroDivisionError):
        odeint(lambda t, y: y / (1 // 0), start(3), ENDS, batch="independent")
    with pytest.raises(ValueError, match=r"must return the shape of y, \(3, 2\)"):
        odeint(lambda t, y: y[:, :1], start(3), ENDS, batch="independent")


def test_a_failing_solve_names_the_sample():
    y0 = torch.tensor([[1.0], [2.0], [1.0]], dtype=torch.float64)
    with pytest.raises(StepSizeTooSmall, match=r"sample 1 of the batch: .* blows up in finite time, at about t = 0.5"):
        odeint(lambda t, y: y**2, y0, [0.0, 0.9], batch="independent")
    with pytest.raises(NonFiniteState, match=r"sample 2 of the batch: component 0 of f.* at t = 0: "):
        odeint(lambda t, y: torch.log(y), y0 - torch.tensor([[0.0], [0.0], [3.0]]), [0.0, 1.0], batch="independent")
    with pytest.raises(TooManySteps, match=r"sample 1 of the batch: .*max_steps = 100 .*stiff") as caught:
        odeint(
            van_der_pol, start(2), [0.0, 5.0], batch="independent", args=(MU[:2] ** 2,), args_dims=(0,), max_steps=100
        )
    assert 0 < caught.value.t < 5
    with pytest.raises(StepSizeTooSmall, match=r"sample 0 of the batch: .*min_step = 0.5 at t = -1 "):
        odeint(lambda t, y: 30 * torch.cos(30 * t) + 0 * y, y0, [-1.0, -9.0], batch="independent", min_step=0.5)


def test_a_weight_with_as_many_rows_as_the_batch_is_never_guessed_about():
    # y' = −W y with a matrix of 3 rows for 3 samples of 3 numbers, and samples that end at different times
    weight = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    y0 = torch.ones(3, 3, dtype=torch.float64)
    f = lambda t, y, W: -y @ W.mT  # noqa: E731
    with pytest.raises(ValueError, match=r"write args_dims=\(0,\)"):
        odeint(f, y0, ENDS, batch="independent", args=(weight,))
    y = odeint(f, y0, ENDS, batch="independent", args=(weight,), args_dims=(None,), rtol=1e-9, atol=1e-9)[-1]
    assert torch.allclose(y, torch.exp(-ENDS[:, 1:] * weight.diag()), rtol=1e-7)
    # the same for one sample, which needs no such word
    assert odeint(f, y0[:1], [0.0, 1.0], batch="independent", args=(weight[:1, :1].expand(3, 3),)).shape == (2, 1, 3)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_samples_may_lie_in_any_dimension_of_an_argument(dim):
    rates = torch.stack([MU, 2 * MU])  # (2, B)
    given = rates.mT if dim == 0 else rates
    f = lambda t, y, k: -(k if dim == 0 else k.mT) * y / 50  # noqa: E731
    options = {"batch": "independent", "args": (given,), "args_dims": (dim,), "rtol": 1e-9, "atol": 1e-9}
    y = odeint(f, torch.ones(3, 2, dtype=torch.float64), ENDS, **options)[-1]
    assert torch.allclose(y, torch.exp(-ENDS[:, 1:] * rates.mT / 50), rtol=1e-7)


def test_args_dims_are_for_batches_of_independent_samples():
    with pytest.raises(ValueError, match="args_dims is for batch='independent'"):
        odeint(lambda t, y, k: -y, start(3), [0.0, 1.0], args=(MU,), args_dims=(0,))


@pytest.mark.parametrize("t", [[0.0, 0.5, 1.0], torch.zeros(0, 3), [1.0]])
def test_an_empty_batch_has_empty_states(t):
    f = lambda t, y: 1 / 0  # noqa: E731  # never asked
    count = torch.as_tensor(t).shape[-1]
    y0 = torch.ones(0, 2, requires_grad=True)
    y = odeint(f, y0, t, batch="independent")
    assert y.shape == (count, 0, 2)
    assert torch.autograd.grad(y.sum(), y0)[0].shape == (0, 2)
    pair = odeint(f, (torch.ones(0, 2), torch.ones(0)), t, batch="independent")
    assert [part.shape for part in pair] == [(count, 0, 2), (count, 0)]
    solution = solve_ivp(f, (0.0, 1.0), torch.ones(0, 2), batch="independent")
    assert solution.y.shape == (2, 0, 2)
    assert solution.steps.shape == (0,)


def test_a_tuple_of_states_is_solved_as_its_parts_side_by_side():
    # positions (B, 2), a log-density (B,) and matrices (B, 2, 2): y' = −k y, l' = −2k t, M' = M
    k = MU[:, None] / 50

    def f(t, state, k):
        y, _, M = state
        assert t.shape == (len(y), 1, 1)
        return -k * y, -2 * (k * t[..., 0])[:, 0], M

    parts = (torch.ones(3, 2, dtype=torch.float64), torch.zeros(3).double(), torch.eye(2).double().repeat(3, 1, 1))
    options = {"batch": "independent", "args": (k,), "args_dims": (0,), "rtol": 1e-9, "atol": 1e-9}
    leaf = parts[0].clone().requires_grad_()
    y, log, M = odeint(f, (leaf, *parts[1:]), ENDS, **options)
    ends = ENDS[:, 1:]
    assert torch.allclose(y[-1], torch.exp(-k * ends).expand(3, 2), rtol=1e-7)
    assert torch.allclose(log[-1], -(k * ends**2)[:, 0], rtol=1e-7)
    assert torch.allclose(M[-1], torch.exp(ends)[..., None] * parts[2], rtol=1e-7)
    assert torch.allclose(torch.autograd.grad(y[-1].sum(), leaf)[0], torch.exp(-k * ends).expand(3, 2), rtol=1e-6)
    solution = solve_ivp(f, (0.0, 1.0), parts, t_eval=[0.5], **options)
    assert [part.shape for part in solution.y] == [(1, 3, 2), (1, 3), (1, 3, 2, 2)]
    with pytest.raises(ValueError, match=r"tuple of tensors with the shapes of y, \[\(3, 2\)"):
        odeint(lambda t, state: state[0], (parts[0],), [0.0, 1.0], batch="independent")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "rk4"}, "'rk4' cannot run.*these can: .*dopri5"),
        ({"method": "esdirk54"}, "'esdirk54' cannot run.*these can: "),
        ({"method": "leapfrog"}, "'leapfrog' cannot run.*these can: "),
        ({"method": "adams_bashforth_moulton"}, "cannot run.*these can: "),
        ({"step_size": 0.1}, "is for adaptive steps"),
        ({"adaptive": False}, "is for adaptive steps"),
        ({"compile": "step"}, "compile cannot"),
        ({"jacobian": lambda t, y: y}, "jacobian cannot"),
        ({"y0": torch.tensor(1.0)}, "must be a batch"),
        ({"y0": (torch.zeros(3), torch.zeros(2))}, r"batches of the same samples, .* y0\[1\] has the shape \(2,\)"),
        ({"y0": (torch.zeros(3), torch.tensor(0.0))}, r"batches of the same samples, .* y0\[1\] has the shape \(\)"),
        ({"y0": (torch.zeros(3), torch.zeros(3).double())}, "must share dtype"),
        ({"y0": ()}, "empty tuple"),
        ({"y0": (torch.zeros(3), 1.0)}, r"y0\[1\] must be a tensor"),
        (
            {"args": (torch.ones(3, 2),)},
            r"args\[0\] has 3 rows and the batch 3 samples: write args_dims=\(0,\) if each",
        ),
        ({"args": (1.0, torch.ones(3))}, r"args\[1\] has 3 rows .* args_dims=\(None, 0\) if .* None for what all"),
        ({"args": (torch.ones(3),), "args_dims": (0, 0)}, "each of the 1 args"),
        ({"args": (torch.ones(2),), "args_dims": (0,)}, r"args\[0\] has no 3 samples there: .* shape \(2,\)"),
        ({"args": (torch.ones(3),), "args_dims": (1,)}, r"args_dims\[0\] = 1, but args\[0\] has no 3 samples there"),
        ({"args": (2.0,), "args_dims": (0,)}, "it is float"),
        ({"args": (torch.ones(3),), "args_dims": 0}, r"args_dims must be a tuple of dimensions and None"),
        ({"args": (torch.ones(3),), "args_dims": ("0",)}, r"args_dims must be a tuple of dimensions and None"),
        ({"y0": torch.zeros(3, 2, dtype=torch.long)}, "y0 must have a floating-point dtype"),
        ({"t": torch.zeros(2, 2)}, r"each of the 3 samples, \(3, T\); got the shape \(2, 2\)"),
        ({"t": torch.zeros(3, 0)}, "t must hold times"),
        ({"t": [[0.0, 1.0], [0.0, math.nan], [0.0, 1.0]]}, "t holds an infinity or NaN"),
        ({"t": [[0.0, 1.0], [0.0, -1.0], [0.0, 1.0]]}, r"t\[1, 0\] = 0 is followed by t\[1, 1\] = -1"),
        ({"t": [[0.0, 1.0, 1.0]] * 3}, r"t\[0, 1\] = 1 is followed by t\[0, 2\] = 1"),
        ({"t": [0.0, 1.0, 0.5]}, r"t\[1\] = 1 is followed by t\[2\] = 0.5"),
        ({"t": torch.tensor([0.0, 1.0], requires_grad=True)}, "nor a gradient with respect to t"),
        ({"rtol": torch.ones(3)}, r"rtol of the shape \(3,\) does not broadcast"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"y0": start(3), "t": [0.0, 1.0], **change}
    with pytest.raises((ValueError, TypeError), match=message):
        odeint(lambda t, y, *args: -y, arguments.pop("y0"), arguments.pop("t"), batch="independent", **arguments)
