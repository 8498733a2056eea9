"""Least squares where terms depend on each other: the fit is as good as it can be, and the same at every call."""

import torch

from ndelib.discovery.least_squares import ridge


def test_dependent_columns_are_fitted_with_the_smallest_coefficients_at_every_call():
    a = torch.tensor([[3, -3, 2, -1], [-2, 3, -2, 1], [-2, 1, -2, 3], [-3, 3, 2, 1], [2, 0, -1, -3]]).double()
    A = torch.cat([a, 2 * a[:, :1] - a[:, 1:2], 3 * a[:, 2:3]], 1)  # rank 4 of 6
    B = A @ torch.arange(1, 7).double()[:, None]
    expected = torch.linalg.pinv(A) @ B
    for k in range(200):
        litter = torch.randint(-(2**31), 2**31 - 1, (k % 40 + 1,))  # what a driver may find in its memory
        del litter
        torch.testing.assert_close(ridge(A, B, 0.0), expected, rtol=1e-10, atol=1e-10)
