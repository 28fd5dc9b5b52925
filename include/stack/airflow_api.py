"""Airflow's REST API, as the stack and the commands need it: health, pools, DAGs, their runs and backfills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from include.errors import NotRunningError
from include.settings import Settings
from include.stack.airflow import ADMIN, POOLS, url
from include.stack.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Run:
    """One DAG run. Times are UTC; `ended` is None while it runs, `logical_date` for one by hand or by an asset."""

    dag_id: str
    run_id: str
    state: str
    run_after: datetime
    started: datetime | None
    ended: datetime | None
    logical_date: datetime | None = None


@dataclass(frozen=True, slots=True)
class Backfill:
    """One backfill of a DAG: runs whose days begin in `[first, last]`, UTC, with this conf."""

    backfill_id: int
    first: datetime
    last: datetime
    conf: dict[str, Any]
    made: datetime
    is_paused: bool
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Dag:
    """One DAG that Airflow knows."""

    dag_id: str
    is_paused: bool


class AirflowApi:
    """A session of the generated administrator. Use it in a `with` block; every call may raise NotRunningError."""

    def __init__(self, settings: Settings, secrets: Secrets, *, timeout: float = 20.0) -> None:
        self._secrets = secrets
        self._base = url(settings)
        self._client = httpx.Client(base_url=self._base, timeout=timeout, trust_env=False)  # loopback: no proxy
        self._token: str | None = None

    def __enter__(self) -> AirflowApi:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def health(self) -> dict[str, str]:
        """State by component: metadatabase, scheduler, triggerer, dag_processor -> healthy | unhealthy."""
        answer = self._request("GET", "/api/v2/monitor/health", login=False)
        return {name: part["status"] or "unknown" for name, part in answer.items() if isinstance(part, dict)}

    def make_pools(self) -> None:
        """Create the pools that DAGs name; one that exists keeps the slots somebody gave it."""
        pools = [
            {"name": name, "slots": slots, "description": description, "include_deferred": False}
            for name, (slots, description) in POOLS.items()
        ]
        actions = [{"action": "create", "entities": pools, "action_on_existence": "skip"}]
        self._request("PATCH", "/api/v2/pools", json={"actions": actions})

    def dags(self) -> dict[str, Dag]:
        """The active DAGs by id."""
        answer = self._request("GET", "/api/v2/dags", params={"limit": 100})
        return {found["dag_id"]: Dag(found["dag_id"], found["is_paused"]) for found in answer["dags"]}

    def pause(self, dag_id: str) -> None:
        self._request("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": True})

    def unpause(self, dag_id: str) -> None:
        self._request("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def last_run(self, dag_id: str, *, state: str | None = None) -> Run | None:
        """The run that was due last (in that state), or None if there is none."""
        params = {"order_by": "-run_after", "limit": 1} | ({} if state is None else {"state": state})
        runs = self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns", params=params)["dag_runs"]
        return _run(runs[0]) if runs else None

    def run(self, dag_id: str, run_id: str) -> Run:
        return _run(self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"))

    def runs(self, dag_id: str, *, limit: int = 100, **filters: Any) -> tuple[list[Run], int]:
        """The runs that the filters leave (`state`, `run_type`, `logical_date_gte`, ... of the API), those due last
        first, at most `limit` of them (100 at the most); and how many there are in all."""
        params = {"order_by": "-run_after", "limit": limit} | filters
        answer = self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns", params=params)
        return [_run(found) for found in answer["dag_runs"]], int(answer["total_entries"])

    def active_runs(self, dag_ids: Sequence[str]) -> int:
        """How many runs of these DAGs are queued or running."""
        states = ("queued", "running")
        return sum(self.runs(dag_id, limit=1, state=state)[1] for dag_id in dag_ids for state in states)

    def runs_with_a_task(self, dag_id: str, state: str) -> set[str]:
        """The ids of the runs that have a task in this state, of at most 100 such tasks."""
        params = {"state": state, "limit": 100}
        answer = self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns/~/taskInstances", params=params)
        return {found["dag_run_id"] for found in answer["task_instances"]}

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> Run:
        """Start a run by hand, without a logical date."""
        return _run(self._request("POST", f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf}))

    def active_backfill(self, dag_id: str) -> Backfill | None:
        """The one that is not complete; Airflow allows one for each DAG."""
        params = {"dag_id": dag_id, "order_by": "-id", "limit": 10}
        found = [_backfill(one) for one in self._request("GET", "/api/v2/backfills", params=params)["backfills"]]
        return next((one for one in found if not one.is_complete), None)

    def backfill(self, backfill_id: int) -> Backfill:
        return _backfill(self._request("GET", f"/api/v2/backfills/{backfill_id}"))

    def create_backfill(
        self, dag_id: str, first: datetime, last: datetime, conf: dict[str, Any], *, max_active_runs: int
    ) -> Backfill:
        """Make runs for the days that begin in `[first, last]`; those that ran before run again, with this conf."""
        body = {
            "dag_id": dag_id, "from_date": first.isoformat(), "to_date": last.isoformat(), "dag_run_conf": conf,
            "reprocess_behavior": "completed", "max_active_runs": max_active_runs,
        }  # fmt: skip
        return _backfill(self._request("POST", "/api/v2/backfills", json=body))

    def cancel_backfill(self, backfill_id: int) -> None:
        """Start no more of its runs; those that run go on to their end."""
        self._request("PUT", f"/api/v2/backfills/{backfill_id}/cancel")

    def import_errors(self) -> list[str]:
        """DAG files that Airflow could not import, with the last line of the reason."""
        answer = self._request("GET", "/api/v2/importErrors", params={"limit": 20})
        return [
            f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}" for error in answer["import_errors"]
        ]

    def _request(self, method: str, path: str, *, login: bool = True, **arguments: Any) -> Any:
        try:
            if login and self._token is None:
                credentials = {"username": ADMIN, "password": self._secrets.admin}
                answer = self._client.post("/auth/token", json=credentials)
                answer.raise_for_status()
                self._token = answer.json()["access_token"]
            headers = {"Authorization": f"Bearer {self._token}"} if login else {}
            answer = self._client.request(method, path, headers=headers, **arguments)
            answer.raise_for_status()
            return answer.json()
        except httpx.HTTPStatusError as error:
            raise NotRunningError(
                f"Airflow at {self._base} refused {method} {path}: "
                f"{error.response.status_code} {error.response.text[:300]}"
            ) from None
        except (httpx.HTTPError, ValueError) as error:
            raise NotRunningError(f"Airflow at {self._base} does not answer: {error or type(error).__name__}") from None


def _run(found: dict[str, Any]) -> Run:
    return Run(
        dag_id=found["dag_id"],
        run_id=found["dag_run_id"],
        state=found["state"],
        run_after=datetime.fromisoformat(found["run_after"]),
        started=_time(found["start_date"]),
        ended=_time(found["end_date"]),
        logical_date=_time(found["logical_date"]),
    )


def _backfill(found: dict[str, Any]) -> Backfill:
    return Backfill(
        backfill_id=found["id"],
        first=datetime.fromisoformat(found["from_date"]),
        last=datetime.fromisoformat(found["to_date"]),
        conf=found["dag_run_conf"] or {},
        made=datetime.fromisoformat(found["created_at"]),
        is_paused=found["is_paused"],
        is_complete=found["completed_at"] is not None,
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
