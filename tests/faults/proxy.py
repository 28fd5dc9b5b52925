"""An HTTP proxy that makes faults happen on purpose, in front of the local AWS or instead of a vendor.

    with FaultProxy("http://127.0.0.1:4566") as proxy:
        proxy.add(LoseAnswer(), operation="PutRecords", times=1)      # applied, but nobody hears of it
        proxy.add(Answer(503, b"slow down", {"Retry-After": "1"}), method="PUT", path=r"/lake/raw/.*", after=2)
        use(behind(settings, proxy))
        assert [seen.fault for seen in proxy.seen] == ["LoseAnswer", None]

What no rule matches passes through byte for byte, the Host header included, so signed requests stay valid. Each rule
skips its first `after` matches and then acts `times` times (None: for ever). The first rule that still acts wins.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from include.settings import Settings

# Belongs to one connection, not to the message (RFC 9110, 7.6.1); the length is that of the body we pass on.
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


@dataclass(frozen=True)
class Request:
    """What the client sent."""

    method: str
    path: str  # with the query
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def operation(self) -> str:
        """The AWS operation: from X-Amz-Target (Kinesis, SQS) or the form's Action (SNS); "" elsewhere (S3)."""
        if target := self.header("X-Amz-Target"):
            return target.rpartition(".")[2]
        if self.header("Content-Type").startswith("application/x-www-form-urlencoded"):
            return parse_qs(self.body.decode()).get("Action", [""])[0]
        return parse_qs(urlsplit(self.path).query).get("Action", [""])[0]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Response:
    """What the upstream, or a rule, answered."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def json(self) -> Any:
        return json.loads(self.body)


class DroppedError(Exception):
    """Raised by a fault: the client gets a reset connection instead of an answer."""


Forward = Callable[[Request], Response]


class Fault:
    """What a rule does with a request. `forward` asks the upstream; raise `DroppedError` to answer nothing."""

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        raise NotImplementedError

    def sent_bytes(self, head: bytes, body: bytes) -> bytes:
        """The bytes that leave for the client."""
        return head + body


@dataclass(frozen=True)
class Answer(Fault):
    """Answer this; the upstream never hears of the request."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        return Response(self.status, self.body, tuple(self.headers.items()))


@dataclass(frozen=True)
class Delay(Fault):
    """Wait, then pass it on."""

    seconds: float

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        closing.wait(self.seconds)
        return forward(request)


@dataclass(frozen=True)
class Hang(Fault):
    """Take the request and stay silent, until `seconds` are over or the proxy is closed."""

    seconds: float = 300

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        closing.wait(self.seconds)
        raise DroppedError


class Reset(Fault):
    """Reset the connection; the upstream never hears of the request."""

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        raise DroppedError


class LoseAnswer(Fault):
    """Pass it on, let the upstream do it, and reset the connection: the lost acknowledgement."""

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        forward(request)
        raise DroppedError


@dataclass(frozen=True)
class Cut(Fault):
    """Pass it on (or give `answer`), promise the whole body, send only this share of it, and close."""

    share: float = 0.5
    answer: Answer | None = None

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        return forward(request) if self.answer is None else self.answer.act(request, forward, closing)

    def sent_bytes(self, head: bytes, body: bytes) -> bytes:
        return head + body[: int(len(body) * self.share)]


@dataclass(frozen=True)
class Change(Fault):
    """Pass it on and change the answer. The Content-Length follows the new body."""

    change: Callable[[Response], Response]

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        return self.change(forward(request))


@dataclass(frozen=True)
class RefuseRecords(Fault):
    """Kinesis takes part of a PutRecords: the records at `indexes` are not put and reported as failed."""

    indexes: tuple[int, ...]
    code: str = "ProvisionedThroughputExceededException"

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        asked = request.json()
        refused = {index for index in self.indexes if index < len(asked["Records"])}
        taken = [record for index, record in enumerate(asked["Records"]) if index not in refused]
        results: list[dict[str, Any]] = []
        headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/x-amz-json-1.1"),)
        if taken:
            answer = forward(replace(request, body=json.dumps(asked | {"Records": taken}).encode()))
            if answer.status != 200:
                return answer
            results, headers = answer.json()["Records"], answer.headers
        for index in sorted(refused):
            results.insert(index, {"ErrorCode": self.code, "ErrorMessage": "refused by the fault proxy"})
        return Response(200, json.dumps({"FailedRecordCount": len(refused), "Records": results}).encode(), headers)


@dataclass
class _Rule:
    fault: Fault
    method: str | None
    path: re.Pattern[str] | None
    operation: str | None
    where: Callable[[Request], bool] | None
    after: int
    times: int | None

    def takes(self, request: Request) -> bool:
        if self.times == 0:
            return False
        fits = (
            self.method in (None, request.method)
            and (self.path is None or self.path.fullmatch(request.path) is not None)
            and self.operation in (None, request.operation)
            and (self.where is None or self.where(request))
        )
        if fits and self.after:
            self.after -= 1
            return False
        if fits and self.times is not None:
            self.times -= 1
        return fits


@dataclass(frozen=True)
class Seen:
    """One request that came by: the fault that met it (None: none), and the upstream's status (None: never asked)."""

    request: Request
    fault: str | None
    upstream_status: int | None

    @property
    def operation(self) -> str:
        return self.request.operation


class FaultProxy:
    """A proxy on a free port of the loopback, as a context manager. Without an upstream unmatched requests get 502."""

    def __init__(self, upstream: str | None = None, *, timeout: float = 60) -> None:
        self.upstream = urlsplit(upstream) if upstream else None
        self.timeout = timeout
        self.closing = threading.Event()
        self._rules: list[_Rule] = []
        self._seen: list[Seen] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def seen(self) -> tuple[Seen, ...]:
        """All requests so far, in the order in which they were done with."""
        with self._lock:
            return tuple(self._seen)

    def add(
        self,
        fault: Fault,
        *,
        method: str | None = None,
        path: str | None = None,
        operation: str | None = None,
        where: Callable[[Request], bool] | None = None,
        after: int = 0,
        times: int | None = 1,
    ) -> None:
        """Add a rule. `path` is a regular expression for all of path and query; what is None matches everything."""
        compiled = None if path is None else re.compile(path)
        with self._lock:
            self._rules.append(_Rule(fault, method, compiled, operation, where, after, times))

    def clear(self) -> None:
        """Forget all rules: from now on everything passes."""
        with self._lock:
            self._rules.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def handle(self, request: Request) -> tuple[Fault | None, Response]:
        """Find the rule, act, remember. Raises DroppedError if nothing is to be answered."""
        with self._lock:
            fault = next((rule.fault for rule in self._rules if rule.takes(request)), None)
        statuses: list[int] = []

        def forward(request: Request) -> Response:
            response = self._forward(request)
            statuses.append(response.status)
            return response

        try:
            return fault, forward(request) if fault is None else fault.act(request, forward, self.closing)
        finally:
            with self._lock:
                named = type(fault).__name__ if fault else None
                self._seen.append(Seen(request, named, statuses[-1] if statuses else None))

    def _forward(self, request: Request) -> Response:
        if self.upstream is None:
            return Response(502, b"the fault proxy has no upstream and no rule for this request")
        connection = http.client.HTTPConnection(
            self.upstream.hostname or "", self.upstream.port or 80, timeout=self.timeout
        )
        try:
            connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                if name.lower() not in _HOP_BY_HOP | {"content-length", "expect"}:
                    connection.putheader(name, value)
            if request.body or request.header("Content-Length"):
                connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body)
            answer = connection.getresponse()
            return Response(answer.status, answer.read(), tuple(answer.getheaders()))
        except OSError as error:
            return Response(502, f"the fault proxy cannot reach its upstream: {error}".encode())
        finally:
            connection.close()


def behind(settings: Settings, proxy: FaultProxy) -> Settings:
    """The same settings with all of AWS seen through the proxy."""
    return settings.model_copy(update={"aws_endpoint_url": proxy.url})


@contextmanager
def aws_faults(settings: Settings) -> Iterator[tuple[FaultProxy, Settings]]:
    """A proxy in front of the AWS of these settings, and the settings that go through it."""
    with FaultProxy(settings.aws_endpoint_url) as proxy:
        yield proxy, behind(settings, proxy)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: FaultProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away (after a hang, say) is what the tests provoke; no traceback for it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _any(self) -> None:
        request = Request(self.command, self.path, tuple(self.headers.items()), self._body())
        try:
            fault, response = self.server.proxy.handle(request)
        except DroppedError:
            self._reset()
            return
        empty = self.command == "HEAD" or response.status in (204, 304) or response.status < 200
        lines = [f"HTTP/1.1 {response.status} {http.client.responses.get(response.status, 'Unknown')}"]
        lines += [
            f"{name}: {value}"
            for name, value in response.headers
            if name.lower() not in _HOP_BY_HOP and (self.command == "HEAD" or name.lower() != "content-length")
        ]
        if not empty:
            lines.append(f"Content-Length: {len(response.body)}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        body = b"" if empty else response.body
        sent = head + body if fault is None else fault.sent_bytes(head, body)
        self.wfile.write(sent)
        if len(sent) < len(head) + len(body):
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = _any  # noqa: N815  # http.server's names

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return body

    def _reset(self) -> None:
        """Close with RST instead of FIN, so that the client sees a broken connection and not an empty answer."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: `FaultProxy.seen` is the record."""
