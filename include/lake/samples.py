"""The queries that people begin with, on the Parquet tables and, for comparison, on the raw JSON."""

# ruff: noqa: S608  # the SQL is made of our own names of fields

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sample:
    """One question: what it answers, and its SQL on Parquet and on raw JSON. Both give the same rows."""

    title: str
    parquet: str
    raw: str


def _of_payload(field: str) -> str:
    return f"try_cast(json_extract_scalar(payload, '$.{field}') as double)"


# A vendor may send the change itself; the simulator sends the close before, as most of them do.
_CHANGE: Final = f"100 * ({_of_payload('price')} / {_of_payload('previous_close')} - 1)"

SAMPLES: Final[Mapping[str, Sample]] = {
    "quick-look": Sample(
        "ten quotes, to see what there is",
        """
select symbol, event_time, price, bid, ask, change_percent, day_volume
from quotes
order by event_time desc, symbol
limit 10
""",
        f"""
select symbol, event_time, {_of_payload("price")} as price, {_of_payload("bid")} as bid,
    {_of_payload("ask")} as ask, {_CHANGE} as change_percent, {_of_payload("day_volume")} as day_volume
from raw_events
where kind = 'quote'
order by event_time desc, symbol
limit 10
""",
    ),
    "top-movers": Sample(
        "the symbols whose last price is furthest from the close of the day before",
        """
select symbol, max_by(price, event_time) as price, max_by(change_percent, event_time) as change_percent
from quotes
group by symbol
order by abs(max_by(change_percent, event_time)) desc, symbol
limit 10
""",
        f"""
select symbol, max_by({_of_payload("price")}, event_time) as price,
    max_by({_CHANGE}, event_time) as change_percent
from raw_events
where kind = 'quote'
group by symbol
order by abs(max_by({_CHANGE}, event_time)) desc, symbol
limit 10
""",
    ),
    "average-volume": Sample(
        "how much of each symbol is traded: the size of a trade on average, and all of them",
        """
select symbol, count(*) as trades, avg(size) as average_size, sum(size) as volume
from trades
group by symbol
order by volume desc, symbol
""",
        f"""
select symbol, count(*) as trades, avg({_of_payload("size")}) as average_size, sum({_of_payload("size")}) as volume
from raw_events
where kind = 'trade'
group by symbol
order by volume desc, symbol
""",
    ),
    "big-moves": Sample(
        "quotes more than 5 % away from the close of the day before",
        """
select symbol, event_time, price, change_percent
from quotes
where abs(change_percent) > 5
order by event_time, symbol
limit 100
""",
        f"""
select symbol, event_time, {_of_payload("price")} as price, {_CHANGE} as change_percent
from raw_events
where kind = 'quote' and abs({_CHANGE}) > 5
order by event_time, symbol
limit 100
""",
    ),
}


def sql(name: str, *, on_raw: bool = False) -> str:
    """The text of a sample. Raises KeyError for a name that is none."""
    sample = SAMPLES[name]
    return (sample.raw if on_raw else sample.parquet).strip()
