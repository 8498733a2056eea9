"""The pipe between judge and student: values come over as they are, gradients too, and nonsense is refused."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

from tools.grading.judging.judge import StudentIterator
from tools.grading.judging.worker.peer import Peer, StudentError, put_back
from tools.grading.judging.worker.values import BadMessage, Decoder, Encoder
from tools.grading.judging.worker.wire import Gone, Silent, Wire


def adopt(peer: Peer, reference: Any) -> Any:
    if reference.iterator:
        return StudentIterator(peer, reference)
    return lambda *args, **kwargs: peer.call(reference.number, args, kwargs)


@pytest.fixture
def over_there() -> Iterator[Callable[[Any], Any]]:
    """Return a function that gives a stand-in for a function that lives on the other side of a wire."""
    ours, theirs = socket.socketpair()
    near, far = Peer(Wire(ours), adopt), Peer(Wire(theirs), adopt, report_changes=True)
    functions: list[Any] = []
    far.handlers["get"] = lambda message: functions[-1]
    threading.Thread(target=far.serve_forever, daemon=True).start()

    def stand_in(function: Any) -> Any:
        functions.append(function)
        return near.request({"do": "get"})

    yield stand_in
    ours.close()


VALUES = [
    None, True, 3, 10**40, -0.0, float("inf"), 1 - 2j, "é\n\udc80", b"\x00", ..., (1, [2, (3,)]), {"a": {1.5: None}},
    {1, 2},    torch.float64, np.float32(0.1), np.arange(6).reshape(2, 3), np.array([True, False]),
    torch.tensor(2.5), torch.zeros(0, 3), torch.tensor([True, False]), torch.tensor([1 + 2j]), torch.ones(2, 3).T,
    torch.arange(4, dtype=torch.int16), torch.tensor([1.0], dtype=torch.bfloat16),
]  # fmt: skip


def same(got: Any, want: Any) -> bool:
    if isinstance(want, (torch.Tensor, np.ndarray)):
        return (
            type(got) is type(want)
            and got.dtype == want.dtype
            and got.shape == want.shape
            and bool((got == want).all())
        )
    if isinstance(want, tuple):
        return type(got) is tuple and all(map(same, got, want))
    return type(got) is type(want) and got == want


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_it_went(over_there, value):
    assert same(over_there(lambda x: x)(value), value)


def test_nan_and_the_sign_of_zero_survive(over_there):
    echo = over_there(lambda x: x)
    assert np.isnan(echo(float("nan")))
    assert np.signbit(echo(-0.0))


def field(y: torch.Tensor) -> torch.Tensor:
    return torch.stack([y[0] * y[1], torch.sin(y[2]), y[0] ** 3])


def potential(q: torch.Tensor) -> torch.Tensor:
    return (torch.sin(q) ** 2).prod() + (q**4).sum()


DERIVATIVES: list[tuple[str, Any, Any]] = [
    ("grad", lambda f, y: grad(f)(y), potential),
    ("jacrev", lambda f, y: jacrev(f)(y), field),
    ("jacfwd", lambda f, y: jacfwd(f)(y), field),
    ("jvp", lambda f, y: jvp(f, (y,), (y * y,))[1], field),
    ("hessian", lambda f, y: hessian(f)(y), potential),
    ("third derivative", lambda f, y: jacrev(jacrev(jacrev(f)))(y), potential),
    ("vmap of grad", lambda f, y: vmap(grad(f))(torch.stack([y, 2 * y])), potential),
    ("vmap of hessian", lambda f, y: vmap(hessian(f))(torch.stack([y, 2 * y])), potential),
    ("autograd.functional", lambda f, y: torch.autograd.functional.jacobian(f, y), field),
    ("constant", lambda f, y: jacrev(f)(y), lambda y: torch.ones(2, dtype=y.dtype)),
]


@pytest.mark.parametrize(("transform", "function"), [case[1:] for case in DERIVATIVES], ids=[c[0] for c in DERIVATIVES])
def test_the_students_code_differentiates_the_judges_function(over_there, transform, function):
    y = torch.tensor([0.3, 0.5, -0.7], dtype=torch.float64)
    got = over_there(lambda f, y: transform(f, y))(function, y)
    torch.testing.assert_close(got, transform(function, y))


def test_the_judge_differentiates_the_students_function_twice(over_there):
    there = over_there(lambda a, b: (a * b.sin(), b.sum()))

    def scalar(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        first, second = there(a, b)
        return first.pow(2).sum() * second

    inputs = [torch.tensor([0.3, -1.2], dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(scalar, inputs)
    assert torch.autograd.gradgradcheck(scalar, inputs)


def test_what_a_function_does_to_its_arguments_happens_here_too(over_there):
    numbers, tensor, table, array = [3, 1, 2], torch.zeros(2), {"a": [1], "b": 2}, np.zeros(2)

    def change(numbers: Any, tensor: Any, table: Any, array: Any) -> None:
        numbers.sort()
        numbers.append(9)
        tensor.add_(1)
        table["a"].append(5)
        del table["b"]
        array[0] = 7

    over_there(change)(numbers, tensor, table, array)
    assert numbers == [1, 2, 3, 9]
    assert tensor.tolist() == [1, 1]
    assert table == {"a": [1, 5]}
    assert array.tolist() == [7, 0]


def test_a_generator_makes_its_values_there_one_by_one(over_there):
    made = []

    def halves(y):
        for n in range(3):
            made.append(n)
            y = y / 2
            yield y

    values = iter(over_there(halves)(torch.tensor([8.0])))
    assert next(values).item() == 4.0
    assert made == [0]
    assert [value.item() for value in values] == [2.0, 1.0]
    with pytest.raises(StopIteration):
        next(values)


def test_a_generator_without_end_runs_out_of_what_it_may_send():
    ours, theirs = socket.socketpair()
    wire = Wire(ours)
    wire.budget = 1000

    def receive_all():
        for _ in range(100):
            Wire(theirs).send({"value": "x" * 100})
            wire.receive()

    with theirs, pytest.raises(Gone, match="too much"):
        receive_all()


def test_put_back_shortens_and_replaces():
    kept = [1, [2], 3]
    put_back(kept, [1, "x"])
    assert kept == [1, "x"]


def test_put_back_reorders_a_list_of_tuples_and_keeps_what_can_be_written_into():
    vector = torch.tensor([1.0])
    kept = [(0, vector), (4, [5])]
    put_back(kept, [(4, torch.tensor([2.0])), (0, [6], "more")])
    assert kept == [(4, vector), (0, [6], "more")]
    assert kept[0][1] is vector
    assert vector.item() == 2.0


class Odd(LookupError):
    pass


@pytest.mark.parametrize(
    ("raised", "comes"),
    [
        (ValueError("no"), ValueError),
        (Odd("no"), LookupError),
        (SystemExit(0), StudentError),
        (UnicodeError("no"), ValueError),
        (ExceptionGroup("no", [ValueError()]), Exception),
    ],
)
def test_errors_come_over_as_built_in_ones(over_there, raised, comes):
    def fail() -> None:
        raise raised

    with pytest.raises(comes) as caught:
        over_there(fail)()
    assert type(caught.value) is comes


def test_an_error_of_the_judges_function_reaches_the_student_and_comes_back(over_there):
    def forgiving(f: Any) -> str:
        try:
            return str(f())
        except ZeroDivisionError as error:
            return f"caught {error}"

    assert over_there(forgiving)(lambda: 1 // 0).startswith("caught")


def test_a_function_that_goes_there_and_back_is_itself(over_there):
    def f() -> None: ...

    assert over_there(lambda g: [g])(f)[0] is f


COLLIDING = [key * (2**61 - 1) for key in range(200)]  # their hashes are all 0
BAD = [
    {"!": "tensor", "dtype": "float64", "shape": [10**12], "at": 0, "size": 8},
    {"!": "tensor", "dtype": "float64", "shape": [-1], "at": 0, "size": 8},
    {"!": "tensor", "dtype": "object", "shape": [1], "at": 0, "size": 8},
    {"!": "tensor", "dtype": "float64", "shape": [1], "at": 4, "size": 8},
    {"!": "array", "dtype": "|O", "shape": [1], "at": 0, "size": 8},
    {"!": "object", "number": "1", "callable": True, "text": "x"},
    {"!": "set", "parts": [[1]]},
    {"!": "dict", "pairs": [[1]]},
    {"!": "set", "parts": COLLIDING},
    {"!": "dict", "pairs": [[key, 1] for key in COLLIDING]},
    {"!": "slot", "index": "0", "dtype": "float64", "shape": [1], "at": 0, "size": 8},
    {"!": "pickle", "at": 0, "size": 8},
    {"x": 1},
    {"!": ["tensor"]},
]  # fmt: skip


@pytest.mark.parametrize("data", BAD, ids=lambda data: str(data)[:60])
def test_nonsense_is_refused(data):
    with pytest.raises(BadMessage):
        Decoder(memoryview(bytes(8)), lambda reference: None).decode(data)


def test_a_value_without_end_is_refused_on_both_sides():
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested"):
        Encoder(lambda value: (0, False)).encode(endless)
    deep: Any = 0
    for _ in range(100):
        deep = [deep]
    with pytest.raises(BadMessage):
        Decoder(memoryview(b""), lambda reference: None).decode(deep)


def test_nothing_of_the_senders_decides_when_values_are_compared():
    class Equal(dict):
        def __eq__(self, other: object) -> bool:
            return True

    encoder = Encoder(lambda value: (0, False))
    got = Decoder(memoryview(b""), lambda reference: None).decode(encoder.encode(Equal(a=1)))
    assert type(got) is dict
    assert got != {"a": 2}


@pytest.mark.parametrize(
    "sent", [b"\xff" * 8, b"\x00\x00\x00\x02\x00\x00\x00\x00[]", b"\x00\x00\x00\x01\x00\x00\x00\x00{"]
)
def test_a_wire_refuses_what_is_too_large_or_no_object(sent):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        with pytest.raises(Gone):
            Wire(ours).receive()


def test_a_wire_waits_no_longer_than_its_deadline():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire = Wire(ours)
        wire.deadline = 0.0
        with pytest.raises(Silent):
            wire.receive()


def test_a_function_that_was_kept_does_not_become_another_one():
    """Its test is over; what the next test gives away has numbers of its own."""
    ours, theirs = socket.socketpair()
    judge, student = Peer(Wire(ours), adopt), Peer(Wire(theirs), adopt, report_changes=True)
    kept: list[Any] = []

    def keep(field: Callable[[float], float], x: float) -> list[float]:
        kept.append(field)
        return [function(x) for function in kept]

    student.handlers["get"] = lambda message: keep
    student.handlers["forget"] = lambda message: student.forget()
    threading.Thread(target=student.serve_forever, daemon=True).start()
    assert judge.request({"do": "get"})(lambda x: x + 1, 1.0) == [2.0]
    judge.forget()
    judge.request({"do": "forget"})
    second = judge.request({"do": "get"})
    with pytest.raises(RuntimeError, match="belongs to a test that is over"):
        second(lambda x: x + 10, 1.0)
    kept.clear()
    assert second(lambda x: x + 10, 1.0) == [11.0]
    ours.close()


@pytest.mark.parametrize("shape", [(2**26, 0), (2**10, 2**10, 0), (0, 2**26)])
def test_nothing_in_millions_of_rows_is_refused(shape: tuple[int, ...]):
    """Lists of them take a minute in C, where no limit on time reaches."""
    assert Decoder(memoryview(b""), abs).decode(Encoder(abs).encode(torch.empty(5, 0))).shape == (5, 0)
    for value in (torch.empty(shape), np.empty(shape)):
        with pytest.raises(BadMessage):
            Decoder(memoryview(b""), abs).decode(Encoder(abs).encode(value))  # type: ignore[arg-type]
