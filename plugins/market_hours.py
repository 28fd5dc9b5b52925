"""The timetable of `market_ingest`: an interval after the other, as long as an exchange is open.

DAG files import it as `from market_hours import MarketHoursTimetable`: Airflow puts this folder on the path of whatever
reads DAGs and registers the class under that name. The arithmetic is in include/calendars.py, which loads the
calendars' library at the first question about an exchange that closes, never while a DAG file is read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.exceptions import AirflowTimetableInvalid
from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from pendulum import DateTime, instance

from include.calendars import ALWAYS, OpenIntervals
from include.events import Window

_DAY = 24 * 60 * 60


class MarketHoursTimetable(Timetable):
    """Data intervals of `interval` seconds, half-open and counted from midnight UTC, while a calendar is open.

    `calendars` are codes of exchange-calendars, as in XNYS, or `24/7`. A run is due when its interval has ended: the
    last one of a day in New York is `[15:59, 16:00)` and runs at 16:00. `extended` counts the hours before the opening
    and after the close in; `delay` are seconds that intervals go on for after each session.

    With catchup every open interval since the start date has its run; without, the latest one that has ended does, and
    then each that follows. A run started by hand takes the last open interval that had ended by then: on a Sunday the
    last of Friday.
    """

    def __init__(
        self, calendars: tuple[str, ...] | list[str], interval: int, extended: bool = False, delay: int = 0
    ) -> None:
        self.open = OpenIntervals(tuple(calendars), interval, extended, delay)
        names = ", ".join(self.open.calendars)
        hours = "extended hours" if extended else "hours"
        every = "minute" if interval == 60 else f"{interval} seconds"
        more = f" and {delay // 60} minutes after" if delay else ""
        always = ALWAYS in self.open.calendars
        self.description = f"Every {every}" + ("" if always else f" in the {hours} of {names}{more}")

    @property
    def summary(self) -> str:
        """What the list of DAGs shows."""
        return self.description

    def validate(self) -> None:
        """Raises AirflowTimetableInvalid if there is no calendar, or days are no whole number of intervals."""
        if not self.open.calendars:
            raise AirflowTimetableInvalid("MarketHoursTimetable needs at least one calendar, as in XNYS or 24/7")
        if self.open.seconds <= 0 or _DAY % self.open.seconds:
            raise AirflowTimetableInvalid(f"interval is {self.open.seconds} seconds; a day must divide by it")

    def serialize(self) -> dict[str, Any]:
        return {
            "calendars": list(self.open.calendars), "interval": self.open.seconds, "extended": self.open.extended,
            "delay": self.open.delay,
        }  # fmt: skip

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Timetable:
        return cls(data["calendars"], data["interval"], data["extended"], data["delay"])

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        found = self.open.last_until(run_after)
        if found is None:
            raise ValueError(f"{self.description}: there is no open interval before {run_after}")
        return DataInterval(instance(found.start), instance(found.end))

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        earliest: list[datetime] = [] if restriction.earliest is None else [restriction.earliest]
        if last_automated_data_interval is not None:
            earliest.append(last_automated_data_interval.end)
        if not restriction.catchup and (latest := self.open.last_until(_now())) is not None:
            earliest.append(latest.start)
        found: Window | None = self.open.first_from(max(earliest)) if earliest else None
        if found is None or (restriction.latest is not None and found.start > restriction.latest):
            return None
        return DagRunInfo.interval(instance(found.start), instance(found.end))


def _now() -> datetime:
    return datetime.now(UTC)


class MarketHours(AirflowPlugin):
    """Registers the timetable, so that Airflow can store and read DAGs that use it."""

    name = "market_hours"
    timetables = [MarketHoursTimetable]  # noqa: RUF012  # the base class has it so
