"""What `quantstream score` prints and writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from include.scoring import report
from include.scoring.results import Scores

if TYPE_CHECKING:
    from rich.table import Table

_WIDTH: Final = 150  # of what nobody looks at in a terminal


def show_json(scores: Scores) -> None:
    import orjson
    import typer

    typer.echo(orjson.dumps(asdict(scores), option=orjson.OPT_INDENT_2).decode())


def show_tables(scores: Scores) -> None:
    from rich.console import Console

    out = Console()
    if not out.is_terminal:
        out.width = max(out.width, _WIDTH)
    for one in _tables(scores):
        out.print(one)
    out.print("What this does not show: docs/scores.md", style="dim")


def write_page(scores: Scores, folder: Path, command: str) -> None:
    """`scores.md` and its pictures."""
    from include.scoring.picture import draw

    (folder / "images").mkdir(exist_ok=True)
    for name, drawn in draw(scores).items():
        (folder / "images" / f"{name}.png").write_bytes(drawn)
    (folder / "scores.md").write_text(report.page(scores, command), encoding="utf-8")


def _tables(scores: Scores) -> Iterable[Any]:
    if scores.simulator:
        one = scores.simulator
        title = f"simulator, {one.days:g} days, {one.instruments} instruments, seed {one.seed}"
        yield _table(f"{title}: what pages somebody, by shock", report.KIND_COLUMNS, report.kind_rows(one))
        rows = [report.rule_row(name, rule) for name, rule in one.rules.items()]
        rows += [report.rule_row(report.together_name(), one.together), report.rule_row(report.CALLED, one.called)]
        yield _table(f"{title}: by rule ({one.seconds:.0f} s)", report.RULE_COLUMNS, rows)
        yield from (f"left out: {name}: {why}" for name, why in one.left_out.items())
    if scores.nab:
        title = f"NAB, standard profile, {scores.nab.series} series ({scores.nab.seconds:.0f} s)"
        yield _table(title, report.NAB_COLUMNS, report.nab_rows(scores.nab))
    if scores.events:
        title = f"{scores.events.candles:,} real candles of {scores.events.instruments} series"
        yield _table(f"{title}: events", report.EVENT_COLUMNS, report.event_rows(scores.events))
        rows = list(report.event_rule_rows(scores.events))
        yield _table(f"{title}: by rule ({scores.events.seconds:.0f} s)", report.EVENT_RULE_COLUMNS, rows)
    if scores.missing:
        yield scores.missing


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", no_wrap=not number)
    for row in rows:
        table.add_row(*row)
    return table
