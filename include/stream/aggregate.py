"""Several small events of one partition key as one Kinesis record, and back.

A shard takes 1,000 records or 1 MiB a second, whichever comes first. Events are small and alike, so packed together
they cost a shard a tenth of that. The format needs nothing to be read but gzip and a text editor:

    gzip of  {"aggregate":"quantstream/1","count":2}
             {"source":"binance", ...}
             {"source":"binance", ...}

A header line, then one event a line, `count` of them, each as it would travel alone. An event that has no neighbour of
its key travels alone, as plain JSON. Events of different keys never share a record, so routing and order stay Kinesis'.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from include.errors import StreamError

MAX_EVENT_BYTES: Final = 256 * 1024  # of events in one record, before gzip; after it about the 25 KB that AWS bills
_MAX_UNPACKED_BYTES: Final = 16 * 1024 * 1024  # more than any record of ours holds: a small bomb stays one
_GZIP: Final = zlib.MAX_WBITS | 16  # zlib writes the gzip header itself: no time, no name
_LEVEL: Final = 1
_MAGIC: Final = b"\x1f\x8b"  # JSON never begins like this
_HEADER: Final = b'{"aggregate":"quantstream/1","count":%d}'


class MalformedAggregateError(StreamError):
    """A gzip record that does not hold what `pack` makes; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One record to put: its key, its bytes, and the places of its events among those that were given."""

    key: str
    data: bytes
    indices: tuple[int, ...]


def aggregate(events: Sequence[tuple[str, bytes]], *, max_bytes: int = MAX_EVENT_BYTES) -> list[Packed]:
    """Pack `(partition key, event)` pairs, the events of each key in their order.

    A record holds at most `max_bytes` of events, or a single one. Its place is that of its first event. What holds a
    line end cannot be a line and travels alone.
    """
    packed: list[Packed] = []
    open_: dict[str, list[int]] = {}
    sizes: dict[str, int] = {}

    def close(key: str) -> None:
        indices = open_.pop(key, [])
        if len(indices) == 1:
            packed.append(Packed(key, events[indices[0]][1], tuple(indices)))
        elif indices:
            packed.append(Packed(key, pack([events[index][1] for index in indices]), tuple(indices)))

    for index, (key, data) in enumerate(events):
        alone = b"\n" in data or not data
        if alone or sizes.get(key, 0) + len(data) > max_bytes:
            close(key)
            sizes[key] = 0
        if alone:
            packed.append(Packed(key, data, (index,)))
            continue
        open_.setdefault(key, []).append(index)
        sizes[key] = sizes.get(key, 0) + len(data)
    for key in list(open_):
        close(key)
    packed.sort(key=lambda one: one.indices[0])
    return packed


def pack(events: Sequence[bytes]) -> bytes:
    """One record of these events; none of them may hold a line end."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(b"\n".join([_HEADER % len(events), *events])) + packer.flush()


def unpack(data: bytes) -> list[bytes] | None:
    """The events of a record; None if it is no aggregate but an event itself (or whatever else was sent).

    Raises MalformedAggregateError for gzip that is cut off, damaged, too large, or holds other lines than its header
    says.
    """
    if not data.startswith(_MAGIC):
        return None
    unpacker = zlib.decompressobj(_GZIP)
    try:
        text = unpacker.decompress(data, _MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise MalformedAggregateError(f"it cannot be unpacked: {error}") from None
    if not unpacker.eof:
        why = f"it holds more than {_MAX_UNPACKED_BYTES:,} bytes" if unpacker.unconsumed_tail else "it is cut off"
        raise MalformedAggregateError(why)
    if unpacker.unused_data:
        raise MalformedAggregateError(f"{len(unpacker.unused_data):,} bytes follow its end")
    header, *events = text.split(b"\n")
    if not events or header != _HEADER % len(events):
        raise MalformedAggregateError(f"it holds {len(events):,} lines behind the header {header[:80]!r}")
    return events
