"""Sparse energies, Taylor series and SympNets: exact structure whatever the parameters, and what training finds."""

import pytest
import torch
from torch import nn

from ndelib.physics import (
    SSINN,
    CustomTerms,
    GSympNet,
    LASympNet,
    PolynomialTerms,
    RollOutDiverged,
    SparseEnergy,
    TaylorGradient,
    TaylorNet,
    TrigonometricTerms,
    symplectic_defect,
    symplectic_form,
)
from ndelib.training import Ensemble, fit
from tests.physics import hamiltonian_cases as cases

HENON_HEILES = {"p1²": 0.5, "p2²": 0.5, "q1²": 0.5, "q2²": 0.5, "q1² q2": 1.0, "q2³": -1 / 3}


pytestmark = pytest.mark.usefixtures("double")


def jacobian(f, x):
    return torch.func.vmap(torch.func.jacrev(f))(x)


class TestTerms:
    @pytest.mark.parametrize(
        "terms",
        [
            PolynomialTerms(3, 4),
            TrigonometricTerms(3, 2),
            CustomTerms(3, {"exp({0})": lambda x: x[..., 0].exp(), "r": lambda x: x.norm(dim=-1)}),
            PolynomialTerms(3, 2) + TrigonometricTerms(3),
        ],
        ids=["polynomial", "trigonometric", "custom", "both"],
    )
    def test_slopes_are_the_derivatives_of_the_values(self, terms):
        x = cases.states(5, 3)
        torch.testing.assert_close(terms.slopes(x), jacobian(terms.values, x))
        assert terms.values(x).shape == (5, len(terms))
        assert len(terms.names()) == len(terms)
        energy = SparseEnergy(terms)
        torch.testing.assert_close(energy.gradient(x), torch.func.grad(lambda x: energy(x).sum())(x))
        assert terms.slopes(x[0]).shape == (len(terms), 3)

    def test_polynomials_are_all_products_without_the_constant(self):
        from math import comb

        for n, degree in ((1, 3), (2, 3), (4, 2)):
            assert len(PolynomialTerms(n, degree)) == comb(n + degree, degree) - 1
        assert PolynomialTerms(2, 3).names("q")[-4:] == ["q1³", "q1² q2", "q1 q2²", "q2³"]
        assert PolynomialTerms(1, 2).names("p") == ["p", "p²"]

    def test_slopes_at_zero_are_finite(self):
        assert PolynomialTerms(2, 3).slopes(torch.zeros(1, 2)).isfinite().all()

    def test_what_is_wrong_is_named(self):
        with pytest.raises(ValueError, match=r"'\{0\}' is there twice"):
            PolynomialTerms(2, 2) + PolynomialTerms(2, 1)
        with pytest.raises(ValueError, match="2 and 1 variables cannot be joined"):
            PolynomialTerms(2, 2) + TrigonometricTerms(1)
        with pytest.raises(ValueError, match=r"terms of 2 variables: x must be .*got \(5, 3\)"):
            PolynomialTerms(2, 2).values(torch.zeros(5, 3))
        with pytest.raises(ValueError, match=r"degree must be .* got 0"):
            PolynomialTerms(2, 0)
        with pytest.raises(ValueError, match="term 'r' must return one number a sample"):
            CustomTerms(2, {"r": lambda x: x}).values(torch.zeros(5, 2))


class TestSparse:
    def model(self, method="yoshida4", substeps=1):
        return SSINN(PolynomialTerms(2, 3), PolynomialTerms(2, 3), 0.1, method, substeps)

    def data(self, n=40, steps=1, method="yoshida4", substeps=20):
        return cases.trajectories(cases.henon_heiles(), 0.3 * cases.states(n, 4), 0.1, steps, method, substeps)

    def test_exact_coefficients_have_no_loss_but_the_error_of_the_method(self):
        losses = {}
        for substeps in (1, 2, 10):
            model = self.model(substeps=substeps)
            model.set_coefficients(HENON_HEILES)
            losses[substeps] = model.loss(self.data(steps=3)).item()
        assert losses[1] < 1e-10
        assert losses[2] < losses[1] / 2**7  # the square of an error of order four
        assert losses[10] < 1e-18

    def test_exact_coefficients_are_a_fixed_point_where_the_data_are_steps_of_the_method_itself(self):
        model, y = self.model("leapfrog"), self.data(method="leapfrog", substeps=1)
        model.set_coefficients(HENON_HEILES)
        assert model.loss(y) < 1e-30
        slope = torch.autograd.grad(model.loss(y), list(model.parameters()))
        assert max(s.abs().max() for s in slope) < 1e-15
        model.set_coefficients(HENON_HEILES | {"q1² q2": 0.9})
        assert model.loss(y) > 1e-7

    def test_henon_heiles_is_found_from_pairs(self):
        model, y = self.model(), self.data(100)
        optimiser = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=0)

        def closure():
            optimiser.zero_grad()
            loss = 1e4 * model.loss(y)
            loss.backward()
            return loss

        optimiser.step(closure)
        model.prune(0.05)
        found = {name: value for name, value in model.coefficients.items() if value}
        assert found.keys() == HENON_HEILES.keys()
        for name, value in HENON_HEILES.items():
            assert abs(found[name] - value) < 1e-2
        assert model.equation(2) == "H = 0.50 p1² + 0.50 p2² + 0.50 q1² + 0.50 q2² + 1.00 q1² q2 - 0.33 q2³"

    def test_pruned_terms_stay_at_zero_in_training(self):
        model, y = self.model(), self.data()
        model.set_coefficients({name: 0.8 * value for name, value in HENON_HEILES.items()})
        model.prune(0.1)
        assert model.vector().count_nonzero() == 6
        history = fit(model, SSINN.loss, y, steps=20, lr=1e-2, progress=False)
        assert history.loss[-1] < history.loss[0]
        assert {name for name, value in model.coefficients.items() if value} == HENON_HEILES.keys()

    def test_coefficients_that_are_set_come_back_after_pruning(self):
        model = self.model()
        model.prune(1e3)
        assert model.equation() == "H = 0"
        model.set_coefficients(HENON_HEILES)
        assert {name for name, value in model.coefficients.items() if value} == HENON_HEILES.keys()

    def test_the_penalty_is_the_sum_of_the_moduli(self):
        model = self.model()
        model.set_coefficients(HENON_HEILES)
        torch.testing.assert_close(model.penalty(), torch.tensor(3 + 1 / 3))

    def test_steps_are_symplectic(self):
        assert symplectic_defect(self.model().step, cases.states(5, 4)).max() < 1e-12

    def test_an_ensemble_trains(self):
        ensemble = Ensemble(self.model, 3)

        def loss(model, y):
            return model.loss(y) + 1e-4 * model.penalty()

        history = fit(ensemble, ensemble.each(loss), self.data(), steps=30, lr=2e-2, progress=False)
        assert history.loss[-1] < 0.6 * history.loss[0]
        assert ensemble.measure(SSINN.vector).shape == (3, 18)

    def test_what_is_wrong_is_named(self):
        with pytest.raises(ValueError, match="kinetic has terms of 1 momenta and potential of 2 positions"):
            SSINN(PolynomialTerms(1, 2), PolynomialTerms(2, 2), 0.1)
        with pytest.raises(TypeError, match="potential must be a library"):
            SSINN(PolynomialTerms(1, 2), nn.Linear(1, 1), 0.1)
        with pytest.raises(ValueError, match="no term is called 'q1q2'; the terms are"):
            self.model().set_coefficients({"q1q2": 1.0})
        with pytest.raises(ValueError, match=r"threshold must be .* above 0, got -1"):
            self.model().prune(-1)


class TestTaylor:
    @pytest.mark.parametrize(("n", "terms"), [(1, 1), (2, 4), (3, 3)])
    def test_the_series_is_the_gradient_of_its_energy_and_its_jacobian_symmetric(self, n, terms):
        g, x = TaylorGradient(n, terms, width=5), cases.states(6, n)
        nn.init.normal_(g.b)
        torch.testing.assert_close(g.gradient(x), torch.func.grad(lambda x: g(x).sum())(x))
        J = jacobian(g.gradient, x)
        torch.testing.assert_close(J, J.mT)

    def test_the_series_is_the_formula(self):
        from math import factorial

        g, x = TaylorGradient(2, terms=3, width=4), cases.states(2)
        expected = g.b + sum(
            g.A[i].T @ (g.A[i] @ x) ** (i + 1) / factorial(i + 1)
            - g.B[i].T @ (g.B[i] @ x) ** (i + 1) / factorial(i + 1)
            for i in range(3)
        )
        torch.testing.assert_close(g.gradient(x), expected)

    def test_the_second_matrices_allow_both_signs_of_the_curvature(self):
        g, x = TaylorGradient(2, terms=1, width=4), cases.states(1, 2)
        with torch.no_grad():
            g.B.zero_()
        assert torch.linalg.eigvalsh(jacobian(g.gradient, x)).min() > 0
        with torch.no_grad():
            g.B.copy_(2 * g.A)
        assert torch.linalg.eigvalsh(jacobian(g.gradient, x)).max() < 0

    def test_velocity_sees_p_and_force_q_alone(self):
        model, y = TaylorNet(2, 0.1), cases.states(5, 4)
        J = jacobian(lambda y: model(0.0, y), y)
        assert J[:, :2, :2].abs().max() == 0
        assert J[:, 2:, 2:].abs().max() == 0
        assert J[:, :2, 2:].abs().min() > 0
        torch.testing.assert_close(
            model(0.0, y), torch.func.grad(lambda y: model.energy(y).sum())(y) @ symplectic_form(2).T
        )

    @pytest.mark.parametrize("method", ["leapfrog", "yoshida4"])
    def test_steps_are_symplectic(self, method):
        assert symplectic_defect(TaylorNet(2, 0.1, method=method).step, cases.states(5, 4)).max() < 1e-12


SYMPNETS = [
    lambda n=2: GSympNet(n, 0.1),
    lambda n=2: GSympNet(n, 0.1, layers=5, width=7, activation=nn.Sigmoid),
    lambda n=2: LASympNet(n, 0.1),
    lambda n=2: LASympNet(n, 0.1, layers=3, sublayers=3, activation=nn.Tanh),
]


def shaken(model):
    """The model with large random parameters, far from the identity."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("make", SYMPNETS)
class TestSympNets:
    def test_are_symplectic_whatever_the_parameters(self, make):
        model, y = shaken(make()), cases.states(6, 4)
        assert symplectic_defect(model, y).max() < 1e-12
        assert symplectic_defect(model.inverse, y).max() < 1e-12
        assert (model(y) - y).abs().max() > 0.1

    def test_the_inverse_undoes_the_map_on_both_sides(self, make):
        model, y = shaken(make()), cases.states(6, 4)
        torch.testing.assert_close(model.inverse(model(y)), y, rtol=0, atol=1e-12)
        torch.testing.assert_close(model(model.inverse(y)), y, rtol=0, atol=1e-12)

    def test_two_steps_are_the_step_of_the_step(self, make):
        model, y = make(), cases.states(6, 4)
        trajectory = model.trajectory(y, 2)
        torch.testing.assert_close(trajectory, torch.stack([y, model(y), model(model(y))]))

    def test_a_step_of_no_time_is_the_identity_and_a_small_one_is_near_a_field(self, make):
        model, y = make(), cases.states(6, 4)
        assert (shaken(make())(y, 0.0) == y).all()
        slopes = [(model(y, h) - y) / h for h in (1e-3, 5e-4, 2.5e-4)]
        torch.testing.assert_close(slopes[1] - slopes[2], (slopes[0] - slopes[1]) / 2, rtol=0.05, atol=1e-9)

    def test_each_sample_may_have_its_own_time(self, make):
        model, y, h = make(), cases.states(3, 4), torch.tensor([[0.1], [0.2], [0.3]])
        expected = torch.stack([model(one, float(own)) for one, own in zip(y, h, strict=True)])
        torch.testing.assert_close(model(y, h), expected)

    def test_gradients_of_all_parameters_are_there(self, make):
        model = make()
        model.loss(cases.states(6, 3, 4)).backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def pendulum_pairs(h=0.1):
    return cases.trajectories(cases.pendulum(), cases.states(64, 2), h, 1)


@pytest.mark.parametrize(
    "make", [lambda: GSympNet(1, 0.1), lambda: LASympNet(1, 0.1), lambda: TaylorNet(1, 0.1)], ids=["G", "LA", "Taylor"]
)
def test_each_learns_something_of_the_pendulum_and_members_train_as_alone(make):
    y = pendulum_pairs()
    ensemble = Ensemble(make, seeds=[1, 2])
    history = fit(ensemble, ensemble.each(lambda m, y: m.loss(y)), y, steps=60, lr=1e-2, progress=False)
    assert history.loss[-1] < 0.3 * history.loss[0]
    torch.manual_seed(2)
    alone = make()
    fit(alone, lambda m, y: m.loss(y), y, steps=60, lr=1e-2, progress=False)
    torch.testing.assert_close(ensemble.measure(lambda m: m.step(y[:, 0]))[1], alone.step(y[:, 0]))


def test_a_taylor_net_that_blows_up_says_so():
    with pytest.raises(RollOutDiverged, match=r"sample 1 .* not finite after step \d+ of 30.*more substeps"):
        TaylorNet(1, 0.5, terms=4).loss(torch.stack([torch.zeros(31, 2), torch.full((31, 2), 50.0)]))


@pytest.mark.parametrize("make", [lambda n, h: GSympNet(n, h), lambda n, h: LASympNet(n, h), TaylorNet])
def test_what_is_wrong_is_named(make):
    with pytest.raises(ValueError, match="h must be the length of a step"):
        make(2, -0.1)
    with pytest.raises(ValueError, match="n must be the number of positions"):
        make(0, 0.1)
    with pytest.raises(ValueError, match=r"made for n = 2"):
        make(2, 0.1).step(torch.zeros(3, 2)) if make is not TaylorNet else make(2, 0.1)(0.0, torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"made for n = 2"):
        make(2, 0.1).trajectory(torch.zeros(3, 2), 5)
