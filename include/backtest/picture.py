"""A backtest as a picture: equity beside buying and holding, drawdowns, and where one instrument was traded."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from include.backtest.measures import drawdowns
from include.backtest.run import PORTFOLIO, Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

SIZE: Final = (12.8, 7.2)  # inches
DPI: Final = 100
_EQUITY, _HOLD, _LOSS, _GREY = "#1e88e5", "#9e9e9e", "#ef5350", "#b0bec5"
_BUY, _SELL = "#1b5e20", "#b71c1c"


def draw(results: Sequence[Result], title: str, kind: str) -> bytes:
    """The file's content: of one instrument with its price and trades, of several the portfolio and each one's line.

    `kind` is png, svg or pdf. The last of several results is the portfolio. Needs no display.
    """
    from matplotlib.figure import Figure

    *others, main = results
    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    heights = [2.4, 1.0] if main.symbol == PORTFOLIO else [2.0, 1.0, 1.6]
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    _draw_equity(panels[0], main, others)
    _draw_drawdown(panels[1], main)
    if main.symbol != PORTFOLIO:
        _draw_trades(panels[2], main)
    panels[0].set_title(title, loc="left", fontsize=12)
    for panel in panels:
        panel.grid(color="#eceff1", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind)
    return drawn.getvalue()


def _draw_equity(panel: Axes, main: Result, others: Sequence[Result]) -> None:
    for one in others:
        label = "each instrument" if one is others[0] else None
        panel.plot(*_percent(one.run.equity, one.run.cash), color=_GREY, linewidth=0.8, label=label)
    panel.plot(*_percent(main.closes, float(main.closes.iloc[0])), color=_HOLD, linewidth=1.2, label="buy and hold")
    panel.plot(*_percent(main.run.equity, main.run.cash), color=_EQUITY, linewidth=1.5, label=main.symbol)
    panel.axhline(0, color="#546e7a", linewidth=0.8)
    for fold in main.folds:
        panel.axvline(fold.split, color=_GREY, linewidth=0.9, linestyle=":")  # type: ignore[arg-type]
    panel.set_ylabel("return, %")
    panel.legend(loc="upper left", fontsize=9, frameon=False, ncols=3)


def _draw_drawdown(panel: Axes, main: Result) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    times, values = _times(main.run.equity), 100 * drawdowns(main.run.equity, main.run.cash).to_numpy()
    panel.fill_between(times, values, 0, color=_LOSS, alpha=0.4, linewidth=0)
    panel.set_ylabel("drawdown, %")
    locator = AutoDateLocator(tz="UTC")  # type: ignore[no-untyped-call]
    panel.xaxis.set_major_locator(locator)
    panel.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz="UTC"))  # type: ignore[no-untyped-call]


def _draw_trades(panel: Axes, main: Result) -> None:
    panel.plot(_times(main.closes), main.closes.to_numpy(), color="#455a64", linewidth=1.0, label="close")
    entries = [(trade.entry_time, trade.entry_price, trade.units > 0) for trade in main.run.trades]
    exits = [
        (trade.exit_time, trade.exit_price, trade.units < 0)
        for trade in main.run.trades
        if trade.exit_time is not None and trade.exit_price is not None
    ]
    for is_buy, shape, colour, label in ((True, "^", _BUY, "bought"), (False, "v", _SELL, "sold")):
        chosen: list[Any] = [(time, price) for time, price, buys in [*entries, *exits] if buys is is_buy]
        if chosen:
            times, prices = zip(*chosen, strict=True)
            panel.scatter(times, prices, s=26, marker=shape, color=colour, zorder=5, label=label)
    panel.set_ylabel(main.symbol)
    panel.legend(loc="upper left", fontsize=9, frameon=False, ncols=3)


def _percent(values: pd.Series[float], start: float) -> tuple[Any, Any]:
    return _times(values), 100 * (values.to_numpy() / start - 1)


def _times(values: pd.Series[float]) -> Any:
    return values.index.to_pydatetime()  # type: ignore[attr-defined]
