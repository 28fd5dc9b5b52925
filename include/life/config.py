"""`alerting.yml`: groups, escalation, maintenance windows. Mistakes are reported with file and line, all at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from include.instruments import AssetClass
from include.yaml_lines import Place, read_checked, unknown

Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DAYS: Final[tuple[str, ...]] = get_args(Day)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class Grouping(_Model):
    """When many instruments are told together."""

    min_symbols: int = Field(10, ge=2, le=100_000, description="instruments, 2 or more")
    min_share: float = Field(0.2, ge=0, le=1, description="share of all instruments, 0 to 1")
    within_minutes: int = Field(2, ge=1, le=60, description="minutes, 1 to 60")
    rules_together: bool = Field(True, description="several rules on one instrument at once are told once")


class Escalation(_Model):
    """What happens to an alert that nobody acknowledges."""

    after_minutes: int = Field(ge=1, le=10_080, description="minutes, 1 to 10080")
    times: int = Field(0, ge=0, le=100, description="how often it is said again, 0 to 100")
    becomes: Literal["warning", "critical"] | None = Field(None, description="a higher severity: warning or critical")


class Escalations(_Model):
    """By severity; none where it is left out."""

    critical: Escalation | None = None
    warning: Escalation | None = None
    info: Escalation | None = None

    @model_validator(mode="after")
    def _upwards(self) -> Escalations:
        if self.critical is not None and self.critical.becomes is not None:
            raise ValueError("critical is the highest severity, it cannot become another one; leave `becomes` out")
        if self.warning is not None and self.warning.becomes == "warning":
            raise ValueError("a warning can become critical only")
        return self


class Maintenance(_Model):
    """A time in which nobody is to be told: weekly where it has `days`, else once. `since` and `until` as in the file:
    minutes of the day, or moments in UTC."""

    name: str = Field(min_length=1, description="what it is for")
    days: tuple[Day, ...] | None = Field(None, min_length=1, description=f"some of {', '.join(DAYS)}")
    since: int | datetime = Field(alias="from", description='"02:00" with days, else 2026-12-24T20:00:00Z; UTC')
    until: int | datetime = Field(description='"04:00" with days, else 2026-12-25T06:00:00Z; UTC')
    symbols: tuple[str, ...] | None = None
    asset_classes: tuple[AssetClass, ...] | None = None
    rules: tuple[str, ...] | None = None

    @field_validator("days", "symbols", "asset_classes", "rules", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("since", "until", mode="before")
    @classmethod
    def _time(cls, value: Any) -> Any:
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1440:
            return value  # YAML reads 22:00 without quotes as a number of base 60: its minutes
        hours, colon, minutes = str(value).partition(":")
        is_time = colon and hours.isdigit() and minutes.isdigit() and len(minutes) == 2
        if is_time and int(hours) < 24 and int(minutes) < 60:
            return int(hours) * 60 + int(minutes)
        raise ValueError("no time")

    @model_validator(mode="after")
    def _whole(self) -> Maintenance:
        weekly = self.days is not None
        if any(isinstance(end, int) is not weekly for end in (self.since, self.until)):
            raise ValueError('with days, from and until are times such as "02:00"; without, moments with a date')
        if isinstance(self.since, datetime) and isinstance(self.until, datetime) and self.until <= self.since:
            raise ValueError("until is not after from")
        return self

    def holds(self, at: datetime) -> bool:
        """Whether the moment (UTC) lies in `[from, until)`."""
        if isinstance(self.since, datetime) or isinstance(self.until, datetime):
            assert isinstance(self.since, datetime) and isinstance(self.until, datetime)  # noqa: S101
            return self.since <= at < self.until
        at = at.astimezone(UTC)
        minute, today, yesterday = at.hour * 60 + at.minute, DAYS[at.weekday()], DAYS[at.weekday() - 1]
        days: tuple[str, ...] = self.days or ()
        if self.since < self.until:
            return today in days and self.since <= minute < self.until
        return (today in days and minute >= self.since) or (yesterday in days and minute < self.until)


class Alerting(_Model):
    """The whole file."""

    group: Grouping = Grouping()
    escalation: Escalations = Escalations(
        critical=Escalation(after_minutes=15, times=3), warning=Escalation(after_minutes=60, becomes="critical")
    )
    send_resolved: bool = False
    maintenance: tuple[Maintenance, ...] = ()

    @field_validator("maintenance", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return () if value is None else tuple(value) if isinstance(value, list) else value


def load_alerting(
    path: Path, *, symbols: Collection[str] | None = None, rules: Collection[str] | None = None
) -> Alerting:
    """Read and check the file. With `symbols` (instruments and portfolios) and `rules`, others are mistakes too.

    Raises ConfigError listing every mistake with its line.
    """

    def further(found: Alerting) -> Iterator[tuple[Place, str]]:
        for number, window in enumerate(found.maintenance):
            for name, given, known, where in (
                ("symbols", window.symbols, symbols, "the instruments and the portfolios"),
                ("rules", window.rules, rules, f"{', '.join(rules or ())}"),
            ):
                if known is None:
                    continue
                for place, word in enumerate(given or ()):
                    for text in unknown(word, known, name.removesuffix("s"), where):
                        yield ("maintenance", str(number), name, str(place)), text

    return read_checked(path, Alerting, setting="QUANTSTREAM_ALERTING_FILE", what="settings of alerts", further=further)
