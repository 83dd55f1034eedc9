"""A site on this machine alone."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from shufflenet.errors import UserError


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder, without a line a request."""

    # As its base class has it.
    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".json": "application/json",
    }

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of `folder` on 127.0.0.1, not yet running; port 0 takes a free one. Raises UserError where the port is taken."""
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(folder)))
    except OSError as error:
        raise UserError(
            f"port {port} of 127.0.0.1 cannot be had: {error.strerror}; choose another, or 0 for a free one"
        ) from error
