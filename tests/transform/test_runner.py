"""Running dbt: what is built when, what it costs, and what is said when it fails."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from include.errors import NotRunningError, TransformError
from include.settings import Settings
from include.transform import project
from include.transform.runner import BuildResult, NodeResult, build_all, build_changed, build_selected
from include.warehouse.db import connect
from tests.transform.events import accept, at, quote
from tests.transform.marts import TABLES, build, rows, snapshot

TABLE_MODELS = [
    "candles_15m", "candles_1d", "candles_1h", "candles_1m", "candles_5m", "indicators_1m", "int_changed_ranges",
    "quotes", "source_divergence", "trades",
]  # fmt: skip


def test_an_empty_warehouse_gets_all_views_and_tables(settings: Settings) -> None:
    built = build_all(settings)
    assert {"stg_simulator__quote", "int_changed_minutes", "int_changed_spans", *TABLES} <= {
        node.name for node in built.nodes
    }
    with connect(settings) as conn:
        assert rows(conn, "select count(*) > 20 from marts.instruments") == [(True,)]
        assert snapshot(conn)["latest_quotes"] == []
    with connect(settings, role="analyst") as conn:
        assert rows(conn, "select * from marts.candles_1m") == []


def test_a_minute_builds_tables_and_their_tests_only(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:00", 10), quote("AAPL", "10:01", 11)])
        built = build_changed(marts_settings)
    names = [node.name for node in built.nodes]
    models = sorted(name for name in names if name in TABLE_MODELS)
    assert models == TABLE_MODELS and not [name for name in names if name.startswith(("stg_", "int_quotes"))]
    written = {node.name: node.rows for node in built.nodes}
    assert (written["quotes"], written["trades"], written["indicators_1m"]) == (2, 0, 2)
    assert all(node.seconds >= 0 for node in built.nodes)
    assert len(built.loads) == 1


def test_what_did_not_change_is_not_written_again(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", f"10:0{minute}", 10) for minute in range(5)])
        build_changed(marts_settings)
        again = {node.name: node.rows for node in build_changed(marts_settings).nodes}
    marts = [name for name in TABLE_MODELS if name != "int_changed_ranges"]
    assert {name: again[name] for name in marts} == dict.fromkeys(marts, 0)


def test_what_became_final_is_found_though_two_models_ask_at_once_what_there_is(
    marts_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dbt notes the tables of a schema one by one; who asks meanwhile is told of those that are noted already."""
    from dbt.adapters.cache import RelationsCache

    noted = RelationsCache.add

    def slowly(cache: Any, relation: Any) -> None:
        noted(cache, relation)
        time.sleep(0.05 if relation.schema == "marts" else 0)

    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:00:30", 1)], {"simulator": at("10:00")})
        build(marts_settings)
        monkeypatch.setattr(RelationsCache, "add", slowly)
        accept(conn, [], {"simulator": at("10:01")})
        build(marts_settings)
        assert rows(conn, "select close, is_final from marts.indicators_1m") == [(1.0, True)]


def test_many_builds_in_one_process_leave_nothing_behind_in_dbt(marts_settings: Settings) -> None:
    from dbt.adapters.base import impl

    def flags() -> int:
        build_changed(marts_settings)
        return len(impl.DEFAULT_BASE_BEHAVIOR_FLAGS)

    assert flags() == flags()


def test_the_project_is_parsed_once_and_again_when_a_file_changed(
    marts_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "PROJECT", Path(shutil.copytree(project.PROJECT, tmp_path / "dbt")))
    project.parse(marts_settings)
    first = project._manifests()["manifest"]
    project.parse(marts_settings)
    assert project._manifests()["manifest"] is first
    model = project.PROJECT / "models" / "marts" / "latest_quotes.sql"
    model.write_text(model.read_text() + "\n-- changed\n")
    project.parse(marts_settings)
    assert project._manifests()["manifest"] is not first
    names = {node.name for node in build_changed(marts_settings).nodes}
    assert "latest_quotes" in names, "after an upgrade everything is built"
    assert "latest_quotes" not in {node.name for node in build_changed(marts_settings).nodes}


def test_a_model_on_demand_is_built_with_everything_or_when_it_is_named(
    marts_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "PROJECT", Path(shutil.copytree(project.PROJECT, tmp_path / "dbt")))
    model = project.PROJECT / "models" / "marts" / "asked_for.sql"
    model.write_text(
        "{{ config(materialized='incremental', tags=['on_demand'], post_hook='{{ fence() }}') }}\nselect 1 as number"
    )

    def built(result: BuildResult) -> dict[str, int | None]:
        return {node.name: node.rows for node in result.nodes if node.name == "asked_for"}

    with pytest.raises(TransformError, match=r"(?s)has the columns \['number'\], its .yml describes \[\]"):
        build_changed(marts_settings)
    described = "models: [{name: asked_for, columns: [{name: number, description: one}]}]"
    model.with_suffix(".yml").write_text(f"version: 2\n{described}\n")
    assert built(build_changed(marts_settings)) == {"asked_for": 1}, "after an upgrade everything is built"
    assert built(build_changed(marts_settings)) == {}
    again = build_selected(marts_settings, ["asked_for"])
    assert [(node.name, node.rows) for node in again.nodes] == [("asked_for", 1)] and again.loads == ()
    with pytest.raises(TransformError, match="was taken over"):
        build_selected(marts_settings, ["asked_for"], epoch=1)


def test_a_project_that_cannot_be_read_is_said_with_its_place(
    marts_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "PROJECT", Path(shutil.copytree(project.PROJECT, tmp_path / "dbt")))
    (project.PROJECT / "models" / "marts" / "broken.sql").write_text("select * from {{ ref('nobody') }}")
    with pytest.raises(TransformError, match=r"(?s)dbt cannot read the project in .*nobody"):
        build_changed(marts_settings)


def test_without_an_address_it_says_what_to_do() -> None:
    with pytest.raises(NotRunningError, match="make up"):
        build_all(Settings(_env_file=None))  # type: ignore[call-arg]


def test_the_environment_is_left_as_it_was(marts_settings: Settings) -> None:
    before = dict(os.environ)
    build(marts_settings)
    assert {name: value for name, value in os.environ.items() if name != "DO_NOT_TRACK"} == {
        name: value for name, value in before.items() if name != "DO_NOT_TRACK"
    }


def test_another_primary_source_changes_the_indicators_of_the_past(marts_settings: Settings, tmp_path: Path) -> None:
    def listing(primary: str) -> Path:
        path = tmp_path / "instruments.csv"
        path.write_text(
            "symbol,asset_class,currency,calendar,primary_source,simulator,coingecko\n"
            f"BTC-USD,crypto,USD,24/7,{primary},BTC-USD,bitcoin\n"
        )
        return path

    mine = marts_settings.model_copy(update={"instruments_file": listing("coingecko")})
    sources = "select source from marts.indicators_1m"
    with connect(mine) as conn:
        accept(conn, [quote("BTC-USD", "10:00", 1), quote("BTC-USD", "10:00", 2, source="replay")])
        build(mine)
        assert rows(conn, sources) == [("replay",)]  # no candle of coingecko: the others by name
        listing("simulator")
        build(mine)
        assert rows(conn, sources) == [("simulator",)]
        assert rows(conn, "select symbol, primary_source from marts.instruments") == [("BTC-USD", "simulator")]


def test_an_instrument_that_is_no_longer_listed_stays_while_it_has_events(
    marts_settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "instruments.csv"
    path.write_text(
        "symbol,asset_class,currency,calendar,primary_source,simulator\nBTC-USD,crypto,USD,24/7,simulator,BTC-USD\n"
    )
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:00", 1)])
        build(marts_settings.model_copy(update={"instruments_file": path}))
        assert rows(conn, "select symbol from marts.instruments order by 1") == [("AAPL",), ("BTC-USD",)]


def test_the_result_says_what_took_longest() -> None:
    nodes = (NodeResult("quotes", "success", 0.5, 2), NodeResult("trades", "success", 0.25, 0))
    assert str(BuildResult(nodes, 0.9)) == "2 models and tests in 0.90 s, longest quotes 0.50 s"
