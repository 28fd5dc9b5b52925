"""Batches keep the order of each group and SNS' limits; a message over the limit says that it was cut."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import NotRunningError
from include.notify import outbox
from include.notify.outbox import LIMIT, Publisher, batches, deduplication_of, group_of
from include.settings import Settings


@dataclass(frozen=True)
class Row:
    outbox_id: int
    symbol: str = ""
    text: str = "hello"
    message_key: str = "k"
    subject: str = "s"
    attributes: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", {"symbol": self.symbol} if self.symbol else {})

    @property
    def body(self) -> str:
        return json.dumps({"alert_key": "k", "message": self.text, "text": self.text})


def rows(symbols: str) -> list[Row]:
    """One row per letter."""
    return [Row(n, symbol) for n, symbol in enumerate(symbols)]


def cut(symbols: str, held: str = "", *, fifo: bool = True) -> list[str]:
    return ["".join(row.symbol for row in batch) for batch in batches(rows(symbols), fifo=fifo, held=held)]


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        ("", []),
        ("ABC", ["ABC"]),
        ("AAB", ["AB", "A"]),
        ("ABCDEFGHIJKL", ["ABCDEFGHIJ", "KL"]),
        ("AAAB", ["AB", "A", "A"]),
    ],
)
def test_a_fifo_batch_has_at_most_ten_rows_and_one_of_a_group(symbols: str, expected: list[str]) -> None:
    assert cut(symbols) == expected


def test_a_standard_topic_has_no_groups() -> None:
    assert cut("AAAAAAAAAAAB", fifo=False) == ["AAAAAAAAAA", "AB"]


def test_a_group_that_is_held_is_left_out_even_when_it_is_held_later() -> None:
    assert cut("ABAB", held="A") == ["B", "B"]
    held: set[str] = set()
    seen = []
    for batch in batches(rows("ABAB"), fifo=True, held=held):
        seen.append("".join(row.symbol for row in batch))
        held.add("A")
    assert seen == ["AB", "B"]


def test_a_batch_stays_under_the_limit_and_nothing_overtakes_what_did_not_fit() -> None:
    big = "x" * (LIMIT // 3)  # twice in the body
    found = list(batches([Row(0, "A", big), Row(1, "B", big), Row(2, "B"), Row(3, "C")], fifo=True, held=()))
    assert [[row.outbox_id for row in batch] for batch in found] == [[0, 3], [1], [2]]


@given(st.lists(st.sampled_from("ABCD"), max_size=40).map("".join))
def test_every_row_comes_once_and_in_the_order_of_its_group(symbols: str) -> None:
    sent = [row for batch in batches(rows(symbols), fifo=True, held=()) for row in batch]
    assert len(sent) == len(symbols)
    for group in "ABCD":
        ids = [row.outbox_id for row in sent if row.symbol == group]
        assert ids == [n for n, symbol in enumerate(symbols) if symbol == group]


def test_the_group_is_the_symbol_in_characters_that_sns_takes() -> None:
    assert group_of(Row(1, "BTC-USD")) == "BTC-USD"
    assert group_of(Row(1)) == "operations"
    assert group_of(Row(1, "BRK B")).isalnum()
    assert deduplication_of(Row(1, message_key="k:again:1")) == "k:again:1"
    assert len(deduplication_of(Row(1, message_key="k" * 129))) == 64


def test_a_grouped_alert_has_a_group_and_its_symbols_are_a_list_to_filter_by() -> None:
    row = Row(1)
    object.__setattr__(row, "attributes", {"category": "market", "symbols": '["AAPL","MSFT"]'})
    entry = outbox._entry(row, fifo=True)
    assert entry["MessageGroupId"] == "market"
    assert {name: value["DataType"] for name, value in entry["MessageAttributes"].items()} == {
        "category": "String", "symbols": "String.Array",
    }  # fmt: skip


def test_an_email_has_the_text_and_a_text_message_its_first_line() -> None:
    parts = json.loads(outbox._entry(Row(1, "A", "first\nsecond"), fifo=False)["Message"])
    assert (parts["email"], parts["sms"], json.loads(parts["default"])["text"]) == (
        "first\nsecond", "first", "first\nsecond",
    )  # fmt: skip


@pytest.mark.parametrize("fifo", [True, False])
@pytest.mark.parametrize("text", ["x" * 300_000, "é" * 200_000, '"' * 200_000])
def test_a_message_over_the_limit_is_cut_and_says_so(text: str, fifo: bool) -> None:
    entry = outbox._entry(Row(1, "A", text), fifo=fifo)
    assert len(entry["Message"].encode()) <= LIMIT
    body = json.loads(entry["Message"] if fifo else json.loads(entry["Message"])["default"])
    assert body["alert_key"] == "k"
    assert body["text"].endswith("... [cut: the whole text is in marts.alerts]")
    assert body["message"].startswith(text[:1000])


def test_without_a_topic_the_remedy_is_named(settings: Settings) -> None:
    with pytest.raises(NotRunningError, match="`make up` makes the local one"):
        Publisher(settings, None)
