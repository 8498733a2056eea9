"""Models that make steps: symplectic to rounding, of the order of their method, the same as odeint; and the starts."""

import math

import pytest
import torch
from torch import nn

from ndelib import odeint
from ndelib.physics import (
    HNN,
    NSSNN,
    SRNN,
    Baseline,
    DissipativeHNN,
    EnergyNetwork,
    RollOutDiverged,
    SeparableEnergy,
    SeparableField,
    fit_initial_states,
    symplectic_defect,
    symplectic_form,
)
from ndelib.training import Ensemble, fit
from tests.physics import hamiltonian_cases as cases

pytestmark = pytest.mark.usefixtures("double")


def networks(n, width=16):
    return HNN(SeparableEnergy(EnergyNetwork(n, width), EnergyNetwork(n, width)))


class TestDefect:
    def test_of_euler_on_a_spring_is_the_square_of_the_step(self):
        def euler(y):
            q, p = y.chunk(2, -1)
            return torch.cat([q + 0.1 * p, p - 0.1 * q], -1)

        torch.testing.assert_close(symplectic_defect(euler, cases.states(3, 2, 4)), torch.full((3, 2), 0.01))

    def test_of_a_plain_network_is_large(self):
        net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 4))
        assert symplectic_defect(net, cases.states(9, 4)).min() > 0.1

    def test_of_a_linear_map_is_that_of_its_matrix(self):
        M, omega = cases.states(4, 4), symplectic_form(2)
        expected = (M.T @ omega @ M - omega).abs().max()
        torch.testing.assert_close(symplectic_defect(lambda y: y @ M.T, cases.states(4)), expected)

    def test_of_no_states_is_empty(self):
        assert symplectic_defect(lambda y: y, torch.zeros(0, 2)).shape == (0,)

    def test_a_map_to_another_shape_is_named(self):
        with pytest.raises(ValueError, match=r"map must return the shape of its state, \(4,\); it returned \(2,\)"):
            symplectic_defect(lambda y: y[..., :2], torch.zeros(3, 4))

    def test_the_form_gives_hamiltons_equations(self):
        omega = symplectic_form(2)
        torch.testing.assert_close(omega @ omega, -torch.eye(4))
        torch.testing.assert_close(omega @ torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([3.0, 4.0, -1.0, -2.0]))


@pytest.mark.parametrize("method", ["symplectic_euler", "leapfrog", "yoshida4", "implicit_midpoint"])
@pytest.mark.parametrize("substeps", [1, 3])
def test_steps_of_a_separable_energy_are_symplectic_whatever_the_network(method, substeps):
    model = SRNN(networks(2), 0.3, method, substeps)
    assert symplectic_defect(model.step, cases.states(6, 4)).max() < 1e-12


def test_steps_of_runge_kutta_are_not():
    energy = HNN(SeparableEnergy(lambda p: p.pow(4).sum(-1), cases.pendulum_potential))
    defect = [symplectic_defect(SRNN(energy, h, "rk4").step, cases.states(6, 2)).max() for h in (0.1, 0.05)]
    assert defect[0] > 1e-4
    assert 2**4 < defect[0] / defect[1] < 2**7


@pytest.mark.parametrize(
    ("method", "order"),
    [("euler", 1), ("symplectic_euler", 1), ("leapfrog", 2), ("yoshida4", 4), ("rk4", 4), ("tao", 2)],
)
def test_steps_have_the_order_of_their_method(method, order):
    field, y0 = cases.henon_heiles(), 0.3 * cases.states(4, 4)
    truth = SRNN(field, 1.0, "dopri8", substeps=100).step(y0)
    errors = [(SRNN(field, 1.0, method, substeps=n).step(y0) - truth).abs().max() for n in (20, 40)]
    assert abs(torch.log2(errors[0] / errors[1]) - order) < 0.3


@pytest.mark.parametrize("method", ["euler", "rk4", "symplectic_euler", "leapfrog", "yoshida4", "implicit_midpoint"])
def test_a_roll_out_is_the_solve_of_odeint(method):
    model, y0 = SRNN(networks(2), 0.1, method), cases.states(5, 4)
    q, p = odeint(model, tuple(y0.chunk(2, -1)), torch.arange(11) * 0.1, method=method, step_size=0.1)
    torch.testing.assert_close(model.trajectory(y0, 10), torch.cat([q, p], -1), rtol=1e-13, atol=1e-13)


def test_the_halves_go_into_odeint():
    model, y0 = SRNN(networks(2), 0.1), cases.states(5, 4)
    q, p = odeint(model.halves, tuple(y0.chunk(2, -1)), [0.0, 1.0], method="leapfrog", step_size=0.1)
    torch.testing.assert_close(model.trajectory(y0, 10)[-1], torch.cat([q[-1], p[-1]], -1))


def test_leapfrog_goes_back_by_negative_steps():
    model, y0 = SRNN(networks(2), 0.1), cases.states(5, 4)
    torch.testing.assert_close(model.trajectory(model.trajectory(y0, 20)[-1], 20, h=-0.1)[-1], y0)


@pytest.mark.parametrize("make", [lambda: SRNN(networks(1), 0.1), lambda: SRNN(Baseline(2), 0.1, "rk4")])
def test_the_loss_is_the_mean_square_over_samples_and_times(make):
    model, y = make(), cases.states(3, 5, 2)
    total = 0.0
    for one in y:
        state = one[0]
        for k in range(1, 5):
            state = model.step(state)
            total += (state - one[k]).square().sum() / (3 * 4 * 2)
    torch.testing.assert_close(model.loss(y), total)
    starts = cases.states(3, 2, seed=1)
    rolled = model.trajectory(starts, 4).movedim(0, 1)
    torch.testing.assert_close(model.loss(y, starts), (rolled - y).square().mean())


@pytest.mark.parametrize(
    "make",
    [
        lambda: SRNN(networks(1), 0.2),
        lambda: SRNN(Baseline(2, 16), 0.2, "rk4"),
        lambda: NSSNN(EnergyNetwork(2, 16), 0.2),
    ],
    ids=["H-NET", "O-NET", "NSSNN"],
)
def test_members_of_an_ensemble_train_as_alone_and_the_loss_falls(make):
    y = cases.trajectories(cases.pendulum(), cases.states(32, 2), 0.2, 3)
    ensemble = Ensemble(make, seeds=[1, 2])
    history = fit(ensemble, ensemble.each(lambda m, y: m.loss(y)), y, steps=40, lr=1e-2, progress=False)
    torch.manual_seed(2)
    alone = make()
    fit(alone, lambda m, y: m.loss(y), y, steps=40, lr=1e-2, progress=False)
    assert history.loss[-1] < 0.5 * history.loss[0]
    torch.testing.assert_close(ensemble.measure(lambda m: m.trajectory(y[:, 0], 3))[1], alone.trajectory(y[:, 0], 3))


def test_the_true_energy_has_no_loss_but_the_error_of_its_method():
    y = cases.trajectories(cases.pendulum(), cases.states(16, 2), 0.1, 5)
    losses = [SRNN(cases.pendulum(), 0.1, "leapfrog", substeps=n).loss(y) for n in (1, 2)]
    assert losses[0] < 1e-5
    assert 12 < losses[0] / losses[1] < 20  # the square of an error of order two
    assert SRNN(cases.pendulum(), 0.1, "yoshida4", substeps=20).loss(y) < 1e-28


class TestNonseparable:
    @pytest.mark.parametrize("omega", [None, 0.0, 5.0])
    def test_a_roll_out_is_taos_method_of_odeint(self, omega):
        model, y0 = NSSNN(EnergyNetwork(4), 0.1, omega), cases.states(5, 4)
        times = torch.arange(21) * 0.1
        q, p = odeint(model, tuple(y0.chunk(2, -1)), times, method="tao", step_size=0.1, omega=omega)
        torch.testing.assert_close(model.trajectory(y0, 20), torch.cat([q, p], -1), rtol=1e-13, atol=1e-13)

    def test_substeps_are_smaller_steps(self):
        fine, coarse = NSSNN(cases.nonseparable, 0.05, 3.0), NSSNN(cases.nonseparable, 0.1, 3.0, substeps=2)
        y0 = 0.5 * cases.states(5, 2)
        torch.testing.assert_close(fine.trajectory(y0, 20)[::2], coarse.trajectory(y0, 10))

    @pytest.mark.parametrize("substeps", [1, 2])
    def test_the_doubled_step_is_symplectic_whatever_the_network(self, substeps):
        model = NSSNN(EnergyNetwork(4), 0.3, omega=2.0, substeps=substeps)
        assert symplectic_defect(model.doubled_step, cases.states(6, 8)).max() < 1e-12

    def test_the_step_of_a_single_copy_is_not(self):
        assert symplectic_defect(NSSNN(cases.nonseparable, 0.3).step, cases.states(6, 2)).min() > 1e-6

    def test_doubled_steps_from_equal_copies_are_the_trajectories_of_the_copies(self):
        model, y0 = NSSNN(cases.nonseparable, 0.1, omega=4.0, substeps=2), 0.5 * cases.states(5, 2)
        z = torch.stack([y0[:, 0], y0[:, 0], y0[:, 1], y0[:, 1]], -1)  # [q, x, p, y]
        for _ in range(7):
            z = model.doubled_step(z)
        first, second = model.copies(y0, 7)
        torch.testing.assert_close(z[:, [0, 2]], first[-1])
        torch.testing.assert_close(z[:, [1, 3]], second[-1])
        assert (first[-1] - second[-1]).abs().max() > 1e-6

    def test_the_order_is_two_on_a_nonseparable_energy(self):
        y0 = torch.tensor([[0.5, -0.8]])
        truth = SRNN(HNN(cases.nonseparable), 2.0, "dopri8", substeps=200).step(y0)
        errors = [(NSSNN(cases.nonseparable, 2.0 / n).trajectory(y0, n)[-1] - truth).abs().max() for n in (100, 200)]
        assert abs(torch.log2(errors[0] / errors[1]) - 2) < 0.2

    def test_the_coupling_holds_the_copies_together_unless_it_turns_them_by_half_a_turn(self):
        y0, h = torch.tensor([0.5, -0.8]), 0.02
        apart = {}
        for omega in (0.0, 5.0, math.pi / (4 * h), math.pi / (2 * h)):
            first, second = NSSNN(cases.nonseparable, h, omega).copies(y0, 700)
            apart[omega] = (first - second).abs().max()
        free, small, quarter, half = apart.values()
        assert max(small, quarter) < 1e-3
        assert min(free, half) > 0.1

    def test_the_loss_is_the_mean_over_both_copies(self):
        model, y = NSSNN(EnergyNetwork(2), 0.2), cases.states(6, 4, 2)
        copies = model.copies(y[:, 0], 3)
        expected = sum((copy.movedim(0, 1)[:, 1:] - y[:, 1:]).abs().mean() for copy in copies) / 2
        torch.testing.assert_close(model.loss(y), expected)
        assert model.errors(y, y[:, 0]).shape == (2, 6, 4, 2)

    @pytest.mark.parametrize("omega", [-1.0, float("inf"), float("nan"), "large", True])
    def test_a_coupling_that_is_none_is_named(self, omega):
        with pytest.raises(ValueError, match=r"omega, the coupling.*finite number >= 0"):
            NSSNN(EnergyNetwork(2), 0.1, omega)

    def test_a_doubled_state_has_four_parts(self):
        with pytest.raises(ValueError, match=r"\[q, x, p, y\]"):
            NSSNN(cases.nonseparable, 0.1).doubled_step(torch.zeros(6))


class TestStarts:
    def test_are_found_through_noise(self):
        field, y0 = cases.pendulum(), cases.states(8, 2)
        y = cases.trajectories(field, y0, 0.1, 60, substeps=2)
        noisy = y + 0.1 * cases.states(*y.shape, seed=5)
        model = SRNN(field, 0.1)
        found = fit_initial_states(model, noisy)
        assert (found - y0).abs().mean() < 0.4 * (noisy[:, 0] - y0).abs().mean()
        assert model.loss(noisy, found) < model.loss(noisy, noisy[:, 0])

    def test_are_exact_where_there_is_no_noise_and_the_slope_is_zero(self):
        field, y0 = cases.henon_heiles(), 0.3 * cases.states(7, 4)
        model = SRNN(field, 0.1)
        y = model.trajectory(y0, 20).movedim(0, 1)
        found = fit_initial_states(model, y, starts=y0 + 0.05 * cases.states(7, 4, seed=3), tolerance=1e-12)
        torch.testing.assert_close(found, y0, rtol=0, atol=1e-9)

    def test_of_one_trajectory_do_not_depend_on_the_others(self):
        model = SRNN(cases.pendulum(), 0.1)
        y = model.trajectory(cases.states(5, 2), 20).movedim(0, 1) + 0.1 * cases.states(5, 21, 2, seed=2)
        alone, together = fit_initial_states(model, y[:1]), fit_initial_states(model, y)
        torch.testing.assert_close(alone, together[:1], rtol=1e-5, atol=1e-6)

    def test_have_no_slope_above_the_tolerance_in_any_trajectory(self):
        model = SRNN(cases.pendulum(), 0.1)
        y = model.trajectory(cases.states(40, 2), 5).movedim(0, 1) + 0.1 * cases.states(40, 6, 2, seed=2)
        found = fit_initial_states(model, y, tolerance=1e-3).requires_grad_()
        each = model.errors(y, found).square().mean((1, 2))
        (slope,) = torch.autograd.grad(each.sum(), found)
        assert slope.abs().max() <= 1e-3

    def test_stay_within_bounds(self):
        model = SRNN(cases.pendulum(), 0.1)
        y = model.trajectory(torch.full((3, 2), 1.0), 20).movedim(0, 1)
        found = fit_initial_states(model, y, starts=torch.zeros(3, 2), bounds=(-0.5, 0.5))
        assert found.abs().max() <= 0.5

    def test_are_found_where_a_step_of_the_search_blows_up(self):
        model = SRNN(SeparableField(lambda p: p, lambda q: q**3), 0.2)
        y = model.trajectory(torch.tensor([[0.6, 0.3]]), 10).movedim(0, 1)
        found = fit_initial_states(model, y, starts=torch.tensor([[1.05, 0.5]]))
        torch.testing.assert_close(found, y[:, 0], rtol=0, atol=1e-4)

    def test_leave_the_model_trainable_and_unchanged(self):
        model = SRNN(networks(1), 0.1)
        before = [p.clone() for p in model.parameters()]
        found = fit_initial_states(model, cases.states(3, 5, 2))
        assert all(p.requires_grad and p.grad is None for p in model.parameters())
        assert all((p == q).all() for p, q in zip(model.parameters(), before, strict=True))
        assert not found.requires_grad

    def test_work_in_single_precision_and_with_two_copies(self):
        model = NSSNN(cases.nonseparable, 0.05)
        y = model.trajectory(0.3 * cases.states(4, 2).float(), 20).movedim(0, 1)
        found = fit_initial_states(model, y, starts=y[:, 0] + 0.01)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, y[:, 0], rtol=0, atol=1e-3)


class TestWhatIsWrongIsNamed:
    @pytest.mark.parametrize("h", [0.0, -0.1, float("nan"), float("inf"), "0.1", True])
    def test_a_step(self, h):
        with pytest.raises(ValueError, match="h must be the length of a step, a finite number above 0"):
            SRNN(cases.pendulum(), h)

    def test_a_step_of_zero_in_a_call(self):
        with pytest.raises(ValueError, match=r"h must be the length of a step.*0"):
            SRNN(cases.pendulum(), 0.1).step(torch.zeros(2), h=0)

    def test_an_unknown_method(self):
        with pytest.raises(ValueError, match=r"method must be .*leapfrog.*got 'leap'"):
            SRNN(cases.pendulum(), 0.1, "leap")
        with pytest.raises(ValueError, match="steps of a fixed length"):
            SRNN(cases.pendulum(), 0.1, "adams_bashforth_moulton")

    @pytest.mark.parametrize(
        "field", [Baseline(2), HNN(EnergyNetwork(2)), DissipativeHNN(EnergyNetwork(2), EnergyNetwork(2))]
    )
    def test_leapfrog_without_halves(self, field):
        with pytest.raises(ValueError, match=r"'leapfrog' needs a separable field.*SeparableEnergy"):
            SRNN(field, 0.1)

    def test_a_field_that_is_no_module(self):
        with pytest.raises(TypeError, match=r"field must be a module.*function"):
            SRNN(lambda t, y: y, 0.1, "rk4")

    def test_an_energy_that_is_none(self):
        with pytest.raises(TypeError, match="Baseline has no energy"):
            SRNN(Baseline(2), 0.1, "rk4").energy(torch.zeros(2))

    @pytest.mark.parametrize(("shape", "said"), [((2,), "two times"), ((4, 1, 2), "two times"), ((4, 3, 3), "2n")])
    def test_data(self, shape, said):
        with pytest.raises(ValueError, match=said):
            SRNN(cases.pendulum(), 0.1).loss(torch.zeros(shape))

    def test_starts(self):
        with pytest.raises(ValueError, match=r"starts must be \(4, 2\).*\(3, 2\)"):
            SRNN(cases.pendulum(), 0.1).loss(torch.zeros(4, 3, 2), torch.zeros(3, 2))

    @pytest.mark.parametrize("steps", [-1, 2.0, None])
    def test_a_number_of_steps(self, steps):
        with pytest.raises(ValueError, match="steps must be how many"):
            SRNN(cases.pendulum(), 0.1).trajectory(torch.zeros(2), steps)

    def test_a_roll_out_that_blows_up_says_where(self):
        cubic = SRNN(SeparableField(lambda p: p, lambda q: q**9), 1.0)
        y = torch.zeros(4, 8, 2)
        y[2, 0] = 20.0
        with pytest.raises(RollOutDiverged, match=r"sample 2 \(and 0 others\) is not finite after step \d of 7.*Try"):
            cubic.loss(y)

    def test_and_which_member_of_an_ensemble(self):
        ensemble = Ensemble(lambda: SRNN(SeparableField(nn.Linear(1, 1), nn.Linear(1, 1)), 0.1), 3)
        with torch.no_grad():
            next(ensemble.parameters())[1] = torch.inf
        with pytest.raises(
            RollOutDiverged, match=r"member 1, sample 0 \(and 3 others\) is not finite after step 1 of 2"
        ):
            ensemble.each(SRNN.loss)(ensemble, torch.ones(4, 3, 2))

    def test_data_that_are_not_finite_are_no_divergence_of_the_model(self):
        y = torch.zeros(4, 3, 2)
        y[1, 0, 0] = torch.nan
        with pytest.raises(RollOutDiverged, match=r"sample 1.*NaN in the data"):
            SRNN(cases.pendulum(), 0.1).loss(y)
        with pytest.raises(ValueError, match="not finite: give starts="):
            fit_initial_states(SRNN(cases.pendulum(), 0.1), y)
