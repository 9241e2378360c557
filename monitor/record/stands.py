"""The stand of a dish after a scan, in a few letters: it is kept beside each of millions of scans.

``u``, ``d/critical/0.31/1794651400/differentiation,doubtful``: status, severity, what was last
reported and when, open topics; then since when people are asked to look, the passage that was seen,
and the first four again as they would be at the scans' word. Parts at the end that say nothing are
left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from monitor.culture import AlertTopic, DishStatus, Severity
from monitor.culture.course import Stand, Standing

_SHORT = {
    DishStatus.UNKNOWN: "-",
    DishStatus.FRESHLY_PASSAGED: "f",
    DishStatus.UNDIFFERENTIATED: "u",
    DishStatus.ABOVE_LIMIT: "a",
    DishStatus.DIFFERENTIATING: "d",
}
_LONG = {short: status for status, short in _SHORT.items()}


def in_short(stand: Stand) -> str:
    topics = ",".join(sorted(stand.is_open))
    parts = [*_parts(stand), topics, _time(stand.looks_since), _time(stand.passaged_at)]
    if stand.at_word is not None:
        parts += _parts(stand.at_word)
    return "/".join(parts).rstrip("/")


def stand_of(text: str | None) -> Stand | None:
    if text is None:
        return None
    parts = text.split("/") + [""] * 11
    own = _standing(parts[:4])
    return Stand(
        own.status,
        own.severity,
        own.reported,
        own.reported_at,
        frozenset(AlertTopic(topic) for topic in parts[4].split(",") if topic),
        _standing(parts[7:11]) if parts[7] else None,
        _moment(parts[5]),
        _moment(parts[6]),
    )


def _parts(standing: Standing) -> list[str]:
    reported = "" if standing.reported is None else repr(standing.reported)
    return [
        _SHORT[standing.status], standing.severity or "", reported, _time(standing.reported_at)
    ]  # fmt: skip


def _standing(parts: Sequence[str]) -> Standing:
    status, severity, reported, at = parts
    return Standing(
        _LONG[status],
        Severity(severity) if severity else None,
        float(reported) if reported else None,
        _moment(at),
    )


def _time(moment: datetime | None) -> str:
    return "" if moment is None else repr(moment.timestamp())


def _moment(text: str) -> datetime | None:
    return datetime.fromtimestamp(float(text), UTC) if text else None
