"""A WebSocket server that a test holds in its hand: it says what it is told to, and misbehaves on purpose.

    with FeedServer(answer=coinbase) as server:
        server.handshakes += [Refuse(429, {"Retry-After": "1"}), None]   # the first attempt; all later ones are good
        use(server.url)
        server.wait_for(1)                                                # one connection stands
        server.say('{"type":"match", ...}')
        server.cut()                                                      # in the middle of a frame
        assert server.heard == [...]

It runs in a thread of its own, so that it works for code in this process and in others.
"""

from __future__ import annotations

import asyncio
import http
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.conftest import wait_until

T = TypeVar("T")


@dataclass(frozen=True)
class Refuse:
    """Answer the handshake with this status instead of a connection."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Slow:
    """Let the handshake wait so many seconds."""

    seconds: float


class FeedServer:
    """A server on a free port of the loopback, as a context manager.

    `answer` makes the answers to a client's message (a subscription, say); `greeting` is said to each new connection.
    `handshakes` are used up one by one; None is a good one, as are all beyond. `heard` are the clients' messages,
    `paths` the addresses asked for, `closed` how clients ended connections (codes).
    """

    def __init__(
        self, *, answer: Callable[[str], Iterable[str]] = lambda message: (), greeting: Iterable[str] = ()
    ) -> None:
        self.answer, self.greeting = answer, list(greeting)
        self.handshakes: list[Refuse | Slow | None] = []
        self.heard: list[str] = []
        self.paths: list[str] = []
        self.closed: list[int | None] = []
        self.attempts = self.connects = 0
        self._open: list[ServerConnection] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """Connections that stand."""
        return len(self._open)

    def wait_for(self, connects: int, seconds: float = 10) -> None:
        """Until so many connections were made in all, and one stands."""
        wait_until(lambda: self.connects >= connects and self._open, seconds, f"{connects} connections are made")

    def say(self, *frames: str | bytes, to: int | None = None) -> None:
        """Send frames to every connection that stands, or to the one of this number alone (0: the oldest)."""
        self._do(self._say(list(self._open) if to is None else [self._open[to]], frames))

    def close(self, code: int = 1001, reason: str = "", *, of: int | None = None) -> None:
        """End connections properly, as a server does at the end of their lifetime."""
        for one in list(self._open) if of is None else [self._open[of]]:
            self._do(one.close(code, reason))

    def cut(self) -> None:
        """Send the first half of a frame and break every connection."""
        self._do(self._cut())

    def ping(self) -> None:
        """Ping every connection, and wait for the pongs. Raises TimeoutError without one."""
        self._do(self._ping())

    def stop_reading(self) -> None:
        """From now on no connection answers: pings get no pong."""
        self._do(self._stop_reading())

    def go_away(self) -> None:
        """Stop listening and break every connection: attempts are refused until `come_back`."""
        self._do(self._go_away())

    def come_back(self) -> None:
        """Listen again, on the same port."""
        self._do(self._listen())

    def __enter__(self) -> Self:
        self._thread.start()
        self.come_back()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.go_away()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await serve(
            self._serve, "127.0.0.1", self.port, process_request=self._shake_hands, ping_interval=None, compression=None
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def _shake_hands(self, connection: ServerConnection, request: Request) -> Response | None:
        self.attempts += 1
        fault = self.handshakes.pop(0) if self.handshakes else None
        if isinstance(fault, Slow):
            await asyncio.sleep(fault.seconds)
        if isinstance(fault, Refuse):
            return Response(fault.status, http.HTTPStatus(fault.status).phrase, Headers(fault.headers), b"")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        self.paths.append(connection.request.path if connection.request else "")
        with suppress(ConnectionClosed):
            for frame in self.greeting:
                await connection.send(frame)
        self._open.append(connection)
        self.connects += 1
        try:
            async for message in connection:
                self.heard.append(str(message))
                for frame in self.answer(str(message)):
                    await connection.send(frame)
        except ConnectionClosed:
            pass
        finally:
            self.closed.append(connection.protocol.close_rcvd.code if connection.protocol.close_rcvd else None)
            if connection in self._open:
                self._open.remove(connection)

    async def _say(self, connections: list[ServerConnection], frames: Iterable[str | bytes]) -> None:
        for frame in frames:
            for connection in connections:
                with suppress(ConnectionClosed):
                    await connection.send(frame)

    async def _cut(self) -> None:
        for connection in list(self._open):
            connection.transport.write(b"\x81\x7e\x01\x00" + b'{"half of')  # a text of 256 bytes is announced
            await asyncio.sleep(0.02)
            connection.transport.abort()

    async def _ping(self) -> None:
        for connection in list(self._open):
            async with asyncio.timeout(5):
                await (await connection.ping())

    async def _stop_reading(self) -> None:
        for connection in list(self._open):
            connection.transport.pause_reading()  # type: ignore[attr-defined]

    async def _go_away(self) -> None:
        if self._server is not None:
            self._server.close(close_connections=False)
        for connection in list(self._open):
            connection.transport.abort()
        if self._server is not None:
            await self._server.wait_closed()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)
