"""Memory of tensors: known operations take exactly the known bytes."""

import gc

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from ndelib.adjoints.memory import TensorMemory

SIZE = 1000 * 8
"""bytes of the state below"""


@pytest.fixture
def x():
    gc.collect()
    return torch.linspace(0, 1, 1000, dtype=torch.float64).requires_grad_()


def chain(x, n):
    for _ in range(n):
        x = x.sin()
    return x


@pytest.mark.parametrize("n", [1, 7, 50])
def test_a_chain_keeps_a_state_an_operation_until_backward(x, n):
    with TensorMemory() as memory:
        y = chain(x, n)
        assert memory.live == memory.peak == n * SIZE
        (gradient,) = torch.autograd.grad(y, x, torch.ones_like(x))
        assert memory.live == 2 * SIZE  # y and the gradient
        del y, gradient
    assert memory.live == 0
    # On the way back at first: y₁ … yₙ, the cotangent, the cosine of yₙ₋₁, and its product with the cotangent.
    assert memory.peak == (n + 3) * SIZE


def test_peak_is_not_the_sum(x):
    with TensorMemory() as memory, torch.no_grad():
        chain(x, 50)
    assert memory.live == 0
    assert memory.peak == 2 * SIZE  # the argument and the result of one operation


def test_what_shares_a_storage_counts_once(x):
    with TensorMemory() as memory:
        y = x.sin()
        several = [y, y.view(10, 100), y[:500], y * 1, y.detach(), y.mul_(2)]
        assert memory.live == 2 * SIZE
    del several
    assert memory.live == SIZE


def test_what_existed_before_does_not_count(x):
    layer = torch.nn.Linear(1000, 3, dtype=torch.float64)
    with TensorMemory() as memory:
        layer(x).detach()  # a transposed view of the weights passes by
        x.detach().view(10, 100).add_(1)
        assert memory.live == 0
        assert memory.peak <= 3 * 8 * 2


def test_tensors_made_of_numbers_count():
    with TensorMemory() as memory:
        y = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
        assert memory.live == 24
    del y
    assert memory.live == 0


class Chain(torch.autograd.Function):
    """sin(sin(…)) that keeps its first state, ``saved`` or as an attribute, and makes the others again."""

    @staticmethod
    def forward(ctx, x, n, saved):
        ctx.n = n
        if saved:
            ctx.save_for_backward(x)
        else:
            ctx.states = [x.clone()]
        return chain(x, n)

    @staticmethod
    def backward(ctx, cotangent):
        (x,) = ctx.saved_tensors or ctx.states
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = chain(x, ctx.n)
        return torch.autograd.grad(y, x, cotangent)[0], None, None


@pytest.mark.parametrize("saved", [True, False])
def test_a_function_of_ones_own_is_seen_in_both_directions(x, saved):
    with TensorMemory() as memory:
        y = Chain.apply(x, 20, saved)
        assert memory.live == (1 if saved else 2) * SIZE  # y, and the copy that hooks on saved tensors do not see
        assert memory.peak <= 4 * SIZE
        y.sum().backward()
        assert memory.peak >= 20 * SIZE  # the recomputation


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoints_lower_the_peak(x, use_reentrant):
    with TensorMemory() as plain:
        chain(x, 100).sum().backward()
    x.grad = None
    with TensorMemory() as checkpointed:
        y = x
        for _ in range(10):
            y = checkpoint(chain, y, 10, use_reentrant=use_reentrant)
        assert checkpointed.live == 10 * SIZE
        y.sum().backward()
    assert 100 * SIZE <= plain.peak <= 104 * SIZE
    assert 19 * SIZE <= checkpointed.peak <= 25 * SIZE  # ten kept, ten of one piece, and a few on the way


def test_functional_transforms_work_inside(x):
    with TensorMemory() as memory:
        _, pull_back = torch.func.vjp(torch.sin, x)
        pull_back(x.detach())
        torch.func.jvp(torch.sin, (x,), (x,))
        torch.func.vmap(torch.func.grad(torch.sin))(x)
    assert SIZE <= memory.peak <= 10 * SIZE


def test_contexts_nest_and_repeat_exactly(x):
    def peak():
        with TensorMemory() as memory:
            torch.autograd.grad(chain(x, 30).sum(), x)
        return memory.peak

    with TensorMemory() as outer:
        first = peak()
        assert peak() == peak() == first
    assert outer.peak == first
    assert outer.live == 0
