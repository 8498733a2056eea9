"""``on_step`` sees every accepted step once, with numbers that are its own."""

import pytest
import torch

from ndelib import cdeint, natural_cubic_coeffs, odeint, odeint_with_cost, solve_ivp
from ndelib.solvers import CubicSpline, Event, SolverError

Y0 = torch.tensor([1.0, 0.0], dtype=torch.float64)


def swing(t, y):
    return torch.stack([y[1], -y[0]])


class Log:
    def __init__(self):
        self.t, self.y = [], []

    def __call__(self, t, y):
        self.t.append(t)
        self.y.append(y)
        return True  # as tqdm's update does


@pytest.mark.parametrize("options", [{}, {"step_size": 0.1}, {"step_at": [0.7]}, {"method": "kvaerno3"}], ids=str)
@pytest.mark.parametrize("span", [(0.0, 2.0), (2.0, 0.0)])
def test_it_sees_the_steps_of_the_solution(options, span):
    log = Log()
    solution = solve_ivp(swing, span, Y0, on_step=log, **options)
    assert log.t == solution.t[1:].tolist()
    assert len(log.t) == solution.steps
    assert torch.equal(torch.stack(log.y), solution.y[1:])


def test_odeint_tells_of_the_same_steps_whatever_times_are_asked_for():
    steps, log = solve_ivp(swing, (0.0, 2.0), Y0).t[1:].tolist(), Log()
    odeint(swing, Y0, [0.0, 2.0], on_step=log)
    assert log.t == steps


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "adjoint", "interpolated"])
def test_a_backward_pass_does_not_call_it_and_it_has_no_graph(gradient):
    y0, log = Y0.clone().requires_grad_(), Log()
    y = odeint(swing, y0, [0.0, 1.0], gradient=gradient, on_step=log)
    count = len(log.t)
    y[-1].sum().backward()
    assert len(log.t) == count > 2
    assert not any(state.requires_grad for state in log.y)


def test_what_it_does_to_its_state_changes_nothing():
    expected = odeint(swing, Y0, [0.0, 2.0])
    assert torch.equal(odeint(swing, Y0, [0.0, 2.0], on_step=lambda t, y: y.zero_()), expected)


def test_states_have_the_form_of_y0_and_the_step_to_an_event_ends_there():
    log = Log()
    solution = solve_ivp(
        lambda t, y: (y[1], -y[0]),
        (0.0, 9.0),
        (Y0[0], Y0[1]),
        events=[
            Event(lambda t, y: y[0], reset=lambda t, y: (y[0], -y[1])),
            Event(lambda t, y: y[0] - 0.9, terminal=True, direction=1),
        ],
        on_step=log,
    )
    assert log.t[-1] == solution.t_events[1].item() == solution.t[-1].item()
    assert log.y[-1][0].item() == pytest.approx(0.9)
    assert solution.t_events[0].item() in log.t
    assert log.y[log.t.index(solution.t_events[0].item())][1] < 0  # the state on arrival


def test_costs_and_paths_call_it_and_an_exception_in_it_ends_the_solve():
    log = Log()
    odeint_with_cost(swing, lambda t, y: y[0], Y0, [0.0, 1.0], on_step=log)
    assert log.t[-1] == 1.0
    X = CubicSpline(natural_cubic_coeffs(torch.linspace(0, 1, 4, dtype=torch.float64)[:, None]))
    cdeint(X, lambda t, z: z.unsqueeze(-1), Y0, on_step=log)
    assert log.t[-1] == 3.0

    def enough(t, y):
        if t > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        odeint(swing, Y0, [0.0, 1.0], on_step=enough)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"on_step": 3}, TypeError, r"on_step must be a function \(t, y\) or None, got int"),
        ({"on_step": print, "batch": "independent"}, ValueError, r"on_step cannot be used with batch"),
        ({"on_step": print, "compile": "solve"}, ValueError, r"no single steps that on_step could see"),
    ],
)
def test_where_it_cannot_be(options, error, message):
    with pytest.raises(error, match=message):
        odeint(swing, Y0, [0.0, 1.0], **options)


def test_rejected_steps_and_failures_are_not_told():
    log = Log()
    with pytest.raises(SolverError):
        odeint(lambda t, y: y**2, torch.ones(1, dtype=torch.float64), [0.0, 2.0], on_step=log)
    assert log.t == sorted(set(log.t))
    assert max(log.t) < 1.0 + 1e-6
