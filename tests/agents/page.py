"""What a browser does, seen from the wire: pages that open sockets, reload, crash and vanish.

The socket belongs to the test: it is read only when the test reads, so that a stuck page can be played,
and it can be ended in every way that a browser ends one.
"""

import http.client
import json
import socket
import struct
import time
from http.cookies import SimpleCookie

from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

TIMEOUT = 20.0
"""Seconds that any one step may take before the test fails with what it waited for."""

MAX_MESSAGE = 32 * 1024 * 1024


class Refused(Exception):
    """The upgrade was answered with something else than 101."""

    def __init__(self, response: Response):
        super().__init__(f"{response.status_code} {bytes(response.body or b'')[:200]!r}")
        self.status = response.status_code


class Closed(Exception):
    """The other side ended the connection: its code (None: no close frame) and reason."""

    def __init__(self, code: int | None, reason: str):
        super().__init__(f"closed with {code} {reason!r}")
        self.code, self.reason = code, reason


class Page:
    """One WebSocket of one page."""

    def __init__(
        self, port, path, *, origin=None, cookie=None, headers=None, subprotocols=None, source="", host=None, tls=None
    ):
        self._protocol = ClientProtocol(
            parse_uri(f"{'wss' if tls else 'ws'}://{host or f'127.0.0.1:{port}'}{path}"),
            origin=origin,
            subprotocols=subprotocols,
            max_size=MAX_MESSAGE,
        )
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT, source_address=(source, 0))
        if tls:
            self._socket = tls.wrap_socket(self._socket, server_hostname=host)
        self._arrived: list = []
        self._parts: list = []
        self.pings = 0
        request = self._protocol.connect()
        if cookie:
            request.headers["Cookie"] = cookie
        for name, value in (headers or {}).items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()
        deadline = time.monotonic() + TIMEOUT
        while not self._arrived and self._protocol.handshake_exc is None:
            if not self._read(deadline):
                break
        if self._protocol.handshake_exc and not self._arrived:
            self._socket.close()
            raise self._protocol.handshake_exc
        self.response: Response = self._arrived.pop(0)
        # a close may have come with the 101
        if self.response.status_code != 101:
            while self._read(deadline):
                pass
            self._socket.close()
            raise Refused(self.response)

    @property
    def subprotocol(self) -> str | None:
        """What the server chose."""
        return self._protocol.subprotocol

    def send(self, message: str | bytes | dict) -> None:
        """Sends one message; a dict goes as JSON text. While the socket closes it is dropped, as browsers do."""
        if self._protocol.state is not State.OPEN:
            return
        if isinstance(message, bytes):
            self._protocol.send_binary(message)
        else:
            self._protocol.send_text((json.dumps(message) if isinstance(message, dict) else message).encode())
        self._flush()

    def recv(self, timeout: float = TIMEOUT, waiting_for: str = "a message") -> str | bytes:
        """The next message, or `Closed`."""
        deadline = time.monotonic() + timeout
        while not self._arrived:
            if not self._read(deadline, waiting_for):
                close = self._protocol.close_rcvd
                raise Closed(close.code if close else None, close.reason if close else "")
        return self._arrived.pop(0)

    def json(self, **wait) -> dict:
        """The next message, as JSON."""
        return json.loads(self.recv(**wait))

    def poll(self) -> None:
        """Reads what has arrived, control frames included, without waiting for a message."""
        deadline = time.monotonic() + 0.05
        while time.monotonic() < deadline:
            try:
                self._read(deadline)
            except AssertionError:
                return

    def until(self, kind: str, timeout: float = TIMEOUT) -> list[dict]:
        """All messages up to the first whose `type` is `kind`, that one included."""
        deadline, seen = time.monotonic() + timeout, []
        while not seen or seen[-1].get("type") != kind:
            waiting_for = f"{kind!r} after {[m.get('type') for m in seen]}"
            seen.append(self.json(timeout=max(0.0, deadline - time.monotonic()), waiting_for=waiting_for))
        return seen

    def closed(self, timeout: float = TIMEOUT) -> Closed:
        """Waits for the other side's end; messages before it are a failure."""
        try:
            message = self.recv(timeout, "a close")
        except Closed as closed:
            self._socket.close()
            return closed
        raise AssertionError(f"a close was due, not {message!r}")

    def begin_close(self, code: int | None = None) -> None:
        """Sends the close frame and does not wait: the old page of a reload, whose new one may be faster."""
        self._protocol.send_close(code)
        self._flush()

    def close(self, code: int | None = None) -> None:
        """A close handshake, whole: `ws.close()` without a code, 1001 for a reload."""
        self.begin_close(code)
        deadline = time.monotonic() + TIMEOUT
        while self._read(deadline, "the answer to a close"):
            pass
        self._socket.close()

    def reset(self) -> None:
        """Ends the connection with a TCP reset: a crash."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def vanish(self) -> None:
        """Ends the connection without a close frame, in TCP's orderly way."""
        self._socket.close()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._socket.sendall(data)
            else:
                self._socket.shutdown(socket.SHUT_WR)

    def _read(self, deadline: float, waiting_for: str = "an answer") -> bool:
        """Reads once; false at the end of the stream."""
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            raise AssertionError(f"waited in vain for {waiting_for}") from None
        except ConnectionError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            self._take(event)
        try:
            self._flush()
        except OSError:
            # The other side is gone; what it sent before is still to be read.
            pass
        return bool(data)

    def _take(self, event) -> None:
        if isinstance(event, Response):
            self._arrived.append(event)
        elif event.opcode is Opcode.PING:
            self.pings += 1
        elif event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._parts.append(event)
            if event.fin:
                whole = b"".join(bytes(part.data) for part in self._parts)
                self._arrived.append(whole.decode() if self._parts[0].opcode is Opcode.TEXT else whole)
                self._parts.clear()


class Browser:
    """A cookie jar with pages: all that two loads of one page have in common.

    A site has a name and TLS (`host`, `tls`) where a proxy stands in front.
    """

    def __init__(self, port: int, *, host: str | None = None, tls=None):
        self.port, self._host, self._tls = port, host, tls
        self.origin = f"https://{host}" if tls else f"http://127.0.0.1:{port}"
        self.cookies: dict[str, str] = {}
        self._pages: list[Page] = []

    def set_cookie(self, name: str, value: str) -> None:
        """As the application's own script or login would."""
        self.cookies[name] = value

    def connect(self, source: str = "") -> http.client.HTTPConnection:
        """A connection to the site, for requests of any kind."""
        connection = http.client.HTTPConnection(self._host or f"127.0.0.1:{self.port}", timeout=TIMEOUT)
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT, source_address=(source, 0))
        connection.sock = self._tls.wrap_socket(plain, server_hostname=self._host) if self._tls else plain
        return connection

    def load(self, path: str = "/") -> str:
        """Requests a document, as navigation and reload do."""
        connection = self.connect()
        headers = {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
        if self.cookies:
            headers["Cookie"] = self._cookie()
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read().decode()
        self._keep(response.headers.get_all("Set-Cookie") or [])
        connection.close()
        assert response.status == 200, (response.status, body)
        return body

    def open(self, path: str, **options) -> Page:
        """Opens a WebSocket from a page of this origin."""
        site = {"host": self._host, "tls": self._tls}
        page = Page(self.port, path, origin=self.origin, cookie=self._cookie(), **site, **options)
        self._keep(page.response.headers.get_all("Set-Cookie"))
        self._pages.append(page)
        return page

    def quit(self) -> None:
        """Closes whatever is still open."""
        for page in self._pages:
            page.vanish()

    def _cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def _keep(self, headers) -> None:
        for header in headers:
            for name, morsel in SimpleCookie(header).items():
                self.cookies[name] = morsel.value
