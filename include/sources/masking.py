"""Secrets that must not show: in texts, in what vendors echo, in the logs of the HTTP libraries."""

from __future__ import annotations

import json
import logging
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"
_SHORTEST_IN_DATA: Final = 8  # a shorter one cannot be told from data
_SHORTEST_IN_LOGS: Final = 4
# They log addresses, and headers of answers, at INFO and DEBUG.
_LOGGERS: Final = ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))


class Mask:
    """Replaces secrets by ***, however they are written: as they are, in an address, in JSON."""

    def __init__(self, *secrets: str) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)
        _IN_LOGS.forms.update(form for form in self._forms if len(form) >= _SHORTEST_IN_LOGS)

    def text(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, MASK)
        return text

    def data(self, body: bytes) -> bytes:
        """For a vendor's answer: secrets of at least 8 characters."""
        for form in self._forms:
            if len(form) >= _SHORTEST_IN_DATA:
                body = body.replace(form.encode(), MASK.encode())
        return body


def _forms(secret: str) -> set[str]:
    return {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), json.dumps(secret)[1:-1]}


class _Filter(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self.forms: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        masked = said
        for form in sorted(self.forms, key=len, reverse=True):
            masked = masked.replace(form, MASK)
        if masked != said:
            record.msg, record.args = masked, ()
        return True


_IN_LOGS: Final = _Filter()
for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_IN_LOGS)  # a filter on the parent would not see its children's records
