"""Every known system: its Jacobian is that of its equation, and what is known of it holds."""

import math

import pytest
import torch

from ndelib.dynamics import (
    FLOWS,
    MAPS,
    BogdanovTakens,
    Brusselator,
    CircleMap,
    DelayedLogisticMap,
    Duffing,
    FitzHughNagumo,
    HenonMap,
    Homoclinic,
    HopfNormalForm,
    LogisticMap,
    Lorenz,
    LotkaVolterra,
    Rossler,
    SigmoidMap,
    StandardMap,
    StepMap,
    VanDerPol,
    fixed_points,
)


def numbers(*shape):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 1.6 + 0.2


def randomised(cls, count):
    """Return the system with other parameters than its own, one value for each of ``count`` states."""
    values = numbers(len(cls().parameters), count)
    return cls(**dict(zip(cls().parameters, values, strict=True)))


@pytest.mark.parametrize("flow", FLOWS, ids=lambda cls: cls.__name__)
def test_the_jacobian_of_a_flow_is_that_of_its_equation(flow):
    y, t = numbers(7, flow.dimension) - 1, 0.7
    for system in (flow(), randomised(flow, 7)):
        rows = [torch.func.jacrev(lambda y, s=system: s(t, y.expand(7, -1)))(state) for state in y]
        expected = torch.stack([row[i] for i, row in enumerate(rows)])
        assert torch.allclose(system.jacobian(t, y), expected, rtol=1e-13, atol=1e-13)
        assert system(t, y).shape == y.shape


@pytest.mark.parametrize("cls", MAPS, ids=lambda cls: cls.__name__)
def test_the_derivative_of_a_map_is_that_of_its_equation(cls):
    x = numbers(7) - 1 if cls.dimension == 1 else numbers(7, cls.dimension) - 1
    for system in (cls(), randomised(cls, 7)):
        for i, state in enumerate(x):
            one = system.replace(
                **{k: v[i] if isinstance(v, torch.Tensor) else v for k, v in system.parameters.items()}
            )
            expected = torch.func.jacrev(one)(state)
            assert torch.allclose(one.jacobian(state), expected, rtol=1e-13, atol=1e-13)
            assert torch.allclose(system.jacobian(x)[i], expected, rtol=1e-13, atol=1e-13)
        assert system(x).shape == x.shape


@pytest.mark.parametrize("cls", [*FLOWS, *MAPS], ids=lambda cls: cls.__name__)
def test_a_system_says_what_it_is(cls):
    system = cls()
    assert system.reference
    name, value = next(iter(system.parameters.items()))
    changed = system.replace(**{name: value + 1})
    assert changed.parameters[name] == value + 1
    assert system.parameters[name] == value
    with pytest.raises(ValueError, match=f"{cls.__name__} has no parameter nonsense; it has {name}"):
        system.replace(nonsense=1.0)
    shape = () if cls.dimension == 1 and cls in MAPS else (cls.dimension,)
    y = torch.ones(4, *shape)
    arguments = (0.0, y) if cls in FLOWS else (y,)
    assert system(*arguments).dtype == system.jacobian(*arguments).dtype == torch.float32
    if shape:
        with pytest.raises(ValueError, match=rf"a state of {cls.__name__} is \(\*, {cls.dimension}\).*\(4, 5\)"):
            system(*arguments[:-1], torch.ones(4, 5))


def test_gradients_reach_the_parameters():
    rho = torch.tensor(28.0, requires_grad=True)
    Lorenz(rho=rho)(0.0, torch.tensor([3.0, 1.0, 1.0]))[1].backward()
    assert rho.grad == 3  # ∂(x(ρ − z) − y)/∂ρ = x


q = math.sqrt(8 / 3 * 27)
x_hat = (5.7 - math.sqrt(5.7**2 - 4 * 0.2**2)) / 2


@pytest.mark.parametrize(
    ("system", "point"),
    [
        (Lorenz(), (q, q, 27.0)),
        (Lorenz(), (-q, -q, 27.0)),
        (Rossler(), (x_hat, -x_hat / 0.2, x_hat / 0.2)),
        (VanDerPol(), (0.0, 0.0)),
        (Brusselator(a=1.5, b=2.0), (1.5, 2.0 / 1.5)),
        (LotkaVolterra(1.1, 0.4, 0.1, 0.4), (0.4 / 0.1, 1.1 / 0.4)),
        (Duffing(gamma=0.0), (1.0, 0.0)),
        (HopfNormalForm(), (0.0, 0.0)),
        (BogdanovTakens(beta1=0.0, beta2=-1.0), (1.0, 0.0)),
        (Homoclinic(), (1.0, 0.0)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_known_fixed_points(system, point):
    assert system(0.0, torch.tensor(point, dtype=torch.float64)).abs().max() < 1e-13


def test_the_nerve_rests_where_fitzhugh_found_it():
    (point,) = fixed_points(FitzHughNagumo(), (-2.0, -2.0), (2.0, 2.1))
    assert point.location.tolist() == pytest.approx([-1.1994, -0.6243], abs=5e-5)
    assert point.stable


def eigenvalues(system, *point):
    point = torch.tensor(point, dtype=torch.float64)
    J = system.jacobian(point) if type(system) in MAPS else system.jacobian(0.0, point)
    return torch.linalg.eigvals(J)


def test_lorenz_has_its_hopf_point_at_24_74():
    sigma, beta = 10, 8 / 3
    rho = sigma * (sigma + beta + 3) / (sigma - beta - 1)
    c = math.sqrt(beta * (rho - 1))
    assert rho == pytest.approx(24.7368, abs=5e-5)
    assert eigenvalues(Lorenz(rho=rho), c, c, rho - 1).real.abs().min() < 1e-12


def test_the_brusselator_has_its_hopf_point_at_one_plus_a_squared():
    values = eigenvalues(Brusselator(a=1.5, b=1 + 1.5**2), 1.5, (1 + 1.5**2) / 1.5)
    assert values.real.abs().max() < 1e-14
    assert values.imag.abs().tolist() == pytest.approx([1.5, 1.5])


def test_bogdanov_and_takens_fold_and_hopf_point():
    beta2 = -0.8
    assert eigenvalues(BogdanovTakens(beta2**2 / 4, beta2), -beta2 / 2, 0.0).abs().min() < 1e-12
    assert eigenvalues(BogdanovTakens(0.0, beta2), 0.0, 0.0).real.abs().max() < 1e-14


def test_the_limit_cycle_of_strogatz_is_born_at_minus_one():
    assert eigenvalues(Homoclinic(mu=-1.0), 1.0, 0.0).real.abs().max() < 1e-14
    assert eigenvalues(Homoclinic(), 0.0, 0.0).real.sort().values.sign().tolist() == [-1, 1]


def test_the_delayed_logistic_map_turns_by_sixty_degrees():
    values = eigenvalues(DelayedLogisticMap(r=2.0), 0.5, 0.5)
    assert values.abs().tolist() == pytest.approx([1, 1])
    assert values.angle().abs().tolist() == pytest.approx([math.pi / 3] * 2)


@pytest.mark.parametrize(("mu", "cubic", "quintic"), [(0.3, -2.0, 0.0), (-0.3, 2.0, 0.0), (-0.25, 1.0, -1.0)])
def test_the_cycle_of_the_hopf_normal_form_is_a_circle(mu, cubic, quintic):
    system = HopfNormalForm(mu, 1.7, cubic, quintic)
    square = -mu / cubic if quintic == 0 else -cubic / (2 * quintic)  # the last is the cyclic fold, μ = a²/4b
    angle = torch.linspace(0, 6, 9, dtype=torch.float64)
    y = math.sqrt(square) * torch.stack([angle.cos(), angle.sin()], dim=-1)
    turned = 1.7 * torch.stack([-y[:, 1], y[:, 0]], dim=-1)
    assert torch.allclose(system(0.0, y), turned, atol=1e-15)


def test_lotka_and_volterra_keep_their_quantity():
    system = randomised(LotkaVolterra, 20)
    y = numbers(20, 2).requires_grad_()
    (slope,) = torch.autograd.grad(system.conserved(y).sum(), y)
    assert (slope * system(0.0, y)).sum(-1).abs().max() < 1e-14


def test_duffing_is_driven_with_its_period():
    system, y = Duffing(), torch.ones(2, dtype=torch.float64)
    period = 2 * math.pi / system.omega
    assert torch.allclose(system(0.4, y), system(0.4 + period, y), atol=1e-14)
    assert (system(0.4, y) - system(0.4 + period / 2, y)).abs().max() > 0.1


def test_areas_shrink_by_what_is_known():
    x = numbers(9, 2)
    assert torch.allclose(torch.linalg.det(HenonMap().jacobian(x)), torch.tensor(-0.3).double())
    assert torch.allclose(torch.linalg.det(StandardMap(k=2.0).jacobian(x)), torch.tensor(1.0).double())
    y = numbers(9, 3)
    trace = Lorenz().jacobian(0.0, y).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert torch.allclose(trace, torch.tensor(-(10 + 1 + 8 / 3)).double())


def test_the_sigmoid_map_is_steep_enough_to_flip_beyond_two_times_one_plus_a():
    x = torch.zeros(1, dtype=torch.float64)  # its steepest place
    assert SigmoidMap(a=0.8, c=3.6).jacobian(x).item() == pytest.approx(-1)


def test_the_step_map_is_the_limit_of_the_sigmoid_map():
    x = torch.tensor([-0.5, -1e-3, 1e-3, 0.5], dtype=torch.float64)
    assert torch.allclose(SigmoidMap(c=1e5)(x), StepMap()(x), atol=1e-15)
    assert StepMap(a=0.8, b=0.4)(torch.zeros(1)).item() == pytest.approx(-0.6)  # H(0) = 1


def test_the_logistic_map_has_its_fixed_point_and_cycle():
    r = 3.2
    x = torch.tensor(1 - 1 / r, dtype=torch.float64)
    assert LogisticMap(r)(x).item() == pytest.approx(x.item())
    pair = [(r + 1 + sign * math.sqrt((r - 3) * (r + 1))) / (2 * r) for sign in (-1, 1)]
    assert LogisticMap(r)(torch.tensor(pair).double()).tolist() == pytest.approx(pair[::-1])


def test_the_lift_of_the_circle_map_turns_as_often_as_it_should():
    x = torch.linspace(0, 1, 9, dtype=torch.float64)
    system = CircleMap(omega=0.7, k=0.5)
    assert torch.allclose(system.lift(x + 1), system.lift(x) + 1)
    assert torch.allclose((system.lift(x) - system(x)).frac(), torch.zeros(9).double(), atol=1e-15)
    assert torch.all((system(x) >= 0) & (system(x) < 1))
