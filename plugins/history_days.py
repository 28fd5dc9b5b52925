"""The timetable of DAGs that work on past days: only backfills and triggers make runs, never the scheduler by itself.

DAG files import it as `from history_days import HistoryDaysTimetable`: Airflow puts this folder on the path of whatever
reads DAGs and registers the class under that name.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from pendulum import DateTime


class HistoryDaysTimetable(Timetable):
    """Data intervals of a day, `[00:00, 24:00)` UTC.

    A backfill asks for them with catchup and gets every day that begins in its range. The scheduler asks without (the
    DAG says `catchup=False`) and gets none. A run started by hand takes the last whole day.
    """

    description = "Past days, by backfill or by hand"

    @property
    def summary(self) -> str:
        """What the list of DAGs shows."""
        return self.description

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        end = _midnight(run_after)
        return DataInterval(end.subtract(days=1), end)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        if not restriction.catchup or restriction.earliest is None:
            return None
        start = _midnight(restriction.earliest)
        if start < restriction.earliest:
            start = start.add(days=1)
        if last_automated_data_interval is not None:
            start = max(start, _midnight(last_automated_data_interval.end))
        if restriction.latest is not None and start > restriction.latest:
            return None
        return DagRunInfo.interval(start, start.add(days=1))


def _midnight(moment: DateTime) -> DateTime:
    return moment.in_timezone("UTC").start_of("day")


class HistoryDays(AirflowPlugin):
    """Registers the timetable, so that Airflow can store and read DAGs that use it."""

    name = "history_days"
    timetables = [HistoryDaysTimetable]  # noqa: RUF012  # the base class has it so
