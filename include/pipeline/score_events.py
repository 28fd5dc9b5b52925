"""The rules on real candles in which events are known: moves of 5 % within ten minutes, outages, a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from include.detection.config import Detection
from include.errors import ConfigError
from include.pipeline.score_columns import rows_of
from include.pipeline.score_findings import days_of, find, judged_rules, raise_alerts
from include.scoring.chains import Raised
from include.scoring.match import MINUTE, Around, Label, delays_of, judge, spread, told_after
from include.scoring.results import EventKind, EventRule, EventsScore

if TYPE_CHECKING:
    import pandas as pd

EVENTS: Final = Path("anomalies") / "events_dev.csv"
FILES: Final = {
    "us_equity_1min_trades.csv.gz": "equity", "bitfinex_1min_2018q1.parquet": "crypto",
    "coinbase_1min_trades_201804.csv.gz": "crypto",
}  # fmt: skip
IN_TIME: Final = 2.0
"""Minutes from the start of an event's first candle to the end of the candle that was told of."""
_CALENDARS: Final = {"equity": "XNYS", "crypto": "24/7"}
_MOVES: Final = ("jump", "drop")
_ALL: Final = "*"


def score_events(
    detection: Detection, data: Path, tick: Callable[[], None] = lambda: None, around: Around | None = None
) -> EventsScore:
    """What the rules tell of the events, and how often they speak outside of them. `tick` is called for each series."""
    began, around = perf_counter(), around or Around()
    raised: list[Raised] = []
    frames: dict[str, pd.DataFrame] = {}
    for file, asset_class in FILES.items():
        for symbol, frame in read_candles(data / "candles" / file):
            name = f"{file}/{symbol}"  # the same symbol in two files is two series
            frames[name] = frame
            raised += raise_alerts(find(rows_of(name, frame, _CALENDARS[asset_class]), detection, asset_class))
            tick()
    labels = read_events(data, sorted(frames))
    days = days_of(frames.values())
    rules, _ = judged_rules(detection, {})
    return EventsScore(
        sum(map(len, frames.values())), len(frames), days,
        {kind: _of_kind(kind, raised, labels, around) for kind in dict.fromkeys(label.kind for label in labels)},
        {rule: _of_rule(rule, detection, raised, labels, days, around) for rule in rules},
        round(perf_counter() - began, 1),
    )  # fmt: skip


def read_candles(path: Path) -> list[tuple[str, pd.DataFrame]]:
    """The file's series by symbol: high, low, close, volume by minute (UTC). Raises ConfigError if unreadable."""
    import pandas as pd

    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        table.index = pd.DatetimeIndex(pd.to_datetime(table["ts_utc"], utc=True))
        wanted = table[["high", "low", "close", "volume"]].astype("float64")
        return [(str(symbol), of_one.sort_index()) for symbol, of_one in wanted.groupby(table["symbol"].to_numpy())]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"--data {path.parents[1]}: {path} is not as it should be: {error}") from None


def read_events(data: Path, series: Sequence[str]) -> list[Label]:
    """The known events of these series (`file/symbol`), by kind and time; an event of a whole file is one of each."""
    import pandas as pd

    try:
        table = pd.read_csv(data / EVENTS, parse_dates=["start_utc", "end_utc"])
        rows = table[["dataset", "symbol", "kind", "start_utc", "end_utc"]].itertuples(index=False, name=None)
        return [
            Label(name, "move" if kind in _MOVES else kind, start.to_pydatetime(), end.to_pydatetime() + MINUTE)
            for dataset, symbol, kind, start, end in rows
            for name in series
            if name == f"{dataset}/{symbol}" or (symbol == _ALL and name.startswith(f"{dataset}/"))
        ]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"--data {data}: {data / EVENTS} is not as it should be: {error}") from None


def _of_kind(kind: str, raised: Sequence[Raised], labels: Sequence[Label], around: Around) -> EventKind:
    wanted = [label for label in labels if label.kind == kind]
    told = told_after(raised, wanted, around.grace)
    opened = {place for place, minutes in delays_of(raised, wanted, around).items() if minutes <= IN_TIME}
    in_time = {place for place, minutes in told.items() if minutes <= IN_TIME}
    late = [f"{one.symbol} {one.starts_at:%Y-%m-%d %H:%M}" for place, one in enumerate(wanted) if place not in in_time]
    return EventKind(len(wanted), len(told), len(in_time), len(opened), spread(told.values()), tuple(late))


def _of_rule(
    rule: str, detection: Detection, raised: Sequence[Raised], labels: Sequence[Label], days: int, around: Around
) -> EventRule:
    alerts = [one for one in raised if one.rule == rule]
    judged = judge(alerts, labels, instruments=1, days=max(days, 1), around=around)
    moves = [label for label in labels if label.kind == "move"]
    told = told_after(alerts, moves, timedelta(0))
    in_time = sum(minutes <= IN_TIME for minutes in told.values())
    severity = detection.params(rule, "", None).severity
    return EventRule(severity, in_time, len(alerts), judged.wrong, judged.wrong_per_instrument_day)
