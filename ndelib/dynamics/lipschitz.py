"""How steep a network can be: proven bounds on its Lipschitz constant, on how fast its flow expands, on its curvature.

Products of spectral norms: Szegedy et al. (2014). The averaged bound: Combettes & Pesquet, *SIAM Journal on Mathematics
of Data Science* 2 (2020), 529–557. Logarithmic norms: Dahlquist (1959); Söderlind, *BIT* 46 (2006), 631–652. The bound
by directions is derived in chapter 2 of the book.
"""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

DIRECTIONS = 360
"""How many directions of the plane the bound by directions tries: it is then at most 1.0001 times too large."""


def lipschitz_bound(net: nn.Module | Iterable[nn.Module], *, method: str = "best") -> float:
    """Return a number that no slope of ``net`` exceeds: ‖net(x) − net(y)‖ ≤ Λ‖x − y‖ for all x and y.

    It is proven up to rounding, and usually too large. The weights are read once, without gradients, in float64.

    Args:
        net: linear layers with activations between them: an ``nn.Sequential``, or the layers in their order.
        method: ``"product"`` multiplies the spectral norms. ``"averaged"`` is never larger: an activation with
            slopes in [0, 1] is half the identity plus half a map that does not expand. ``"directions"`` is exact over
            all patterns of slopes, and needs one hidden layer and at most two inputs and outputs. ``"best"`` takes
            the smallest bound that applies.

    Raises:
        ValueError: ``method`` is unknown or does not apply to this network, or ``net`` has a layer whose slopes are
            not known to be bounded.

    Example:
        >>> from torch import nn
        >>> from ndelib.dynamics import lipschitz_bound
        >>> net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> for weight in (net[0].weight, net[2].weight):
        ...     _ = nn.init.constant_(weight, 1.0)
        >>> round(lipschitz_bound(net), 3)  # two units of slope one
        2.0
    """
    weights, slopes = _layers(net)
    if method == "product":
        return _product(weights, slopes)
    if method == "averaged":
        return _averaged(weights, slopes)
    if method == "directions":
        return _steepness(weights, slopes)[0]
    if method != "best":
        raise ValueError(f'method must be "product", "averaged", "directions" or "best", got {method!r}')
    return _best(weights, slopes)


def one_sided_bound(net: nn.Module | Iterable[nn.Module]) -> float:
    """Return μ with (x − y)·(net(x) − net(y)) ≤ μ‖x − y‖² for all x and y: solutions part at most like e^(μt).

    Never larger than :func:`lipschitz_bound`. With one hidden layer it is sharper; up to dimension two it is found by
    directions. As a hidden unit may be flat, the bound of a plain network is at least about zero; a field
    net(y) − γy has the bound μ − γ.

    Args:
        net: linear layers with activations between them, with as many outputs as inputs.

    Raises:
        ValueError: inputs and outputs differ in number, or ``net`` has a layer whose slopes are not known to be
            bounded.

    Example:
        >>> from torch import nn
        >>> from ndelib.dynamics import lipschitz_bound, one_sided_bound
        >>> net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
        >>> one_sided_bound(net) <= lipschitz_bound(net)
        True
    """
    weights, slopes = _layers(net)
    if weights[0].shape[1] != weights[-1].shape[0]:
        raise ValueError(
            f"net must have as many outputs as inputs to be a vector field, got {weights[0].shape[1]} inputs and "
            f"{weights[-1].shape[0]} outputs"
        )
    if len(weights) == 1:
        return logarithmic_norm(weights[0]).item()
    bounds = [_best(weights, slopes)]
    if len(weights) == 2:
        (first, last), ((low, high),) = weights, slopes
        middle, spread = (low + high) / 2, (high - low) / 2
        bounds.append(middle * logarithmic_norm(last @ first).item() + spread * _norm(last) * _norm(first))
        if _is_planar(weights):
            bounds.append(_steepness(weights, slopes)[1])
    return min(bounds)


def curvature_bound(net: nn.Module | Iterable[nn.Module]) -> float:
    """Return M with ‖J(x) − J(y)‖ ≤ M‖x − y‖ for the Jacobian J of a network with one smooth hidden layer.

    M = c ‖W₂‖ ‖W₁‖ maxᵢ‖wᵢ‖, where wᵢ are the rows of W₁ and c bounds the second derivative of the activation.

    Args:
        net: ``Linear``, a smooth activation (``Tanh``, ``Sigmoid`` or ``Softplus``), ``Linear``.

    Raises:
        ValueError: ``net`` has another form.

    Example:
        >>> from torch import nn
        >>> from ndelib.dynamics import curvature_bound
        >>> net = nn.Sequential(nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 1))
        >>> for weight in (net[0].weight, net[2].weight):
        ...     _ = nn.init.constant_(weight, 1.0)
        >>> round(curvature_bound(net), 4)  # tanh'' is largest where tanh² = 1/3
        0.7698
    """
    layers = list(_flat(net))
    curvatures = [_CURVATURES[type(layer)] for layer in layers if type(layer) in _CURVATURES]
    if len(layers) != 3 or len(curvatures) != 1 or type(layers[1]) not in _CURVATURES:
        names = ", ".join(type(layer).__name__ for layer in layers)
        raise ValueError(f"net must be Linear, one of Tanh, Sigmoid and Softplus, Linear; got {names or 'no layer'}")
    first, last = _layers(layers)[0]
    beta = layers[1].beta if isinstance(layers[1], nn.Softplus) else 1.0
    return curvatures[0] * beta * _norm(last) * _norm(first) * first.norm(dim=1).max().item()


def logarithmic_norm(A: Tensor) -> Tensor:
    """Return μ(A), the largest eigenvalue of (A + Aᵀ)/2: (*, d, d) -> (*).

    It is the derivative of ‖e^(At)‖ at t = 0, and ‖e^(At)‖ ≤ e^(μt) for t ≥ 0. Unlike a norm it may be negative.

    Raises:
        ValueError: the last two dimensions of ``A`` differ.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import logarithmic_norm
        >>> A = torch.tensor([[-1.0, 4.0], [0.0, -1.0]])
        >>> round(logarithmic_norm(A).item(), 5)
        1.0
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ValueError(f"A must hold square matrices, (*, d, d); got the shape {tuple(A.shape)}")
    return torch.linalg.eigvalsh((A + A.mT) / 2)[..., -1]


# ---------------------------------------------------------------------------------------------------------------------

_SILU = 1.0998393194  # the largest slope of x·sigmoid(x); its slopes lie symmetrically about ½
_GELU = 1.1289041454  # the largest slope of x·Φ(x): 1/2 + 1/√π e^(−1) + …, at x = √2; they lie symmetrically about ½

_SLOPES: dict[type[nn.Module], tuple[float, float]] = {
    nn.ReLU: (0.0, 1.0),
    nn.Tanh: (0.0, 1.0),
    nn.Softplus: (0.0, 1.0),
    nn.Sigmoid: (0.0, 0.25),
    nn.SiLU: (1 - _SILU, _SILU),
    nn.GELU: (1 - _GELU, _GELU),
    nn.Hardtanh: (0.0, 1.0),
    nn.ReLU6: (0.0, 1.0),
}

_CURVATURES: dict[type[nn.Module], float] = {
    nn.Tanh: 4 / (3 * math.sqrt(3)),
    nn.Sigmoid: 1 / (6 * math.sqrt(3)),
    nn.Softplus: 0.25,
}


def _flat(net: nn.Module | Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield the layers of nested ``nn.Sequential``; drop-out and identities are passed over (as in evaluation)."""
    if isinstance(net, nn.Module) and not isinstance(net, nn.Sequential | nn.ModuleList):
        if not isinstance(net, nn.Identity | nn.Dropout):
            yield net
        return
    for layer in net:
        yield from _flat(layer)


def _layers(net: nn.Module | Iterable[nn.Module]) -> tuple[list[Tensor], list[tuple[float, float]]]:
    """Return the weights W₁, …, W_m in float64, and the slopes (lowest, highest) of the m − 1 activations."""
    weights: list[Tensor] = []
    slopes: list[tuple[float, float]] = []
    for layer in _flat(net):
        if isinstance(layer, nn.Linear):
            W = layer.weight.detach().double()
            if len(weights) > len(slopes):  # two linear layers in a row are one
                weights[-1] = W @ weights[-1]
            else:
                weights.append(W)
        elif len(weights) != len(slopes) + 1:
            raise ValueError(f"net must alternate linear layers and activations; {layer} stands where a Linear should")
        elif isinstance(layer, nn.LeakyReLU) and 0 <= layer.negative_slope <= 1:
            slopes.append((layer.negative_slope, 1.0))
        elif isinstance(layer, nn.ELU) and 0 < layer.alpha <= 1:
            slopes.append((0.0, 1.0))
        elif type(layer) in _SLOPES and getattr(layer, "approximate", "none") == "none":  # GELU has an approximation
            slopes.append(_SLOPES[type(layer)])
        else:
            known = ", ".join(sorted(kind.__name__ for kind in [nn.Linear, nn.LeakyReLU, nn.ELU, *_SLOPES]))
            raise ValueError(f"no bound is known for the layer {layer}; known are {known}")
    if not weights or len(weights) != len(slopes) + 1:
        raise ValueError("net must begin and end with a Linear layer")
    return weights, slopes


def _norm(W: Tensor) -> float:
    return torch.linalg.matrix_norm(W, 2).item()


def _product(weights: list[Tensor], slopes: list[tuple[float, float]]) -> float:
    steepest = [max(abs(low), abs(high)) for low, high in slopes]
    return math.prod(map(_norm, weights)) * math.prod(steepest)


def _averaged(weights: list[Tensor], slopes: list[tuple[float, float]]) -> float:
    """Write each activation's slopes as D = m I + r S with ‖S‖ ≤ 1, multiply out, and sum the norms of all terms.

    ``upto[j]`` is the sum over all terms of the first j layers that end in an S: between two S the layers merge.
    """
    middles = [abs(low + high) / 2 for low, high in slopes]
    spreads = [*((high - low) / 2 for low, high in slopes), 1.0]  # nothing stands after the last layer
    upto = [1.0]
    for j in range(len(weights)):
        block, factor, total = weights[j], 1.0, 0.0
        for i in range(j, -1, -1):  # the block W_j … W_i
            if i < j:
                block, factor = block @ weights[i], factor * middles[i]
            total += upto[i] * factor * _norm(block)
        upto.append(spreads[j] * total)
    return upto[-1]


def _best(weights: list[Tensor], slopes: list[tuple[float, float]]) -> float:
    bounds = [_product(weights, slopes), _averaged(weights, slopes)]
    if _is_planar(weights):
        bounds.append(_steepness(weights, slopes)[0])
    return min(bounds)


def _is_planar(weights: list[Tensor]) -> bool:
    return len(weights) == 2 and weights[0].shape[1] <= 2 and weights[1].shape[0] <= 2


def _steepness(weights: list[Tensor], slopes: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the bound Λ by directions, and μ (which means something for as many outputs as inputs only).

    For unit vectors u, v: vᵀW₂DW₁u = Σᵢ dᵢ aᵢbᵢ with a = W₂ᵀv, b = W₁u, and over all slopes dᵢ the largest value is
    g(u, v) = Σᵢ (m aᵢbᵢ + r|aᵢbᵢ|). As g is convex in u and in v, it is largest on a polygon's corners; the polygon
    around the circle is larger than the one in it by 1/cos(π/n) in each of the two directions.
    """
    if not _is_planar(weights):
        raise ValueError('method="directions" needs one hidden layer, and at most two inputs and two outputs')
    (first, last), ((low, high),) = weights, slopes
    a = _directions(last.shape[0], last) @ last
    b = _directions(first.shape[1], first) @ first.T
    g = (low + high) / 2 * (a @ b.T) + (high - low) / 2 * (a.abs() @ b.abs().T)
    grow = math.prod(1 / math.cos(math.pi / DIRECTIONS) for size in (a, b) if len(size) == DIRECTIONS)
    if a.shape != b.shape:
        return g.max().item() * grow, math.inf
    # Between two neighbouring corners u is a sum of both, so for v = u the corners and their neighbours matter.
    nearby = torch.stack([g.diagonal(), g.roll(1, 0).diagonal(), g.roll(1, 1).diagonal()]) if len(g) > 2 else g.diag()
    one_sided = nearby.max().item()
    return g.max().item() * grow, one_sided * (grow if one_sided > 0 else 1.0)


def _directions(d: int, like: Tensor) -> Tensor:
    """Return unit vectors of the line or the plane, (n, d)."""
    if d == 1:
        return like.new_tensor([[1.0], [-1.0]])
    angle = torch.arange(DIRECTIONS, dtype=like.dtype, device=like.device) * (2 * math.pi / DIRECTIONS)
    return torch.stack([angle.cos(), angle.sin()], dim=1)
