"""The tables in Glue: made once, changed when something changed, true to the views that make the columns."""

from __future__ import annotations

from datetime import date

import pytest

from include.aws import client
from include.errors import ConfigError
from include.lake.catalogue import make_catalogue
from include.lake.lifecycle import apply_lifecycle, rules
from include.lake.tables import HASH, TABLES, table_name
from include.pipeline.compact import compact
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.typed import VIEWS, TypedRows
from tests.lake.lines import put, trade

pytestmark = pytest.mark.stack

NAMES = ["raw_events", "quotes", "trades", "bars", "actions"]


def test_database_and_tables_are_made_once(lake: Settings) -> None:
    database = lake.glue_database
    assert make_catalogue(lake) == [f"database {database}", *(f"table {database}.{name}" for name in NAMES)]
    assert make_catalogue(lake) == []


def test_partitions_are_projected_and_begin_with_the_first_day_there_is(lake: Settings) -> None:
    glue = client(lake, "glue")
    make_catalogue(lake)

    def range_of(table: str) -> str:
        found = glue.get_table(DatabaseName=lake.glue_database, Name=table)["Table"]
        assert found["Parameters"]["projection.enabled"] == "true"
        return found["Parameters"]["projection.dt.range"]

    assert range_of("trades") == "NOW-1MONTH,NOW+1DAY"
    put(lake, "2026-03-02", "a", [trade("BTC-USD", "2025-12-31T10:00", 1)])

    compact(lake, date(2026, 3, 2))

    assert range_of("trades") == "2025-12-31,NOW+1DAY"
    assert range_of("raw_events") == "2026-03-02,NOW+1DAY"
    assert range_of("quotes") == "NOW-1MONTH,NOW+1DAY"
    assert glue.get_partitions(DatabaseName=lake.glue_database, TableName="trades")["Partitions"] == []


def test_a_table_that_somebody_changed_is_set_right_and_no_other(lake: Settings) -> None:
    glue = client(lake, "glue")
    make_catalogue(lake)
    glue.update_table(DatabaseName=lake.glue_database, TableInput={"Name": "bars", "Parameters": {"a": "b"}})
    assert make_catalogue(lake) == [f"table {lake.glue_database}.bars"]


def test_raw_json_is_read_by_its_envelope(lake: Settings) -> None:
    make_catalogue(lake)
    table = client(lake, "glue").get_table(DatabaseName=lake.glue_database, Name="raw_events")["Table"]
    storage = table["StorageDescriptor"]
    assert storage["SerdeInfo"]["SerializationLibrary"] == "org.openx.data.jsonserde.JsonSerDe"
    assert {"source", "kind", "symbol", "event_time", "payload"} <= {column["Name"] for column in storage["Columns"]}
    assert [key["Name"] for key in table["PartitionKeys"]] == ["dt", "hh"]


@pytest.mark.parametrize("kind", TABLES)
def test_the_columns_are_those_of_the_views(kind: str, lake: Settings) -> None:
    """A column that a staging view gets is one of the lake too: add it to include/lake/tables.py."""
    types = {"text": "string", "numeric": "double", "bigint": "bigint", "timestamp with time zone": "timestamp"}
    with connect(lake) as conn:
        TypedRows(conn, {})  # the views can be copied
        found = conn.execute(
            "select attname, format_type(atttypid, null) from pg_attribute "
            "where attrelid = to_regclass('intermediate.' || %s) and attnum > 0 order by attnum",
            [VIEWS[kind]],
        ).fetchall()
    ours = {name: types[type_] for name, type_ in found if name not in (HASH, "load_id", "is_accepted", "line_number")}
    assert ours == TABLES[kind], table_name(kind)


def test_rules_are_set_once_and_those_of_others_stay(lake: Settings) -> None:
    s3 = client(lake, "s3")
    other = {"ID": "somebody-elses", "Filter": {"Prefix": "theirs/"}, "Status": "Enabled", "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket=lake.bucket, LifecycleConfiguration={"Rules": [other]})  # type: ignore[list-item]
    assert apply_lifecycle(lake) is True
    assert apply_lifecycle(lake) is False

    there = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=lake.bucket)["Rules"]}
    assert there["somebody-elses"] == other
    assert there["quantstream-raw"]["Filter"] == {"Prefix": "raw/"}
    assert there["quantstream-raw"]["Transitions"] == [
        {"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 90, "StorageClass": "GLACIER"}
    ]  # fmt: skip
    assert "Expiration" not in there["quantstream-raw"], "0 days: kept for ever"
    assert there["quantstream-athena"]["Expiration"] == {"Days": 7}


def test_settings_change_the_rules(lake: Settings) -> None:
    apply_lifecycle(lake)
    shorter = lake.model_copy(update={"lake_glacier_days": 0, "lake_expire_days": 400})
    assert apply_lifecycle(shorter) is True
    (raw, *_) = rules(shorter)
    assert raw["Transitions"] == [{"Days": 30, "StorageClass": "STANDARD_IA"}] and raw["Expiration"] == {"Days": 400}
    never = lake.model_copy(update={"lake_glacier_days": 0, "lake_infrequent_days": 0})
    assert [rule["ID"] for rule in rules(never)] == ["quantstream-athena", "quantstream-parquet"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lake_infrequent_days": 7}, "QUANTSTREAM_LAKE_INFREQUENT_DAYS = 7: .* after 30 days at the earliest"),
        ({"lake_glacier_days": 45}, "QUANTSTREAM_LAKE_GLACIER_DAYS = 45: it must be 30 days after"),
        ({"lake_expire_days": 90}, "QUANTSTREAM_LAKE_EXPIRE_DAYS = 90: it must be later than the last move"),
    ],
)
def test_rules_that_s3_does_not_take_are_refused_by_name(wrong: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        rules(Settings(_env_file=None, **wrong))
