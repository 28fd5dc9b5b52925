"""A chart as text, a column per candle: for a terminal in colour, for a pipe or a file without."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import typer

from include.charts.indicators import LOWER, MEAN, UPPER
from include.charts.layout import Layout, Mark, Sign, arrange, decimals, marks, rises, short, ticks
from include.charts.series import Series

UP, DOWN, WICK, BREAK = "▒", "█", "│", "┊"
_UP_COLOUR, _DOWN_COLOUR, _GREY = "green", "red", "gray"
_LINES: Final = {
    "SMA 5": ("•", "yellow"), "SMA 20": ("∘", "cyan"), "EMA 12": ("+", "magenta"), "EMA 26": ("×", "cyan"),
    "VWAP": ("=", "blue"), UPPER: ("˙", "magenta"), MEAN: ("-", "magenta"), LOWER: (".", "magenta"),
}  # fmt: skip
_SIGNS: Final[dict[Sign, tuple[str, str]]] = {
    "BUY": ("▲", "green"), "SELL": ("▼", "red"), "anomaly": ("◆", "magenta"),
}  # fmt: skip
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_FRAME: Final = 2  # columns of the axes; rows too
_WORDS: Final = 3  # rows for the title, the times, and what is said below
_NARROWEST, _LOWEST = 10, 6


def render(series: Series, width: int, height: int, *, colour: bool) -> tuple[str, Series]:
    """The chart in at most `width` columns and, where that leaves room for one, `height` rows but for the last.

    Returns its text, and what of the series it shows: the newest candles that fit.
    """
    shown, labels = _fitting(series, width)
    layout = arrange(shown.starts, shown.step)
    stretch = 2 if 2 * layout.width <= width - _FRAME - len(labels[0]) else 1  # few candles stand apart
    volumes = list(_volumes(shown, layout, stretch, len(labels[0])))
    legend = _legend(shown, layout, width, colour=colour)
    rows = max(_LOWEST, height - _FRAME - _WORDS - len(volumes) - len(legend))
    chart = _prices(shown, layout, stretch, rows, labels, colour=colour)
    lines = [shown.title, *chart.splitlines(), *volumes, *legend]
    return "\n".join(line.rstrip() for line in lines), shown


def _fitting(series: Series, width: int) -> tuple[Series, list[str]]:
    """The newest candles that fit beside the prices, and five labels from their highest price to the lowest."""
    layout = arrange(series.starts, series.step)
    digits = decimals(float(series.candles["low"].min()), float(series.candles["high"].max()))
    edge = max(len(f"{price:,.{digits}f}") for price in (series.candles["low"].min(), series.candles["high"].max()))
    columns = max(_NARROWEST, width - _FRAME - edge)
    hidden = sum(place < layout.width - columns for place in layout.places)
    alerts = tuple(alert for alert in series.alerts if alert.candle_start >= series.starts[hidden])
    shown = replace(series, candles=series.candles.iloc[hidden:], lines=series.lines.iloc[hidden:], alerts=alerts)
    low, high = float(shown.candles["low"].min()), float(shown.candles["high"].max())
    return shown, [f"{high - (high - low) * n / 4:,.{digits}f}".rjust(edge) for n in range(5)]


def _prices(series: Series, layout: Layout, stretch: int, rows: int, labels: list[str], *, colour: bool) -> str:
    """Candles, lines and marks in a frame. What is drawn later covers what was there: wicks, lines, bodies, marks."""
    import plotext

    columns = (layout.width - 1) * stretch + 1
    found = marks(series)
    low, high = float(series.candles["low"].min()), float(series.candles["high"].max())
    values = series.lines.to_numpy().ravel()
    finite = [value for value in values if not math.isnan(value)]
    bottom, top = min([low, *finite]), max([high, *finite])
    if bottom == top:
        bottom, top = bottom - abs(bottom) / 100 - 1e-9, top + abs(top) / 100 + 1e-9
    above = max((mark.number + 1 for mark in found if mark.is_above), default=0)
    below = max((mark.number + 1 for mark in found if not mark.is_above), default=0)
    row = (top - bottom) / max(1, rows - 1 - above - below)

    figure = plotext.figure
    plotext.terminal.limit(False, False)
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(len(labels[0]) + _FRAME + columns, rows + _FRAME + 1)
    figure.ruler("x").lim(0, max(1, columns - 1))
    figure.ruler("y").lim(bottom - below * row, top + above * row)
    figure.ruler("y").ticks([high - (high - low) * n / 4 for n in range(5)] if high > low else [high], labels)
    times = ticks(layout, series.step, most=max(2, columns // 14))
    times = [times[0]._replace(is_new_day=False), *times[1:]]  # its date is in the title
    figure.ruler("x").ticks([tick.place * stretch for tick in times], [tick.words(" ") for tick in times])

    def ink(symbol: str, paint: str) -> Any:
        return plotext.marker(symbol, plotext.pixel(foreground=paint))

    def stroke(place: float, start: Any, end: Any, symbol: str, paint: str) -> None:
        at = place * stretch
        figure.draw(figure.segment((at, at), (start, end), marker=ink(symbol, paint)).density("full", scope="line"))

    def point(place: float, height: float, symbol: str, paint: str) -> None:
        figure.draw(figure.signal([place * stretch], [height], marker=ink(symbol, paint)))

    for cut in layout.cuts:
        stroke(cut.place, bottom, top, BREAK, _GREY)
    candles = list(zip(layout.places, series.candles.itertuples(), rises(series), strict=True))
    for place, candle, is_up in candles:
        stroke(place, candle.low, candle.high, WICK, _UP_COLOUR if is_up else _DOWN_COLOUR)
    for name in series.lines.columns:
        for place, value in zip(layout.places, series.lines[name], strict=True):
            if not math.isnan(value):
                point(place, value, *_LINES[name])
    for place, candle, is_up in candles:
        stroke(place, candle.open, candle.close, *((UP, _UP_COLOUR) if is_up else (DOWN, _DOWN_COLOUR)))
    for mark in found:
        point(layout.places[mark.candle], _height(series, mark, row), *_SIGNS[mark.sign])
    return str(figure.build().string(colorless=not colour))


def _height(series: Series, mark: Mark, row: float) -> float:
    candle = series.candles.iloc[mark.candle]
    away = row * (mark.number + 1)
    return float(candle["high"] + away if mark.is_above else candle["low"] - away)


def _volumes(series: Series, layout: Layout, stretch: int, edge: int) -> Iterator[str]:
    """Two rows of bars, the greatest volume beside the upper one; none where no volume is known."""
    volumes = series.candles["volume"].fillna(0).tolist()
    greatest = max(volumes)
    if greatest <= 0:
        return
    levels = {
        place * stretch: math.ceil(volume / greatest * 16) for place, volume in zip(layout.places, volumes, strict=True)
    }
    columns = range((layout.width - 1) * stretch + 1)
    for name, floor in ((short(greatest), 8), ("volume" if edge > 5 else "vol", 0)):
        bars = "".join(_EIGHTHS[min(8, max(0, levels.get(column, 0) - floor))] for column in columns)
        yield f"{name.rjust(edge)} {bars}"


def _legend(series: Series, layout: Layout, width: int, *, colour: bool) -> list[str]:
    """What each sign means, of those that are there, in rows of at most `width` columns."""
    there = {mark.sign for mark in marks(series)}
    entries = [(UP, _UP_COLOUR, "up"), (DOWN, _DOWN_COLOUR, "down")]
    entries += [(*_LINES[name], name) for name in series.lines.columns]
    entries += [(*_SIGNS[sign], sign) for sign in _SIGNS if sign in there]
    entries += [(BREAK, "", f"nothing for {cut.words}") for cut in layout.cuts]
    rows, used = [""], 0
    for symbol, paint, words in entries:
        length = len(symbol) + 1 + len(words)
        if used and used + 2 + length > width:
            rows, used = [*rows, ""], 0
        between = "  " if used else ""
        rows[-1] += f"{between}{typer.style(symbol, fg=paint) if colour and paint else symbol} {words}"
        used += len(between) + length
    return rows
