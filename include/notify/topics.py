"""Which topic a message goes to: the one of its severity, where it has one of its own. Pure."""

from __future__ import annotations

from typing import Final

from include.settings import Settings

BY_SEVERITY: Final = {"critical": "topic_critical", "warning": "topic_warning", "info": "topic_info"}


def is_fifo(name: str) -> bool:
    """Whether a topic or queue of this name, ARN or URL is FIFO: AWS demands the ending."""
    return name.endswith(".fifo")


def names(settings: Settings) -> list[str]:
    """The names of the topics that are ours to make: the one for all, and those of severities that are not ARNs."""
    own = [getattr(settings, setting) for setting in BY_SEVERITY.values()]
    return list(dict.fromkeys([settings.topic, *(name for name in own if name and not name.startswith("arn:"))]))


def topic_of(settings: Settings, severity: str) -> str | None:
    """The ARN of the topic for messages of this severity; None if the address of the one topic is not known.

    A topic that is set by its name lies where the one topic lies.
    """
    name = getattr(settings, BY_SEVERITY.get(severity, ""), "")
    if name.startswith("arn:") or not name or settings.topic_arn is None:
        return name or settings.topic_arn
    return f"{settings.topic_arn.rpartition(':')[0]}:{name}"
