"""Plain data on the wire: a value as JSON, with the bytes of its tensors and arrays behind it. Never pickle.

Whoever decodes builds real Python, NumPy and PyTorch objects of a fixed list of types, from checked sizes. Nothing that
the sender defines, a class, a method, ``__eq__``, can come along. Everything else crosses as a *reference*: a number
and a short text, which the receiver may call, or ask for its next value if it is an iterator, and no more.
"""

import math
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

MAX_NODES = 2_000_000
MAX_DEPTH = 60
SHOWN = 200
MOST_COLLIDING = 100
MOST_EMPTY = 10_000
"""How long a side of a tensor without numbers may be: to make lists of millions of empty rows takes C a minute."""

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.bool),
        *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    )
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
ARRAYS = {np.dtype(kind).str for kind in [*np.typecodes["AllInteger"], "e", "f", "d", "F", "D", "?"]}

LISTS: tuple[type, ...] = (deque, array, type({}.values()))
"""what goes as the list of its parts, because a comparison takes it for one"""


class BadMessage(Exception):
    """What came over the wire is not in the protocol; the other side is broken or hostile."""


@dataclass(frozen=True)
class Slot:
    """Stands in a value for a tensor that takes part in a gradient; the tensors themselves are in a list."""

    index: int


@dataclass(frozen=True)
class Reference:
    """Something that is not plain data: the sender's, or the receiver's ``own``, come back."""

    number: int
    callable: bool
    text: str
    own: bool = False
    iterator: bool = False


class Encoder:
    """Turns values into JSON and one block of bytes.

    Args:
        export: gives a number to an object that is not plain data, by which the other side can refer to it, and says
            whether the object is the other side's own, come back.
        slots: the tensors that :class:`Slot` stands for.
    """

    def __init__(self, export: Callable[[Any], tuple[int, bool]], slots: Sequence[torch.Tensor] = ()):
        self.blob = bytearray()
        self._export = export
        self._slots = slots

    def encode(self, value: Any, depth: int = 0) -> Any:
        """Return the JSON of ``value``; raise ``ValueError`` where it is nested too deeply, as a cycle is."""
        if depth > MAX_DEPTH:
            raise ValueError("the value is nested too deeply")
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if kind is Slot:
            return {"!": "slot", "index": value.index, **self._tensor(self._slots[value.index])}
        if isinstance(value, torch.Tensor):
            try:
                return {"!": "tensor", **self._tensor(value)}
            except Exception:  # on the meta device, escaped from vmap, sparse, quantised, of an odd class or type
                return self._other(value)
        if kind.__module__.partition(".")[0] == "pandas" and hasattr(value, "to_numpy"):
            value = value.to_numpy()
        if isinstance(value, np.ndarray):
            plain = np.asarray(value)  # of a matrix or a masked array its numbers, which are what a comparison takes
            if type(plain) is np.ndarray and plain.dtype.str in ARRAYS:
                return {"!": "array", "dtype": plain.dtype.str, "shape": plain.shape, **self._bytes(plain.tobytes())}
        if isinstance(value, np.generic) and value.dtype.str in ARRAYS:
            return {"!": "scalar", "dtype": value.dtype.str, **self._bytes(value.tobytes())}
        if kind is list or isinstance(value, LISTS):
            return [self.encode(part, depth + 1) for part in value]
        if isinstance(value, (tuple, set, frozenset)):
            name = "tuple" if isinstance(value, tuple) else "set"
            return {"!": name, "parts": [self.encode(part, depth + 1) for part in value]}
        if isinstance(value, dict):
            pairs = [[self.encode(key, depth + 1), self.encode(part, depth + 1)] for key, part in value.items()]
            return {"!": "dict", "pairs": pairs}
        return self._other(value)

    def _other(self, value: Any) -> dict[str, Any]:
        if value is ...:
            return {"!": "ellipsis"}
        if type(value) is complex:
            return {"!": "complex", "parts": [value.real, value.imag]}
        if type(value) is bytes:
            return {"!": "bytes", **self._bytes(value)}
        if isinstance(value, torch.dtype) and value in NAMES:
            return {"!": "dtype", "name": NAMES[value]}
        for base in (bool, int, float, str):  # a subclass, as of an enumeration: its plain value
            if isinstance(value, base):
                return {"!": "plain", "value": base(value)}
        try:
            text = getattr(value, "__name__", None)
            text = text or (type(value).__name__ if isinstance(value, torch.Tensor) else repr(value))
            text = text if isinstance(text, str) else ""
        except Exception:
            text = ""
        number, returned = self._export(value)
        kind = "own" if returned else "object"
        about = {"callable": callable(value), "iterator": isinstance(value, Iterator), "text": text[:SHOWN]}
        return {"!": kind, "number": number, **about}

    def _tensor(self, tensor: torch.Tensor) -> dict[str, Any]:
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        data = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        return {"dtype": NAMES[plain.dtype], "shape": list(plain.shape), **self._bytes(data)}

    def _bytes(self, data: bytes) -> dict[str, int]:
        start = len(self.blob)
        self.blob += data
        return {"at": start, "size": len(data)}


class Decoder:
    """Builds values from JSON and a block of bytes, and believes neither.

    ``tensors`` collects, in order of their index, the tensors that a :class:`Slot` stands for.
    """

    def __init__(self, blob: memoryview, adopt: Callable[[Reference], Any]):
        self.tensors: dict[int, torch.Tensor] = {}
        self._blob = blob
        self._adopt = adopt
        self._nodes = 0

    def decode(self, data: Any, depth: int = 0) -> Any:
        """Return the value; raise ``BadMessage`` where the data are not in the protocol."""
        self._nodes += 1
        if depth > MAX_DEPTH + 1 or self._nodes > MAX_NODES:
            raise BadMessage("a value is too large or nested too deeply")
        if data is None or type(data) in (bool, int, float, str):
            return data
        if type(data) is list:
            return [self.decode(part, depth + 1) for part in data]
        try:
            return self._tagged(data, depth)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
            raise BadMessage(f"a value is malformed: {type(error).__name__}") from None

    def _tagged(self, data: dict[str, Any], depth: int) -> Any:
        kind = data["!"]
        if kind in ("tensor", "slot"):
            tensor = self._tensor(data)
            if kind == "tensor":
                return tensor
            index = data["index"]
            if type(index) is not int or index in self.tensors:
                raise BadMessage("a slot is used twice")
            self.tensors[index] = tensor
            return Slot(index)
        if kind in ("tuple", "set"):
            parts = [self.decode(part, depth + 1) for part in data["parts"]]
            return tuple(parts) if kind == "tuple" else set(_keys(parts))
        if kind == "dict":
            pairs = [(self.decode(key, depth + 1), self.decode(value, depth + 1)) for key, value in data["pairs"]]
            _keys([key for key, _ in pairs])
            return dict(pairs)
        if kind in ("array", "scalar"):
            if data["dtype"] not in ARRAYS:
                raise BadMessage("an array of an unknown type")
            flat = np.frombuffer(self._part(data), dtype=data["dtype"]).copy()
            if flat.dtype == bool:  # any byte but 0 and 1 in a bool is undefined behaviour
                flat = flat.view(np.uint8) != 0
            return flat.reshape(_shape(data)) if kind == "array" else flat[0]
        if kind in ("object", "own"):
            number, is_callable, iterates, text = data["number"], data["callable"], data["iterator"], data["text"]
            if (type(number), type(is_callable), type(iterates), type(text)) != (int, bool, bool, str):
                raise BadMessage("a reference is malformed")
            return self._adopt(Reference(number, is_callable, text[:SHOWN], kind == "own", iterates))
        if kind == "ellipsis":
            return ...
        if kind == "complex":
            return complex(*map(float, data["parts"]))
        if kind == "bytes":
            return bytes(self._part(data))
        if kind == "dtype":
            return DTYPES[data["name"]]
        if kind == "plain" and type(data["value"]) in (bool, int, float, str):
            return data["value"]
        raise BadMessage("a value of an unknown kind")

    def _tensor(self, data: dict[str, Any]) -> torch.Tensor:
        dtype, shape, part = DTYPES[data["dtype"]], _shape(data), self._part(data)
        if math.prod(shape) * dtype.itemsize != len(part):
            raise BadMessage("a tensor whose shape does not fit its data")
        if not len(part):
            return torch.empty(shape, dtype=dtype)
        if dtype is torch.bool:  # any other byte in a bool is undefined behaviour
            return torch.frombuffer(bytearray(part), dtype=torch.uint8).reshape(shape) != 0
        return torch.frombuffer(bytearray(part), dtype=dtype).reshape(shape)

    def _part(self, data: dict[str, Any]) -> memoryview:
        start, size = data["at"], data["size"]
        if type(start) is not int or type(size) is not int or not 0 <= start <= start + size <= len(self._blob):
            raise BadMessage("data beyond the end of the message")
        return self._blob[start : start + size]


def _keys(keys: list[Any]) -> list[Any]:
    """Return the keys; refuse them where many have one hash: sets of such take hours, where no time limit reaches."""
    if len(keys) > MOST_COLLIDING and max(Counter(map(hash, keys)).values()) > MOST_COLLIDING:
        raise BadMessage("too many keys with one hash")
    return keys


def _shape(data: dict[str, Any]) -> tuple[int, ...]:
    shape = tuple(data["shape"])
    if len(shape) > 32 or not all(type(size) is int and 0 <= size < 2**40 for size in shape):
        raise BadMessage("a shape that is none")
    if 0 in shape and math.prod(filter(None, shape)) > MOST_EMPTY:
        raise BadMessage("nothing, in too many rows")
    return shape


def lift(value: Any, chosen: Callable[[torch.Tensor], bool], found: list[torch.Tensor]) -> Any:
    """Return ``value`` with the chosen tensors replaced by slots, and append those tensors to ``found``."""
    if isinstance(value, torch.Tensor):
        if not chosen(value):
            return value
        found.append(value)
        return Slot(len(found) - 1)
    if isinstance(value, tuple):
        return tuple(lift(part, chosen, found) for part in value)
    if type(value) is list:
        return [lift(part, chosen, found) for part in value]
    if type(value) is dict:
        return {key: lift(part, chosen, found) for key, part in value.items()}
    return value


def fill(value: Any, tensors: Sequence[torch.Tensor]) -> Any:
    """Return ``value`` with tensors in the place of its slots: what :func:`lift` took out."""
    if type(value) is Slot:
        return tensors[value.index]
    if type(value) is tuple:
        return tuple(fill(part, tensors) for part in value)
    if type(value) is list:
        return [fill(part, tensors) for part in value]
    if type(value) is dict:
        return {key: fill(part, tensors) for key, part in value.items()}
    return value
