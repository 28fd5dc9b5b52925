"""The dbt project itself: its unit tests, its layers, its words, and that its SQL is clean."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from include.settings import ROOT, Settings
from include.transform import project
from include.transform.runner import generate_docs, preload

MAY_READ = {
    "staging": {"source"},
    "intermediate": {"staging", "intermediate"},
    "marts": {"staging", "intermediate", "marts"},
}


@cache
def manifest() -> Any:
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    preload(settings)
    return project._manifests()["manifest"]


def models() -> list[Any]:
    return [node for node in manifest().nodes.values() if node.resource_type == "model"]


def layer(unique_id: str) -> str:
    return "source" if unique_id.startswith("source.") else manifest().nodes[unique_id].fqn[1]


# What changes in a series, and what is missing in it, is known only once its candles are made.
READS_A_MART = {("int_changed_spans", "candles_1m"), ("int_silences", "candles_1m")}


def test_each_layer_reads_only_what_is_before_it() -> None:
    assert {layer(model.unique_id) for model in models()} == set(MAY_READ)
    for model in models():
        here = layer(model.unique_id)
        for read in model.depends_on.nodes:
            named = (model.name, read.rsplit(".", 1)[-1])
            assert layer(read) in MAY_READ[here] or named in READS_A_MART, f"{model.name} ({here}) reads {read}"


def test_nothing_is_read_but_by_ref_and_source() -> None:
    """What SQL names by itself is in no lineage, and no layer would be held. Without Jinja no schema may be named."""
    held = re.compile(r"\b(?:from|join|using)\s+(?:raw|ops|staging|intermediate|marts)\.", re.IGNORECASE)
    jinja = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|--[^\n]*", re.DOTALL)
    for folder in ("models", "tests"):
        for path in (ROOT / "dbt" / folder).rglob("*.sql"):
            assert not held.search(jinja.sub("", path.read_text())), path
    assert {named for model in models() for named in held.findall(jinja.sub("", model.raw_code))} == set()


def test_models_are_named_after_their_layer() -> None:
    names = {"staging": r"stg_[a-z]+__[a-z_]+", "intermediate": r"int_[a-z_]+", "marts": r"(?!stg_|int_)[a-z0-9_]+"}
    for model in models():
        assert re.fullmatch(names[layer(model.unique_id)], model.name), model.name
        assert model.schema == layer(model.unique_id)


def test_every_model_and_column_is_described(marts_settings: Settings) -> None:
    from include.warehouse.db import connect

    with connect(marts_settings) as conn:
        for model in models():
            assert model.description, f"{model.name} has no description"
            columns = [row[0] for row in conn.execute(
                "select column_name from information_schema.columns where table_schema = %s and table_name = %s "
                "order by ordinal_position", [model.schema, model.name],
            )]  # fmt: skip
            assert columns and set(columns) == set(model.columns), f"columns of {model.name}"
            undescribed = [name for name, column in model.columns.items() if not column.description]
            assert not undescribed, f"{model.name}: {undescribed}"


# A name that means another thing there, each described in the vocabulary; anything else has one meaning in all marts.
OTHER_MEANINGS = {
    "source": {"chosen_source", "alert_source"},
    "scope": {"alert_scope", "risk_scope"},
    "detail": {"event_detail", "quality_detail"},
    "status": {"alert_status"},
    "symbols": {"group_symbols"},
    "last_candle": {"alert_last_candle"},
    "previous_close": {"candle_previous_close", "reference_close", "close_before"},
    "change_percent": {"indicator_change_percent"},
    "symbol": {"alert_symbol"},
    "candle_start": {"alert_candle_start", "day_start"},
    "is_final": {"day_is_final"},
    "high": {"indicator_high"},
    "low": {"indicator_low"},
    "age": {"age_of_candle"},
    "minutes": {"minutes_compared"},
    "name": {"name_of"},
    "value": {"alert_value"},
    "state": {"alert_state", "quality_state"},
    "rule": {"alert_rule", "quality_rule"},
}


def marts() -> list[Any]:
    """What analysts read: the models, and the tables that detection writes."""
    return [model for model in models() if layer(model.unique_id) == "marts"] + [
        source for source in manifest().sources.values() if source.schema == "marts"
    ]


def test_a_name_in_several_marts_means_one_thing() -> None:
    """Its descriptions are the same, or begin with a word of the vocabulary, which a mart may say more about."""
    words = {doc.name: doc.block_contents for doc in manifest().docs.values() if doc.package_name == "quantstream"}
    said: dict[str, dict[str, str]] = {}
    for mart in marts():
        for name, column in mart.columns.items():
            said.setdefault(name, {})[mart.name] = column.description
    for name, by_mart in said.items():
        meanings = tuple(words[one] for one in ({name} & words.keys()) | OTHER_MEANINGS.get(name, set()))
        strange = {mart: text for mart, text in by_mart.items() if not text.startswith(meanings)}
        assert len(set(by_mart.values())) == 1 or not strange, f"{name} means another thing in {strange}"


def test_the_tables_of_alerts_are_described_as_they_are(marts_settings: Settings) -> None:
    from include.warehouse.db import connect

    tables = [source for source in marts() if source.resource_type == "source"]
    assert {table.name for table in tables} == {"alerts", "alert_history"}
    for table in tables:
        with connect(marts_settings, role="analyst") as conn:
            rows = conn.execute(f"select * from marts.{table.name}".encode())
            assert list(table.columns) == [column.name for column in rows.description or ()]
        assert all(column.description for column in table.columns.values())


def test_no_word_of_the_vocabulary_is_there_for_nothing() -> None:
    used = set(re.findall(r"doc\('(\w+)'\)", " ".join(path.read_text() for path in (ROOT / "dbt").rglob("*.yml"))))
    words = {doc.name for doc in manifest().docs.values() if doc.package_name == "quantstream"}
    assert words - used == {"__overview__"}


def test_the_glossary_is_in_order_and_has_the_words_that_documents_use() -> None:
    (overview,) = (
        doc for doc in manifest().docs.values() if (doc.name, doc.package_name) == ("__overview__", "quantstream")
    )
    table = overview.block_contents.split("## Glossary")[1].split("## ")[0]
    words = re.findall(r"^\| ([\w ]+) \| \w", table, re.MULTILINE)[1:]
    assert words == sorted(words, key=str.lower)
    said = (
        "candle OHLCV VWAP watermark checkpoint backfill session final basis fallback gap quarantine revision load lane"
    )
    assert {*said.split(), "data interval"} <= set(words)


def test_every_test_across_models_is_described_there_and_in_the_overview() -> None:
    tests = [
        node
        for node in manifest().nodes.values()
        if node.resource_type == "test" and not hasattr(node, "test_metadata")
    ]
    overview = next(doc.block_contents for doc in manifest().docs.values() if doc.unique_id.endswith("__overview__"))
    assert tests and all(test.description for test in tests)
    assert {test.name for test in tests} <= set(re.findall(r"^- `(\w+)`:", overview, re.MULTILINE))


def test_every_mart_is_used_by_somebody_who_is_named() -> None:
    exposures = list(manifest().exposures.values())
    assert all(one.description and one.owner.name for one in exposures)
    used = {node for one in exposures for node in one.depends_on.nodes}
    assert {mart.unique_id for mart in marts()} <= used


def test_every_table_of_the_marts_has_a_test_of_its_keys() -> None:
    tests = {
        node.attached_node for node in manifest().nodes.values()
        if getattr(node, "test_metadata", None) and node.test_metadata.name == "sound"
    }  # fmt: skip
    assert {model.unique_id for model in models() if layer(model.unique_id) == "marts"} <= tests


def test_no_sql_compares_with_the_wall_clock() -> None:
    for path in (ROOT / "dbt").rglob("*.sql"):
        if path.name == "feed_health.sql":
            continue  # how late a feed is, is a question about now
        said = re.search(r"\b(now\(\)|current_date|current_timestamp|clock_timestamp|run_started_at)", path.read_text())
        assert not said, f"{path}: {said}"


def test_files_are_small() -> None:
    for path in (ROOT / "dbt").rglob("*.sql"):
        limit = 60 if "staging" in path.parts else 150
        assert len(path.read_text().splitlines()) <= limit, path


def test_the_unit_tests_of_the_models_pass(marts_settings: Settings) -> None:
    with project.dbt_runner(marts_settings) as runner:
        arguments = ["test", *project.common_arguments(marts_settings), "--select", "test_type:unit"]
        done = runner.invoke(arguments)
    results = {one.node.name: (str(one.status), one.message) for one in done.result.results}
    assert len(results) >= 6
    assert {name: said for name, said in results.items() if said[0] != "pass"} == {}


def test_the_documentation_is_a_page_of_its_own(marts_settings: Settings, tmp_path: Path) -> None:
    generate_docs(marts_settings, tmp_path / "docs")
    page, catalog = tmp_path / "docs" / "index.html", tmp_path / "docs" / "catalog.json"
    assert page.stat().st_size > 100_000
    assert '"indicators_1m"' in catalog.read_text()


def test_preparing_needs_no_connection(tmp_path: Path) -> None:
    preload(Settings(_env_file=None, home=tmp_path, warehouse_dsn=None))  # type: ignore[call-arg]


@pytest.mark.parametrize("secret", ["password", "PASSWORD"])
def test_no_log_of_dbt_holds_the_password(marts_settings: Settings, secret: str) -> None:
    from tests.transform.marts import build

    build(marts_settings)
    password = project._address(marts_settings)[secret.lower()]
    logs = [path for path in marts_settings.home.rglob("*") if path.is_file()]
    assert any(path.name == "dbt.log" for path in logs)
    assert not [path for path in logs if password.encode() in path.read_bytes()]
