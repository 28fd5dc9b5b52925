"""What is traded: the seed file `dbt/seeds/instruments.csv`, and what was registered while running.

The file's first columns describe the instrument (`fallbacks`, the sources that stand in where the primary one has
nothing, may be absent); every further column is a source and holds that vendor's id for it (empty: the source does not
have it).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

from include.errors import ConfigError

if TYPE_CHECKING:
    import psycopg

    from include.settings import Settings

AssetClass = Literal["equity", "crypto"]
ASSET_CLASSES: Final[tuple[str, ...]] = get_args(AssetClass)
CALENDARS: Final[Mapping[str, str]] = {"equity": "XNYS", "crypto": "24/7"}
SIMULATOR: Final = "simulator"  # invents prices
REPLAY: Final = "replay"  # files, at their own times
_COLUMNS: Final = ("symbol", "asset_class", "currency", "calendar", "primary_source")
_FALLBACKS: Final = "fallbacks"
_SYMBOL: Final = re.compile(r"[A-Z0-9][A-Z0-9.^=_/-]{0,29}")
_CURRENCY: Final = re.compile(r"[A-Z]{3,5}")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument; `ids` maps a source to the id under which that source knows it.

    `fallbacks` are the sources that stand in for the primary one, the preferred first.
    """

    symbol: str
    asset_class: str
    currency: str
    calendar: str
    primary_source: str
    ids: Mapping[str, str] = field(hash=False)
    fallbacks: tuple[str, ...] = ()


def load_instruments(path: Path) -> tuple[Instrument, ...]:
    """Read and check the file. Raises ConfigError listing every problem with file and line number."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the instruments cannot be read from {path}: {error}; QUANTSTREAM_INSTRUMENTS_FILE names the file"
        ) from None
    problems: list[str] = []
    instruments = list(_read(text, path, problems))
    if not instruments and not problems:
        problems.append(f"{path}:1: no instrument in it; at least one row is needed under the header")
    if problems:
        raise ConfigError("\n  ".join(["wrong instruments:", *problems]))
    return tuple(instruments)


def known_instruments(conn: psycopg.Connection, settings: Settings) -> tuple[Instrument, ...]:
    """The file's instruments, then the registered ones by symbol. Where both have a symbol, the file's holds."""
    listed = load_instruments(settings.instruments_file)
    symbols = {instrument.symbol for instrument in listed}
    rows = conn.execute(
        "select symbol, asset_class, currency, calendar, primary_source from ops.registered_instruments order by symbol"
    )
    added = [
        Instrument(symbol, asset_class, currency, calendar, primary, {primary: symbol})
        for symbol, asset_class, currency, calendar, primary in rows
        if symbol not in symbols
    ]
    return (*listed, *added)


def register(
    conn: psycopg.Connection,
    symbols: Iterable[str],
    asset_class: str,
    *,
    currency: str = "USD",
    primary_source: str = "simulator",
) -> int:
    """Add instruments beside the file, each known to `primary_source` under its own symbol; returns how many were new.

    Raises ConfigError listing every symbol that cannot be one, or naming a wrong asset class; then nothing is added.
    """
    symbols = list(symbols)
    problems = [said for symbol in symbols if (said := _bad_symbol(symbol))]
    if asset_class not in ASSET_CLASSES:
        problems.append(f"asset class {asset_class!r}: allowed are {' and '.join(ASSET_CLASSES)}")
    if problems:
        raise ConfigError("\n  ".join(["cannot register these instruments:", *problems]))
    done = conn.execute(
        "insert into ops.registered_instruments (symbol, asset_class, currency, calendar, primary_source) "
        "select distinct symbol, %s, %s, %s, %s from unnest(%s::text[]) as new (symbol) on conflict do nothing",
        [asset_class, currency, CALENDARS[asset_class], primary_source, symbols],
    )
    return done.rowcount


def _read(text: str, path: Path, problems: list[str]) -> Iterator[Instrument]:
    rows = csv.reader(text.splitlines(keepends=True))
    header = [name.strip() for name in next(rows, [])]
    missing = [name for name in _COLUMNS if name not in header]
    twice = sorted({name for name in header if header.count(name) > 1})
    if missing or twice or "" in header:
        problems += [f"{path}:1: the column {name} is missing" for name in missing]
        problems += [f"{path}:1: the column {name or '(without a name)'} is there twice" for name in twice]
        if "" in header and "" not in twice:
            problems.append(f"{path}:1: a column has no name")
        return
    sources = [name for name in header if name not in (*_COLUMNS, _FALLBACKS)]
    seen: dict[tuple[str, str], int] = {}
    for row in rows:
        place = f"{path}:{rows.line_num}"
        if not any(row):
            continue
        if len(row) != len(header):
            problems.append(f"{place}: {len(row)} values, but the header names {len(header)} columns")
            continue
        fields = {name: value.strip() for name, value in zip(header, row, strict=True)}
        ids = {source: fields[source] for source in sources if fields[source]}
        for what, value in [("symbol", fields["symbol"]), *((f"{source} id", ids[source]) for source in ids)]:
            first = seen.setdefault((what, value), rows.line_num)
            if first != rows.line_num:
                problems.append(f"{place}: the {what} {value} is already on line {first}")
        problems += [f"{place}: {said}" for said in _problems(fields, ids, sources)]
        yield Instrument(
            **{name: fields[name] for name in _COLUMNS}, ids=ids, fallbacks=tuple(fields.get(_FALLBACKS, "").split())
        )


def _problems(fields: Mapping[str, str], ids: Mapping[str, str], sources: list[str]) -> Iterator[str]:
    if said := _bad_symbol(fields["symbol"]):
        yield said
    asset_class, primary = fields["asset_class"], fields["primary_source"]
    if asset_class not in ASSET_CLASSES:
        yield f"asset_class is {asset_class!r}; allowed are {' and '.join(ASSET_CLASSES)}"
    elif fields["calendar"] != CALENDARS[asset_class]:
        yield f"calendar is {fields['calendar']!r}; for {asset_class} it is {CALENDARS[asset_class]}"
    if not _CURRENCY.fullmatch(fields["currency"]):
        yield f"currency is {fields['currency']!r}; it must be a code like USD"
    if primary not in sources:
        yield f"primary_source is {primary!r}; the file has columns for these sources: {', '.join(sources) or 'none'}"
    elif primary not in ids:
        yield f"primary_source is {primary}, but the column {primary} is empty; it holds that source's id"
    yield from _wrong_fallbacks(fields.get(_FALLBACKS, "").split(), primary, ids, sources)


def _wrong_fallbacks(fallbacks: list[str], primary: str, ids: Mapping[str, str], sources: list[str]) -> Iterator[str]:
    for name in dict.fromkeys(fallbacks):
        if fallbacks.count(name) > 1:
            yield f"fallbacks names {name} twice"
        if name == primary:
            yield f"fallbacks names {name}, which is the primary source"
        elif name == SIMULATOR:
            yield f"fallbacks names {name}; invented prices do not stand in for real ones"
        elif name not in sources:
            yield f"fallbacks names {name!r}; the file has columns for these sources: {', '.join(sources) or 'none'}"
        elif name not in ids:
            yield f"fallbacks names {name}, but the column {name} is empty; it holds that source's id"


def is_symbol(text: str) -> bool:
    """Whether the text can be a symbol: 1 to 30 capital letters, digits or . ^ = _ / -"""
    return _SYMBOL.fullmatch(text) is not None


def _bad_symbol(symbol: str) -> str | None:
    if is_symbol(symbol):
        return None
    if _SYMBOL.fullmatch(symbol.upper()):
        return f"symbol is {symbol!r}; write it in capitals: {symbol.upper()}"
    return f"symbol is {symbol!r:.80}; it must be 1 to 30 capital letters, digits or . ^ = _ / -"
