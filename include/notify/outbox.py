"""From the outbox to SNS: batches that keep the order of each group, and a retry for what may still succeed.

On a FIFO topic (its name ends with .fifo) the message's key is the deduplication id: SNS drops a repeated publish for
five minutes, and the key in the body tells a reader for ever. The group is the symbol, else the category; within a
group the order holds. A standard topic has neither; there an e-mail gets the readable text, not JSON, and a text
message its first line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import orjson
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from tenacity import Retrying, retry_any, retry_if_exception, retry_if_result, stop_after_attempt
from tenacity.wait import wait_base, wait_random_exponential

from include.aws import client
from include.errors import NotRunningError
from include.notify.topics import is_fifo
from include.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sns.type_defs import PublishBatchRequestEntryTypeDef

BATCH: Final = 10  # entries of one PublishBatch
LIMIT: Final = 256 * 1024 - 2048  # bytes of one message and of one batch; the rest is for what SNS counts besides
ATTEMPTS: Final = 4
WAIT: Final[wait_base] = wait_random_exponential(multiplier=0.2, max=5)  # seconds between them
OPERATIONS: Final = "operations"

_NAME: Final = re.compile(r"[\x21-\x7e]{1,128}")
# SNS' own words for "too much", which botocore does not retry, and for its own trouble with one entry.
_THROTTLED: Final = frozenset({"Throttled", "ThrottledException", "KMSThrottling"})
_TRANSIENT: Final = _THROTTLED | {"InternalError", "InternalFailure", "ServiceUnavailable"}
# What is wrong with the topic, the rights or the key (KMS...) is not the entry's fault, whatever SNS calls it.
_OTHERS: Final = _TRANSIENT | {"AuthorizationError", "AccessDenied", "AccessDeniedException", "NotFound"}

_MALFORMED: Final = frozenset(
    {"InvalidParameter", "InvalidParameterException", "ParameterValueInvalid", "ValidationError", "BatchRequestTooLong"}
)


class Outgoing(Protocol):
    """A message as it leaves (`include.notify.dressing`)."""

    @property
    def outbox_id(self) -> int: ...
    @property
    def message_key(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def attributes(self) -> Mapping[str, str]: ...


Row = TypeVar("Row", bound=Outgoing)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why SNS did not take an entry; `is_ours` if the entry itself is at fault: another try will hardly help."""

    reason: str
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Published:
    """What came of a batch, by outbox_id: message ids of what SNS took, and what it refused.

    `broken` is the error if SNS did not take the call at all. Then it is not known what became of the other rows;
    sending them again is safe.
    """

    taken: dict[int, str]
    refused: dict[int, Refusal]
    broken: Exception | None


def group_of(row: Outgoing) -> str:
    """The group within which the order holds, in the characters that SNS allows."""
    name = row.attributes.get("symbol") or row.attributes.get("category") or OPERATIONS
    return _plain(name)


def deduplication_of(row: Outgoing) -> str:
    """The deduplication id, in the characters that SNS allows."""
    return _plain(row.message_key)


def _plain(name: str) -> str:
    return name if _NAME.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()


def batches(rows: Iterable[Row], *, fifo: bool, held: Collection[str]) -> Iterator[list[Row]]:
    """Cut rows into batches that SNS takes (10 entries, 256 KB).

    With `fifo` a batch has at most one row of a group, because SNS may refuse one entry and take the next. `held` is
    looked at before each batch: put a group into it, and no later row of it comes.
    """
    waiting = [(row, group_of(row), _size(_entry(row, fifo=fifo))) for row in rows]
    while True:
        batch: list[Row] = []
        later: list[tuple[Row, str, int]] = []
        met: set[str] = set()
        room = LIMIT
        for row, group, size in waiting:
            if fifo and group in held:
                continue
            if len(batch) == BATCH or size > room or (fifo and group in met):
                later.append((row, group, size))
            else:
                batch.append(row)
                room -= size
            met.add(group)
        if not batch:
            return
        yield batch
        waiting = later


class Publisher:
    """A topic of these settings, by its ARN. Raises NotRunningError for None: its address is not known."""

    def __init__(self, settings: Settings, arn: str | None) -> None:
        if not arn:
            raise NotRunningError(
                f"no address of the topic {settings.topic}: `make up` makes the local one; "
                "for another one set QUANTSTREAM_TOPIC_ARN"
            )
        self.arn = arn
        self.fifo = is_fifo(arn)
        self._sns = client(settings, "sns")

    def publish(self, rows: Sequence[Outgoing]) -> Published:
        """Publish one batch. Entries and calls that SNS refuses for now are tried again, a few times, with back-off.

        Where one entry spoils the call for all, each of them goes alone.
        """
        found = self._publish(rows)
        if found.broken is None or not _is_malformed(found.broken):
            return found
        if len(rows) == 1:
            return Published(found.taken, {rows[0].outbox_id: Refusal(str(found.broken), is_ours=True)}, None)
        for row in rows:
            if row.outbox_id not in found.taken:
                one = self.publish([row])
                refused = {**found.refused, **one.refused}
                found = Published({**found.taken, **one.taken}, refused, one.broken)
                if found.broken:
                    break
        return found

    def _publish(self, rows: Sequence[Outgoing]) -> Published:
        left = {str(row.outbox_id): _entry(row, fifo=self.fifo) for row in rows}
        taken: dict[int, str] = {}
        refused: dict[int, Refusal] = {}

        def call() -> bool:
            """One call for what is left; true if another one may help."""
            answer = self._sns.publish_batch(TopicArn=self.arn, PublishBatchRequestEntries=list(left.values()))
            for success in answer.get("Successful", []):
                taken[int(success["Id"])] = success["MessageId"]
                refused.pop(int(success["Id"]), None)
                del left[success["Id"]]
            for failure in answer.get("Failed", []):
                code = failure["Code"]
                is_ours = failure["SenderFault"] and code not in _OTHERS and not code.startswith("KMS")
                refused[int(failure["Id"])] = Refusal(f"{code}: {failure.get('Message', '')}", is_ours)
                if is_ours:
                    del left[failure["Id"]]
            return bool(left)

        broken: Exception | None = None
        try:
            Retrying(
                stop=stop_after_attempt(ATTEMPTS),
                wait=WAIT,
                retry=retry_any(retry_if_result(bool), retry_if_exception(_is_throttled)),
                retry_error_callback=lambda state: state.outcome and state.outcome.result(),  # the last answer or error
            )(call)
        except (BotoCoreError, ClientError) as error:
            broken = error
        return Published(taken, refused, broken)


def _is_malformed(error: Exception) -> bool:
    """Whether something in the call itself is wrong, as SNS or boto3 sees it."""
    if isinstance(error, ClientError):
        return error.response.get("Error", {}).get("Code") in _MALFORMED
    return isinstance(error, ParamValidationError)


def _is_throttled(error: BaseException) -> bool:
    if not isinstance(error, ClientError):
        return False
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == 429 or error.response.get("Error", {}).get("Code") in _THROTTLED


def _entry(row: Outgoing, *, fifo: bool) -> PublishBatchRequestEntryTypeDef:
    """The row as SNS takes it; a message over the limit loses the end of its texts, and says so."""
    entry: PublishBatchRequestEntryTypeDef = {
        "Id": str(row.outbox_id),
        "Subject": row.subject,
        "Message": row.body if fifo else _per_protocol(row.body),
        "MessageAttributes": {
            name: {"DataType": "String.Array" if name == "symbols" else "String", "StringValue": value}
            for name, value in row.attributes.items()
        },
    }
    if fifo:
        entry |= {"MessageGroupId": group_of(row), "MessageDeduplicationId": deduplication_of(row)}
    else:
        entry["MessageStructure"] = "json"

    def fits(body: str) -> bool:
        entry["Message"] = body if fifo else _per_protocol(body)
        return _size(entry) <= LIMIT

    shortened(row.body, fits)
    return entry


def _per_protocol(body: str) -> str:
    """JSON for programs, the readable text for people."""
    text = orjson.loads(body)["text"]
    return orjson.dumps({"default": body, "email": text, "sms": text.partition("\n")[0]}).decode()


def shortened(body: str, fits: Callable[[str], bool]) -> str:
    """The body, its texts cut until it fits; where they are cut they say so."""
    keep, short = len(body), body
    while not fits(short) and keep > 100:
        keep //= 2
        alert = orjson.loads(body)
        for name in ("message", "text"):
            if len(alert[name]) > keep:
                alert[name] = f"{alert[name][:keep]}... [cut: the whole text is in marts.alerts]"
        short = orjson.dumps(alert).decode()
    return short


def _size(entry: PublishBatchRequestEntryTypeDef) -> int:
    """Bytes that count against the limits: the message and its attributes."""
    attributes = entry.get("MessageAttributes", {})
    return len(entry["Message"].encode()) + sum(
        len(f"{name}{value['DataType']}{value.get('StringValue', '')}".encode()) for name, value in attributes.items()
    )
