"""The trace–determinant rule says the same as the eigenvalues."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ndelib.dynamics import classify

entries = st.floats(-10, 10, allow_subnormal=False)


@given(st.tuples(entries, entries, entries, entries))
def test_planar_names_agree_with_the_eigenvalues(numbers):
    J = torch.tensor(numbers, dtype=torch.float64).reshape(2, 2)
    eigenvalues = torch.linalg.eigvals(J)
    re, im = eigenvalues.real, eigenvalues.imag
    scale = J.abs().max()
    # Near the borders of the map a name is a matter of tolerance; here we ask about its interior.
    assume(scale > 1e-3)
    assume(re.abs().min() > 1e-2 * scale)
    assume((eigenvalues[0] - eigenvalues[1]).abs() > 1e-2 * scale)
    if im.abs().max() > 0:
        expected = "stable spiral" if re[0] < 0 else "unstable spiral"
    elif re[0] * re[1] < 0:
        expected = "saddle"
    else:
        expected = "stable node" if re[0] < 0 else "unstable node"
    assert classify(J) == expected


@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        ([[0.0, 2.0], [-3.0, 0.0]], "center"),
        ([[-2.0, 0.0], [0.0, -2.0]], "stable star"),
        ([[2.0, 0.0], [0.0, 2.0]], "unstable star"),
        ([[-2.0, 1.0], [0.0, -2.0]], "stable degenerate node"),
        ([[2.0, 1.0], [0.0, 2.0]], "unstable degenerate node"),
        ([[0.0, 0.0], [0.0, -1.0]], "undecided"),
        ([[0.0, 0.0], [0.0, 0.0]], "undecided"),
        ([[-3.0]], "stable"),
        ([[3.0]], "unstable"),
        ([[0.0]], "undecided"),
        ([[-1.0, 0, 0], [0, -2, 5], [0, -5, -2]], "stable"),
        ([[1.0, 0, 0], [0, 2, 5], [0, -5, 2]], "unstable"),
        ([[1.0, 0, 0], [0, -2, 5], [0, -5, -2]], "saddle"),
        ([[-1.0, 0, 0], [0, 0, 5], [0, -5, 0]], "undecided"),
    ],
)
def test_borders_and_other_dimensions(matrix, name):
    assert classify(torch.tensor(matrix)) == name


@pytest.mark.parametrize(
    ("matrix", "inside", "outside"),
    [
        (lambda e: [[e, 1.0], [-1.0, e]], "center", "unstable spiral"),  # the trace passes through zero
        (lambda e: [[-e, 1.0], [-1.0, -e]], "center", "stable spiral"),
        (lambda e: [[-1.0, 0.0], [0.0, e]], "undecided", "saddle"),  # the determinant does
        (lambda e: [[-1.0, 0.0], [0.0, -e]], "undecided", "stable node"),
        (lambda e: [[1.0, 1.0], [e / 4, 1.0]], "unstable degenerate node", "unstable node"),  # the discriminant does
        (lambda e: [[1.0, 1.0], [-e / 4, 1.0]], "unstable degenerate node", "unstable spiral"),
        (lambda e: [[-1.0, e], [0.0, -1.0]], "stable star", "stable degenerate node"),
        (lambda e: [[e]], "unstable", "unstable"),  # on the line a slope has nothing to be small beside
        (lambda e: [[-1.0, 0, 0], [0, -2, 0], [0, 0, e]], "undecided", "saddle"),
    ],
)
def test_a_border_is_as_wide_as_the_tolerance(matrix, inside, outside):
    def name(e):
        return classify(torch.tensor(matrix(e), dtype=torch.float64), tolerance=1e-4)

    assert (name(0.4e-4), name(4e-4)) == (inside, outside)


@given(st.floats(1e-6, 1e6))
def test_units_of_time_do_not_matter(scale):
    assert classify(scale * torch.tensor([[0.0, 1.0], [-1.0, -0.1]], dtype=torch.float64)) == "stable spiral"


@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1.0, 1e8, 1e200])
@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        ([[0.0, 1.0], [-1e10, -1e3]], "stable spiral"),
        ([[0.0, 1.0], [-1e-8, -1e-5]], "stable spiral"),
        ([[0.0, 1e5], [-1e-5, -0.1]], "stable spiral"),
        ([[0.0, 1.0], [-1e10, 0.0]], "center"),
        ([[1e-10, 1.0], [-1.0, 0.0]], "center"),
        ([[0.0, 1.0], [-1.0, -1e-5]], "stable spiral"),
    ],
)
def test_units_of_the_variables_do_not_matter(matrix, name, scale):
    assert classify(scale * torch.tensor(matrix, dtype=torch.float64)) == name


def test_float32_is_judged_by_its_own_precision():
    angle = torch.tensor(0.3)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    assert classify(turn @ torch.diag(torch.tensor([-1.7, -1.7])) @ turn.T) == "stable star"


@pytest.mark.parametrize("matrix", [torch.zeros(2, 3), torch.zeros(2), torch.full((2, 2), float("nan"))])
def test_what_is_no_jacobian_is_refused(matrix):
    with pytest.raises(ValueError, match="finite square matrix"):
        classify(matrix)
