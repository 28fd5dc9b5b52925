"""What the benches share: a platform of their own, and telling the result."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from rich.console import Console


@contextmanager
def home_of_its_own(console: Console, *, keep: bool) -> Iterator[Path]:
    """An empty home for a platform beside yours; in the end that is stopped and removed, unless it is to be kept."""
    from include.settings import load_settings
    from include.stack.down import down

    home = Path(tempfile.mkdtemp(prefix="quantstream-bench-"))
    try:
        yield home
    finally:
        if keep:
            console.print(f"kept: QUANTSTREAM_HOME={home} quantstream status")
        else:
            down(load_settings(home=home), console)
            shutil.rmtree(home, ignore_errors=True)


def tell(result: DataclassInstance, table: Callable[[Any], Any], *, as_json: bool) -> None:
    """Print the result as JSON, or the table that is made of it."""
    from rich.console import Console

    out = Console()
    if as_json:
        out.print_json(json.dumps(asdict(result)))
    else:
        out.print(table(result))
