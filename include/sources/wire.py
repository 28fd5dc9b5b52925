"""One GET over the wire: the body's bytes, in bounded time and size, whatever the server does.

httpx bounds each read from the socket; a server that sends one byte every few seconds would be read for ever. Here one
deadline holds for connecting, the headers and the body together. Bodies are unpacked piece by piece up to a limit, so
a few kilobytes cannot become gigabytes.
"""

from __future__ import annotations

import ssl
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import inf
from time import monotonic
from typing import Any, Final

import httpcore
import httpx

MAX_BYTES: Final = 32 * 1024 * 1024
_PIECE: Final = 256 * 1024
_LIMITS: Final = httpx.Limits(max_connections=10, max_keepalive_connections=4, keepalive_expiry=30)


class WireError(Exception):
    """No whole answer came; the text says why. `again`: another attempt may succeed."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said. `body` is unpacked."""

    status: int
    headers: httpx.Headers
    body: bytes


class Wire:
    """A pool of connections, for threads too. Use it as a context manager."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._backend = _Backend()
        self._client = httpx.Client(
            headers={"User-Agent": "quantstream", "Accept": "application/json", "Accept-Encoding": "gzip", **headers},
            transport=_Transport(self._backend),
            follow_redirects=False,
        )

    def __enter__(self) -> Wire:
        self._client.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.__exit__(None, None, None)

    def get(self, url: httpx.URL, seconds: float) -> Reply:
        """The whole answer within so many seconds. Redirects are answers. Raises WireError."""
        self._backend.ends.at = monotonic() + seconds
        try:
            with self._client.stream("GET", url, timeout=seconds) as answer:
                encoding = answer.headers.get("Content-Encoding", "")
                body = bytearray()
                for piece in _unpacked(answer.iter_raw(), encoding):
                    body += piece
                    if monotonic() > self._backend.ends.at:
                        raise WireError(f"the answer was not complete within {seconds:g} s")
                    if len(body) > MAX_BYTES:
                        raise WireError(f"the answer is larger than {MAX_BYTES:,} bytes; not read", again=False)
                return Reply(answer.status_code, answer.headers, bytes(body))
        except httpx.TimeoutException:
            raise WireError(f"no answer within {seconds:g} s") from None
        except httpx.UnsupportedProtocol as error:
            raise WireError(str(error), again=False) from None
        except httpx.TransportError as error:
            raise WireError(f"the connection failed: {str(error) or type(error).__name__}") from None
        except zlib.error as error:
            raise WireError(f"the answer cannot be unpacked as it says ({encoding}): {error}") from None
        finally:
            self._backend.ends.at = inf


def _unpacked(raw: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Piece by piece, none larger than `_PIECE`. Raises zlib.error; WireError for what was not asked for or is cut."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        yield from raw
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise WireError(f"the answer is packed as {encoding!r:.40}, which was not asked for")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by its first bytes
    for chunk in raw:
        while chunk and not unpack.eof:
            yield unpack.decompress(chunk, _PIECE)
            chunk = unpack.unconsumed_tail
    if not unpack.eof:
        raise WireError(f"the answer is cut off ({encoding})")


class _Ends(threading.local):
    """When the call that this thread makes has to be over."""

    at: float = inf


class _Backend(httpcore.NetworkBackend):
    """Sockets whose every operation also ends at the deadline of the whole call."""

    def __init__(self) -> None:
        self.ends = _Ends()
        self._backend = httpcore.SyncBackend()

    def left(self, timeout: float | None) -> float:
        return max(0.001, min(inf if timeout is None else timeout, self.ends.at - monotonic()))

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._backend.connect_tcp(host, port, self.left(timeout), local_address, socket_options)
        return _Stream(self, stream)


class _Stream(httpcore.NetworkStream):
    def __init__(self, backend: _Backend, stream: httpcore.NetworkStream) -> None:
        self._backend, self._stream = backend, stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._backend.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._backend.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._backend.left(timeout))
        return _Stream(self._backend, secured)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates that are trusted: reading them takes longer than most calls."""
    return httpx.create_ssl_context()


class _Transport(httpx.HTTPTransport):
    """httpx's own transport, on our sockets."""

    def __init__(self, backend: _Backend) -> None:
        super().__init__(verify=(context := _trusted()), limits=_LIMITS)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=_LIMITS.max_connections,
            max_keepalive_connections=_LIMITS.max_keepalive_connections,
            keepalive_expiry=_LIMITS.keepalive_expiry,
            network_backend=backend,
        )
