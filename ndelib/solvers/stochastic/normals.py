"""Standard normal numbers as a pure function of a key and a counter: random access to randomness.

A stream of random numbers gives its numbers in order; a path that is asked for anywhere needs them by name. Here the
state of a generator is a hash of (key, counter), so block 7 can be had without blocks 0 to 6.

On a CPU and in float32 the generator is PyTorch's, which is twice as fast there; in float64 it is NumPy's SFC64, which
is twice as fast there. The same key gives other numbers in another dtype and on another kind of device.

Sources: Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011 (counters instead of states);
Steele, Lea & Flood, Fast splittable pseudorandom number generators, OOPSLA 2014 (the hash, MurmurHash3's finaliser).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ndelib.solvers.graph import inside_transform

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def scramble(x: int) -> int:
    """Return a number of 64 bits in which every bit depends on every bit of ``x``. A bijection."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def scramble32(x: int) -> int:
    """Do the same with 32 bits."""
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return x ^ (x >> 16)


def combine(*words: int) -> int:
    """Return a hash of 64 bits of integers, in their order."""
    total = 0
    for word in words:
        total = scramble((total ^ (word & MASK)) + GOLDEN & MASK)
    return total


class Normals:
    """Normal tensors by counter: ``normals(counter, rows)``, (rows, *shape), always the same."""

    def __init__(self, key: int, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
        self.key = combine(key, key >> 64)
        self.shape, self.dtype, self.device = tuple(shape), dtype, device
        self.by_numpy = device.type == "cpu" and dtype == torch.float64
        if self.by_numpy:
            self.bits = np.random.SFC64(0)
            self.numpy = np.random.Generator(self.bits)
        else:
            self.torch = torch.Generator(device)

    def __call__(self, counter: int, rows: int, deviation: float = 1.0) -> Tensor:
        """Return the numbers that belong to ``counter``, (rows, *shape), of mean zero and standard ``deviation``."""
        if torch.is_inference_mode_enabled():  # such tensors could not take part in a graph later
            with torch.inference_mode(False):
                return self(counter, rows, deviation)
        if inside_transform():  # vmap has rules for random numbers, and these are none: they are looked up
            with torch._C._DisableFuncTorch():
                return self._draw(counter, rows, deviation)
        return self._draw(counter, rows, deviation)

    def _draw(self, counter: int, rows: int, deviation: float) -> Tensor:
        if self.by_numpy:
            words = [scramble((self.key + (4 * counter + i) * GOLDEN) & MASK) for i in range(3)]
            state: Any = {"state": np.array([*words, 1], dtype=np.uint64)}
            self.bits.state = {"bit_generator": "SFC64", "state": state, "has_uint32": 0, "uinteger": 0}
            return torch.from_numpy(self.numpy.standard_normal((rows, *self.shape))).mul_(deviation)
        self.torch.manual_seed(self._seed(counter))
        wide = self.dtype if self.dtype.itemsize >= 4 else torch.float32
        x = torch.empty((rows, *self.shape), dtype=wide, device=self.device)
        x.normal_(0.0, deviation, generator=self.torch)
        return x if wide == self.dtype else x.to(self.dtype)

    def _seed(self, counter: int) -> int:
        if self.device.type != "cpu":
            return scramble((self.key + counter * GOLDEN) & MASK) >> 1
        # PyTorch's generator on a CPU looks at 32 bits of its seed only. A bijection of 32 bits gives different blocks
        # of one path different seeds, for 2³² of them; a hash would give two of 10⁵ blocks the same.
        return scramble32(((self.key + counter) & 0xFFFFFFFF) ^ (self.key >> 32))
