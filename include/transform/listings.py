"""What people list in files: portfolios, and splits and dividends that no source tells.

`portfolios.csv` has the columns portfolio, symbol, quantity (units held today; negative: short) and cost (paid for one
unit, in the instrument's currency). `corporate_actions.csv` has symbol, ex_date (YYYY-MM-DD, the exchange's date),
action (`split` or `dividend`), ratio (of a split: new shares for an old one), amount (of a dividend: per share, in
shares of that day) and currency.
"""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from include.errors import ConfigError
from include.instruments import is_symbol
from include.settings import PREFIX, Settings
from include.transform.instruments import recall, remember

log = logging.getLogger(__name__)

Row = tuple[Any, ...]
_LISTED: Final = "listings"
_POSITION: Final = ("portfolio", "symbol", "quantity", "cost")
_ACTION: Final = ("symbol", "ex_date", "action", "ratio", "amount", "currency")
_UNKNOWN: Final = """
select new.symbol from unnest(%s::text[]) as new (symbol)
where new.symbol not in (select symbol from ops.instruments union all select symbol from ops.registered_instruments)
"""
# The past of a portfolio is not judged again because something else is held today.
_NEW_POSITIONS: Final = """
with new as (
    select * from unnest(%s::text[], %s::text[], %s::numeric[]) as n (portfolio, symbol, quantity)
),
old as (
    select portfolio, symbol, quantity from ops.portfolio_positions
)
delete from ops.judged_days where portfolio in (
    select portfolio from ((table new except table old) union (table old except table new)) as changed
)
"""


def sync_listings(conn: psycopg.Connection, settings: Settings) -> None:
    """Bring both files into `ops.portfolio_positions` and `ops.listed_actions`, if one of them changed.

    Raises ConfigError listing what is wrong with file and line. A symbol that is no instrument is kept and told in the
    log: its position has no price.
    """
    files = (settings.portfolios_file, settings.corporate_actions_file)
    digest = hashlib.sha256(b"\0".join(file.read_bytes() if file.is_file() else b"" for file in files)).hexdigest()
    if recall(conn, _LISTED) == digest:
        return
    with conn.transaction():
        positions = load_positions(files[0])
        conn.execute(_NEW_POSITIONS, [list(column) for column in zip(*positions, strict=True)][:3] or [[], [], []])
        _replace(conn, "portfolio_positions", _POSITION, positions, files[0])
        _replace(conn, "listed_actions", _ACTION, load_actions(files[1]), files[1])
        remember(conn, _LISTED, digest)


def load_positions(path: Path) -> list[Row]:
    """(portfolio, symbol, quantity, cost) per line. Raises ConfigError listing every problem with file and line."""
    return _load(path, "portfolios", _POSITION, 2, _position)


def load_actions(path: Path) -> list[Row]:
    """(symbol, ex_date, action, ratio, amount, currency) per line. Raises ConfigError as `load_positions`."""
    return _load(path, "corporate_actions", _ACTION, 3, _action)


def _replace(conn: psycopg.Connection, table: str, columns: tuple[str, ...], rows: list[Row], path: Path) -> None:
    into = sql.SQL("insert into ops.{} ({}) values ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
    )
    conn.execute(sql.SQL("delete from ops.{}").format(sql.Identifier(table)))
    conn.cursor().executemany(into, rows)
    symbols = sorted({str(row[columns.index("symbol")]) for row in rows})
    if unknown := [symbol for (symbol,) in conn.execute(_UNKNOWN, [symbols])]:
        log.warning("%s names %s, which is no instrument here: it has no price", path, ", ".join(unknown))


def _load(
    path: Path, name: str, columns: tuple[str, ...], key: int, read: Callable[[Mapping[str, str], list[str]], Row]
) -> list[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        setting = f"{PREFIX}{name.upper()}_FILE"
        raise ConfigError(f"the file of {name} cannot be read from {path}: {error}; {setting} names it") from None
    problems: list[str] = []
    rows = list(_rows(text, path, columns, key, read, problems))
    if problems:
        raise ConfigError("\n  ".join([f"wrong {name}:", *problems]))
    return rows


def _rows(
    text: str,
    path: Path,
    columns: tuple[str, ...],
    key: int,
    read: Callable[[Mapping[str, str], list[str]], Row],
    problems: list[str],
) -> Iterator[Row]:
    lines = csv.reader(text.splitlines(keepends=True))
    header = [name.strip() for name in next(lines, [])]
    if sorted(header) != sorted(columns):
        problems.append(f"{path}:1: the header is {','.join(header)!r}; it must name {','.join(columns)}")
        return
    seen: dict[Row, int] = {}
    for line in lines:
        place = f"{path}:{lines.line_num}"
        if not any(line):
            continue
        if len(line) != len(header):
            problems.append(f"{place}: {len(line)} values, but the header names {len(header)} columns")
            continue
        said: list[str] = []
        row = read({name: value.strip() for name, value in zip(header, line, strict=True)}, said)
        first = seen.setdefault(row[:key], lines.line_num)
        if first != lines.line_num:
            said.append(f"{' '.join(map(str, row[:key]))} is already on line {first}; make one line of both")
        problems += [f"{place}: {one}" for one in said]
        yield row


def _position(fields: Mapping[str, str], said: list[str]) -> Row:
    if not fields["portfolio"]:
        said.append("portfolio is empty; give the portfolio a name")
    _symbol(fields, said)
    quantity, cost = _number(fields, "quantity", said), _number(fields, "cost", said)
    if quantity == 0:
        said.append("quantity is 0; take the line out, or write how many units are held (negative: short)")
    if cost is not None and cost < 0:
        said.append(f"cost is {cost}; it is what one unit cost, 0 or more")
    return fields["portfolio"], fields["symbol"], quantity, cost


def _action(fields: Mapping[str, str], said: list[str]) -> Row:
    _symbol(fields, said)
    action, day = fields["action"], None
    try:
        day = date.fromisoformat(fields["ex_date"])
    except ValueError:
        said.append(f"ex_date is {fields['ex_date']!r}; write the day as 2014-06-09")
    numbers: dict[str, Decimal | None] = {"ratio": None, "amount": None}
    needed = {"split": "ratio", "dividend": "amount"}.get(action)
    if needed is None:
        said.append(f"action is {action!r}; allowed are split and dividend")
    else:
        numbers[needed] = value = _number(fields, needed, said)
        if value is not None and value <= 0:
            said.append(f"{needed} is {value}; it must be above 0")
        other = "amount" if needed == "ratio" else "ratio"
        if fields[other]:
            said.append(f"{other} is {fields[other]!r}; a {action} has none, leave it empty")
    return fields["symbol"], day, action, numbers["ratio"], numbers["amount"], fields["currency"] or None


def _symbol(fields: Mapping[str, str], said: list[str]) -> None:
    if not is_symbol(fields["symbol"]):
        said.append(f"symbol is {fields['symbol']!r}; write it as the file of instruments does, as in BTC-USD")


def _number(fields: Mapping[str, str], name: str, said: list[str]) -> Decimal | None:
    try:
        value = Decimal(fields[name])
        if value.is_finite():
            return value
    except InvalidOperation:
        pass
    said.append(f"{name} is {fields[name]!r}; write a number as 12.5")
    return None
