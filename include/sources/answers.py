"""What a vendor's bytes say: JSON without surprises, and how long a break it asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson

_BOM: Final = b"\xef\xbb\xbf"
_SECONDS: Final = re.compile(r"\d{1,12}(\.\d+)?", re.ASCII)


class NoJsonError(ValueError):
    """The bytes are no single JSON document; the text says why, as the end of a sentence about the answer."""


def decode(body: bytes) -> Any:
    """The JSON document that the body is. Whole numbers beyond 64 bits become floats; a byte order mark is skipped.

    Raises NoJsonError for what is no JSON, for more than one document, for text that is not UTF-8, for NaN and
    Infinity, numbers too large for a float, and for an object that names a key twice (which one would be meant?).
    """
    body = body.removeprefix(_BOM)
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if not body.strip():
            raise NoJsonError("is empty") from None
        why = str(error).partition(": line ")[0]
        if why.startswith("unexpected content after"):
            raise NoJsonError(f"holds more than one JSON document: {excerpt(body)}") from None
        raise NoJsonError(f"is no JSON but {excerpt(body)} ({why})") from None
    if b"{" in body:  # orjson takes the last of two equal keys and says nothing
        try:
            json.loads(body, object_pairs_hook=_once, parse_float=_unread, parse_int=_unread)
        except RecursionError:
            raise NoJsonError(f"is nested too deeply: {excerpt(body)}") from None
    return data


def excerpt(body: bytes) -> str:
    """The first 120 characters of a body, quoted and in one line."""
    text = " ".join(body[:4000].decode(errors="replace").split())
    return repr(text[:120]) if text else "an empty body"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The break that `Retry-After` asks for, in seconds (0: none any more); None where it is absent or says nothing.

    It holds seconds or an HTTP date. A date is compared with the answer's own `Date`, so the vendor's clock may differ
    from ours.
    """
    value = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    until = _date(value)
    if until is None:
        return None
    return max(0.0, (until - (_date(headers.get("Date", "")) or datetime.now(UTC))).total_seconds())


def _date(value: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, IndexError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _once(pairs: Iterable[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise NoJsonError(f"names {key!r:.60} twice in one object")
        seen.add(key)


def _unread(text: str) -> None:
    """A number, whose value was read already."""
