"""`quantstream logs`: the log files of the stack's processes."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from include.errors import ConfigError, NotRunningError

EPILOG = """
Examples:

  quantstream logs                          # which there are, and how large

  quantstream logs scheduler -n 100

  quantstream logs api-server --follow
"""


def logs(
    component: Annotated[str | None, typer.Argument(help="postgres, aws, scheduler, ...; nothing lists them.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines as they are written.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines from the end.")] = 50,
) -> None:
    """Show the log of one process. The logs of single tasks are in the Airflow UI. Ctrl-C ends --follow."""
    from include.settings import load_settings
    from include.stack.layout import Layout

    folder = Layout(load_settings().home).logs
    files = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if not files:
        raise NotRunningError(f"there are no logs in {folder} yet; `make up` starts the platform")
    if component is None:
        for name, path in files.items():
            typer.echo(f"{name:24} {path.stat().st_size:>12,} bytes  {path}")
        return
    if component not in files:
        raise ConfigError(f"there is no log of {component!r}; there are: {', '.join(files)}")
    with suppress(KeyboardInterrupt):
        for line in _lines(files[component], lines, follow=follow):
            typer.echo(line, nl=False)


def _lines(path: Path, last: int, *, follow: bool) -> Iterator[str]:
    """The last lines of a file and, following it, the new ones; a rotated file is opened anew."""
    file = path.open(encoding="utf-8", errors="replace")
    try:
        yield from deque(file, maxlen=last)
        while follow:
            line = file.readline()
            if line:
                yield line
                continue
            time.sleep(0.2)
            with suppress(FileNotFoundError):
                if path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                    file.close()
                    file = path.open(encoding="utf-8", errors="replace")
    finally:
        file.close()
