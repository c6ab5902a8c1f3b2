"""A viser server that only its own pages may talk to.

viser answers whoever reaches its port. A page of any web site can try every port of this machine,
so each request must say that it comes from the page that was served here: its `Origin` is the
`Host` that it asks for. And that host must be an address or a name of this machine, or else a name
that somebody points at it (DNS rebinding) would be an origin like any other. Other programs of this
machine are kept out by a random token in the address. Behind it, each page that is opened gets a
number of its own in its address, which tells its connections from those of other pages.
"""

import asyncio
import contextlib
import hmac
import io
import ipaddress
import logging
import re
import secrets
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

import rich
import viser
import websockets.asyncio.server
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from vand_demos.ui import LOOPBACK
from vand_demos.ui.web_gate import MAX_MESSAGE_BYTES, PageMessages
from vand_envs.errors import UsageError, VandError

Channel = Callable[[ServerConnection, str], Awaitable[None]]
"""Talks to a page, whose number it is told, over a web socket of its own, on the server's thread,
until it returns."""

CLOSE_TIMEOUT_S = 0.5
"""How long a browser that hangs may delay the end of a session [s]."""

_TOKEN_BYTES, _PAGE_BYTES = 16, 8
_one_at_a_time = Lock()


def _nobody(page: str) -> bool:  # noqa: ARG001
    return False


def _ignore(page: str) -> None:
    pass


@dataclass(frozen=True)
class WebServer:
    """A page that is served."""

    viser: viser.ViserServer
    """What draws it."""
    host: str
    """Address or name that it listens on."""
    token: str
    """What an address must begin with."""

    @property
    def port(self) -> int:
        """The port."""
        return self.viser.get_port()

    @property
    def address(self) -> str:
        """The address to open."""
        name = self.host
        if name in ("0.0.0.0", "::", ""):  # noqa: S104
            name = socket.gethostname()
        name = f"[{name}]" if ":" in name else name
        return f"http://{name}:{self.port}/{self.token}/"

    @property
    def invitation(self) -> str:
        """Text that tells a person how to open the page: its address, and the way there by ssh."""
        if self.host != LOOPBACK:
            return (
                f"open {self.address}\n"
                "warning: whoever can reach this machine and sees that address can open it;"
                " without --host only this machine can"
            )
        return (
            f"open {self.address}\n"
            f"from another machine: ssh -L {self.port}:{self.host}:{self.port}"
            f" {socket.gethostname()}, then open the same address there"
        )


@contextlib.contextmanager
def web_server(
    host: str = LOOPBACK,
    port: int = 0,
    *,
    overlay: str = "",
    channels: Mapping[str, Channel] | None = None,
    drives: Callable[[str], bool] = _nobody,
    left: Callable[[str], None] = _ignore,
) -> Iterator[WebServer]:
    """Serve a page.

    Args:
        host: Address or name to listen on.
        port: Port; 0 takes a free one.
        overlay: HTML that is added to viser's page; its scripts run.
        channels: Name, the end of a path -> who answers its web sockets, beside viser's own.
        drives: Whether the page of a number may move what is in the scene; asked each time.
        left: Told the number of a page whose connection to viser has ended.

    Yields:
        The server. It says nothing on the terminal, and stops at the end of the block.

    Raises:
        UsageError: Nothing can listen there: the port is taken, or the host is not this machine.
    """
    try:
        socket.create_server((host, port)).close()  # viser would try other ports, without end
    except (OSError, OverflowError, UnicodeError, TypeError) as error:  # no host's name
        raise UsageError(f"cannot listen on {host}:{port}: {error}") from error
    gate = _Gate(host, overlay, channels or {}, drives, left)
    with _through(gate), _silence():
        server = gate.server = viser.ViserServer(host=host, port=port, verbose=False)
    try:
        yield WebServer(server, host, gate.token)
    finally:
        with contextlib.suppress(RuntimeError):  # its loop has ended
            server.get_event_loop().call_soon_threadsafe(gate.hang_up)
        # viser waits for a second for browsers that hang, and announces its end then
        rich.print = _say_nothing
        stopping = Thread(target=server.stop, daemon=True)
        stopping.start()
        stopping.join(CLOSE_TIMEOUT_S)


def _say_nothing(*words: object, **options: object) -> None:
    """In place of `rich.print`, by which viser speaks whenever it has stopped; we use consoles."""


def _silence() -> contextlib.redirect_stdout[io.StringIO]:
    return contextlib.redirect_stdout(io.StringIO())


class _Gate:
    """Stands before viser: refuses strangers, extends the page, and serves further channels."""

    def __init__(
        self,
        host: str,
        overlay: str,
        channels: Mapping[str, Channel],
        drives: Callable[[str], bool],
        left: Callable[[str], None],
    ) -> None:
        self._host, self._overlay, self._channels = host, overlay.encode(), channels
        self._drives, self._left = drives, left
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self.server: viser.ViserServer | None = None
        self.used = False
        self._connections: Counter[str] = Counter()  # of each page
        self._open: set[ServerConnection] = set()

    def hang_up(self) -> None:
        """End all connections without waiting for the browsers' answers; on the server's thread."""
        for connection in self._open:
            connection.transport.abort()

    def serve(self, handler: Any, host: str, port: int, **options: Any) -> Any:
        """Take the place of `websockets.asyncio.server.serve`."""
        self.used = True
        answer = options.pop("process_request")
        options["logger"] = _logger
        options["close_timeout"] = CLOSE_TIMEOUT_S
        options["max_size"] = MAX_MESSAGE_BYTES

        def process_request(connection: ServerConnection, request: Request) -> Response | None:
            return self._answer(connection, request, answer)

        async def handle(connection: ServerConnection) -> None:
            await self._handle(connection, handler)

        return _serve(handle, host, port, process_request=process_request, **options)

    def _answer(
        self, connection: ServerConnection, request: Request, answer: Any
    ) -> Response | None:
        """The response to a request; None where it opens a web socket."""
        if (refused := refusal(request, self._host)) is not None:
            return connection.respond(refused[0], f"{refused[1]}\n")
        path = request.path.partition("?")[0]
        address = _Address.of(path, self.token)
        if address is None:
            return connection.respond(
                HTTPStatus.NOT_FOUND, "open the address that was printed, as a whole\n"
            )
        if "Upgrade" in request.headers:
            return self._upgrade(connection, request, address)
        if address.channel:
            return connection.respond(HTTPStatus.NOT_FOUND, "there is no such page\n")
        if not address.page or self._connections[address.page] or not path.endswith("/"):
            return self._to_new_page(connection)
        whole = Request("/", Headers(Host="localhost"))  # nothing can be added to gzip
        response: Response | None = answer(connection, whole)
        return None if response is None else self._extended(response)

    def _upgrade(
        self, connection: ServerConnection, request: Request, address: "_Address"
    ) -> Response | None:
        if not address.page or address.channel not in ("", *self._channels):
            return connection.respond(HTTPStatus.NOT_FOUND, "there is no such page\n")
        protocols = ",".join(request.headers.get_all("Sec-WebSocket-Protocol"))
        if not address.channel and _PROTOCOL not in re.split(r"[\s,]+", protocols):
            return connection.respond(HTTPStatus.BAD_REQUEST, f"expected {_PROTOCOL}\n")
        return None

    def _to_new_page(self, connection: ServerConnection) -> Response:
        """Send a browser on to a page of its own, without what another page wrote behind a `?`."""
        response = connection.respond(HTTPStatus.FOUND, "")
        response.headers["Location"] = f"/{self.token}/{secrets.token_hex(_PAGE_BYTES)}/"
        return response

    async def _handle(self, connection: ServerConnection, handler: Any) -> None:
        """Serve a web socket of a page."""
        path = connection.request.path if connection.request else ""
        address = _Address.of(path.partition("?")[0], self.token)
        if address is None:
            return
        page = address.page
        self._connections[page] += 1
        self._open.add(connection)
        try:
            if address.channel:
                await self._channels[address.channel](connection, page)
            else:
                messages = PageMessages(lambda: self.server, lambda: self._drives(page))
                await handler(_Guarded(connection, messages))
        finally:
            self._open.discard(connection)
            self._connections[page] -= 1
            if not self._connections[page]:
                del self._connections[page]
            if not address.channel:
                self._left(page)

    def _extended(self, response: Response) -> Response:
        head, end, tail = response.body.rpartition(b"</body>")
        body = head + self._overlay + end + tail
        headers = Headers(response.headers)
        del headers["Content-Length"]
        headers["Content-Length"] = str(len(body))
        # Nobody may show the page inside another one, and have a click there drive the robot; and
        # nobody is told the address.
        headers["Content-Security-Policy"] = "frame-ancestors 'none'"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cache-Control"] = "no-store"
        return Response(response.status_code, response.reason_phrase, headers, body)


@dataclass(frozen=True)
class _Address:
    """What a path asks for."""

    page: str
    """Number of the page; empty before it has one."""
    channel: str
    """Name of a further channel, or empty."""

    @classmethod
    def of(cls, path: str, token: str) -> "_Address | None":
        """Read a path; None where it does not begin with the token, or is of another form."""
        found = _PATH.fullmatch(path)
        if found is None or not hmac.compare_digest(found["token"], token):
            return None
        return cls(found["page"] or "", found["channel"] or "")


_PATH = re.compile(
    rf"/(?P<token>[\w-]{{1,64}})"
    rf"(?:/(?P<page>[0-9a-f]{{{2 * _PAGE_BYTES}}})(?:/(?P<channel>[a-z]{{1,16}}))?)?/?",
    re.ASCII,
)
_PROTOCOL = f"viser-v{viser.__version__}"


class _Guarded:
    """A connection of which viser receives only what it may."""

    def __init__(self, connection: ServerConnection, messages: PageMessages) -> None:
        self._connection, self._messages = connection, messages

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def recv(self) -> str | bytes:
        """The next message that is one of viser's page."""
        while not self._messages.admits(raw := await self._connection.recv()):
            await asyncio.sleep(0)  # who floods it must not keep the others waiting
        return raw


_serve = websockets.asyncio.server.serve

_logger = logging.getLogger(__name__)
# Browsers open connections that they never use; no reason to show a person a stack trace.
_logger.addFilter(lambda record: record.getMessage() != "opening handshake failed")


@contextlib.contextmanager
def _through(gate: _Gate) -> Iterator[None]:
    """Let a gate stand before the servers that viser starts inside the block.

    viser has no setting for it: it is given another function to listen with, for that moment.
    """
    with _one_at_a_time:
        websockets.asyncio.server.serve = gate.serve  # type: ignore[assignment,misc]
        try:
            yield
        finally:
            websockets.asyncio.server.serve = _serve  # type: ignore[misc]
    if not gate.used:
        raise VandError(
            f"viser {viser.__version__} serves its page in a way that is not known here"
        )


def refusal(request: Request, host: str) -> tuple[HTTPStatus, str] | None:
    """Why a request is not answered, or None where it is.

    Args:
        request: What came, for the page or for a web socket.
        host: Name or address that the server listens on.
    """
    hosts, origins = request.headers.get_all("Host"), request.headers.get_all("Origin")
    if len(hosts) != 1 or len(origins) > 1:
        return HTTPStatus.BAD_REQUEST, "expected one Host, and one Origin at most"
    (asked,) = hosts
    try:
        name = urlsplit(f"//{asked}").hostname or ""
    except ValueError:  # half an IPv6 address
        return HTTPStatus.BAD_REQUEST, f"{asked!r} is no name of a server"
    if not _is_own(name, host):
        return HTTPStatus.FORBIDDEN, f"{asked!r} is not a name of this server"
    if not origins:
        # A browser names the origin of every web socket; a page itself has none yet.
        lacks = "Upgrade" in request.headers
        return (HTTPStatus.FORBIDDEN, "expected an Origin") if lacks else None
    scheme, _, rest = origins[0].partition("://")
    if scheme not in ("http", "https") or rest != asked:
        return HTTPStatus.FORBIDDEN, f"pages of {origins[0]!r} may not talk to {asked!r}"
    return None


def _is_own(name: str, host: str) -> bool:
    """Whether nobody else can have a page of that name: an address, or a name of this machine."""
    if name in ("localhost", host.lower(), socket.gethostname().lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
