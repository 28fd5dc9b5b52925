"""A vendor's HTTP API: JSON by GET, a deadline per attempt, retries with back-off and jitter, Retry-After honoured.

Every attempt passes the vendor's gate first (`include/sources/gate.py`): retries and redirects cost calls as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from time import sleep
from typing import Any, Final

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_exponential_jitter

from include.errors import MisfitError, RefusedError, SourceError
from include.sources.answers import NoJsonError, decode, excerpt, retry_after
from include.sources.gate import Gate
from include.sources.masking import Mask
from include.sources.wire import Reply, Wire, WireError

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each call says nothing that the outcomes do not

ATTEMPTS: Final = 4
PATIENCE: Final = 75.0  # seconds over all attempts; a vendor that asks for a longer break gets it: we give up
_BACKOFF: Final = wait_exponential_jitter(multiplier=0.5, max=8, jitter=0.5)
_TOO_OFTEN: Final = (418, 429)  # Binance bans with 418 who goes on after 429
_LATER: Final = (408, 425, *_TOO_OFTEN)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MAX_REDIRECTS: Final = 3


class _AgainError(Exception):
    """This attempt failed, the next may not. `after` is the break the vendor asked for, in seconds."""

    def __init__(self, reason: str, after: float | None = None, raw: bytes = b"") -> None:
        super().__init__(reason)
        self.after, self.raw = after, raw


@dataclass(frozen=True, slots=True)
class Answer:
    """A vendor's answer: decoded JSON, its status, and its bytes as they came (our key in them is masked)."""

    data: Any
    status: int
    body: bytes
    headers: httpx.Headers


class RateLimitedError(Exception):
    """Raised by a `check`: the vendor says in the body that we ask too often. `after`: seconds until it will answer."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class VendorHttp:
    """One vendor's API. Use it as a context manager: connections are kept between calls.

    `secret` never shows in an error or a log, wherever it travels (a header, a parameter) and even if the vendor echoes
    it. `secret_params` go into the address of every call and into no message.
    """

    def __init__(
        self,
        vendor: str,
        url: str,
        gate: Gate,
        *,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        secret: str = "",
        secret_params: Mapping[str, str] | None = None,
        advice: str = "",
    ) -> None:
        self.vendor, self.url, self.gate, self.seconds = vendor, url.rstrip("/"), gate, seconds
        self.secret_params, self.advice = dict(secret_params or {}), advice
        self._mask = Mask(secret, *self.secret_params.values())
        self._wire = Wire(headers or {})

    def __enter__(self) -> VendorHttp:
        self._wire.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.__exit__()

    def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        weight: int = 1,
        accept: Container[int] = (200,),
        check: Callable[[Answer], None] | None = None,
    ) -> Answer:
        """The answer to a GET of `path` (or of a whole address under the same host, such as a `next_url`).

        `accept` are the statuses that are an answer (a 404 that says "no such symbol"); others are errors. `check` may
        raise RateLimitedError over an accepted answer. Tried again: timeouts, broken connections, cut-off bodies,
        408, 418, 425, 429, 5xx, what is no JSON, and what `check` calls a rate limit. `seconds` bounds each attempt,
        the gate the pull as a whole. Redirects are followed on the same host only.

        Raises SourceError with the vendor's name, the last reason and how often it was tried, MisfitError (the same for
        what is no JSON, with the bytes), BudgetSpentError, CircuitOpenError.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(_AgainError),
            stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(min(PATIENCE, self.gate.remaining())),
            wait=_wait,
            sleep=lambda pause: sleep(pause),  # looked up when called, so that tests need not wait
            before_sleep=lambda state: log.warning(
                "%s: %s; next attempt in %.1f s", self.vendor, _reason(state), _pause(state)
            ),
            reraise=True,
        )
        try:
            answer = retrying(self._attempt, self._address(path, params), weight, accept, check)
        except _AgainError as error:
            tries = retrying.statistics["attempt_number"]
            wish = f" and asks for a break of {error.after:.0f} s" if error.after else ""
            said = f"{self.vendor}: {error}{wish} (attempt {tries} of {ATTEMPTS}, given up)"
            raise self._counted(MisfitError(said, error.raw) if error.raw else SourceError(said)) from None
        except RefusedError:
            raise
        except SourceError as error:
            raise self._counted(error) from None
        self.gate.succeeded()
        return answer

    def _counted(self, error: SourceError) -> SourceError:
        """Tell the gate of it, and the error that the gate knows."""
        self.gate.failed(str(error))
        error.is_counted = True
        return error

    def _address(self, path: str, params: Mapping[str, str] | None) -> httpx.URL:
        if path.startswith(("http://", "https://")):
            return self._same_host(path, path.encode()).copy_merge_params(params or {})
        try:
            return httpx.URL(self.url + path).copy_merge_params(params or {})
        except httpx.InvalidURL as error:
            raise SourceError(f"{self.vendor}: the address {self.url} is none: {error}") from None

    def _same_host(self, address: str | httpx.URL, raw: bytes) -> httpx.URL:
        """The address, if the key may go there: to where it goes anyway, and to nobody else."""
        shown = self._mask.text(str(address)).partition("?")[0][:120]
        try:
            url, own = httpx.URL(address), httpx.URL(self.url)
        except httpx.InvalidURL:
            said = f"{self.vendor}: sends us on to what is no address: {shown!r}"
            raise MisfitError(said, self._mask.data(raw)) from None
        if (url.scheme, url.host, url.port, url.userinfo) != (own.scheme, own.host, own.port, own.userinfo):
            said = f"{self.vendor}: sends us on to another host: {shown!r}; {own.host} was asked"
            raise MisfitError(said, self._mask.data(raw))
        return url

    def _attempt(
        self, url: httpx.URL, weight: int, accept: Container[int], check: Callable[[Answer], None] | None
    ) -> Answer:
        reply = self._reply(url, weight)
        body = self._mask.data(reply.body)
        said = self._mask.text(excerpt(body))
        after = retry_after(reply.headers)
        if reply.status in _LATER or reply.status >= 500:
            if after or reply.status in _TOO_OFTEN:
                self.gate.pause(after or 0.0, f"answered {reply.status}")
            raise _AgainError(f"answered {reply.status} ({said})", after)
        if reply.status not in accept:
            hint = f"; {self.advice}" if self.advice and reply.status in (401, 403) else ""
            raise SourceError(f"{self.vendor}: answered {reply.status} ({said}){hint}")
        try:
            answer = Answer(decode(body), reply.status, body, reply.headers)
        except NoJsonError as error:
            raise _AgainError(f"the answer {self._mask.text(str(error))}", raw=body or b" ") from None
        try:
            if check:
                check(answer)
        except RateLimitedError as limited:
            reason = self._mask.text(str(limited))
            self.gate.pause(limited.after or 0.0, reason)
            raise _AgainError(f"{reason} ({said})", limited.after) from None
        return answer

    def _reply(self, url: httpx.URL, weight: int) -> Reply:
        """What the vendor says in the end, redirects on its own host followed."""
        for _ in range(1 + _MAX_REDIRECTS):
            self.gate.admit(weight)
            seconds = min(self.seconds, self.gate.remaining())
            if seconds <= 0:
                raise RefusedError(f"{self.vendor}: the time for this pull is over; no more calls", {"time": "over"})
            try:
                reply = self._wire.get(url.copy_merge_params(self.secret_params), seconds)
            except WireError as error:
                if error.again:
                    raise _AgainError(self._mask.text(str(error))) from None
                raise SourceError(self._mask.text(f"{self.vendor}: {error}")) from None
            place = reply.headers.get("Location")
            if reply.status not in _REDIRECTS or not place:
                return reply
            url = self._same_host(_joined(url, place), place.encode())
        raise SourceError(f"{self.vendor}: sends us on more than {_MAX_REDIRECTS} times")


def _joined(url: httpx.URL, place: str) -> str | httpx.URL:
    try:
        return url.join(place)
    except httpx.InvalidURL:
        return place  # what is wrong with it is said where its host is looked at


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _AgainError) and error.after is not None:
        return error.after
    return _BACKOFF(state)


def _reason(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _pause(state: RetryCallState) -> float:
    return state.next_action.sleep if state.next_action else 0.0
