"""Whether a stream was replaced by another one of its name while a landing reads it, asked at a bounded rate."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from include.errors import StreamError
from include.events import iso
from include.stream.backoff import PATIENT
from include.stream.consumer import StreamInfo, made_at

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

_PAUSE: Final = 0.2  # seconds between two questions: a quarter of the 20 a second that AWS answers an account


class SameStream:
    """One for all threads of a landing: an answer counts for everything that was read before it was asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = float("-inf")

    def check(self, kinesis: KinesisClient, stream: StreamInfo) -> None:
        """What was read until now is of this stream.

        Waits its turn. Raises StreamError if the stream was made again, or cannot be described.
        """
        read = PATIENT.clock()
        with self._lock:
            if self._asked > read:  # another thread asked while this one waited
                return
            if (early := self._asked + _PAUSE - PATIENT.clock()) > 0:
                PATIENT.sleep(early)
            asked = PATIENT.clock()
            made = made_at(kinesis, stream.name)
            if made != stream.created_at:
                raise StreamError(
                    f"the stream {stream.name} was made again at {iso(made)}, while it was read; "
                    "the next run reads the new one"
                )
            self._asked = asked
