"""`quantstream score`: how well the configured rules and models do, held against labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from include.errors import ConfigError

if TYPE_CHECKING:
    from include.pipeline.score import Progress
    from include.scoring.results import Scores

EPILOG = """
Examples:

  quantstream score                         # everything; a few minutes

  quantstream score --simulator --days 3 --rules move,volume_shock

  quantstream score --nab --json

  quantstream score --out docs              # writes docs/scores.md and its pictures
"""
_SEED: Final = 2026
_DAYS: Final = 30.0


def score(
    simulator: Annotated[bool, typer.Option("--simulator", help="The simulator's labelled shocks.")] = False,
    nab: Annotated[bool, typer.Option("--nab", help="The Numenta Anomaly Benchmark's series, by its scoring.")] = False,
    events: Annotated[bool, typer.Option("--events", help="Known events in real candles.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Real series, candles. Default: shared/data beside the project."),
    ] = None,
    days: Annotated[float, typer.Option(min=0.25, max=366, help="Days of the simulator.")] = _DAYS,
    instruments: Annotated[
        int | None, typer.Option(min=1, help="So many of the instruments file's. Default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The simulator's: another market, other shocks.")] = _SEED,
    rules: Annotated[str, typer.Option(help="Only these, as in move,zscore. Default: all that are enabled.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write scores.md and images/scores-*.png in this folder.")
    ] = None,
) -> None:
    """Judge every enabled rule and model: recall, precision, F1, delay, alerts a day. Reads and changes no database.

    What is asked for of the three; all, where nothing is. What the numbers do not show: docs/scores.md.
    """
    from include.commands.score_output import show_json, show_tables, write_page

    if out is not None and not out.is_dir():
        raise ConfigError(f"--out {out}: there is no such folder; create it first")
    names = list(dict.fromkeys(part.strip() for part in rules.split(",") if part.strip()))
    with _progress() as progress:
        found = _score(simulator, nab, events, data, days, instruments, seed, names, progress)
    if out is not None:
        write_page(found, out, _command(simulator, nab, events, days, instruments, seed, names))
    (show_json if as_json else show_tables)(found)


def _score(
    simulator: bool,
    nab: bool,
    events: bool,
    data: Path | None,
    days: float,
    instruments: int | None,
    seed: int,
    names: list[str],
    progress: Progress,
) -> Scores:
    from include.detection.config import load_detection
    from include.instruments import SIMULATOR, load_instruments
    from include.pipeline.score import score_simulator
    from include.pipeline.score_events import FILES, score_events
    from include.pipeline.score_findings import chosen_rules
    from include.pipeline.score_nab import read_nab, score_nab
    from include.scoring.results import Scores
    from include.settings import ROOT, load_settings

    settings = load_settings()
    known = [one for one in load_instruments(settings.instruments_file) if SIMULATOR in one.ids]
    if instruments is not None and instruments > len(known):
        raise ConfigError(f"--instruments {instruments}: {settings.instruments_file} has {len(known)} of the simulator")
    detection = chosen_rules(load_detection(settings.detection_file, [one.symbol for one in known]), names)
    everything = not (simulator or nab or events)
    folder = data or ROOT.parent / "shared" / "data"
    missing = None if folder.is_dir() else f"There is no folder {folder} (--data): no real series and candles to judge."
    if missing and (nab or events or data):
        raise ConfigError(missing)
    there = missing is None
    return Scores(
        score_simulator(detection, known[:instruments], seed=seed, days=days, progress=progress)
        if simulator or everything
        else None,
        score_nab(detection, read_nab(folder), progress("NAB", len(detection.enabled()) + 2))
        if nab or (everything and there)
        else None,
        score_events(detection, folder, progress("real candles", 3 * len(FILES)))
        if events or (everything and there)
        else None,
        missing if everything else None,
    )


def _command(
    simulator: bool, nab: bool, events: bool, days: float, instruments: int | None, seed: int, names: list[str]
) -> str:
    """What was asked for, as it is typed."""
    said = ["quantstream score"]
    said += [f"--{name}" for name, asked in (("simulator", simulator), ("nab", nab), ("events", events)) if asked]
    said += [f"--days {days:g}"] if days != _DAYS else []
    said += [f"--instruments {instruments}"] if instruments is not None else []
    said += [f"--seed {seed}"] if seed != _SEED else []
    said += [f"--rules {','.join(names)}"] if names else []
    return " ".join([*said, "--out docs"])


@contextmanager
def _progress() -> Iterator[Progress]:
    """Bars on stderr, which are gone when it is done; none where nobody looks."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:

        def begin(what: str, steps: int) -> Callable[[], None]:
            task: Any = bars.add_task(what, total=steps)
            return lambda: bars.advance(task)

        yield begin
