"""``python -m worker CONFIG``: run a notebook and answer calls on its functions, or make copies that do.

CONFIG is JSON: ``socket`` (the number of an open file), ``nursery``, ``limits``, ``user``, ``call_s``,
``scratch_mb``.
"""

import json
import os
import socket
import sys
from typing import Any

IMPORTED = (
    *("contourpy", "matplotlib.backends.backend_agg", "matplotlib.pyplot", "IPython.display"),
    *("scipy.integrate", "scipy.optimize", "scipy.stats", "sklearn.datasets", "torch.func"),
    *("ndelib.datasets", "ndelib.exercises", "ndelib.models", "ndelib.physics", "ndelib.plotting", "ndelib.training"),
)
"""What notebooks import, once for a class; they may import anything else."""


def main() -> None:
    """Serve one judge until it hangs up."""
    from .limits import apply

    config = json.loads(sys.argv[1])
    if config["nursery"]:
        nursery(config)  # returns in its children
    else:
        apply(config["limits"], config["user"])
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # whatever is printed, a gigabyte too, goes nowhere
        os.dup2(nothing, stream)
    os.close(nothing)
    serve(config)


def nursery(config: dict[str, Any]) -> None:
    """Import all that notebooks import, then make a copy of this process for every connection that is sent."""
    import contextlib
    import gc
    import importlib
    import signal
    from pathlib import Path

    gc.disable()  # it would look for garbage in what is being imported, and find none
    import torch

    from . import cells, peer  # noqa: F401
    from .limits import apply
    from .lock_in import lock_in

    for name in IMPORTED:
        with contextlib.suppress(ImportError):  # a notebook that needs it will say so
            importlib.import_module(name)
    torch.func.jacrev(torch.sin)(torch.ones(1))  # the first use of torch.func imports for seconds
    gc.freeze()  # nor shall a copy look there, which would make all of it its own
    gc.enable()
    lists = Path("/scratch/matplotlib").glob("*.json")
    fonts = {str(path.relative_to("/scratch")): path.read_bytes() for path in lists}
    control = socket.socket(fileno=config["socket"])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control.sendall(b"R")
    while True:
        message, files, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            os._exit(0)
        if os.fork():
            for file in files:
                os.close(file)
            continue
        control.close()
        try:
            lock_in(config["user"], config["scratch_mb"], fonts)
        except OSError:
            os._exit(1)
        apply(config["limits"], None)
        config["socket"] = files[0]
        return


def serve(config: dict[str, Any]) -> None:
    """Answer one judge."""
    import torch

    from ndelib.exercises.engine import students_line

    from .cells import Notebook
    from .limits import time_limit
    from .peer import Peer
    from .values import Reference
    from .wire import Wire

    notebook = Notebook()

    def field(peer: Peer, reference: Reference) -> Any:
        """Return a function that calls the judge's."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return peer.call(reference.number, args, kwargs)

        call.__name__ = call.__qualname__ = reference.text if reference.text.isidentifier() else "f"
        return call

    call_s: float = config["call_s"]

    def timed(function: Any, *args: Any, **kwargs: Any) -> Any:
        with time_limit(call_s):
            return function(*args, **kwargs)

    peer = Peer(
        Wire(socket.socket(fileno=config["socket"])),
        field,
        report_changes=True,
        explain=lambda error: students_line(error, notebook.names),
        run=timed,
    )

    def run(message: dict[str, Any]) -> Any:
        def begin(number: int) -> None:
            peer.progress({"do": "progress", "cell": number})

        return notebook.run(message["cells"], message["skip"], message["answers"], message["limits_s"], begin)

    def limit(message: dict[str, Any]) -> None:
        nonlocal call_s
        call_s = message["seconds"]

    def get(message: dict[str, Any]) -> Any:
        name = message["name"]
        return (name in notebook.names, notebook.names.get(name))

    def forget(message: dict[str, Any]) -> None:
        peer.forget()

    # A process that a student's code forks goes on where it is, but does not answer in this one's place.
    os.register_at_fork(after_in_child=peer.wire.close)
    peer.handlers.update(run=run, limit=limit, get=get, forget=forget)
    torch.func.jacrev(torch.sin)(torch.ones(1))  # the first use imports for seconds, which are not the student's
    peer.progress({"do": "progress", "cell": -1})
    peer.serve_forever()


if __name__ == "__main__":
    main()
