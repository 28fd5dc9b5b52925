"""Pictures are really drawn: of the expected size, with what was given on them and nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from include.charts.picture import draw, write
from include.charts.series import Series
from include.errors import ConfigError
from tests.charts.pictures import candle, closes, series

Pixels = npt.NDArray[np.int_]
GREEN, RED = (38, 166, 154), (239, 83, 80)
BUY, SELL, ANOMALY = (27, 94, 32), (183, 28, 28), (213, 0, 249)

UP = candle("10:00", "100 112 98 110", 5)
DOWN = candle("10:01", "110 111 90 95", 9)


def pixels(drawn: Series) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(draw(drawn, "png"))).convert("RGB")).astype(int)


def where(picture: Pixels, colour: tuple[int, int, int], nearly: int = 2) -> Pixels:
    """Rows and columns of the pixels of that colour."""
    return np.argwhere((np.abs(picture - np.array(colour)) <= nearly).all(axis=2))


def parts(pixels_: Pixels) -> int:
    """How many parts the rows of these pixels fall into."""
    return int((np.diff(np.unique(pixels_[:, 0])) > 10).sum()) + 1


def test_a_png_has_the_size_of_a_screen_and_candles_on_it() -> None:
    image = Image.open(io.BytesIO(draw(series([UP, DOWN]), "png")))
    assert (image.format, image.size) == ("PNG", (1280, 720))
    picture = pixels(series([UP, DOWN]))
    assert len(where(picture, GREEN)) > 500 and len(where(picture, RED)) > 500
    assert where(picture, GREEN)[:, 1].max() < where(picture, RED)[:, 1].min()  # one beside the other


def test_only_up_has_the_colour_of_up() -> None:
    assert len(where(pixels(series([UP])), RED)) == 0
    assert len(where(pixels(series([DOWN])), GREEN)) == 0


def test_candles_of_one_price_each_are_seen_and_have_the_colour_of_their_step() -> None:
    picture = pixels(series(closes([5, 6, 4])))
    assert len(where(picture, GREEN, nearly=90)) > 100
    assert len(where(picture, RED, nearly=90)) > 50


def test_missing_minutes_are_left_empty() -> None:
    later = [candle(f"10:0{n}", "100 112 98 110", 5) for n in (0, 1, 8, 9)]
    columns = np.unique(where(pixels(series(later)), GREEN)[:, 1])
    gaps = np.diff(columns)
    assert gaps.max() > 6 * np.sort(gaps)[-2]  # six places are empty, and neighbours are apart by less than one


def test_volume_is_below_the_candles_and_absent_where_none_is_known() -> None:
    quiet = [candle("10:00", "100 112 98 110"), candle("10:01", "110 111 90 95")]
    assert parts(where(pixels(series([UP, DOWN])), RED)) == 2  # the candle, and the bar under it
    assert parts(where(pixels(series(quiet)), RED)) == 1


@pytest.mark.parametrize(
    ("alert", "colour", "is_above"),
    [
        (("10:00", "sma_cross", "BUY"), BUY, False),
        (("10:00", "sma_cross", "SELL"), SELL, True),
        (("10:00", "zscore", "up"), ANOMALY, True),
        (("10:00", "change", "down"), ANOMALY, False),
    ],
    ids=lambda value: value[2] if isinstance(value, tuple) and isinstance(value[2], str) else "",
)
def test_alerts_are_marked_above_or_below_their_candle(
    alert: tuple[str, str, str], colour: tuple[int, int, int], is_above: bool
) -> None:
    assert len(where(pixels(series([UP, DOWN])), colour)) == 0
    picture = pixels(series([UP, DOWN], alert))
    candle_columns = where(picture, GREEN)[:, 1]
    under = [row for row, column in where(picture, colour) if candle_columns.min() <= column <= candle_columns.max()]
    body = [row for row, _ in where(picture, GREEN) if row < 500]  # not the bar of volume
    assert under
    assert max(under) < min(body) if is_above else min(under) > max(body)


def test_lines_are_drawn_in_their_colours_and_named() -> None:
    candles = [candle(f"10:{n:02}", f"{100 + n % 3} 104 99 {101 + n % 2}", 1) for n in range(30)]
    plain, with_lines = (pixels(series(candles, indicators=names)) for names in ([], ["sma"]))
    for colour in ((255, 152, 0), (30, 136, 229)):
        assert len(where(plain, colour, nearly=40)) == 0
        assert len(where(with_lines, colour, nearly=40)) > 100


@pytest.mark.parametrize("name", ["sma", "ema", "bollinger", "vwap"])
def test_every_indicator_can_be_drawn(name: str) -> None:
    assert draw(series(closes([*range(40)]), indicators=[name]), "png") != draw(series(closes([*range(40)])), "png")


@pytest.mark.parametrize(
    "candles",
    [
        [UP],
        closes([7, 7, 7]),
        closes([0.00000012, 0.00000013]),
        [*closes([1, 2]), *closes([3, 4], "20:00")],
        [candle("10:00", "5", 0)],
    ],
    ids=["one", "flat", "tiny", "cut", "no volume traded"],
)
@pytest.mark.filterwarnings("error")
def test_odd_series_are_drawn_without_a_warning(candles: list) -> None:  # type: ignore[type-arg]
    assert draw(series(candles, ("10:00", "zscore", "up"), indicators=["sma", "vwap"]), "png")


@pytest.mark.parametrize(("name", "start"), [("c.png", b"\x89PNG"), ("c.SVG", b"<?xml"), ("c.pdf", b"%PDF")])
def test_the_suffix_is_the_format_and_an_older_file_is_replaced(tmp_path: Path, name: str, start: bytes) -> None:
    (tmp_path / name).write_bytes(b"older")
    write(series([UP, DOWN]), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_an_older_file_stays_if_drawing_fails(tmp_path: Path) -> None:
    (tmp_path / "c.png").write_bytes(b"older")
    broken = series([UP, DOWN])
    broken.candles["high"] = broken.candles["high"].where(
        broken.candles["high"] < 112
    )  # mplfinance takes no half candle
    with pytest.raises(ValueError, match="missing data"):
        write(broken, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes() == b"older"


def test_an_svg_says_what_it_shows(tmp_path: Path) -> None:
    write(series([UP, DOWN], ("10:00", "sma_cross", "BUY")), tmp_path / "c.svg")
    text = (tmp_path / "c.svg").read_text()
    for words in ("BTC-USD 1m · simulator · 2026-03-02 10:00 to 10:02 UTC", "USD", "volume", "BUY"):
        assert f"<!-- {words} -->" in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("chart.gif", "the name's end is the format; allowed are .png, .svg, .pdf"),
        ("chart", "the name's end is the format"),
        ("nowhere/chart.png", "nowhere does not exist; make it first"),
        ("folder.png", "is a folder; name a file in it"),
    ],
)
def test_a_path_that_cannot_be_one_is_refused_by_name(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ConfigError, match=f"--out {tmp_path / name}: .*{said}"):
        write(series([UP]), tmp_path / name)


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "chart.png").symlink_to("/dev/full")
    with pytest.raises(ConfigError, match=r"chart.png: cannot be written: No space left"):
        write(series([UP]), tmp_path / "chart.png")
