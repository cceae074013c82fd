"""The server behind the page: it listens on this machine only, and answers only its own page."""

import json
import logging
import re
import secrets
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from speechasym.errors import ConfigError, OutputError, SpeechAsymError
from speechasym.explorer.recordings import GoneError
from speechasym.explorer.session import Answer, Session, UnknownError

log = logging.getLogger("speechasym")

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;"
    " style-src 'self' 'unsafe-inline'"
)
TYPES = {
    "txt": "text/plain; charset=utf-8",
    "html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8", "svg": "image/svg+xml", "json": "application/json",
    "wav": "audio/wav", "csv": "text/csv; charset=utf-8", "tile": "application/octet-stream",
}  # fmt: skip
LARGEST = 32 << 20  # bytes of a request
OURS = "speechasym"  # what X-Requested-With must be: pages of other origins cannot send it


class Server(ThreadingHTTPServer):
    """A server on 127.0.0.1 for one session, below a secret path.

    Args:
        port: 0: a free one.

    Raises `ConfigError` where it cannot listen.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session, self.token = session, secrets.token_urlsafe(18)
        self._connections: set[socket.socket] = set()
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            problem = f"cannot listen on port {port} ({error})"
            raise ConfigError("port", problem, "Choose another, or 0 for a free one") from error

    @property
    def address(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection, and remember it until it closes."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, and close the connections that pages keep open: they notice it."""
        super().server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore browsers that have gone; log the rest."""
        log.debug("explore: request failed", exc_info=True)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection of the page."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "speechasym", ""
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    timeout = 300  # s without a request

    def log_message(self, format: str, *args: Any) -> None:
        """Keep requests out of the terminal."""
        log.debug(format, *args)

    def do_GET(self) -> None:
        """Answer a request for the page, or for what it shows."""
        self._answer(b"")

    def do_POST(self) -> None:
        """Answer a request that saves or records."""
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= LARGEST:
            self.close_connection = True
            return self._fail(400, f"The body must have a length of at most {LARGEST} bytes.")
        body = self.rfile.read(length)
        if self.headers.get("X-Requested-With") != OURS:
            return self._refuse(403, "Requests that save something must come from the page.")
        return self._answer(body)

    def _answer(self, body: bytes) -> None:
        port = self.server.server_port
        hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        origin = self.headers.get("Origin")
        url = urlsplit(self.path)
        parts = url.path.split("/")[1:]
        if self.headers.get("Host") not in hosts:
            return self._refuse(403, "This server answers to 127.0.0.1 only.")
        if origin is not None and origin not in [f"http://{host}" for host in hosts]:
            return self._refuse(403, "This server answers its own page only.")
        if not secrets.compare_digest(parts[0].encode(), self.server.token.encode()):
            text = "Not here: open the whole address that speechasym explore printed."
            return self._refuse(404, text)
        options = dict(parse_qsl(url.query, keep_blank_values=True))
        session, rest = self.server.session, parts[1:]
        answer: Answer | None
        try:
            if self.command == "POST":
                answer = session.post(rest, options, body)
            else:
                answer = _static(rest) or session.get(rest, options)
        except SpeechAsymError as error:
            return self._fail(_status(error), str(error))
        except Exception as error:  # a defect; the page must hear of it, and the server stay
            text = f"{rest[-1]}: {type(error).__name__}: {error}. Please report it, with the file."
            log.error("%s", text)
            log.debug("%s", self.path, exc_info=True)
            return self._fail(500, text)
        if answer is None:
            return self._send(204, "", b"")
        return self._send(200, TYPES[answer.kind], answer.body, answer.filename)

    def _refuse(self, status: int, text: str) -> None:
        self._send(status, TYPES["txt"], f"{text}\n".encode())

    def _fail(self, status: int, text: str) -> None:
        self._send(status, TYPES["json"], json.dumps({"error": text}).encode())

    def _send(self, status: int, kind: str, body: bytes, filename: str = "") -> None:
        with suppress(ConnectionError):  # the browser has gone
            self.send_response(status)
            if kind:
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
            if filename:
                name = re.sub(r"[^\w.-]+", "_", filename, flags=re.ASCII)
                self.send_header("Content-Disposition", f'attachment; filename="{name}"')
            for name, value in (
                ("Content-Security-Policy", POLICY), ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
                ("Cross-Origin-Resource-Policy", "same-origin"),
            ):  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()


def _status(error: SpeechAsymError) -> int:
    kinds = ((UnknownError, 404), (GoneError, 410), (OutputError, 409))
    return next((status for kind, status in kinds if isinstance(error, kind)), 400)


def _static(parts: list[str]) -> Answer | None:
    """Return a file of the page; None: not one."""
    name = "page.html" if parts == [""] else parts[0] if len(parts) == 1 else ""
    if not re.fullmatch(r"[a-z_-]+\.(html|js|css|svg)", name):
        return None
    file = resources.files("speechasym.explorer").joinpath(name)
    return Answer(name.rpartition(".")[2], file.read_bytes()) if file.is_file() else None


class Explorer:
    """A running server, and the address of its page. Close it, or use it in a `with` block."""

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session = session
        self._server = Server(session, port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """The address of the page, which has a secret part."""
        return self._server.address

    def wait(self) -> None:
        """Wait until the server is closed."""
        while self._thread.is_alive():
            self._thread.join(1.0)  # in parts, so that Ctrl-C is heard on every system

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self.session.close()

    def __enter__(self) -> "Explorer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
