"""Which consecutive ids of an instrument's trades have been seen, and which are missing between them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime
from typing import Final

_MOST_SPANS: Final = 1000
_ANOTHER_COUNT: Final = 100_000  # an id so far below all seen ones is no late trade: the vendor counts anew


@dataclass(slots=True)
class Span:
    """Ids `first` to `last`, all seen, and the times of these two trades, UTC."""

    first: int
    last: int
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Hole:
    """Ids `first` to `last`, none seen, and the times of the trades around them, UTC."""

    first: int
    last: int
    begins: datetime
    ends: datetime

    @property
    def count(self) -> int:
        return self.last - self.first + 1


class Coverage:
    """The ids seen of one instrument, in any order. Duplicates are told exactly, late ones are taken.

    Spans that are too many are joined from the oldest on: what is missing there is no hole any more.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def add(self, number: int, at: datetime) -> bool:
        """Note a trade; False if it was seen before."""
        if self.spans and number < self.spans[0].first - _ANOTHER_COUNT:
            self.spans.clear()
        place = bisect_right(self.spans, number, key=lambda span: span.first)
        before = self.spans[place - 1] if place else None
        after = self.spans[place] if place < len(self.spans) else None
        if before is not None and number <= before.last:
            return False
        joins_before = before is not None and number == before.last + 1
        joins_after = after is not None and number == after.first - 1
        if joins_before and joins_after:
            assert before is not None and after is not None  # noqa: S101  # what joins is there
            before.last, before.ends = after.last, after.ends
            del self.spans[place]
        elif joins_before:
            assert before is not None  # noqa: S101
            before.last, before.ends = number, at
        elif joins_after:
            assert after is not None  # noqa: S101
            after.first, after.begins = number, at
        else:
            self.spans.insert(place, Span(number, number, at, at))
            if len(self.spans) > _MOST_SPANS:
                self.close(self.spans[1].first - 1)
        return True

    def holes(self) -> list[Hole]:
        """What is missing between ids that were seen, the oldest first."""
        return [
            Hole(before.last + 1, after.first - 1, before.ends, after.begins)
            for before, after in zip(self.spans, self.spans[1:], strict=False)
        ]

    def close(self, last: int) -> None:
        """Give up holes that end at or before `last`: they are none any more."""
        while len(self.spans) > 1 and self.spans[1].first - 1 <= last:
            self.spans[0].last, self.spans[0].ends = self.spans[1].last, self.spans[1].ends
            del self.spans[1]

    @property
    def newest(self) -> Span | None:
        """The last span: its end is the latest trade."""
        return self.spans[-1] if self.spans else None
