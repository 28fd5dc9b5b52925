"""A feed's connection, kept up: handshake, subscription, pings, renewal before the server ends it, back-off.

The only I/O of this package. What comes in goes to a `Listener`, one frame after the other; a listener that is slow
slows the reading, nothing is dropped here.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from include.feeds.base import BadFrameError, Feed, Frame

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

_MAX_FRAME: Final = 8 * 1024 * 1024


class Listener(Protocol):
    """Who is told what happens on a line."""

    async def frame(self, frame: Frame, received_at: datetime) -> None:
        """A frame that could be read. It may wait: then nothing more is read meanwhile."""

    async def misfit(self, raw: bytes, reason: str, received_at: datetime) -> None:
        """A frame that could not."""

    def connected(self, *, unbroken: bool) -> None:
        """The subscription stands. `unbroken`: an older connection of the same line still does as well."""

    def disconnected(self, why: str) -> None:
        """No connection stands any more; what happens from now on is missed."""

    def refused(self, vendor: str, said: str) -> None:
        """The vendor does not have this instrument ("": it refuses something else)."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `renew_early`: before the end of a connection's lifetime; `stable`: a connection that held that long
    was a good one, and the next failure is the first again."""

    handshake: float = 10.0
    confirmation: float = 15.0
    ping_every: float = 20.0
    pong_within: float = 20.0
    overlap: float = 3.0
    renew_early: float = 900.0
    first_pause: float = 0.5
    longest_pause: float = 60.0
    stable: float = 60.0
    goodbye: float = 3.0


@dataclass(slots=True)
class _Session:
    """One connection from handshake to end. The task's result says why it ended."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[str] | None = None
    began: float = 0.0
    retry_after: float = 0.0


class Line:
    """Keeps a feed connected until told to stop. `failures` counts attempts in a row that failed, `breaks` all ends."""

    def __init__(self, feed: Feed, url: str, listener: Listener, timing: Timing | None = None) -> None:
        self.feed, self.url, self.listener, self.timing = feed, url, listener, timing or Timing()
        self.failures = self.breaks = self.connects = 0
        self.trouble = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, and connect again, until `stop`; then unsubscribe, take what is on its way, and return."""
        while not stop.is_set():
            session = self._start()
            await _first(session.ready.wait(), _end(session), stop.wait())
            if session.ready.is_set() and not _task(session).done():
                self.listener.connected(unbroken=False)
                log.info("%s: connected", self.feed.name)
                session = await self._follow(session, stop)
                self.listener.disconnected(await self._why(session, stop))
            else:
                await self._why(session, stop)
            if stop.is_set():
                return
            pause = self.pause(session)
            log.warning("%s: %s; next attempt in %.1f s", self.feed.name, self.trouble, pause)
            await _first(stop.wait(), asyncio.sleep(pause))

    def pause(self, session: _Session) -> float:
        """Seconds until the next attempt: the first comes soon, later ones after longer and longer breaks, with jitter.

        Never sooner than the vendor's least pause, nor than a Retry-After of its own.
        """
        if session.ready.is_set() and asyncio.get_running_loop().time() - session.began >= self.timing.stable:
            self.failures = 0
        self.failures += 1
        if self.failures == 1:
            return max(session.retry_after, random.uniform(0, self.timing.first_pause))  # noqa: S311  # spreads attempts
        longest = min(self.timing.longest_pause, self.timing.first_pause * 2**self.failures)
        least = min(self.feed.pause_seconds, self.timing.longest_pause)
        return max(session.retry_after, least, random.uniform(longest / 2, longest))  # noqa: S311

    async def _follow(self, session: _Session, stop: asyncio.Event) -> _Session:
        """Until the connection ends or is to end; before the server ends it, another one takes over."""
        while True:
            left = self._left(session)
            await _first(_end(session), stop.wait(), session.closing.wait(), asyncio.sleep(left))
            if stop.is_set() or _task(session).done():
                return session
            session.closing.clear()
            new = self._start()
            await _first(new.ready.wait(), _end(new), stop.wait())
            if not new.ready.is_set() or _task(new).done():
                await self._why(new, stop)
                log.warning("%s: the connection could not be renewed: %s", self.feed.name, self.trouble)
                session.began += min(60.0, self.timing.stable)  # and try again a little later
                continue
            self.listener.connected(unbroken=not _task(session).done())
            await _first(stop.wait(), asyncio.sleep(self.timing.overlap))
            await self._why(session, stop, leave=True)
            session = new

    def _left(self, session: _Session) -> float:
        """Seconds until the connection is to be renewed."""
        if self.feed.lifetime is None:
            return 365 * 86_400.0
        age = asyncio.get_running_loop().time() - session.began
        return max(0.0, self.feed.lifetime.total_seconds() - self.timing.renew_early - age)

    async def _why(self, session: _Session, stop: asyncio.Event, *, leave: bool = False) -> str:
        """Let a session end, if it must, and say why it did."""
        if stop.is_set() or leave:
            session.leave.set()
        done, _ = await asyncio.wait({_task(session)}, timeout=2 * self.timing.goodbye + self.timing.handshake)
        if not done:
            _task(session).cancel()
            with suppress(asyncio.CancelledError):
                await _task(session)
            return "ended"
        why = _task(session).result()
        if not session.leave.is_set():
            self.trouble = why
            self.breaks += 1
        return why

    def _start(self) -> _Session:
        session = _Session(began=asyncio.get_running_loop().time())
        session.task = asyncio.create_task(self._session(session), name=f"{self.feed.name} connection")
        return session

    async def _session(self, session: _Session) -> str:
        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

        timing = self.timing
        try:
            async with connect(
                self.feed.address(self.url), open_timeout=timing.handshake, ping_interval=timing.ping_every,
                ping_timeout=timing.pong_within, close_timeout=timing.goodbye, max_size=_MAX_FRAME,
                user_agent_header="quantstream",
            ) as socket:  # fmt: skip
                self.connects += 1
                helpers = [asyncio.create_task(self._say_goodbye(socket, session))]
                if self.feed.ping:
                    helpers.append(asyncio.create_task(self._keep_pinging(socket, self.feed.ping)))
                try:
                    return await self._read(socket, session)
                finally:
                    for helper in helpers:
                        helper.cancel()
                    await asyncio.gather(*helpers, return_exceptions=True)
        except ConnectionClosed as closed:
            return f"the connection ended: {closed}"
        except InvalidStatus as refused:
            session.retry_after = _retry_after(refused.response.headers.get("Retry-After"))
            return f"the handshake was refused with HTTP {refused.response.status_code}"
        except InvalidURI as wrong:
            return f"the address of the feed is wrong: {wrong}"
        except TimeoutError:
            return f"no handshake within {timing.handshake:g} s"
        except (OSError, InvalidHandshake) as error:
            return f"{self.url} cannot be reached: {str(error) or type(error).__name__}"

    async def _read(self, socket: ClientConnection, session: _Session) -> str:
        """Subscribe, then hand on frame after frame. Returns why it ended; raises ConnectionClosed."""
        for message in self.feed.subscribe():
            await socket.send(message)
        clock = asyncio.get_running_loop().time
        unconfirmed = set(self.feed.vendors) if self.feed.confirms else set[str]()
        until = clock() + self.timing.confirmation
        while True:
            if not unconfirmed:
                session.ready.set()
            elif clock() > until:
                return f"the subscription of {', '.join(sorted(unconfirmed)[:5])} was not confirmed"
            patience = self.feed.quiet_seconds if not unconfirmed else max(0.01, until - clock())
            try:
                async with asyncio.timeout(patience):
                    raw = await socket.recv()
            except TimeoutError:
                if unconfirmed:
                    continue
                return f"no frame for {self.feed.quiet_seconds:g} s"
            received_at = datetime.now(UTC)
            try:
                frame = self.feed.parse(raw)
            except BadFrameError as bad:
                await self.listener.misfit(raw if isinstance(raw, bytes) else raw.encode(), str(bad), received_at)
                continue
            if frame.refused:
                for vendor, said in frame.refused.items():
                    self.listener.refused(vendor, said)
                if "" in frame.refused and not session.ready.is_set():
                    return f"the vendor refused the subscription: {frame.refused['']}"
                unconfirmed -= set(frame.refused)
            unconfirmed -= frame.confirmed
            if frame.closing:
                session.closing.set()
            await self.listener.frame(frame, received_at)

    async def _say_goodbye(self, socket: ClientConnection, session: _Session) -> None:
        from websockets.exceptions import ConnectionClosed

        await session.leave.wait()
        with suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(self.timing.goodbye):
                for message in self.feed.unsubscribe():
                    await socket.send(message)
        await socket.close()

    async def _keep_pinging(self, socket: ClientConnection, ping: str) -> None:
        from websockets.exceptions import ConnectionClosed

        with suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(self.timing.ping_every)
                await socket.send(ping)


def _task(session: _Session) -> asyncio.Task[str]:
    assert session.task is not None  # noqa: S101  # `_start` has made it
    return session.task


async def _end(session: _Session) -> None:
    await asyncio.wait({_task(session)})


async def _first(*waits: object) -> None:
    """Until the first of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in waits]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _retry_after(value: str | None) -> float:
    """Seconds; 0 where the header is absent or no number."""
    return float(value) if value is not None and value.strip().isdecimal() else 0.0
