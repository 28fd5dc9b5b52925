"""Tables on the screen: as wide as it, and in a file or a pipe as wide as they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def print_table(table: Table) -> None:
    """Print it; where there is no screen nothing is cut or folded."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=Console(width=100_000).measure(table).maximum)
    console.print(table)
