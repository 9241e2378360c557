"""The stand of a dish after a scan, in a few letters: it is kept beside each of millions of scans.

``u``, ``d/critical/0.31/1794651400/differentiation,doubtful``: status, severity, what was last
reported and when, open topics. Parts at the end that say nothing are left out.
"""

from __future__ import annotations

from datetime import UTC, datetime

from monitor.culture import AlertTopic, DishStatus, Severity
from monitor.culture.course import Stand

_SHORT = {
    DishStatus.UNKNOWN: "-",
    DishStatus.UNDIFFERENTIATED: "u",
    DishStatus.ABOVE_LIMIT: "a",
    DishStatus.DIFFERENTIATING: "d",
}
_LONG = {short: status for status, short in _SHORT.items()}


def in_short(stand: Stand) -> str:
    reported = "" if stand.reported is None else repr(stand.reported)
    at = "" if stand.reported_at is None else repr(stand.reported_at.timestamp())
    topics = ",".join(sorted(stand.is_open))
    return "/".join([_SHORT[stand.status], stand.severity or "", reported, at, topics]).rstrip("/")


def stand_of(text: str | None) -> Stand | None:
    if text is None:
        return None
    status, severity, reported, at, topics = (text.split("/") + [""] * 4)[:5]
    return Stand(
        _LONG[status],
        Severity(severity) if severity else None,
        float(reported) if reported else None,
        datetime.fromtimestamp(float(at), UTC) if at else None,
        frozenset(AlertTopic(topic) for topic in topics.split(",") if topic),
    )
