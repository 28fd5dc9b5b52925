"""Files that people write: portfolios, and corporate actions that no source tells."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from include.errors import ConfigError
from include.settings import ROOT, Settings
from include.transform.listings import load_actions, load_positions, sync_listings
from include.warehouse.db import connect

POSITIONS = "portfolio,symbol,quantity,cost\n"
ACTIONS = "symbol,ex_date,action,ratio,amount,currency\n"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_files_that_come_with_the_project_are_right() -> None:
    assert {row[0] for row in load_positions(ROOT / "dbt/seeds/portfolios.csv")} == {"balanced", "coins"}
    assert load_actions(ROOT / "dbt/seeds/corporate_actions.csv") == []


def test_a_split_and_a_dividend(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", ACTIONS + "AAPL,2014-06-09,split,7,,\nAAPL,2014-08-07,dividend,,0.47,USD\n")
    assert load_actions(file) == [
        ("AAPL", date(2014, 6, 9), "split", Decimal(7), None, None),
        ("AAPL", date(2014, 8, 7), "dividend", None, Decimal("0.47"), "USD"),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (",AAPL,1,1", ":2: portfolio is empty"),
        ("mine,aapl,1,1", ":2: symbol is 'aapl'"),
        ("mine,AAPL,many,1", ":2: quantity is 'many'; write a number"),
        ("mine,AAPL,0,1", ":2: quantity is 0; take the line out"),
        ("mine,AAPL,1,NaN", ":2: cost is 'NaN'"),
        ("mine,AAPL,1,-1", ":2: cost is -1"),
        ("mine,AAPL,1", ":2: 3 values, but the header names 4"),
        ("mine,AAPL,1,1\nmine,AAPL,2,1", ":3: mine AAPL is already on line 2; make one line of both"),
    ],
)
def test_a_wrong_position_is_named_with_its_line(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_positions(written(tmp_path / "p.csv", POSITIONS + line + "\n"))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("AAPL,9.6.2014,split,7,,", "ex_date is '9.6.2014'; write the day as 2014-06-09"),
        ("AAPL,2014-06-09,merger,7,,", "action is 'merger'; allowed are split and dividend"),
        ("AAPL,2014-06-09,split,0,,", "ratio is 0; it must be above 0"),
        ("AAPL,2014-06-09,split,7,1,", "amount is '1'; a split has none"),
        ("AAPL,2014-06-09,dividend,,,", "amount is ''; write a number"),
    ],
)
def test_a_wrong_action_is_named_with_its_line(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f":2: {problem}"):
        load_actions(written(tmp_path / "a.csv", ACTIONS + line + "\n"))


def test_a_wrong_header_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r":1: the header is 'symbol,quantity'; it must name portfolio,symbol"):
        load_positions(written(tmp_path / "p.csv", "symbol,quantity\n"))
    with pytest.raises(ConfigError, match=r"none\.csv.*QUANTSTREAM_PORTFOLIOS_FILE"):
        load_positions(tmp_path / "none.csv")


def test_the_tables_follow_the_files_and_only_when_they_change(marts_settings: Settings, tmp_path: Path) -> None:
    file = written(tmp_path / "p.csv", POSITIONS + "mine,AAPL,2,100\nmine,NOBODY,1,1\n")
    mine = marts_settings.model_copy(update={"portfolios_file": file})
    with connect(mine) as conn:
        held = "select portfolio, symbol, quantity from ops.portfolio_positions order by 1, 2"
        sync_listings(conn, mine)
        assert conn.execute(held).fetchall() == [("mine", "AAPL", 2), ("mine", "NOBODY", 1)]
        conn.execute("delete from ops.portfolio_positions")
        sync_listings(conn, mine)
        assert conn.execute(held).fetchall() == []  # the file is as it was
        file.write_text(POSITIONS + "mine,AAPL,none,100\n")
        with pytest.raises(ConfigError, match="quantity is 'none'"):
            sync_listings(conn, mine)
        file.write_text(POSITIONS + "mine,AAPL,3,100\n")
        sync_listings(conn, mine)
        assert conn.execute(held).fetchall() == [("mine", "AAPL", 3)]
