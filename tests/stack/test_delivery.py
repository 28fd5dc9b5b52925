"""Topics, inbox and dead letters as they are made: rights, encryption, what cannot be delivered, and filters."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from include.aws import client
from include.errors import ConfigError
from include.pipeline.notify import notify
from include.settings import ROOT, Settings
from include.stack.delivery import provision_delivery
from tests.notify.faults import delivered, messages, put_alerts

pytestmark = pytest.mark.stack
KEY = "alias/quantstream"


def queue(settings: Settings, name: str) -> dict[str, Any]:
    sqs = client(settings, "sqs")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    return dict(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])


def subscription(settings: Settings, topic: str) -> tuple[str, dict[str, str]]:
    sns = client(settings, "sns")
    (one,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    arn = one["SubscriptionArn"]
    return arn, sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]


def test_what_the_inbox_does_not_take_goes_to_the_dead_letters(settings: Settings) -> None:
    assert settings.topic_arn is not None
    dead = queue(settings, settings.dead_letters)
    arn, found = subscription(settings, settings.topic_arn)
    assert json.loads(found["RedrivePolicy"]) == {"deadLetterTargetArn": dead["QueueArn"]}
    for one in (dead, queue(settings, settings.inbox)):
        (statement,) = json.loads(one["Policy"])["Statement"]
        assert (statement["Action"], statement["Resource"]) == ("sqs:SendMessage", one["QueueArn"])
        assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": [settings.topic_arn]}}
    sns = client(settings, "sns")  # as an older version made it
    sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="RedrivePolicy", AttributeValue="{}")
    assert provision_delivery(settings).created == ()
    assert subscription(settings, settings.topic_arn) == (arn, found)


def test_a_key_encrypts_all_that_holds_alerts_and_what_others_allowed_stays(settings: Settings) -> None:
    sns, sqs = client(settings, "sns"), client(settings, "sqs")
    theirs = {"Sid": "Theirs", "Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
    assert settings.inbox_url is not None and settings.topic_arn is not None
    policy = json.dumps({"Version": "2012-10-17", "Statement": [theirs]})
    sqs.set_queue_attributes(QueueUrl=settings.inbox_url, Attributes={"Policy": policy})
    provision_delivery(settings.model_copy(update={"kms_key": KEY}))
    provision_delivery(settings)  # without a key: as it is
    assert sns.get_topic_attributes(TopicArn=settings.topic_arn)["Attributes"]["KmsMasterKeyId"] == KEY
    assert [queue(settings, name)["KmsMasterKeyId"] for name in (settings.inbox, settings.dead_letters)] == [KEY, KEY]
    statements = json.loads(queue(settings, settings.inbox)["Policy"])["Statement"]
    assert [one["Sid"] for one in statements] == ["Theirs", "AlertTopics"]


def test_what_aws_would_not_join_is_refused(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"Give the inbox a name without \.fifo"):
        provision_delivery(settings.model_copy(update={"topic": "plain"}))


def test_the_filter_of_the_guide_lets_through_what_it_says(settings: Settings) -> None:
    guide = (ROOT / "docs/delivery.md").read_text()
    (found,) = re.findall(r"--attribute-value '(\{.*?\})'", guide, re.DOTALL)
    sns, sqs = client(settings, "sns"), client(settings, "sqs")
    name = f"{settings.bucket}-desk.fifo"
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
    ]})  # fmt: skip
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    assert settings.topic_arn is not None
    made = sns.subscribe(
        TopicArn=settings.topic_arn, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"},
        ReturnSubscriptionArn=True,
    )  # fmt: skip
    sns.set_subscription_attributes(
        SubscriptionArn=made["SubscriptionArn"], AttributeName="FilterPolicy", AttributeValue=found
    )
    put_alerts(settings, ("BTC-USD", "a warning of bitcoin"), ("AAPL", "a warning of Apple"))
    put_alerts(settings, ("BTC-USD", "bitcoin"), ("AAPL", "Apple"), (None, "ours"), severity="critical")
    notify(settings)
    assert messages(delivered(settings, name)) == ["bitcoin", "Apple"]
