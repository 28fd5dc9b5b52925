"""What must hold before anything starts."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from include.errors import QuantStreamError
from include.settings import Settings

LEAST_FREE = 2 * 1024**3
_OLDEST, _TOO_NEW = (3, 11), (3, 14)


class UnfitMachineError(QuantStreamError):
    """This machine cannot run the stack as it is; the text says what to change."""


def check_python() -> str:
    """The Python version, as text. Raises UnfitMachineError for one that the dependencies do not support."""
    found = sys.version_info[:3]
    text = ".".join(map(str, found))
    if not _OLDEST <= found[:2] < _TOO_NEW:
        raise UnfitMachineError(
            f"Python {text} is not supported; it must be 3.11, 3.12 or 3.13. "
            "Choose another one with `make up PYTHON=python3.12`."
        )
    return text


def free_bytes(path: Path) -> int:
    """Bytes free on the file system that holds (or will hold) `path`."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def check_disk(home: Path) -> int:
    """Bytes free for the stack's state. Raises UnfitMachineError below 2 GB."""
    free = free_bytes(home)
    if free < LEAST_FREE:
        raise UnfitMachineError(
            f"only {free / 1024**3:.1f} GB free for {home}; the stack needs {LEAST_FREE / 1024**3:.0f} GB. "
            "Free some space, or set QUANTSTREAM_HOME to a folder on another disk."
        )
    return free


def check_rules(settings: Settings) -> int:
    """How many detection rules are enabled. ConfigError lists what is wrong with `detection.yml` or `alerting.yml`.

    Symbols are looked at later, by `include.pipeline.detect.check_rules`: the warehouse knows of some that no file has.
    """
    from include.detection.config import load_detection
    from include.life.config import load_alerting
    from include.transform.listings import load_positions

    portfolios = {str(row[0]) for row in load_positions(settings.portfolios_file)}
    detection = load_detection(settings.detection_file, None, portfolios)
    load_alerting(settings.alerting_file, rules=list(detection.rules))
    return len(detection.enabled())
