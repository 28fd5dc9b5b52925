"""Steps on the screen: a spinner and a running time in a terminal, one plain line per finished step elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

_NAME_WIDTH = 26


class StepLine:
    """One step while it runs. `say` sets what is told when it is done."""

    def __init__(self) -> None:
        self.said = ""

    def say(self, text: str) -> None:
        self.said = text


class Steps:
    """Show steps, which may run at the same time in several threads. Use it in a `with` block."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._live = (
            Progress(
                SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
            )
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Steps:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[StepLine]:
        """Time the block under this name and print its line when it ends; an error goes on after its line."""
        line, started = StepLine(), time.monotonic()
        task = self._live.add_task(escape(name)) if self._live is not None else None
        mark = "[green]✓[/]"
        try:
            yield line
        except BaseException:
            mark = "[red]✗[/]"
            raise
        finally:
            seconds = self.seconds[name] = time.monotonic() - started
            with self._lock:
                if self._live is not None and task is not None:
                    self._live.remove_task(task)
                self.console.print(
                    f"{mark} {escape(name):{_NAME_WIDTH}} [dim]{seconds:6.1f} s[/]  {escape(line.said)}".rstrip(),
                    highlight=False, soft_wrap=True,
                )  # fmt: skip

    def note(self, text: str) -> None:
        """A line that belongs to no step."""
        with self._lock:
            self.console.print(f"  {escape(text)}", highlight=False, soft_wrap=True)
