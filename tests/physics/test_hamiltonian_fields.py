"""Hamiltonian fields: what holds for every energy, by autograd, and what training does."""

import pytest
import torch
from torch import nn

from ndelib import odeint
from ndelib.physics import (
    HNN,
    Baseline,
    DissipativeHNN,
    EnergyNetwork,
    SeparableField,
    divergence,
    gradient,
    symplectic_defect,
    symplectic_form,
)
from ndelib.training import Ensemble, fit
from tests.physics import hamiltonian_cases as learners

SMOOTH = ["tanh", "softplus", "sin"]


def by_autograd(energy, y):
    y = y.detach().requires_grad_()
    return torch.autograd.grad(energy(y).sum(), y)[0]


pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("angles", [(), (0,), (2, 0)])
@pytest.mark.parametrize("shape", [(4,), (7, 4), (2, 3, 4)])
def test_the_gradient_by_hand_is_that_of_autograd(activation, angles, shape):
    energy = EnergyNetwork(4, width=8, depth=3, activation=activation, angles=angles)
    y = learners.states(*shape)
    torch.testing.assert_close(energy.gradient(y), by_autograd(energy, y), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("activation", SMOOTH)
def test_the_gradient_by_hand_trains_the_parameters_as_the_one_of_torch_func_does(activation):
    energy, y = EnergyNetwork(2, width=8, activation=activation, angles=(0,)), learners.states(9, 2)
    weights = list(energy.parameters())[:-1]  # no force depends on the last one, the bias of the output
    by_hand = torch.autograd.grad(energy.gradient(y).pow(3).sum(), weights)
    by_func = torch.func.grad(lambda y: energy(y).sum())(y)
    expected = torch.autograd.grad(by_func.pow(3).sum(), weights)
    for one, other in zip(by_hand, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_an_energy_of_angles_is_periodic_in_them_alone():
    energy, y = EnergyNetwork(4, angles=(1,)), learners.states(5, 4)
    turn = torch.tensor([0.0, 2 * torch.pi, 0.0, 0.0])
    torch.testing.assert_close(energy(y + turn), energy(y))
    assert (energy(y + turn.roll(1)) - energy(y)).abs().min() > 1e-4


@pytest.mark.parametrize("kink", ["relu", nn.LeakyReLU, nn.Hardtanh])
def test_an_activation_with_kinks_is_refused_by_name(kink):
    for make in (EnergyNetwork, Baseline):
        with pytest.raises(ValueError, match=rf"(?i){getattr(kink, '__name__', kink)}.*{make.__name__}.*derivative"):
            make(2, activation=kink)


def test_the_activation_may_be_a_class_of_torch():
    assert EnergyNetwork(2, activation=nn.Tanh).net.activation == "tanh"


def test_the_field_of_any_energy_has_no_divergence_and_a_plain_network_has_some():
    y = learners.states(20, 4)
    assert divergence(HNN(EnergyNetwork(4)), y).abs().max() < 1e-13
    assert divergence(HNN(learners.nonseparable), y).abs().max() < 1e-12
    assert divergence(Baseline(4), y).abs().max() > 1e-2


def test_the_true_energy_gives_the_true_field():
    y = learners.states(6, 2)
    q, p = y.unbind(-1)
    expected = torch.stack([p, -q.sin()], -1)
    torch.testing.assert_close(learners.pendulum()(0.0, y), expected)
    torch.testing.assert_close(HNN(learners.nonseparable)(0.0, y), torch.stack([p * (q**2 + 1), -q * (p**2 + 1)], -1))
    assert HNN.loss(learners.pendulum(), y, expected) < 1e-30


def test_the_field_is_omega_times_the_gradient():
    energy, y = EnergyNetwork(4), learners.states(6, 4)
    torch.testing.assert_close(HNN(energy)(0.0, y), gradient(energy, y) @ symplectic_form(2, y).mT)


def test_a_pair_gives_a_pair_and_the_halves_are_its_parts():
    field, y = learners.henon_heiles(), learners.states(5, 4)
    q, p = y.chunk(2, -1)
    dq, dp = field(0.0, (q, p))
    torch.testing.assert_close(torch.cat([dq, dp], -1), field(0.0, y))
    velocity, force = field.halves
    torch.testing.assert_close(velocity(0.0, p), dq)
    torch.testing.assert_close(force(0.0, q), dp)


@pytest.mark.parametrize(("method", "order"), [("rk4", 4), ("leapfrog", 2)])
def test_the_energy_is_constant_along_a_solve_up_to_the_order_of_the_method(method, order):
    model, y0, drift = learners.pendulum(), (torch.tensor([1.0]), torch.tensor([0.5])), []
    for step_size in (0.4, 0.2):
        q, p = odeint(model, y0, torch.linspace(0, 20, 51), method=method, step_size=step_size)
        energy = model.energy(torch.cat([q, p], -1))
        drift.append((energy - energy[0]).abs().max().item())
    assert drift[0] < 0.05
    assert 2 ** (order - 0.5) < drift[0] / drift[1] < 2 ** (order + 1.5)


def test_a_damped_oscillator_is_split_exactly():
    gamma, y = 0.3, learners.states(8, 2)
    q, p = y.unbind(-1)
    model = DissipativeHNN(lambda y: y.square().sum(-1) / 2, lambda y: -gamma * y[..., 1] ** 2 / 2)
    torch.testing.assert_close(model(0.0, y), torch.stack([p, -q - gamma * p], -1))
    assert divergence(lambda t, y: model.conservative(y), y).abs().max() < 1e-14
    torch.testing.assert_close(divergence(model, y), torch.full((8,), -gamma))


def test_any_two_networks_split_a_field_into_one_without_divergence_and_one_without_rotation():
    model, y = DissipativeHNN(EnergyNetwork(2), EnergyNetwork(2)), learners.states(8, 2)
    assert divergence(lambda t, y: model.conservative(y), y).abs().max() < 1e-14
    J = torch.func.vmap(torch.func.jacrev(model.dissipative))(y)
    torch.testing.assert_close(J, J.mT)
    assert J.abs().min() > 1e-5


def test_a_dissipative_network_finds_the_damping():
    y = learners.states(128, 2)
    dydt = torch.stack([y[:, 1], -y[:, 0] - 0.5 * y[:, 1]], -1)
    model = DissipativeHNN(EnergyNetwork(2, 16), EnergyNetwork(2, 16))
    fit(model, DissipativeHNN.loss, (y, dydt), steps=300, lr=1e-2, schedule="cosine", progress=False)
    rate = divergence(model, y)
    assert (rate + 0.5).abs().median() < 0.2
    assert HNN.loss(HNN(model._energy), y, dydt) > model.loss(y, dydt)


@pytest.mark.parametrize(
    "make", [lambda: HNN(EnergyNetwork(2, 16)), lambda: Baseline(2, 16)], ids=["energy", "baseline"]
)
def test_an_ensemble_trains_every_member_as_alone(make):
    y = learners.states(64, 2)
    data = (y, learners.pendulum()(0.0, y))
    ensemble = Ensemble(make, seeds=[3, 4])
    fit(ensemble, ensemble.each(HNN.loss), data, steps=20, lr=1e-2, progress=False)
    torch.manual_seed(4)
    alone = make()
    history = fit(alone, HNN.loss, data, steps=20, lr=1e-2, progress=False)
    torch.testing.assert_close(ensemble[1](0.0, y), alone(0.0, y))
    assert history.loss[-1] < history.loss[0]


def test_a_separable_field_of_two_networks_is_symplectic_under_leapfrog_only_where_its_jacobians_are_symmetric():
    from ndelib.physics import SRNN

    y = learners.states(5, 4)
    free = SRNN(SeparableField(nn.Linear(2, 2), nn.Linear(2, 2)), h=0.1)
    assert symplectic_defect(free.step, y).min() > 1e-3
    one = SRNN(SeparableField(nn.Linear(1, 1), nn.Linear(1, 1)), h=0.1)
    assert symplectic_defect(one.step, y[:, :2]).max() < 1e-14


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_precision_is_that_of_the_parameters(dtype):
    for model in (HNN(EnergyNetwork(2)), Baseline(2)):
        assert model.to(dtype)(0.0, torch.zeros(3, 2, dtype=dtype)).dtype == dtype


class TestWhatIsWrongIsNamed:
    def test_an_odd_state(self):
        with pytest.raises(ValueError, match=r"HNN has 3 numbers on its last axis, shape \(5, 3\): it must have 2n"):
            learners.pendulum()(0.0, torch.zeros(5, 3))
        with pytest.raises(ValueError, match="even number"):
            HNN(EnergyNetwork(3))
        with pytest.raises(ValueError, match="even number"):
            Baseline(3)

    def test_the_size_of_another_system(self):
        with pytest.raises(ValueError, match=r"HNN must be \(\*, 4\).*n = 2.*\(5, 2\)"):
            HNN(EnergyNetwork(4))(0.0, torch.zeros(5, 2))

    def test_momenta_of_another_shape(self):
        with pytest.raises(ValueError, match=r"q and p must have the same shape, got \(5, 2\) and \(5, 1\)"):
            learners.pendulum()(0.0, (torch.zeros(5, 2), torch.zeros(5, 1)))

    def test_whole_numbers(self):
        with pytest.raises(TypeError, match=r"floating-point numbers, got .*int64"):
            learners.pendulum()(0.0, torch.zeros(5, 2, dtype=torch.int64))

    def test_derivatives_of_another_shape(self):
        with pytest.raises(ValueError, match=r"dydt must have the shape of y, \(5, 2\).*\(5, 1\)"):
            learners.pendulum().loss(torch.zeros(5, 2), torch.zeros(5, 1))

    def test_an_energy_of_several_numbers(self):
        with pytest.raises(ValueError, match=r"one number a state.*squeeze\(-1\)"):
            HNN(nn.Linear(2, 1))(0.0, torch.zeros(5, 2))

    def test_an_energy_that_is_a_class(self):
        with pytest.raises(TypeError, match="the class EnergyNetwork"):
            HNN(EnergyNetwork)

    def test_halves_of_an_energy_without(self):
        with pytest.raises(TypeError, match="SeparableEnergy"):
            HNN(EnergyNetwork(2)).halves  # noqa: B018
        with pytest.raises(TypeError, match="not separable"):
            DissipativeHNN(EnergyNetwork(2), EnergyNetwork(2)).halves  # noqa: B018

    def test_leapfrog_on_a_nonseparable_energy(self):
        with pytest.raises(ValueError, match="separable"):
            odeint(HNN(learners.nonseparable), (torch.ones(1), torch.ones(1)), [0.0, 1.0], method="leapfrog")

    @pytest.mark.parametrize(("width", "depth"), [(0, 1), (8, 0), (2.5, 1)])
    def test_sizes_of_a_network(self, width, depth):
        with pytest.raises(ValueError, match="whole number of at least 1"):
            EnergyNetwork(2, width=width, depth=depth)
