"""The rules of the audits, in one place: a table of facts that Great Expectations carries out.

A rule on rows sends the rows that break it to quarantine; a rule on a batch rejects the whole load, or sets the source
that breaks it aside where others of the load are fine; a note only tells.
What differs from audit to audit (the time, the symbols, the limits) is a parameter, filled in when a load is judged.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

Level = Literal["row", "batch", "note"]
Subject = Literal["quote", "trade", "bar", "action", "load", "candle", "reconciliation"]

_LARGEST: Final = sys.float_info.max
_REPEATS: Final = 0.5

QUOTE, TRADE, BAR, ACTION = ("quote",), ("trade",), ("bar",), ("action",)
EVENTS, TIMED, PRICED = ("quote", "trade", "bar", "action"), ("quote", "trade", "bar"), ("quote", "trade")
LOAD, CANDLE, RECONCILIATION = ("load",), ("candle",), ("reconciliation",)
OHLC = ("bar", "candle")


@dataclass(frozen=True, slots=True)
class Rule:
    """One fact that must hold.

    `arguments` are those of the expectation; `meaning` says what must be, or what is wrong; `shown` is the column whose
    value tells a person most, if it is not the one looked at.
    """

    name: str
    subjects: tuple[str, ...]
    level: Level
    expectation: str
    arguments: Mapping[str, Any]
    meaning: str
    shown: str = ""

    @property
    def columns(self) -> str:
        """The columns it looks at, as one text."""
        named = [self.arguments[name] for name in ("column", "column_A", "column_B") if name in self.arguments]
        return ", ".join(named or self.arguments.get("column_list", ()))


def _parameter(name: str) -> dict[str, str]:
    return {"$PARAMETER": name}


def _there(name: str, subjects: tuple[str, ...], column: str, meaning: str, *, shown: str = "") -> Rule:
    return Rule(name, subjects, "row", "ExpectColumnValuesToNotBeNull", {"column": column}, meaning, shown)


def _between(
    name: str, subjects: tuple[str, ...], column: str, meaning: str, level: Level = "row", **limits: Any
) -> Rule:
    return Rule(name, subjects, level, "ExpectColumnValuesToBeBetween", {"column": column, **limits}, meaning)


def _not_below(
    name: str, subjects: tuple[str, ...], larger: str, smaller: str, meaning: str, level: Level = "row"
) -> Rule:
    pair = {"column_A": larger, "column_B": smaller, "or_equal": True, "ignore_row_if": "either_value_is_missing"}
    return Rule(name, subjects, level, "ExpectColumnPairValuesAToBeGreaterThanB", pair, meaning)


def _equal(name: str, subjects: tuple[str, ...], one: str, other: str, meaning: str, level: Level = "batch") -> Rule:
    pair = {"column_A": one, "column_B": other, "ignore_row_if": "either_value_is_missing"}
    return Rule(name, subjects, level, "ExpectColumnPairValuesToBeEqual", pair, meaning)


def _number(name: str, subjects: tuple[str, ...], column: str) -> Rule:
    # A text, a flag, NaN or an infinity where a number belongs has become NULL in staging (ops.to_number).
    return _there(f"{name}_is_a_number", subjects, column, f"the {name} must be there and be a finite number")


def _positive(name: str, subjects: tuple[str, ...], column: str) -> Rule:
    meaning = f"the {name} must be above 0 and finite"
    return _between(f"{name}_is_positive", subjects, column, meaning, min_value=0, strict_min=True, max_value=_LARGEST)


RULES: Final[tuple[Rule, ...]] = (
    # What holds for every event
    _there("source_is_modelled", EVENTS, "modelled", "no model reads this source and kind"),
    _there("symbol_is_there", EVENTS, "symbol", "the symbol is required"),
    _there("event_time_is_there", EVENTS, "event_time", "the event_time is required"),
    # Not "in set": Great Expectations copies a set of a thousand symbols a hundred times.
    _there("symbol_is_known", EVENTS, "instrument", "the symbol is not among the instruments", shown="symbol"),
    # A corporate action is announced before its day, and told again after it.
    _between("event_time_is_not_in_the_future", TIMED, "event_time", "the event_time is in the future",
             max_value=_parameter("latest_time")),
    _between("live_event_is_not_too_old", TIMED, "live_event_time",
             "a live event is not older than what the stream keeps, counted from its market's last close",
             min_value=_parameter("earliest_time")),
    # Quotes and trades
    _number("price", PRICED, "price"),
    _positive("price", PRICED, "price"),
    _not_below("ask_is_not_below_bid", QUOTE, "ask", "bid", "the bid must not be above the ask"),
    _number("size", TRADE, "size"),
    _between("size_is_not_negative", TRADE, "size", "the size must not be below 0", min_value=0, max_value=_LARGEST),
    # Bars, and the candles of the marts
    Rule("resolution_is_known", BAR, "row", "ExpectColumnValuesToBeInSet",
         {"column": "resolution", "value_set": ["1m", "5m", "1h", "1d"]}, "the resolution must be 1m, 5m, 1h or 1d"),
    _there("resolution_is_there", BAR, "resolution", "the resolution is required"),
    Rule("session_is_known", BAR, "row", "ExpectColumnValuesToBeInSet",
         {"column": "session", "value_set": ["pre", "regular", "post"]},
         "the session must be pre, regular or post, or not be said"),
    *(_number(name, OHLC, name) for name in ("open", "high", "low", "close")),
    _positive("low", OHLC, "low"),
    _not_below("high_is_not_below_low", OHLC, "high", "low", "the high must not be below the low"),
    _not_below("high_is_not_below_open", OHLC, "high", "open", "the open must lie inside low and high"),
    _not_below("high_is_not_below_close", OHLC, "high", "close", "the close must lie inside low and high"),
    _not_below("open_is_not_below_low", OHLC, "open", "low", "the open must lie inside low and high"),
    _not_below("close_is_not_below_low", OHLC, "close", "low", "the close must lie inside low and high"),
    _between("volume_is_not_negative", OHLC, "volume", "the volume must not be below 0",
             min_value=0, max_value=_LARGEST),
    # Corporate actions: a split has a ratio, a dividend an amount
    _there("action_is_there", ACTION, "action", "the action is required"),
    Rule("action_is_known", ACTION, "row", "ExpectColumnValuesToBeInSet",
         {"column": "action", "value_set": ["split", "dividend"]}, "the action must be split or dividend"),
    _there("extent_is_a_number", ACTION, "extent",
           "the ratio of a split or the amount of a dividend must be there and be a finite number"),
    _between("extent_is_positive", ACTION, "extent",
             "the ratio of a split or the amount of a dividend must be above 0 and finite",
             min_value=0, strict_min=True, max_value=_LARGEST),
    # The load as a whole
    _between("load_is_not_empty", LOAD, "read_rows", "a load brings at least one row", "batch", min_value=1),
    _equal("no_row_is_missing", LOAD, "present_rows", "read_rows",
           "the rows read from the object must be those in the warehouse: landed + quarantined"),
    _between("bad_rows_are_few", LOAD, "bad_share",
             "too many of the rows are bad (audit_max_bad_share)", "batch", max_value=_parameter("max_bad_share")),
    _between("known_symbols_are_present", LOAD, "symbol_share",
             "the pull brought too few of the source's symbols (audit_min_symbol_share)", "batch",
             min_value=_parameter("min_symbol_share")),
    # Delivery is at least once, so exact repeats are no fault of the data: they are dropped and counted. A load that is
    # mostly repeats tells that a producer sends again and again; nothing is lost by taking it.
    _between("repeats_are_few", LOAD, "repeated_share",
             "most rows are exact repeats: a producer sends them again", "note", max_value=_REPEATS),
    # The marts after dbt
    Rule("candle_key_is_unique", CANDLE, "batch", "ExpectCompoundColumnsToBeUnique",
         {"column_list": ["resolution", "symbol", "source", "candle_start"]}, "a candle is there once"),
    _equal("quarantine_is_complete", RECONCILIATION, "quarantined_rows", "rejected_rows",
           "the rows in raw.rejected_events must be those that the ledger counts as quarantined"),
    _equal("load_balances", RECONCILIATION, "read_rows", "accounted_rows",
           "the rows read must be inserted + duplicates + quarantined"),
    _equal("inserted_rows_are_there", RECONCILIATION, "inserted_rows", "first_rows",
           "the rows that the ledger counts as inserted must be those in raw.market_events"),
    _not_below("no_row_is_invented", RECONCILIATION, "most_rows", "accepted_rows",
               "raw.market_events holds more rows of the load than were read", "batch"),
    _equal("every_row_is_normalised", RECONCILIATION, "accepted_rows", "normalised_rows",
           "staging must normalise each accepted row once"),
    _between("every_key_is_in_the_marts", RECONCILIATION, "keys_missing",
             "each normalised key must be in its mart", "batch", max_value=0),
)  # fmt: skip


def rules_of(subject: str) -> tuple[Rule, ...]:
    """The rules for one kind of event, for loads, or for the marts."""
    return tuple(rule for rule in RULES if subject in rule.subjects)


def rule(name: str) -> Rule:
    """A rule by its name."""
    return _by_name()[name]


@cache
def suite(subject: str) -> Any:
    """The rules of a subject as a Great Expectations suite; each expectation carries its rule's name and meaning."""
    return suite_of(subject, rules_of(subject))


def suite_of(name: str, rules: Iterable[Rule]) -> Any:
    """Some rules as a suite."""
    import great_expectations as gx
    import great_expectations.expectations as library

    built = gx.ExpectationSuite(name=name)
    for one in rules:
        notes = {"format": "markdown", "content": [f"`{one.name}`: {one.meaning}"]}
        kind = getattr(library, one.expectation)
        severity = "warning" if one.level == "note" else "critical"
        built.add_expectation(kind(**one.arguments, severity=severity, meta={"rule": one.name, "notes": notes}))
    return built


@cache
def _by_name() -> dict[str, Rule]:
    return {one.name: one for one in RULES}
