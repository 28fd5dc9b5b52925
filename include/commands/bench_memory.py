"""How much memory the processes of a platform take at the most, while a benchmark runs."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    import psutil

_PAUSE: Final = 0.5  # seconds between two looks
_MIB: Final = 1024**2


class Memory:
    """Use it as a context manager. `peak_mib` is the most that this process and its children held together, in their
    proportional share of memory (PSS); `peak_database_mib` that of the platform's Postgres."""

    def __init__(self, home: Path) -> None:
        self.home, self.peak_mib, self.peak_database_mib = home, 0, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        us = psutil.Process()
        database = self._database()
        while True:
            self.peak_mib = max(self.peak_mib, _held([us, *us.children(recursive=True)]))
            if database is not None:
                with suppress(psutil.Error):
                    self.peak_database_mib = max(
                        self.peak_database_mib, _held([database, *database.children(recursive=True)])
                    )
            if self._done.wait(_PAUSE):
                return

    def _database(self) -> psutil.Process | None:
        import psutil

        with suppress(OSError, ValueError, psutil.Error):
            pid = int((self.home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
            return psutil.Process(pid)
        return None


def _held(processes: list[psutil.Process]) -> int:
    """MiB of all of them together; one that is gone counts nothing."""
    total = 0
    for process in processes:
        with suppress(OSError, ValueError, IndexError):
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total // _MIB
