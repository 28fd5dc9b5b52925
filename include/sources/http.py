"""One GET of JSON from a vendor: a deadline per attempt, retries with back-off and jitter, Retry-After honoured."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic, sleep
from typing import Any, Final

import httpx
import orjson
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_exponential_jitter

from include.errors import SourceError

log = logging.getLogger(__name__)

ATTEMPTS: Final = 4
PATIENCE: Final = 75.0  # seconds over all attempts; a vendor that asks for a longer break gets it: we give up
_BACKOFF: Final = wait_exponential_jitter(multiplier=0.5, max=8, jitter=0.5)
_MAX_BYTES: Final = 32 * 1024 * 1024


class _AgainError(Exception):
    """This attempt failed, the next may not. `after` is the break the vendor asked for, in seconds."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


def get_json(
    client: httpx.Client,
    url: str,
    params: Mapping[str, str],
    *,
    vendor: str,
    seconds: float,
    advice: str = "",
    secret: str = "",
) -> Any:
    """The decoded JSON of a 200 answer.

    Tried again: timeouts, broken connections, cut-off bodies, 408, 425, 429, 5xx, and what is no JSON. `seconds` bounds
    each attempt as a whole. Raises SourceError with the vendor's name, the last reason and how often it was tried;
    `advice` is added where the vendor refuses us (401, 403), and `secret` never shows, even if the vendor echoes it.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(_AgainError),
        stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(PATIENCE),
        wait=_wait,
        sleep=lambda pause: sleep(pause),  # looked up when called, so that tests need not wait
        before_sleep=lambda state: log.warning("%s: %s; next attempt in %.1f s", vendor, _reason(state), _pause(state)),
        reraise=True,
    )
    try:
        return retrying(_attempt, client, url, params, vendor, seconds, advice, secret)
    except _AgainError as error:
        tries = retrying.statistics["attempt_number"]
        wish = f" and asks for a break of {error.after:.0f} s" if error.after else ""
        raise SourceError(f"{vendor}: {error}{wish} (attempt {tries} of {ATTEMPTS}, given up)") from None


def _attempt(
    client: httpx.Client, url: str, params: Mapping[str, str], vendor: str, seconds: float, advice: str, secret: str
) -> Any:
    status, headers, body = _read(client, url, params, vendor, seconds)
    excerpt = _excerpt(body, secret)
    if status in (408, 425, 429) or status >= 500:
        raise _AgainError(f"answered {status} ({excerpt})", _retry_after(headers.get("Retry-After")))
    if status != 200:
        hint = f"; {advice}" if advice and status in (401, 403) else ""
        raise SourceError(f"{vendor}: answered {status} ({excerpt}){hint}")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _AgainError(f"the answer is no JSON but {excerpt}") from None


def _read(
    client: httpx.Client, url: str, params: Mapping[str, str], vendor: str, seconds: float
) -> tuple[int, httpx.Headers, bytes]:
    deadline = monotonic() + seconds
    body = bytearray()
    try:
        with client.stream("GET", url, params=dict(params), timeout=seconds) as answer:
            for chunk in answer.iter_bytes():
                body += chunk
                if monotonic() > deadline:
                    raise _AgainError(f"the answer was not complete within {seconds:g} s")
                if len(body) > _MAX_BYTES:
                    raise SourceError(f"{vendor}: the answer is larger than {_MAX_BYTES:,} bytes; not read")
            return answer.status_code, answer.headers, bytes(body)
    except httpx.TimeoutException:
        raise _AgainError(f"no answer within {seconds:g} s") from None
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise _AgainError(f"the connection failed: {str(error) or type(error).__name__}") from None
    except httpx.InvalidURL as error:
        raise SourceError(f"{vendor}: the address {url} is none: {error}") from None


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _AgainError) and error.after is not None:
        return error.after
    return _BACKOFF(state)


def _retry_after(value: str | None) -> float | None:
    """Seconds from now: the header holds seconds or an HTTP date; what is neither counts as absent."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())


def _excerpt(body: bytes, secret: str) -> str:
    text = " ".join(body[:4000].decode(errors="replace").split())
    text = text.replace(secret, "***") if secret else text
    return repr(text[:120]) if text else "an empty body"


def _reason(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _pause(state: RetryCallState) -> float:
    return state.next_action.sleep if state.next_action else 0.0
