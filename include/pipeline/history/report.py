"""What one backfill brought."""

from __future__ import annotations

from dataclasses import dataclass

from include.events import Kind, Window


@dataclass(frozen=True, slots=True)
class BackfillReport:
    """What one backfill brought. `window` ends where the vendor's past did.

    `asked` instruments lacked something of the window, `covered` ones nothing, `closed` ones are not traded in it.
    `events` came in `objects`; of those loaded `inserted` were new, `duplicates` known, `quarantined` bad. `rejected`
    parts of answers were no events. `empty` are symbols of which the vendor has nothing in the window, `refused` those
    that it does not tell of, with the reason.
    """

    source: str
    kind: Kind
    window: Window
    asked: int = 0
    covered: int = 0
    closed: int = 0
    calls: int = 0
    events: int = 0
    objects: int = 0
    bytes: int = 0
    inserted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    rejected: int = 0
    empty: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        if not self.asked and not self.objects:
            why = [f"{self.covered} are there"] if self.covered else []
            why += [f"{self.closed} closed"] if self.closed else []
            return f"{self.source} {self.kind}s: nothing to ask for ({', '.join(why) or 'no instruments'})"
        more = f", {self.duplicates} known before" if self.duplicates else ""
        more += f", {self.quarantined + self.rejected} quarantined" if self.quarantined + self.rejected else ""
        more += f", nothing of {len(self.empty)}" if self.empty else ""
        more += f", {len(self.refused)} refused ({self.refused[0][1]:.120})" if self.refused else ""
        more += f", {self.closed} closed" if self.closed else ""
        return (
            f"{self.source} {self.kind}s: {self.events} events of {self.asked} instruments in {self.calls} calls and "
            f"{self.objects} objects, {self.inserted} new{more}"
        )
