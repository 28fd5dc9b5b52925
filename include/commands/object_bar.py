"""The bar of a replay or a rebuild: objects of the lake, events in them, and how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def object_bar(console: Console) -> Iterator[Callable[..., None]]:
    """Gives a function that moves it: `show(objects=3, of_objects=10, events=300, description="load")`, any of them."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[events]:,} events"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        task = bar.add_task("objects of the lake", total=None, events=0)

        def show(*, objects: int | None = None, of_objects: int | None = None, **fields: Any) -> None:
            bar.update(task, completed=objects, total=of_objects, **fields)

        yield show
