"""Which errors of AWS a later attempt may mend, and how long to wait for it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

# Refused for now, or the answer got lost: the same call may succeed a moment later.
_TRANSIENT_CODES: Final = frozenset({
    "InternalFailure", "KMSThrottlingException", "LimitExceededException", "ProvisionedThroughputExceededException",
    "RequestLimitExceeded", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with jitter, bounded in attempts and seconds; tests bring their own `sleep` and `clock`."""

    attempts: int = 8
    seconds: float = 60.0
    first: float = 0.1
    longest: float = 5.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def pause(self, tries: int) -> None:
        """Wait before the next attempt after `tries` (1 or more) failed ones: half of the wait is chance."""
        longest = min(self.longest, self.first * 2 ** (tries - 1))
        self.sleep(random.uniform(longest / 2, longest))  # noqa: S311  # spreads retries, hides nothing

    def call(self, function: Callable[..., Result], **arguments: Any) -> Result:
        """Call, and call again while the error is transient and the bounds allow; then the last error goes on."""
        started, tries = self.clock(), 0
        while True:
            try:
                return function(**arguments)
            except Exception as error:
                tries += 1
                if not is_transient(error) or tries >= self.attempts or self.clock() - started >= self.seconds:
                    raise
                self.pause(tries)


PATIENT: Final = Backoff()


def is_transient(error: BaseException) -> bool:
    """Whether a later attempt may succeed: throttled, a 5xx, a connection that failed or broke, an answer cut off."""
    from botocore import exceptions
    from botocore.parsers import ResponseParserError

    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or error_code(error) in _TRANSIENT_CODES
    return isinstance(error, (exceptions.HTTPClientError, exceptions.ConnectionError, ResponseParserError))


def error_code(error: BaseException) -> str:
    """AWS' own code of an error, or the name of its class."""
    answer = getattr(error, "response", None)
    code = answer.get("Error", {}).get("Code") if isinstance(answer, dict) else None
    return str(code or type(error).__name__)
