"""Scores as a page of the documents: tables, pictures, and what they do not show."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from include.scoring.match import Delays
from include.scoring.results import (
    AIMED,
    MEANT,
    PAGING,
    EventsScore,
    NabDetector,
    NabScores,
    RuleScore,
    Scores,
    SimulatorScore,
)

_WIDTH: Final = 140
_HEAD: Final = """# Scores

How well the configured rules and models do, held against labels. This page and its pictures are made by

```
{command}
```

which judges the [rules of the detection file](../include/config/detection.yml) through the engine that detection
itself uses. It needs no database and writes nothing else. An *alert* here is what a person gets: findings of one
rule, instrument and direction that are no further apart than the rule's cooldown are one alert. Rules of severity
`info` are signals: they page nobody, and are counted by themselves."""
_NOT_SHOWN: Final = """
## What these numbers do not show

- **The simulator's shocks are not the market's.** They are as large as they are because we made them so, 4 price
  shocks and about 1.7 others a day for each instrument: hundreds of times what happens. Between them its prices are
  calm by construction. So recall there says that nothing is broken, and false alerts are fewer than real prices give:
  look at the real candles for those.
- **Defaults were chosen while looking at such shocks**, though with other seeds than the one above. The real candles
  and NAB's series were looked at as well: none of the three is a set that nobody has seen.
- **Only a label makes an alert right.** On real candles most labels are moves of 5 %: an alert outside of them may
  still be worth reading. There, "outside" is how often a rule speaks, not how often it is wrong.
- **Rules are judged one by one.** Grouping (one alert for a shock of the whole market), mutes and maintenance are not
  applied. People get fewer messages than the sums here.
- **NAB: {nab}.** Most of it is counts of tweets every five minutes, which no rule here was made for. NAB chooses the
  best threshold for each detector by looking at the labels; that is how its published figures came about, and the
  only way to compare with them. What a rule scores at the threshold that is configured stands beside it.
- **What is not judged at all:** rules over portfolios and over several sources, and whatever else is named as left
  out.
"""


def page(scores: Scores, command: str) -> str:
    """The page as Markdown. `command` is what it was made with."""
    nab = f"{scores.nab.series} of its 58 series" if scores.nab else "not judged here"
    parts = [_HEAD.format(command=command)]
    if scores.simulator:
        parts.append("\n".join(_simulator(scores.simulator)))
    if scores.nab:
        parts.append("\n".join(_nab(scores.nab)))
    if scores.events:
        parts.append("\n".join(_events(scores.events)))
    if scores.missing:
        parts.append(f"\n*{scores.missing}*\n")
    return "\n".join(parts) + "\n" + _NOT_SHOWN.format(nab=nab)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown: the first column to the left, the others to the right."""
    yield "| " + " | ".join(header) + " |"
    yield "| " + " | ".join(["---", *["---:"] * (len(header) - 1)]) + " |"
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def minutes(delays: Delays | None) -> str:
    return "-" if delays is None else f"{delays.p50:g} / {delays.p95:g}"


def rate(value: float) -> str:
    return f"{value:.2f}"


def rule_row(name: str, one: RuleScore) -> tuple[str, ...]:
    """One rule: name, severity, recall, precision, F1, delay, alerts a day, right, after, false, false by day."""
    judged = one.judged
    return (
        name, one.severity, share(judged.recall), share(judged.precision), share(judged.f1), minutes(judged.delays),
        f"{judged.alerts_a_day:,.1f}", f"{judged.right:,}", f"{judged.after:,}", f"{judged.wrong:,}",
        rate(judged.wrong_per_instrument_day),
    )  # fmt: skip


RULE_COLUMNS: Final = (
    "rule", "severity", "recall", "precision", "F1", "delay p50 / p95", "alerts a day", "right", "after", "false",
    "false per instrument and day",
)  # fmt: skip
KIND_COLUMNS: Final = ("shock", "labels", "found", "recall", "delay p50 / p95", "max")
NAB_COLUMNS: Final = (
    "detector", "score", "windows found", "false rows", "its threshold", "as configured", "false rows then",
    "published (58 series)",
)  # fmt: skip
EVENT_COLUMNS: Final = ("event", "events", "told", "within 2 minutes", "by an alert of its own", "delay p50 / p95")
EVENT_RULE_COLUMNS: Final = ("rule", "severity", "moves told in time", "alerts", "outside", "per instrument and day")


CALLED: Final = "of these, sent: one for what an instrument does at once"


def together_name() -> str:
    return f"all that is {' or '.join(PAGING)}"


def kind_rows(score: SimulatorScore) -> Iterator[tuple[str, ...]]:
    for kind, one in score.kinds.items():
        longest = "-" if one.delays is None else f"{one.delays.max:g}"
        yield kind, f"{one.labels:,}", f"{one.found:,}", share(one.recall), minutes(one.delays), longest


def nab_rows(score: NabScores) -> Iterator[tuple[str, ...]]:
    everyone: dict[str, NabDetector] = {**score.rules, **score.baselines}
    for name in sorted(everyone, key=lambda one: -everyone[one].score):
        one, ours = everyone[name], name in score.rules
        yield (
            name, f"{one.score:.1f}", f"{one.found} of {score.windows}", f"{one.false:,}",
            f"{one.threshold:.2f} x" if ours else f"{one.threshold:.4f}",
            "" if one.as_configured is None else f"{max(one.as_configured, -999):.1f}",
            "" if one.false_as_configured is None else f"{one.false_as_configured:,}",
            "" if one.published is None else f"{one.published:.1f}",
        )  # fmt: skip


def event_rows(score: EventsScore) -> Iterator[tuple[str, ...]]:
    for kind, one in score.kinds.items():
        yield kind, f"{one.events}", f"{one.told}", f"{one.in_time}", f"{one.new}", minutes(one.delays)


def event_rule_rows(score: EventsScore) -> Iterator[tuple[str, ...]]:
    for name, one in score.rules.items():
        daily = rate(one.outside_per_instrument_day)
        yield name, one.severity, f"{one.in_time}", f"{one.alerts:,}", f"{one.outside:,}", daily


def _simulator(score: SimulatorScore) -> Iterator[str]:
    yield f"\n## The simulator's shocks: {score.days:g} days, {score.instruments} instruments, seed {score.seed}\n"
    yield _text(
        f"{score.candles:,} candles from {score.start} on. An alert finds a shock of its instrument if it opens",
        f"between the shock's start and {score.grace_minutes:g} minutes after its end. One that opens later, but",
        f"within {score.aftermath_minutes:g} minutes of the end, is neither right nor false. The delay is from the",
        "start of the shock to the end of the candle that opened the alert: of one that is there at once, 1 minute.",
    )
    yield "\nWhat pages somebody, by kind of shock:\n"
    yield from table(KIND_COLUMNS, kind_rows(score))
    yield "\n" + _text(f"Each rule. Recall, F1 and delay are of what it is meant to find{_meant(score)}:") + "\n"
    rows = [rule_row(f"`{name}`", one) for name, one in score.rules.items()]
    yield from table(
        RULE_COLUMNS,
        [*rows, rule_row(f"**{together_name()}**", score.together), rule_row(f"**{CALLED}**", score.called)],
    )
    yield "\n![Recall by rule and kind of shock, and false alerts](images/scores-rules.png)\n"
    yield "![Minutes until each kind of shock was found](images/scores-delays.png)\n"
    yield _aim(score)
    yield from _left_out(score.left_out)


def _meant(score: SimulatorScore) -> str:
    said = [f"`{name}` {' and '.join(MEANT[name])}" for name in score.rules if name in MEANT]
    return f" ({'; '.join(said)}; the others all)" if said else ""


def _aim(score: SimulatorScore) -> str:
    recalls = [one.recall for kind, one in score.kinds.items() if kind in AIMED and one.recall is not None]
    least, wrong = min(recalls, default=0.0), score.together.judged.wrong_per_instrument_day
    return _text(
        f"**The aim** is a recall of at least 0.95 for each of {', '.join(AIMED)}, with at most one false alert",
        f"per instrument and day: {_reached(least >= 0.95 and wrong <= 1)}, the least recall is {least:.3f},",
        f"false alerts are {wrong:.2f}. A malformed row is a minute without a candle: one missing minute is no alert.",
    )


def _nab(score: NabScores) -> Iterator[str]:
    yield "\n## The Numenta Anomaly Benchmark\n"
    yield _text(
        f"{score.series} series with {score.rows:,} rows and {score.windows} labelled windows, NAB's scoring with its",
        "standard profile: 0 is saying nothing, 100 is perfect. A value is taken for a close. *Its threshold* is the",
        "best one for all series together, for a rule as a multiple of the configured one.\n",
    )
    yield from table(NAB_COLUMNS, nab_rows(score))
    yield "\n![The detectors on NAB's scale](images/scores-nab.png)\n"
    published = max((one.published for one in score.baselines.values() if one.published is not None), default=0.0)
    best = max(score.rules, key=lambda name: score.rules[name].score, default=None)
    if best:
        ours = score.rules[best].score
        theirs = " and ".join(f"{one.score:.1f} ({name})" for name, one in score.baselines.items())
        yield _text(
            "**The aim** is to be above what NAB publishes for its windowed Gaussian and Bayesian changepoint",
            f"detectors: {_reached(ours > published)} by `{best}` ({ours:.1f} against {published:.1f}). Those",
            f"figures are of all 58 series; on the series here the two score {theirs}.",
        )
    yield from _left_out(score.left_out)


def _events(score: EventsScore) -> Iterator[str]:
    yield "\n## Events in real candles\n"
    yield _text(
        f"{score.candles:,} candles of one minute of {score.instruments} series (US shares 2013 and 2014, Bitfinex and",
        f"Coinbase 2018), {score.instrument_days} days of instruments together. A *move* is one of 5 % within ten",
        "minutes. The delay is from the start of the event's first candle to the end of the first one told of; of",
        "an outage or gap it is at least its own length, as it is told when candles come again.\n",
    )
    yield from table(EVENT_COLUMNS, event_rows(score))
    move = score.kinds.get("move")
    if move:
        missed = f" Not in time: {', '.join(move.late)}." if move.late else ""
        yield "\n" + _text(
            f"**The aim** is every such move within 2 minutes: {_reached(not move.late)}, {move.in_time} of",
            f"{move.events}.{missed} Where moves follow each other within the cooldown they belong to one alert, which",
            "goes on.\n",
        )
    yield "How often each rule speaks outside of these events:\n"
    yield from table(EVENT_RULE_COLUMNS, ((f"`{row[0]}`", *row[1:]) for row in event_rule_rows(score)))


def _left_out(names: Mapping[str, str]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for name, reason in names.items():
        reasons.setdefault(reason, []).append(f"`{name}`")
    if reasons:
        said = "; ".join(f"{', '.join(which)} ({why})" for why, which in reasons.items())
        yield "\n" + _text(f"Left out: {said}.")


def _reached(is_reached: bool) -> str:
    return "reached" if is_reached else "**not reached**"


def _text(*parts: str) -> str:
    """A paragraph, in lines of a readable length; with an empty line behind it where the last part ends with one."""
    text = " ".join(parts)
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False) + ("\n" * text.endswith("\n"))
