"""A chart as a file: PNG, SVG or PDF. Needs no display, and leaves matplotlib's global state alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from include.charts.indicators import LOWER, MEAN, UPPER
from include.charts.layout import Layout, Mark, Sign, arrange, decimals, marks, rises, short, ticks
from include.charts.series import Series
from include.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FORMATS: Final = (".png", ".svg", ".pdf")
SIZE: Final = (12.8, 7.2)  # inches
DPI: Final = 100

_UP, _DOWN, _GREY = "#26a69a", "#ef5350", "#78909c"
_BAND: Final = "#7e57c2"
_COLOURS: Final = {
    "SMA 5": "#ff9800", "SMA 20": "#1e88e5", "EMA 12": "#c2185b", "EMA 26": "#5d4037", "VWAP": "#212121",
    UPPER: _BAND, MEAN: _BAND, LOWER: _BAND,
}  # fmt: skip
_WIDTHS: Final = {
    "candle_width": 0.6, "volume_width": 0.8, "volume_linewidth": 0.0,
    "candle_linewidth": 1.2,  # a candle of one price is a line, and to be seen
}  # fmt: skip
_BAND_LABELS: Final = {UPPER: "Bollinger 20, ±2σ", MEAN: "_mean", LOWER: "_lower"}  # with an underscore: in no legend
_DASHES: Final = {MEAN: "--"}
_SIGNS: Final[dict[Sign, tuple[str, str]]] = {
    "BUY": ("^", "#1b5e20"), "SELL": ("v", "#b71c1c"), "anomaly": ("D", "#d500f9"),
}  # fmt: skip


def check_path(path: Path) -> None:
    """Raises ConfigError for a suffix that is no format, or a folder that does not exist."""
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"--out {path}: the name's end is the format; allowed are {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise ConfigError(f"--out {path}: the folder {path.parent} does not exist; make it first (mkdir -p)")
    if path.is_dir():
        raise ConfigError(f"--out {path}: is a folder; name a file in it, as in {path / 'chart.png'}")


def write(series: Series, path: Path) -> None:
    """Draw it into the file, over what is there; what is there stays if drawing fails.

    Raises ConfigError for a path that cannot be one, or that cannot be written to.
    """
    check_path(path)
    save(draw(series, path.suffix.lower().removeprefix(".")), path)


def save(drawn: bytes, path: Path) -> None:
    """Raises ConfigError for a path that cannot be written to."""
    try:
        path.write_bytes(drawn)
    except OSError as error:
        raise ConfigError(f"--out {path}: cannot be written: {error.strerror}") from None


def draw(series: Series, kind: str) -> bytes:
    """The file's content. `kind` is png, svg or pdf."""
    import matplotlib

    matplotlib.use("agg")  # mplfinance imports pyplot, which looks for a display
    import mplfinance
    from matplotlib.figure import Figure

    layout = arrange(series.starts, series.step)
    rows = _rows(series, layout)
    has_volume = bool(rows["volume"].notna().any())
    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    panels = figure.subplots(1 + has_volume, 1, sharex=True, squeeze=False, height_ratios=[3.5, 1][: 1 + has_volume])
    prices: Axes = panels[0, 0]
    volumes: Axes | None = panels[1, 0] if has_volume else None
    colours = mplfinance.make_marketcolors(up=_UP, down=_DOWN, inherit=True, alpha=1.0)
    paints = _paints(series, layout)
    mplfinance.plot(
        rows, type="candle", marketcolor_overrides=paints, update_width_config=_WIDTHS, ax=prices,
        volume=volumes or False, xrotation=0, warn_too_much_data=len(rows) + 1,
        style=mplfinance.make_mpf_style(base_mpf_style="default", marketcolors=colours),
        **({"volume_ylim": (0.0, 1.08 * float(rows["volume"].max()) or 1.0)} if has_volume else {}),
    )  # fmt: skip
    for bar, paint in zip(volumes.patches if volumes else (), paints, strict=False):
        bar.set(facecolor=paint, edgecolor=paint)
    _draw_lines(prices, series, layout)
    _draw_marks(prices, series, layout)
    _label(prices, volumes, series, layout)
    handles, labels = prices.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=9, fontsize=9, frameon=False)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind)
    return drawn.getvalue()


def _rows(series: Series, layout: Layout) -> pd.DataFrame:
    """A row per place, without numbers where there is no candle."""
    import pandas as pd

    columns = ["open", "high", "low", "close", "volume"]
    rows = series.candles[columns].set_axis(layout.places).reindex(range(layout.width))
    return rows.set_axis(pd.DatetimeIndex(layout.times))


def _paints(series: Series, layout: Layout) -> list[str]:
    """The colour of each place."""
    paints = [_GREY] * layout.width
    for place, is_up in zip(layout.places, rises(series), strict=True):
        paints[place] = _UP if is_up else _DOWN
    return paints


def _draw_lines(prices: Axes, series: Series, layout: Layout) -> None:
    """From candle to candle, broken at cuts."""
    import pandas as pd

    broken = pd.DataFrame(float("nan"), index=[cut.place for cut in layout.cuts], columns=series.lines.columns)
    lines = pd.concat([series.lines.set_axis(layout.places), broken]).sort_index() if layout.cuts else series.lines
    places = list(lines.index) if layout.cuts else layout.places
    for name in lines.columns:
        label = _BAND_LABELS.get(name, name)
        prices.plot(places, lines[name], _DASHES.get(name, "-"), label=label, color=_COLOURS[name], linewidth=1.2)
    if UPPER in lines:
        prices.fill_between(places, lines[LOWER], lines[UPPER], color=_BAND, alpha=0.08, linewidth=0)


def _draw_marks(prices: Axes, series: Series, layout: Layout) -> None:
    low, high = _range(series)
    apart = 0.03 * ((high - low) or abs(high) or 1.0)
    found = marks(series)
    for sign, (shape, colour) in _SIGNS.items():
        chosen = [mark for mark in found if mark.sign == sign]
        if chosen:
            prices.scatter(
                [layout.places[mark.candle] for mark in chosen], [_height(series, mark, apart) for mark in chosen],
                s=52 if sign != "anomaly" else 34, marker=shape, color=colour, edgecolors="white", linewidths=0.6,
                zorder=5, label=sign,
            )  # fmt: skip


def _height(series: Series, mark: Mark, apart: float) -> float:
    candle = series.candles.iloc[mark.candle]
    away = apart * (mark.number + 1)
    return float(candle["high"] + away if mark.is_above else candle["low"] - away)


def _label(prices: Axes, volumes: Axes | None, series: Series, layout: Layout) -> None:
    from matplotlib.ticker import FuncFormatter

    prices.set_title(series.title, loc="left", fontsize=12)
    prices.set_ylabel(series.currency)
    digits = decimals(*_range(series))
    prices.yaxis.set_major_formatter(FuncFormatter(lambda price, _: f"{price:,.{digits}f}"))
    if volumes:
        volumes.set_ylabel("volume")
        volumes.yaxis.set_major_formatter(FuncFormatter(lambda volume, _: short(volume)))
    for cut in layout.cuts:
        for panel in (prices, volumes) if volumes else (prices,):
            panel.axvline(cut.place, color=_GREY, linewidth=0.9, linestyle=":")
        prices.text(
            cut.place, 0.985, cut.words, transform=prices.get_xaxis_transform(), rotation=90, ha="center", va="top",
            fontsize=8, color=_GREY, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    labels = ticks(layout, series.step, most=12)
    bottom = volumes or prices
    bottom.set_xticks([tick.place for tick in labels], [tick.words("\n") for tick in labels])
    prices.set_xlim(-1, layout.width)
    for panel in (prices, volumes) if volumes else (prices,):
        panel.grid(color="#eceff1", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)


def _range(series: Series) -> tuple[float, float]:
    drawn: Any = series.candles
    return float(drawn["low"].min()), float(drawn["high"].max())
