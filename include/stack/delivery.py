"""The topics of the alerts, the inbox that is subscribed to them, and the queue of dead letters.

What is missing is made; rights, encryption and what becomes of undeliverable messages are set where they are other.
What somebody else made or allowed there stays.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from include.aws import client
from include.errors import ConfigError
from include.notify.topics import is_fifo, names
from include.settings import PREFIX, Settings

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

_SID: Final = "AlertTopics"  # our statement in a queue's policy
_KEPT_SECONDS: Final = "1209600"  # 14 days, the most that SQS does


@dataclass(frozen=True, slots=True)
class Delivery:
    """The address of the one topic and of the inbox, and what was made."""

    topic_arn: str
    inbox_url: str
    created: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Queue:
    name: str
    url: str
    arn: str
    attributes: dict[str, str]


def provision_delivery(settings: Settings) -> Delivery:
    """Make topics, inbox, dead letters and subscriptions where they are missing.

    Raises ConfigError if inbox and topic, or dead letters and topic, do not fit together.
    """
    _check(settings)
    sns, sqs = client(settings, "sns"), client(settings, "sqs")
    topics = {name: _topic(sns, name, settings.kms_key) for name in names(settings)}
    main = topics[settings.topic]
    dead = _queue(sqs, settings.dead_letters) if settings.dead_letters else None
    inbox = _queue(sqs, settings.inbox)
    # a FIFO queue takes what a FIFO topic sends, and nothing else
    heard = {name: arn for name, arn in topics.items() if is_fifo(name) or not is_fifo(inbox.name)}
    for queue in (inbox, dead):
        if queue is not None:
            _set_up(sqs, queue, list(heard.values()), settings.kms_key)
    created = []
    for name, arn in heard.items():
        redrive = None
        if dead is not None and is_fifo(dead.name) == is_fifo(name):
            redrive = json.dumps({"deadLetterTargetArn": dead.arn})
        if _subscribe(sns, arn, inbox.arn, redrive):
            created.append(f"topic {name} -> inbox {inbox.name}")
    return Delivery(main, inbox.url, tuple(created))


def _check(settings: Settings) -> None:
    if is_fifo(settings.inbox) and not is_fifo(settings.topic):
        raise ConfigError(
            f"{PREFIX}INBOX = {settings.inbox!r} is a FIFO queue, and {PREFIX}TOPIC = {settings.topic!r} is no FIFO "
            "topic: AWS does not join them. Give the inbox a name without .fifo"
        )


def _topic(sns: SNSClient, name: str, kms_key: str) -> str:
    arn = sns.create_topic(Name=name, Attributes={"FifoTopic": "true"} if is_fifo(name) else {})["TopicArn"]
    if kms_key and sns.get_topic_attributes(TopicArn=arn)["Attributes"].get("KmsMasterKeyId") != kms_key:
        sns.set_topic_attributes(TopicArn=arn, AttributeName="KmsMasterKeyId", AttributeValue=kms_key)
    return arn


def _queue(sqs: SQSClient, name: str) -> _Queue:
    wanted = {"MessageRetentionPeriod": _KEPT_SECONDS} | ({"FifoQueue": "true"} if is_fifo(name) else {})
    url = sqs.create_queue(QueueName=name, Attributes=wanted)["QueueUrl"]  # type: ignore[arg-type]
    found: dict[str, str] = dict(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])  # type: ignore[arg-type]
    return _Queue(name, url, found["QueueArn"], found)


def _set_up(sqs: SQSClient, queue: _Queue, topics: list[str], kms_key: str) -> None:
    """The topics may send there, and the key is the one set; without a key the encryption stays as it is."""
    policy: dict[str, Any] = json.loads(queue.attributes.get("Policy") or '{"Version": "2012-10-17", "Statement": []}')
    allow = {"Sid": _SID, "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"},
             "Action": "sqs:SendMessage", "Resource": queue.arn,
             "Condition": {"ArnEquals": {"aws:SourceArn": sorted(topics)}}}  # fmt: skip
    changed: dict[str, str] = {}
    if allow not in policy["Statement"]:
        others = [one for one in policy["Statement"] if one.get("Sid") != _SID]
        changed["Policy"] = json.dumps(policy | {"Statement": [*others, allow]})
    if kms_key and queue.attributes.get("KmsMasterKeyId") != kms_key:
        changed["KmsMasterKeyId"] = kms_key
    if changed:
        sqs.set_queue_attributes(QueueUrl=queue.url, Attributes=changed)  # type: ignore[arg-type]


def _subscribe(sns: SNSClient, topic: str, inbox: str, redrive: str | None) -> bool:
    """Subscribe the inbox, as it comes; what it does not take goes to the dead letters. False if it was subscribed."""
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    there = {one["Endpoint"]: one["SubscriptionArn"] for page in pages for one in page["Subscriptions"]}
    if inbox not in there:
        wanted = {"RawMessageDelivery": "true"} | ({"RedrivePolicy": redrive} if redrive else {})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=inbox, Attributes=wanted)
        return True
    arn = there[inbox]
    if redrive and sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"].get("RedrivePolicy") != redrive:
        sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="RedrivePolicy", AttributeValue=redrive)
    return False
