"""The repository as a public host would serve it: one archive of the working tree under the release's tag."""

import io
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def published_files(root: Path) -> list[str]:
    """Return the names of what git would publish: tracked, or new and not ignored.

    A copy that was downloaded without git has no list; there it is everything but what our own commands made.
    """
    if (root / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = set(subprocess.check_output(command, cwd=root, text=True).split("\0"))
    else:
        made = (".venv/", "_build/")
        paths = (path.relative_to(root).as_posix() for path in root.rglob("*"))
        names = {name for name in paths if not name.startswith(made) and "__pycache__" not in name}
    # A tracked file may be deleted in the working tree.
    return sorted(name for name in names if (root / name).is_file())


def zip_of_tree(root: Path, folder: str) -> bytes:
    """Zip the published files, in one top folder as GitHub does."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in published_files(root):
            archive.write(root / name, f"{folder}/{name}")
    return buffer.getvalue()


@contextmanager
def serve(path: str, content: bytes) -> Iterator[str]:
    """Serve ``content`` at ``path`` on a free port of this machine, and nothing else; yields http://127.0.0.1:PORT."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != path:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/zip")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            """Keep the test's output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
