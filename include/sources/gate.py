"""The gate before a vendor: every call passes it, whoever makes it.

A source only knows this shape. The real one (budgets, breaks and circuits kept in the warehouse, so that they hold for
all processes and after a restart) is handed in by the use case that pulls.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol, Self

_BUDGET: Final = re.compile(r"([1-9]\d{0,8})/(minute|day)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a vendor's plan allows: calls (or the vendor's own weights) per minute and per day. None: not limited."""

    per_minute: int | None = None
    per_day: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`60/minute`, `2000/day` or both: `60/minute+2000/day`. Raises ValueError saying what is allowed."""
        parts = [_BUDGET.fullmatch(part.strip()) for part in text.split("+")]
        found = {f"per_{part[2]}": int(part[1]) for part in parts if part}
        if len(found) != len(parts):
            raise ValueError(f"{text!r} is no budget; allowed are 60/minute, 2000/day or 60/minute+2000/day, not 0")
        return cls(**found)

    def but(self, other: Limits) -> Limits:
        """These limits, with the other's where it has any."""
        return Limits(other.per_minute or self.per_minute, other.per_day or self.per_day)


class Gate(Protocol):
    """Asked before each call, told after it."""

    def remaining(self) -> float:
        """Seconds that the pull may still take; inf: as long as it likes."""

    def admit(self, weight: int = 1) -> None:
        """Count a call of this weight against the budget; wait where a short wait makes room for it.

        Raises BudgetSpentError (until when) or CircuitOpenError (since when, why); no call is made then.
        """

    def pause(self, seconds: float, reason: str) -> None:
        """The vendor asked for a break: nobody calls it before `seconds` from now have passed (0: it did not say)."""

    def succeeded(self) -> None:
        """The vendor answered as it should."""

    def failed(self, reason: str) -> None:
        """The call failed for good (after its retries); enough of these in a row open the circuit."""


class OpenGate:
    """Lets everything through: for tests and for vendors without limits."""

    def remaining(self) -> float:
        return inf

    def admit(self, weight: int = 1) -> None:
        pass

    def pause(self, seconds: float, reason: str) -> None:
        pass

    def succeeded(self) -> None:
        pass

    def failed(self, reason: str) -> None:
        pass
