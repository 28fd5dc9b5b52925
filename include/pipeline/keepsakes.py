"""What only the warehouse knows, kept beside the data in the lake, so that a lost database takes none of it along.

These are decisions of people (instruments registered while running, rejected loads that were accepted by hand, spans of
the lake that were read again, mutes), what cannot be undone (alerts that were sent), which models are in use, and what
vendors were asked for of the past. All else follows from raw objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import Any, Final

import orjson
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.aws import client
from include.events import iso
from include.lake.notes import Kind, read_notes, write_notes
from include.settings import Settings
from include.warehouse.db import connect

_INSTRUMENTS: Final = """
select symbol, asset_class, currency, calendar, primary_source from ops.registered_instruments order by symbol
"""
_ACCEPTED: Final = """
select distinct l.origin
from ops.outcomes as o
inner join ops.loads as l on l.load_id = (o.detail ->> 'load_id')::bigint
where o.step = 'accept_rejected' and o.ok and l.state in ('accepted', 'transformed') and o.at >= l.loaded_at
order by l.origin
"""
_REPLAYS: Final = """
select replay_id, from_time, to_time, sources, started_at from ops.replays order by started_at
"""
_SENT: Final = """
select o.outbox_id, a.alert_key, a.rule, a.category, a.symbol, a.candle_start, a.severity, a.direction, a.value,
       a.threshold, a.message, a.created_at, coalesce(a.sent_at, o.sent_at) as sent_at, a.scope, a.source,
       a.asset_class, a.last_candle, a.cooldown_minutes, a.symbols, a.acknowledged_at, a.acknowledged_by, a.resolved_by,
       a.latency_seconds
from ops.outbox as o inner join marts.alerts as a using (alert_key)
where o.sent_at is not null and o.kept_at is null
order by o.outbox_id limit %s
"""
# Over and withdrawn until they are found again. What is open then was not said lately, so nobody is called at once.
_RESTORE_SENT: Final = """
insert into marts.alerts as a (
    alert_key, rule, category, symbol, candle_start, severity, direction, value, threshold, message, state, created_at,
    sent_at, scope, source, asset_class, last_candle, cooldown_minutes, symbols, acknowledged_at, acknowledged_by,
    resolved_by, latency_seconds, status, resolved_at, escalated_at, finding_count, is_withdrawn)
select distinct on (alert_key)
    alert_key, rule, category, symbol, candle_start, severity, direction, value, threshold, message, 'sent', created_at,
    sent_at, coalesce(scope, 'instrument'), coalesce(source, ''), asset_class, coalesce(last_candle, candle_start),
    coalesce(cooldown_minutes, 15), symbols, acknowledged_at, acknowledged_by, resolved_by,
    latency_seconds, 'resolved',
    coalesce(last_candle, candle_start, created_at), clock_timestamp(), 0,
    category = 'market'
from jsonb_to_recordset(%s) as r (
    alert_key text, rule text, category text, symbol text, candle_start timestamptz, severity text, direction text,
    value double precision, threshold double precision, message text, created_at timestamptz, sent_at timestamptz,
    scope text, source text, asset_class text, last_candle timestamptz, cooldown_minutes integer, symbols text[],
    acknowledged_at timestamptz, acknowledged_by text, resolved_by text,
    latency_seconds double precision)
order by alert_key, resolved_by nulls last, acknowledged_by nulls last, last_candle desc
on conflict (alert_key) do update
set acknowledged_at = excluded.acknowledged_at, acknowledged_by = excluded.acknowledged_by
where a.acknowledged_by is null and excluded.acknowledged_by is not null
"""
_COVERAGE: Final = """
select source, kind, symbol, asked_as, covered_from, covered_until, events, ended, reason, fetched_at
from ops.history_coverage
order by source, kind, date_trunc('month', covered_from, 'UTC'), symbol, covered_from, covered_until
"""
_RESTORE_COVERAGE: Final = """
insert into ops.history_coverage
    (source, kind, symbol, asked_as, covered_from, covered_until, events, ended, reason, fetched_at)
select distinct on (source, kind, symbol, covered_from, covered_until)
    source, kind, symbol, asked_as, covered_from, covered_until, events, ended, reason, fetched_at
from jsonb_to_recordset(%s) as r (
    source text, kind text, symbol text, asked_as text, covered_from timestamptz, covered_until timestamptz,
    events bigint, ended text, reason text, fetched_at timestamptz)
where not exists (
    select from ops.history_coverage as c
    where c.source = r.source and c.kind = r.kind and c.symbol = r.symbol
        and c.covered_from <= r.covered_from and c.covered_until >= r.covered_until)
order by source, kind, symbol, covered_from, covered_until, fetched_at desc
"""
_MODELS: Final = """
select name, version, state, trained_from, trained_until, held_out_until, data_sha256, sha256, s3_key, params, scores,
       reason, created_at, approved_at, decided_at
from ops.models where kept_at is null order by name, version for update
"""
_MODELS_KEPT: Final = """
update ops.models set kept_at = clock_timestamp() where kept_at is null and (name, version) in (
    select * from unnest(%s::text[], %s::text[]))
"""
# The last that was decided of each; where another one is in use by now, that stays.
_RESTORE_MODELS: Final = """
insert into ops.models (name, version, state, trained_from, trained_until, held_out_until, data_sha256, sha256, s3_key,
    params, scores, reason, created_at, approved_at, decided_at)
select distinct on (name, version) name, version, state, trained_from, trained_until, held_out_until, data_sha256,
    sha256, s3_key, params, scores, reason, created_at, approved_at, decided_at
from jsonb_to_recordset(%s) as r (
    name text, version text, state text, trained_from timestamptz, trained_until timestamptz,
    held_out_until timestamptz, data_sha256 text, sha256 text, s3_key text, params jsonb, scores jsonb, reason text,
    created_at timestamptz, approved_at timestamptz, decided_at timestamptz)
order by name, version, decided_at desc
on conflict do nothing
"""
_MUTES: Final = """
select mute_id, symbol, rule, asset_class, severity, from_at, until_at, reason, made_by, made_at
from ops.mutes where kept_at is null order by mute_id for update
"""
_MUTES_KEPT: Final = "update ops.mutes set kept_at = clock_timestamp() where mute_id = any(%s)"
# A mute has no name but what it says and when it was made; somebody may have ended it since.
_RESTORE_MUTES: Final = """
insert into ops.mutes (symbol, rule, asset_class, severity, from_at, until_at, reason, made_by, made_at)
select symbol, rule, asset_class, severity, from_at, min(until_at), reason, made_by, made_at
from jsonb_to_recordset(%s) as r (
    symbol text, rule text, asset_class text, severity text, from_at timestamptz, until_at timestamptz, reason text,
    made_by text, made_at timestamptz)
where not exists (
    select from ops.mutes as m
    where m.made_at = r.made_at and (m.symbol, m.rule, m.asset_class, m.severity, m.made_by)
        is not distinct from (r.symbol, r.rule, r.asset_class, r.severity, r.made_by))
group by symbol, rule, asset_class, severity, from_at, reason, made_by, made_at
having min(until_at) > clock_timestamp()
order by made_at
"""
_PAGE: Final = 1000
_REGISTER: Final = """
insert into ops.registered_instruments (symbol, asset_class, currency, calendar, primary_source)
values (%(symbol)s, %(asset_class)s, %(currency)s, %(calendar)s, %(primary_source)s) on conflict do nothing
"""
_COLUMNS: Final = ("symbol", "asset_class", "currency", "calendar", "primary_source")


@dataclass(frozen=True, slots=True)
class Replayed:
    """A span of the lake `[start, end)` (UTC) that was read again, of these sources (None: all)."""

    replay_id: str
    start: datetime
    end: datetime
    sources: list[str] | None
    started_at: datetime


def keep(settings: Settings) -> int:
    """Note in the lake what the warehouse knows of all these; how many notes that are. Safe to repeat.

    Raises LakeError if the lake does not answer.
    """
    s3, bucket = client(settings, "s3"), settings.bucket
    with connect(settings) as conn:
        instruments = conn.execute(_INSTRUMENTS).fetchall()
        accepted = conn.execute(_ACCEPTED).fetchall()
        replays = [Replayed(*row) for row in conn.execute(_REPLAYS)]
    for row in instruments:
        write_notes(s3, bucket, "instruments", [dict(zip(_COLUMNS, row, strict=True))])
    for (origin,) in accepted:
        write_notes(s3, bucket, "accepted", [{"origin": origin}])
    for replay in replays:
        keep_replay(settings, replay)
    decided = keep_models(settings) + _keep_mutes(settings)
    told = keep_sent_alerts(settings) + _keep_coverage(settings)
    return len(instruments) + len(accepted) + len(replays) + decided + told


def keep_replay(settings: Settings, replay: Replayed) -> None:
    """Note that a span is read again. Raises LakeError."""
    note = {
        "replay_id": replay.replay_id, "from": iso(replay.start), "to": iso(replay.end), "sources": replay.sources,
        "started_at": iso(replay.started_at),
    }  # fmt: skip
    write_notes(client(settings, "s3"), settings.bucket, "replays", [note])


def keep_sent_alerts(settings: Settings) -> int:
    """Note the alerts that were sent and are not noted yet; how many. Raises LakeError."""
    total = 0
    with connect(settings) as conn, conn.cursor(row_factory=dict_row) as cursor:
        while rows := cursor.execute(_SENT, [_PAGE]).fetchall():
            ids = [row.pop("outbox_id") for row in rows]
            write_notes(client(settings, "s3"), settings.bucket, "alerts", rows)
            conn.execute("update ops.outbox set kept_at = clock_timestamp() where outbox_id = any(%s)", [ids])
            total += len(rows)
    return total


def keep_models(settings: Settings) -> int:
    """Note the models that are new or were decided about since; how many. Raises LakeError."""
    with connect(settings) as conn, conn.cursor(row_factory=dict_row) as cursor, conn.transaction():
        rows = cursor.execute(_MODELS).fetchall()
        if rows:
            write_notes(client(settings, "s3"), settings.bucket, "models", rows)
            cursor.execute(_MODELS_KEPT, [[row["name"] for row in rows], [row["version"] for row in rows]])
    return len(rows)


def _keep_mutes(settings: Settings) -> int:
    """Note the mutes that are new or were ended since; how many."""
    with connect(settings) as conn, conn.cursor(row_factory=dict_row) as cursor, conn.transaction():
        rows = cursor.execute(_MUTES).fetchall()
        if rows:
            ids = [row.pop("mute_id") for row in rows]
            write_notes(client(settings, "s3"), settings.bucket, "mutes", rows)
            cursor.execute(_MUTES_KEPT, [ids])
    return len(rows)


def _keep_coverage(settings: Settings) -> int:
    """Note what of the past is covered, a month of a source and kind at a time: months that are over stay one note."""
    s3, total = client(settings, "s3"), 0
    with connect(settings) as conn, conn.cursor(row_factory=dict_row) as cursor, conn.transaction():
        for _, rows in groupby(cursor.stream(_COVERAGE), key=_month):
            notes = list(rows)
            write_notes(s3, settings.bucket, "history", notes)
            total += len(notes)
    return total


def _month(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["source"], row["kind"], row["covered_from"].year, row["covered_from"].month


def restore(settings: Settings, conn: psycopg.Connection) -> tuple[int, int]:
    """Register the instruments, and write down sent alerts, covered past, models and mutes that only the lake knows.

    How many instruments and alerts that were. Raises LakeError.
    """
    s3, bucket = client(settings, "s3"), settings.bucket
    notes = sorted(read_notes(s3, bucket, "instruments"), key=lambda note: str(note["symbol"]))
    instruments = sum(conn.execute(_REGISTER, note).rowcount for note in notes)
    alerts, sent = 0, read_notes(s3, bucket, "alerts")
    while page := list(islice(sent, _PAGE)):
        alerts += conn.execute(_RESTORE_SENT, [Jsonb(page, dumps=orjson.dumps)]).rowcount
    covered = read_notes(s3, bucket, "history")
    while page := list(islice(covered, _PAGE)):
        conn.execute(_RESTORE_COVERAGE, [Jsonb(page, dumps=orjson.dumps)])
    kinds: tuple[tuple[Kind, str], ...] = (("models", _RESTORE_MODELS), ("mutes", _RESTORE_MUTES))
    for kind, query in kinds:
        conn.execute(query, [Jsonb(list(read_notes(s3, bucket, kind)), dumps=orjson.dumps)])
    return instruments, alerts


def accepted_by_hand(settings: Settings) -> set[str]:
    """The origins of the loads that somebody accepted although they were rejected."""
    return {note["origin"] for note in read_notes(client(settings, "s3"), settings.bucket, "accepted")}


def replayed(settings: Settings) -> Sequence[Replayed]:
    """The spans that were read again, in the order in which that was begun."""
    notes = read_notes(client(settings, "s3"), settings.bucket, "replays")
    found = [
        Replayed(
            note["replay_id"], datetime.fromisoformat(note["from"]), datetime.fromisoformat(note["to"]),
            note["sources"], datetime.fromisoformat(note["started_at"]),
        )
        for note in notes
    ]  # fmt: skip
    return sorted(found, key=lambda one: one.started_at)
