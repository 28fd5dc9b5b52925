"""What a rule is: rows in, marks out. Pure; a rule of one's own is one class in one file, and one line that names it.

A rule says which columns of which rows it needs and how much history; the engine reads them, cuts them into series,
and calls `find` once for all series that share the same parameters. What a rule says of a row depends on that row and
on the `history` rows of its series before it, on nothing else: so the pieces and the order in which rows are looked at
do not matter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from include.alerts import Severity

Numbers = npt.NDArray[np.float64]
Sides = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

Reads = Literal["candles", "closes", "portfolios"]
"""Which rows: an instrument's final minutes; a source's compared closes; a portfolio's value by minute."""


class Params(BaseModel):
    """What every rule takes. A rule's own parameters are a subclass; bounds and descriptions are shown to users."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    enabled: bool = True
    severity: Severity = "warning"
    cooldown_minutes: int = Field(
        15, ge=1, le=1440, description="findings no further apart than this belong to one alert; minutes, 1 to 1440"
    )


@dataclass(frozen=True)
class Rows:
    """Rows of any number of series, ordered by series and time, as columns.

    A series is an instrument, an instrument at one source, or a portfolio. Numbers are doubles, NaN where unknown.
    `is_first`: a series begins here, or rows are missing from the history that was asked for.
    `is_new`: to be judged; the others are history only. Left out: all are.
    """

    symbol: Sequence[str]
    at: Sequence[datetime]
    source: Sequence[str]
    is_first: Flags
    columns: Mapping[str, Numbers] = field(default_factory=dict)
    is_new: Flags = field(default_factory=lambda: np.zeros(0, dtype=bool))
    reads: Reads = "candles"

    def __post_init__(self) -> None:
        if len(self.is_new) != len(self.symbol):
            object.__setattr__(self, "is_new", np.ones(len(self.symbol), dtype=bool))

    def __len__(self) -> int:
        return len(self.symbol)

    @cached_property
    def minutes(self) -> Ints:
        """Each row's time in whole minutes since 1970."""
        return np.fromiter((int(at.timestamp()) // 60 for at in self.at), dtype=np.int64, count=len(self))

    @cached_property
    def begins(self) -> Ints:
        """For each row the place of the first row of its series."""
        places = np.arange(len(self))
        return np.maximum.accumulate(np.where(self.is_first, places, 0))

    def __getitem__(self, column: str) -> Numbers:
        return self.columns[column]


@dataclass(frozen=True)
class Marks:
    """What a rule says of each row: its side (+1 up or BUY, -1 down or SELL, 0 nothing), value and threshold.

    `measures`: further numbers by name, each as (value, low, high) of the usual range; a side may be None.
    """

    sides: Sides
    values: Numbers
    thresholds: Numbers
    measures: Mapping[str, tuple[Numbers, Numbers | None, Numbers | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mark:
    """One row that a rule points at, for its sentence: direction, numbers, the row's own columns."""

    direction: str
    value: float
    threshold: float
    row: Mapping[str, float]
    measures: Mapping[str, tuple[float | None, float | None, float | None]]
    source: str
    minutes: int = 1


P = TypeVar("P", bound=Params)


class Rule(ABC, Generic[P]):
    """One rule. Instances hold no state."""

    name: ClassVar[str]
    title: ClassVar[str]  # one line: what it points at
    params: type[P]
    reads: ClassVar[Reads] = "candles"
    needs: ClassVar[tuple[str, ...]]  # columns of those rows
    directions: ClassVar[tuple[str, str]] = ("up", "down")

    def history(self, params: P) -> int:
        """How many rows before a row have to be known to judge it."""
        return 0

    def models(self, params: P) -> tuple[str, ...]:
        """The trained models that it wants, by name; `find` gets the approved version of each."""
        return ()

    @abstractmethod
    def find(self, rows: Rows, params: P, models: Mapping[str, Any]) -> Marks:
        """Judge every new row; what is said of the others is not looked at.

        A model that was never trained is absent from `models`: then a rule that wants it is silent.
        """

    @abstractmethod
    def message(self, mark: Mark, params: P) -> str:
        """The finding in one sentence, without the symbol."""
