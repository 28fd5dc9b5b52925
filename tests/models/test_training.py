"""From candles in the warehouse to an approved model in the lake, and to what detection says with it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pendulum
import psycopg
import pytest
from typer.testing import CliRunner

from include import cli
from include.aws import client
from include.errors import ConfigError
from include.events import Window
from include.lake.objects import sizes
from include.models.learning import TrainParams
from include.pipeline import models as kept
from include.pipeline.detect import flags
from include.pipeline.models import approve, find_model, load_approved, retire
from include.pipeline.training import NotEnoughError, TrainReport, _buckets, last_midnight, train_as_asked, train_models
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.models import all_models
from tests.models.market import MONDAY, quiet
from tests.transform.marts import make_room

START = datetime(2026, 1, 5, tzinfo=UTC)
END = START + timedelta(days=8)  # seven to learn from, one to be scored on
SMALL = TrainParams(forest_trees=30, half_space_trees=30, half_space_height=8, rows_per_class=10_000)
LOUD = SMALL.model_copy(update={"alarms_per_day": 100.0})


def at(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def put(conn: psycopg.Connection, symbol: str, days: float, seed: int = 0) -> None:
    """Quiet minutes of a symbol from Monday on, all final."""
    minutes, columns = quiet(days, seed)
    make_room(conn, "indicators_1m", [at(int(minutes[0])), at(int(minutes[-1]))])
    with conn.cursor().copy(
        "copy marts.indicators_1m (symbol, candle_start, source, close, volume, volatility_20, is_final) from stdin"
    ) as copy:
        for minute, close, volume, volatility in zip(
            minutes.tolist(), *(columns[name].tolist() for name in ("close", "volume", "volatility_20")), strict=True
        ):
            known = None if np.isnan(volatility) else volatility
            copy.write_row((symbol, at(minute), "simulator", round(close, 6), round(volume, 6), known, True))


def train(settings: Settings, **more: object) -> TrainReport:
    given = {"params": SMALL} | more
    return train_models(settings, START, END, holdout_days=1, **given)  # type: ignore[arg-type]


def test_from_candles_to_findings(marts_settings: Settings) -> None:
    settings = marts_settings
    with connect(settings) as conn:
        put(conn, "AAPL", 8)
        put(conn, "MSFT", 0.1)
        first = train(settings)
        assert [(one.name, one.state, one.is_new) for one in first.models] == [
            ("isolation_forest", "approved", True), ("half_space_trees", "approved", True),
            ("seasonal", "approved", True),
        ]  # fmt: skip
        assert (first.symbols, first.candles) == (1, 7 * 1440)
        assert first.left_out == {"MSFT": "144 candles; 1,000 are needed"}
        files = sizes(client(settings, "s3"), settings.bucket, "models/")
        assert sorted(files) == sorted(
            f"models/{one.name}/{one.version}/{file}" for one in first.models for file in ("model.npz", "model.json")
        )

        # One that cries too often is rejected, and the one in use stays.
        (loud,) = train(settings, names=["half_space_trees"], params=LOUD).models
        assert (loud.state, "false alarms per symbol and day" in loud.reason) == ("rejected", True)
        assert find_model(conn, "half_space_trees").version == first.models[1].version != loud.version
        assert loud.scores["in_use"]["recall"] == first.models[1].scores["recall"]

        # What comes after the window changes nothing of what is learned: the same versions come out.
        held_out = MONDAY + 7 * 1440
        conn.execute(
            "update marts.indicators_1m set close = close * 3, volume = 1 where candle_start >= %s", [at(held_out)]
        )
        assert [(one.version, one.is_new) for one in train(settings).models] == [
            (one.version, False) for one in first.models
        ]  # fmt: skip

        # A crash in the held-out day, and what the rules say of it; before it nothing.
        crash = held_out + 600
        conn.execute("update marts.indicators_1m set close = close * 0.9 where candle_start >= %s", [at(crash)])
        found = flags(settings, Window(at(crash - 60), at(crash + 1)))
        of_models = {str(row["rule"]): row for row in found if row["rule"] in ("isolation_forest", "half_space_trees")}
        assert {name: row["candle_start"] for name, row in of_models.items()} == {
            "isolation_forest": at(crash), "half_space_trees": at(crash),
        }  # fmt: skip
        assert "price moved by -" in str(of_models["isolation_forest"]["message"])
        assert of_models["isolation_forest"]["direction"] == ""

        # Damaged on disk: the lake's. Damaged in the lake: said, and left out.
        name, version = "isolation_forest", first.models[0].version
        folder = settings.home / "models" / name / version
        kept._loaded.clear()
        (folder / "model.npz").write_bytes(b"")
        assert set(load_approved(settings, conn, [name])) == {name}
        assert (folder / "model.npz").stat().st_size == files[f"models/{name}/{version}/model.npz"]
        kept._loaded.clear()
        shutil.rmtree(folder)
        client(settings, "s3").put_object(Bucket=settings.bucket, Key=f"models/{name}/{version}/model.npz", Body=b"x")
        assert set(load_approved(settings, conn, [name, "seasonal"])) == {"seasonal"}
        said = conn.execute("select error from ops.outcomes where step = 'models' and not ok").fetchall()
        assert len(said) == 1 and "isolation_forest" in said[0][0] and "its rule is silent" in said[0][0]
        assert not [row for row in flags(settings, Window(at(crash), at(crash + 1))) if row["rule"] == name]

        with pytest.raises(ConfigError, match=r"model\.npz is not what was written"):
            approve(settings, conn, name, version)
        assert retire(conn, "seasonal").version == first.models[2].version
        assert load_approved(settings, conn, ["seasonal"]) == {}
        assert approve(settings, conn, "seasonal", first.models[2].version[:4]).name == "seasonal"
        assert [one.state for one in all_models(conn, "seasonal")] == ["approved"]


@pytest.mark.parametrize(
    ("days", "holdout", "names", "why"),
    [
        pytest.param(7, 1, ["seasonal"], "6 days are less than a week", id="short"),
        pytest.param(0, 1, ["seasonal"], "ends .* before it begins", id="empty"),
        pytest.param(8, 0, ["seasonal"], "hold out one day at least", id="nothing held out"),
        pytest.param(8, 1, ["forest"], "they are called isolation_forest, half_space_trees, seasonal", id="no model"),
    ],
)
def test_a_window_or_name_that_is_none_is_refused_before_anything_is_read(
    days: int, holdout: int, names: list[str], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        train_models(Settings(_env_file=None), START, START + timedelta(days=days), holdout_days=holdout, names=names)


def test_a_window_without_candles_says_where_there_are_some(
    marts_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(marts_settings) as conn:
        with pytest.raises(NotEnoughError, match="no candles at all: quantstream backfill"):
            train(marts_settings)
        put(conn, "AAPL", 0.1)
        with pytest.raises(NotEnoughError, match="candles from 2026-01-05 00:00 to 2026-01-05 02:23 UTC"):
            train(marts_settings)
        with pytest.raises(ConfigError, match="was never trained; `quantstream models train --only seasonal`"):
            find_model(conn, "seasonal")
    monkeypatch.setattr("include.settings.load_settings", lambda **overrides: marts_settings)
    assert "no model was trained yet" in CliRunner().invoke(cli.app, ["models", "list"]).output


def test_a_window_counts_from_its_first_candle_on() -> None:
    assert [_buckets(START, START + timedelta(days=days)) for days in (7, 28)] == [48, 336]
    with pytest.raises(NotEnoughError, match="2026-01-05 on, up to 2026-01-11: 6 days are less than a week"):
        _buckets(START, START + timedelta(days=6))


def test_a_days_end_is_midnight_in_utc_whatever_the_zone() -> None:
    there = datetime.fromisoformat("2026-03-08T01:30:00+02:00")
    assert last_midnight(there) == datetime(2026, 3, 7, tzinfo=UTC)


def test_the_end_of_an_interval_comes_as_airflow_gives_it(marts_settings: Settings) -> None:
    ends_at = pendulum.datetime(2026, 3, 8, 2, 10, tz="UTC")
    with pytest.raises(NotEnoughError, match="no symbol has 1,000 final candles from 2026-02-01 00:00 to 2026-03-01"):
        train_as_asked(marts_settings, {}, ends_at)
