"""Messages over a socket: a length, JSON, a length, bytes; with a deadline and a largest size on everything."""

import json
import socket
import struct
import time
from typing import Any

from .values import BadMessage

LARGEST_JSON = 64 * 2**20
LARGEST_BLOB = 256 * 2**20
HEAD = struct.Struct(">II")
# A field is called ten thousand times for a submission: what these would make anew for each message is made once.
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_from_json = json.JSONDecoder().decode


class Silent(BaseException):
    """The other side did not answer before the deadline. Not an ``Exception``: no test may take it for an answer."""


class Gone(BaseException):
    """The other side has ended, or speaks nonsense. Not an ``Exception``, for the same reason."""


class Wire:
    """Sends and receives messages.

    ``deadline`` is a time of ``time.monotonic()`` or None, ``budget`` how many bytes may still come, or None.
    """

    def __init__(self, connection: socket.socket):
        self.deadline: float | None = None
        self.budget: int | None = None
        self._socket = connection
        self._buffer = bytearray()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send(self, message: dict[str, Any], blob: bytes | bytearray = b"") -> None:
        """Send one message."""
        text = _to_json(message).encode()
        if len(text) > LARGEST_JSON or len(blob) > LARGEST_BLOB:
            raise ValueError("the value is too large to be sent")
        try:
            self._wait()
            self._socket.sendall(b"".join((HEAD.pack(len(text), len(blob)), text, blob)))
        except TimeoutError:
            raise Silent from None
        except OSError:
            raise Gone from None

    def receive(self) -> tuple[dict[str, Any], memoryview]:
        """Wait for one message."""
        json_size, blob_size = HEAD.unpack(self._read(HEAD.size))
        if json_size > LARGEST_JSON or blob_size > LARGEST_BLOB:
            raise Gone("a message is too large")
        body = self._read(json_size + blob_size)
        text, blob = body[:json_size], body[json_size:]
        try:
            message = _from_json(str(text, "utf-8"))
        except (ValueError, RecursionError):
            raise Gone("a message is no JSON") from None
        if not isinstance(message, dict):
            raise Gone("a message is no object")
        return message, blob

    def _read(self, size: int) -> memoryview:
        # Grows with what has come: a header alone must not make this side reserve memory.
        while len(self._buffer) < size:
            try:
                self._wait()
                came = self._socket.recv(2**18)
            except TimeoutError:
                raise Silent from None
            except OSError:
                raise Gone from None
            if not came:
                raise Gone("it has ended")
            self._buffer += came
            if self.budget is not None:
                self.budget -= len(came)
                if self.budget < 0:
                    raise Gone("it sends too much")
        part = self._buffer[:size]
        del self._buffer[:size]  # moves nothing; a new buffer for each of thousands of small messages would
        return memoryview(part)

    def _wait(self) -> None:
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)


__all__ = ["BadMessage", "Gone", "Silent", "Wire"]
