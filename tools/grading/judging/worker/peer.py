"""Calls in both directions over one wire: the judge calls the student's functions, and they call the judge's fields.

Either side may call while it is waiting for an answer, so a call is answered in the middle of another. The arguments
go as plain data (:mod:`.values`); a list, dictionary, tensor or array that the student's code writes into is written
back into the judge's own, as a call within one process would. Gradients cross too: see :mod:`.gradients`.
"""

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .gradients import call_with_gradient, needs_gradient
from .graphs import Graphs
from .values import BadMessage, Decoder, Encoder, Reference, lift
from .wire import Gone, Silent, Wire

LONGEST_TEXT = 2000
MOST_KINDS = 30
NOT_OF_A_TEXT = (UnicodeError, Warning, BaseExceptionGroup)
"""built-in exceptions that cannot be made of a text alone, or that are none"""


class TooLong(BaseException):
    """The student's function ran into its time limit. Not an ``Exception``: no test may expect it."""


class StudentError(Exception):
    """The student's code raised what is no built-in exception, ``SystemExit`` for one."""


class Peer:
    """One side of the wall.

    Args:
        wire: the connection.
        adopt: makes something usable of the other side's reference; called with this peer and the reference.
        report_changes: whether to tell the caller what became of the arguments; the student's side does.
        explain: says in a sentence where an error happened; empty if it has nothing to say.
        run: called with the function and its arguments, to call it under a time limit.

    ``served`` counts the calls of the other side. ``asking`` is called before each request: who limits the time of the
    other side begins to count.
    """

    def __init__(
        self,
        wire: Wire,
        adopt: "Callable[[Peer, Reference], Any]",
        *,
        report_changes: bool = False,
        explain: Callable[[BaseException], str] = lambda error: "",
        run: Callable[..., Any] = lambda function, *args, **kwargs: function(*args, **kwargs),
    ):
        self.wire = wire
        self.graphs = Graphs()
        self.handlers: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self.asking: Callable[[], None] = lambda: None
        self.served = 0
        self._adopt = adopt
        self._report_changes = report_changes
        self._explain = explain
        self._run = run
        self._objects: list[Any] = []
        self._forgotten = 0
        self._numbers: dict[int, int] = {}
        self._adopted: dict[int, tuple[Any, int]] = {}

    def forget(self) -> None:
        """Let go of everything that was exported, adopted or kept for a gradient.

        What is exported later has other numbers: who has kept something, and calls it, does not call another thing.
        """
        self.graphs.clear()
        self._forgotten += len(self._objects)
        self._objects.clear()
        self._numbers.clear()
        self._adopted.clear()

    # Calling

    def call(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the other side's object; raise what it raises, as a built-in exception of the same name."""
        found: list[torch.Tensor] = []
        lifted = lift((args, kwargs), needs_gradient, found)
        if found:
            return call_with_gradient(self.request, number, lifted, found)
        return self.request({"do": "call", "number": number}, (args, kwargs), originals=(args, kwargs))

    def request(
        self,
        message: dict[str, Any],
        value: Any = None,
        slots: "tuple[torch.Tensor, ...] | list[torch.Tensor]" = (),
        originals: Any = None,
        collect: Callable[[dict[str, Any], list[torch.Tensor]], None] | None = None,
    ) -> Any:
        """Send a request, serve what comes meanwhile, and return the answer.

        ``collect`` is given the answer's message and those of its tensors that take part in a gradient.
        """
        self.asking()
        self._send(message, value, slots)
        while True:
            answer, blob = self.wire.receive()
            if "do" in answer:
                self._serve(answer, blob)
                continue
            decoder = Decoder(blob, self._take)
            try:
                if "error" in answer:
                    raise _rebuilt(answer["error"])
                result = decoder.decode(answer["value"])
                if collect is not None:
                    collect(answer, [decoder.tensors[index] for index in range(len(decoder.tensors))])
                if originals is not None and answer.get("changed") is not None:
                    put_back(originals, decoder.decode(answer["changed"]))
            except (BadMessage, KeyError, TypeError, IndexError) as error:
                if getattr(error, "explanation", None) is not None:
                    raise  # the student's own error, rebuilt
                raise Gone(f"it does not keep to the protocol ({type(error).__name__})") from None
            return result

    def next(self, number: int) -> Any:
        """Return the next value of the other side's iterator; raise ``StopIteration`` at its end."""
        more, value = self.request({"do": "next", "number": number})
        if more is not True:
            raise StopIteration
        return value

    def progress(self, message: dict[str, Any]) -> None:
        """Send a request that has no answer."""
        self.wire.send(message)

    # Serving

    def serve_forever(self) -> None:
        """Answer requests until the other side is gone."""
        while True:
            try:
                message, blob = self.wire.receive()
            except Gone:
                return
            self._serve(message, blob)

    def _serve(self, message: dict[str, Any], blob: memoryview) -> None:
        try:
            decoder = Decoder(blob, self._take)
            try:
                value = decoder.decode(message.get("value"))
                tensors = [decoder.tensors[index] for index in range(len(decoder.tensors))]
            except (BadMessage, KeyError) as error:
                raise Gone(f"it does not keep to the protocol ({error})") from None
            kind = message["do"]
            if kind == "call":
                self._answer_call(message, value, tensors)
            elif kind == "next":
                self._send({}, self._run(_next, self._exported(message)))
            elif kind == "derivative":
                reply, result, slots = self.graphs.derivative(message, value, tensors)
                self._send(reply, result, slots)
            elif kind in self.handlers:
                result = self.handlers[kind](message)
                if kind != "progress":
                    self._send({}, result)
            else:
                raise Gone("an unknown request")
        except (Gone, Silent):
            raise
        except BaseException as error:  # whatever a student's code raises, SystemExit included, is an answer
            self.wire.send({"error": self._describe(error)})

    def _answer_call(self, message: dict[str, Any], value: Any, tensors: list[torch.Tensor]) -> None:
        function = self._exported(message)
        self.served += 1
        try:
            args, kwargs = value
        except (TypeError, ValueError):
            raise Gone("a call without arguments") from None
        if tensors:
            reply, result, slots = self.graphs.call(self._run, function, args, kwargs, tensors)
            self._send(reply, result, slots)
            return
        before = self._snapshot((args, kwargs)) if self._report_changes else None
        result = self._run(function, *args, **kwargs)
        changed = None
        if self._report_changes and self._snapshot((args, kwargs)) != before:
            changed = (args, kwargs)
        self._send({}, result, changed=changed)

    def _snapshot(self, value: Any) -> tuple[Any, bytes]:
        encoder = Encoder(self._export)
        return encoder.encode(value), bytes(encoder.blob)

    def _send(self, message: dict[str, Any], value: Any, slots: Any = (), changed: Any = None) -> None:
        encoder = Encoder(self._export, slots)
        message = {**message, "value": encoder.encode(value)}
        if changed is not None:
            message["changed"] = encoder.encode(changed)
        self.wire.send(message, encoder.blob)

    def _describe(self, error: BaseException) -> dict[str, Any]:
        try:
            text = str(error)
        except BaseException:
            text = ""
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"kinds": kinds, "text": text[:LONGEST_TEXT], "where": self._explain(error)[:LONGEST_TEXT]}

    # Objects

    def _exported(self, message: dict[str, Any]) -> Any:
        number = message.get("number")
        if type(number) is not int or not 0 <= number < self._forgotten + len(self._objects):
            raise Gone("a call of something that was never given away")
        if number < self._forgotten:
            raise RuntimeError("this function belongs to a test that is over")
        return self._objects[number - self._forgotten]

    def _export(self, value: Any) -> tuple[int, bool]:
        if id(value) in self._adopted:
            return self._adopted[id(value)][1], True
        if id(value) not in self._numbers:
            self._numbers[id(value)] = self._forgotten + len(self._objects)
            self._objects.append(value)  # kept, so that the id stays its own
        return self._numbers[id(value)], False

    def _take(self, reference: Reference) -> Any:
        if reference.own:
            place = reference.number - self._forgotten
            if not 0 <= place < len(self._objects):
                raise BadMessage("a reference to nothing")
            return self._objects[place]
        adopted = self._adopt(self, reference)
        self._adopted[id(adopted)] = adopted, reference.number
        return adopted


def _next(iterator: Any) -> tuple[bool, Any]:
    """Return whether there is another value, and it."""
    for value in iterator:
        return True, value
    return False, None


WRITABLE = (torch.Tensor, np.ndarray, list, dict, tuple)
"""What is written into, and not replaced: who holds it sees the change. (A tuple has parts like that.)"""


def put_back(original: Any, changed: Any) -> None:
    """Write what the other side made of an argument into the argument itself."""
    if isinstance(original, torch.Tensor) and isinstance(changed, torch.Tensor):
        if original.shape == changed.shape and original.dtype == changed.dtype:
            original.data.copy_(changed)
        else:
            original.data = changed
    elif isinstance(original, np.ndarray) and isinstance(changed, np.ndarray) and original.shape == changed.shape:
        original[...] = changed
    elif isinstance(original, dict) and isinstance(changed, dict):
        _put_back_parts(original, changed)
        for key in original.keys() - changed.keys():
            del original[key]
    elif isinstance(original, list) and isinstance(changed, list):
        del original[len(changed) :]
        original.extend(changed[len(original) :])
        _put_back_parts(original, dict(enumerate(changed)))
    elif isinstance(original, tuple) and isinstance(changed, tuple):
        for old, new in zip(original, changed, strict=False):
            put_back(old, new)


def _put_back_parts(original: Any, changed: dict[Any, Any]) -> None:
    for key, new in changed.items():
        old = original[key] if not isinstance(original, dict) else original.get(key)
        if type(new) is tuple and type(old) is tuple:
            original[key] = _tuple_with(old, new)
        elif isinstance(new, WRITABLE) and type(old) is type(new):
            put_back(old, new)
        elif isinstance(new, (bool, int, float, str, complex, type(None))) or type(old) is not type(new):
            original[key] = new


def _tuple_with(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return ``new``; parts that can be written into are those of ``old``, with the new values in them."""
    parts = dict(enumerate(old[: len(new)]))
    _put_back_parts(parts, dict(enumerate(new)))
    return tuple(parts.values())


def _rebuilt(info: dict[str, Any]) -> BaseException:
    """Return the error as the nearest built-in one; its ``explanation`` says where it happened."""
    kinds, text, where = info.get("kinds"), str(info.get("text", "")), str(info.get("where", ""))
    kinds = [kind for kind in kinds[:MOST_KINDS] if isinstance(kind, str)] if isinstance(kinds, list) else []
    name = kinds[0] if kinds else "an error"
    where = (where or f"It stopped with {name}: {text}".rstrip(": "))[:LONGEST_TEXT]
    if "TimeLimit" in kinds:
        return TooLong(where)
    error: Exception = StudentError(f"{name}: {text}"[:LONGEST_TEXT])
    for kind in kinds:
        known = getattr(builtins, kind, None)
        if isinstance(known, type) and issubclass(known, Exception) and not issubclass(known, NOT_OF_A_TEXT):
            error = known(text[:LONGEST_TEXT])
            break
    error.explanation = where  # type: ignore[attr-defined]
    return error
