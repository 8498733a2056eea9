"""``python -m worker CONFIG``: limit this process, then run a notebook and answer calls on its functions.

CONFIG is JSON: ``socket`` (the number of an open file), ``limits``, ``user``, ``cell_s``, ``call_s``.
"""

import json
import os
import socket
import sys
from typing import Any


def main() -> None:
    """Serve one judge until it hangs up."""
    from .limits import apply, time_limit

    config = json.loads(sys.argv[1])
    apply(config["limits"], config["user"])
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # whatever is printed, a gigabyte too, goes nowhere
        os.dup2(nothing, stream)

    from ndelib.exercises.engine import students_line

    from .cells import Notebook
    from .peer import Peer
    from .values import Reference
    from .wire import Wire

    connection = socket.socket(fileno=config["socket"])
    notebook = Notebook(config["cell_s"])

    def field(peer: Peer, reference: Reference) -> Any:
        """Return a function that calls the judge's."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return peer.call(reference.number, args, kwargs)

        call.__name__ = call.__qualname__ = reference.text if reference.text.isidentifier() else "f"
        return call

    def timed(function: Any, *args: Any, **kwargs: Any) -> Any:
        with time_limit(config["call_s"]):
            return function(*args, **kwargs)

    peer = Peer(
        Wire(connection),
        field,
        report_changes=True,
        explain=lambda error: students_line(error, notebook.names),
        run=timed,
    )

    def run(message: dict[str, Any]) -> Any:
        begin = lambda number: peer.progress({"do": "progress", "cell": number})  # noqa: E731
        return notebook.run(message["cells"], message["skip"], begin)

    def get(message: dict[str, Any]) -> Any:
        name = message["name"]
        return (name in notebook.names, notebook.names.get(name))

    def forget(message: dict[str, Any]) -> None:
        peer.forget()

    peer.handlers.update(run=run, get=get, forget=forget)
    peer.progress({"do": "progress", "cell": -1})
    peer.serve_forever()


if __name__ == "__main__":
    main()
