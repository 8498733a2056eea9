"""The operators of expressions: each is a function and its derivatives, so that a new one is one line of a table.

No operator is protected by a substitute. A value outside of its domain is NaN (log and sqrt of a negative number) or
infinite (a division by zero), and an expression that has one on a sample is dropped. So what is found means what it
says, also on other samples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Operator:
    """One operator as data. ``slopes`` takes the value and then the arguments, and returns a derivative for each."""

    name: str
    arity: int
    value: Callable[..., Tensor]
    slopes: Callable[..., tuple[Tensor, ...]]
    commutes: bool = False


ONE = torch.ones((), dtype=torch.float64)

TABLE = [
    Operator("+", 2, torch.add, lambda v, x, y: (ONE, ONE), commutes=True),
    Operator("-", 2, torch.sub, lambda v, x, y: (ONE, -ONE)),
    Operator("*", 2, torch.mul, lambda v, x, y: (y, x), commutes=True),
    Operator("/", 2, torch.div, lambda v, x, y: (1 / y, -v / y)),
    Operator("^", 2, torch.pow, lambda v, x, y: (v * y / x, v * torch.log(x))),
    Operator("neg", 1, torch.neg, lambda v, x: (-ONE,)),
    Operator("square", 1, torch.square, lambda v, x: (2 * x,)),
    Operator("cube", 1, lambda x: x * x * x, lambda v, x: (3 * x * x,)),
    Operator("exp", 1, torch.exp, lambda v, x: (v,)),
    Operator("log", 1, torch.log, lambda v, x: (1 / x,)),
    Operator("sqrt", 1, torch.sqrt, lambda v, x: (0.5 / v,)),
    Operator("abs", 1, torch.abs, lambda v, x: (torch.sign(x),)),
    Operator("sin", 1, torch.sin, lambda v, x: (torch.cos(x),)),
    Operator("cos", 1, torch.cos, lambda v, x: (-torch.sin(x),)),
    Operator("tan", 1, torch.tan, lambda v, x: (1 + v * v,)),
    Operator("tanh", 1, torch.tanh, lambda v, x: (1 - v * v,)),
]
OPERATORS = {operator.name: operator for operator in TABLE}
