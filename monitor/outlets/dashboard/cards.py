"""A dish in short, as the overview and its own page show it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

from markupsafe import Markup

from monitor.config import Config
from monitor.culture import Alert, AlertTopic, DishStatus, Reading, Severity
from monitor.culture.doubt_words import calibration_words, named_interval
from monitor.decisions.alert_rules import words_of
from monitor.outlets.answer_links import dish_page
from monitor.outlets.dashboard.kept import Kept
from monitor.outlets.dashboard.pictures import series_line
from monitor.outlets.wording import (
    STATUS_WORDS,
    ago,
    change,
    local,
    percent,
    shown_name,
    well_and_plate,
)
from monitor.record.overviews import DishOverview

STATUS = {
    "critical": "critical",
    "warning": STATUS_WORDS[DishStatus.DIFFERENTIATING],
    "above": STATUS_WORDS[DishStatus.ABOVE_LIMIT],
    "fresh": STATUS_WORDS[DishStatus.FRESHLY_PASSAGED],
    "fine": STATUS_WORDS[DishStatus.UNDIFFERENTIATED],
    "unknown": STATUS_WORDS[DishStatus.UNKNOWN],
    "ended": "ended",
}
"""What a dish is shown as, the worst first, and the words for it."""


# A line of seven days is 300 pixels wide.
_LINE_HOLDS_S = 600
_LINES = Kept(2_000)


def kind_of(one: DishOverview) -> str:
    """A key of `STATUS`."""
    if one.ended_at is not None:
        return "ended"
    if one.status is DishStatus.DIFFERENTIATING:
        return "critical" if one.severity is Severity.CRITICAL else "warning"
    if one.status is DishStatus.ABOVE_LIMIT:
        return "above"
    if one.status is DishStatus.FRESHLY_PASSAGED:
        return "fresh"
    return "fine" if one.status is DishStatus.UNDIFFERENTIATED else "unknown"


def card_of(
    config: Config, one: DishOverview, alerts: Sequence[Alert], since: datetime, now: datetime
) -> dict[str, Any]:
    """alerts : of this dish; since : where its line begins"""
    well, plate = well_and_plate(shown_name(one.name))
    limits = config.decisions.limits_for(one.name, one.source, one.label)
    last = one.last
    fraction = None if last is None else last.differentiated_fraction
    kind = kind_of(one)
    open_topics = {alert.topic for alert in alerts if alert.closed_at is None}
    end = now if one.ended_at is None else one.ended_at
    if one.series and one.series[-1].at < since:
        since = one.series[0].at
    return {
        "well": well,
        "plate": plate,
        "page": dish_page("", one.name),
        "kind": kind,
        "status": STATUS[kind],
        "fraction": "–" if last is None else _amount(last),
        "is_number": fraction is not None,
        "interval": None if last is None else named_interval(last.doubt),
        "calibration": None if last is None else calibration_words(last.doubt),
        "change": change(one.series) if one.series else None,
        "confluence": None
        if last is None or last.confluence is None
        else percent(last.confluence),
        "seen": "no scan yet" if last is None else ago(now - last.at),
        "seen_at": "" if last is None else local(last.at, config.zone_of(one.source)),
        "is_doubtful": last is not None and bool(last.in_doubt),
        "line": _line_of(one, since, end, limits.raise_above),
        "picture": None
        if last is None or one.overlay is None
        else f"/picture?reading={last.id}&field=0&size=small&of={stamp(one.overlay)}",
        "notes": sorted(topic_words(topic) for topic in open_topics
                        if topic is not AlertTopic.DIFFERENTIATION),
    }  # fmt: skip


def _line_of(one: DishOverview, since: datetime, until: datetime, limit: float) -> Markup | None:
    """Drawn anew where its numbers are others, or some minutes have gone by."""
    since, until = (
        datetime.fromtimestamp(moment.timestamp() // _LINE_HOLDS_S * _LINE_HOLDS_S, UTC)
        for moment in (since, until + timedelta(seconds=_LINE_HOLDS_S))
    )
    ends = (one.series[0].at, one.series[-1].at) if one.series else ()
    shares = tuple(point.differentiated_fraction for point in one.series)
    doubts = sum(point.is_doubtful for point in one.series)
    line: Markup | None = _LINES.get(
        (one.name, shares, doubts, ends, since, until, limit),
        lambda: series_line(one.series, since=since, until=until, limit=limit),
    )
    return line


def topic_words(topic: AlertTopic) -> str:
    return words_of(topic) or str(topic)


def stamp(overlay: str) -> str:
    """Tells pictures of one address apart, should the record begin anew."""
    return "".join(letter for letter in PurePath(overlay).stem if letter.isalnum())[-16:]


def _amount(reading: Reading) -> str:
    fraction = reading.differentiated_fraction
    return "no cells" if fraction is None else percent(fraction)
