"""An alert in words: a subject for an e-mail, a text that fits a phone, figures and sparklines. Pure.

The first line says all; a phone wraps it. Every line after it has at most 40 columns, but for a link.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from include.events import iso

SUBJECT_LIMIT: Final = 99  # SNS: less than 100 ASCII characters, no line breaks
COLUMNS: Final = 40
SYMBOLS_SHOWN: Final = 20  # of a grouped alert; the JSON has them all
KEY_SHOWN: Final = 8  # digits of an alert's key that commands take for it

Measured = tuple[str, float | None, float | None, float | None]
"""A number that speaks for an alert: name, value, and its usual range (low, high); None where it is not known."""

_ACK: Final = "seen? quantstream alerts ack"
_BARS: Final = "▁▂▃▄▅▆▇█"


def subject_line(line: str) -> str:
    """One line that SNS takes as an e-mail's subject: printable ASCII, at most 99 characters."""
    line = line.encode("ascii", "replace").decode()
    line = " ".join("".join(char if char.isprintable() else " " for char in line).split())
    return line if len(line) <= SUBJECT_LIMIT else line[: SUBJECT_LIMIT - 3].rstrip() + "..."


def figure(value: float | None) -> str:
    """A number to read: four digits that count, thousands with commas; `unknown` for None and NaN."""
    if value is None or math.isnan(value):
        return "unknown"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def measure_line(measure: Measured) -> str:
    """`volume 12,300 (usual 800 to 2,100)`; too long for a line, the range comes in a second one."""
    name, value, low, high = measure
    said = f"{name} {figure(value)}"
    if low is not None and high is not None:
        usual = f"(usual {figure(low)} to {figure(high)})"
    elif low is not None or high is not None:
        usual = f"(usual from {figure(low)})" if high is None else f"(usual up to {figure(high)})"
    else:
        return said
    return f"{said} {usual}" if len(said) + len(usual) < COLUMNS else f"{said}\n  {usual}"


def sparkline(values: Sequence[float | None], width: int = 32) -> str:
    """Numbers in the order of time as a line of at most `width` blocks; a gap where none is known; "" without any.

    More numbers than blocks: each block is the last known of its share, so that the end is the newest.
    """
    shares = min(width, len(values))
    cut = [values[len(values) * n // shares : len(values) * (n + 1) // shares] for n in range(shares)]
    known = [next((v for v in reversed(part) if v is not None and math.isfinite(v)), None) for part in cut]
    there = [value for value in known if value is not None]
    if not there:
        return ""
    low, span = min(there), max(there) - min(there)
    return "".join(
        " " if value is None else _BARS[round((value - low) / span * (len(_BARS) - 1)) if span else 3]
        for value in known
    )


def phone_text(
    headline: str,
    about: Sequence[str],
    *,
    candle_start: datetime | None = None,
    measures: Sequence[Measured] = (),
    symbols: Sequence[str] = (),
    spark: str = "",
    ack: str | None = None,
) -> str:
    """The lines for a phone: the headline, what it is about, the numbers behind it, and how to say that it was seen.

    `ack`: the alert's key, where it can be acknowledged.
    """
    when = [f"{iso(candle_start)[:16].replace('T', ' ')} UTC"] if candle_start else []
    lines = [headline, *_joined([*about, *when])]
    lines += [line for measure in measures for line in measure_line(measure).split("\n")]
    if symbols:
        more = f" and {len(symbols) - SYMBOLS_SHOWN:,} more" if len(symbols) > SYMBOLS_SHOWN else ""
        lines += textwrap.wrap(f"{len(symbols):,} symbols: {', '.join(symbols[:SYMBOLS_SHOWN])}{more}", COLUMNS)
    if spark:
        lines.append(spark)
    if ack:
        lines.append(f"{_ACK} {ack[:KEY_SHOWN]}")
    return "\n".join(lines)


def with_spark(text: str, spark: str) -> str:
    """A phone's text with the last hours in it, where they belong."""
    head, line, last = text.rpartition("\n")
    return f"{head}\n{spark}\n{last}" if line and last.startswith(_ACK) else f"{text}\n{spark}"


def _joined(parts: Sequence[str]) -> list[str]:
    """The parts with dots between them, in as few lines as have room for them."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 3 + len(part) <= COLUMNS:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return lines
