"""What the pages print: from the record to words and numbers. Escaped by the templates, cleaned
here.
"""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta
from math import isfinite
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from monitor.config import Config
from monitor.culture import (
    LIVE_PLANS,
    Alert,
    AlertKind,
    DishLine,
    PlanStatus,
    Reading,
    RemovalPlan,
    Severity,
)
from monitor.culture.doubt_words import (
    interval_words,
    named_interval,
    reason_words,
)
from monitor.decisions.alert_rules import silence_words
from monitor.outlets.answer_links import AnswerLinks, dish_page
from monitor.outlets.dashboard.cards import card_of, stamp
from monitor.outlets.dashboard.kept import Kept
from monitor.outlets.wording import (
    ago,
    brief,
    clean,
    counted,
    judged_from,
    local,
    notice_headline,
    percent,
    pixel_size_words,
    removal_area,
    shown_name,
    square_mm,
    where_of,
)
from monitor.record.overviews import FieldImage
from monitor.record.store import Store

LINE_DAYS = 7.0
_LINE_POINTS = 200
RANGES = {"3": 3.0, "14": 14.0, "90": 90.0, "365": 365.0}
USUAL_RANGE = "14"
_OPEN_ALERTS, _CLOSED_ALERTS, _ALERTS_OF_DISH = 200, 100, 30
_FIELDS = 24
_TABLE_ROWS = 15
_COLONIES = 12
_REST_H = (4, 12, 24, 72, 168)


class Facts:
    """Reads the record for one page at a time."""

    def __init__(self, config: Config, store: Store, links: AnswerLinks) -> None:
        self._config = config
        self._store = store
        self._links = links
        self._kept = Kept(8)

    # --- pages ---------------------------------------------------------------------------------

    def silences(self, now: datetime) -> dict[str, Any]:
        """What is open and about no dish, oldest first."""
        alerts = self._store.overviews.alerts(limit=_OPEN_ALERTS, is_open=True, dish="")
        return {"silences": [self._alert(one, now) for one in reversed(alerts)]}

    def dish(self, name: str, span: str, now: datetime) -> dict[str, Any]:
        """Raises UsageError for a name that is not known."""
        overviews = self._store.overviews
        days = RANGES[span]
        overview = overviews.dish(name, since=now - timedelta(days=LINE_DAYS), points=_LINE_POINTS)
        line = self._store.lines.line(name)
        last = overview.last
        zone = self._config.zone_of(overview.source)
        readings = overviews.readings(name, limit=_TABLE_ROWS)
        fields = [] if last is None else overviews.pictures(last.id, limit=_FIELDS)
        alerts = overviews.alerts(limit=_ALERTS_OF_DISH, dish=name)
        plan = None if last is None else self._store.plans.for_reading(last.id)
        annotations = self._store.lines.annotations(name)[-_TABLE_ROWS:]
        return self.frame(now) | {
            "title": where_of(name),
            "name": name,
            "dish": card_of(
                self._config, overview, alerts, now - timedelta(days=LINE_DAYS), now
            ),
            "facts": _facts_of(line, last, zone, now, overview.judged_from),
            "doubts": [] if last is None else [clean(why) for why in last.why_in_doubt],
            "has_intervals": any(one.doubt.interval for one in readings),
            "ranges": [(key, _range_name(days)) for key, days in RANGES.items()],
            "span": span,
            "span_name": _range_name(days),
            # Another address whenever the plot would be another.
            "plot": None
            if last is None
            else f"{last.id}-{len(annotations)}-{alerts[0].id if alerts else 0}",
            "fields": [_field(last, one) for one in fields] if last is not None else [],
            "more_fields": 0 if last is None else max(0, last.captures - len(fields)),
            "alerts": [self._alert(one, now) for one in alerts],
            "readings": [
                {
                    "at": brief(one.at, zone),
                    "fraction": percent(one.differentiated_fraction),
                    "interval": interval_words(one.doubt) or "–",
                    "confluence": "–" if one.confluence is None else percent(one.confluence),
                    "colonies": one.colonies,
                    "doubts": ", ".join(clean(why) for why in one.why_in_doubt),
                }
                for one in reversed(readings)
            ],
            "annotations": [
                {"at": local(one.at, zone), "text": clean(one.text), "who": clean(one.who)}
                for one in reversed(annotations)
            ],
            "colonies": [] if last is None else self._colonies(name, last),
            "plan": None if plan is None or plan.status not in LIVE_PLANS else
            self.plan(plan, now),
            "command": f"colonywatch history {shlex.quote(clean(name))} --all --format csv",
        }  # fmt: skip

    def alerts(self, now: datetime) -> dict[str, Any]:
        overviews = self._store.overviews
        return self.frame(now) | {
            "title": "Alerts",
            "open": [
                self._alert(one, now) for one in overviews.alerts(limit=_OPEN_ALERTS, is_open=True)
            ],
            "closed": [
                self._alert(one, now)
                for one in overviews.alerts(limit=_CLOSED_ALERTS, is_open=False)
            ],
        }

    def plans(self, now: datetime) -> dict[str, Any]:
        plans = self._store.plans.all(LIVE_PLANS)[:_FIELDS]
        return self.frame(now) | {
            "title": "Removal plans",
            "plans": [self.plan(one, now) for one in plans],
        }

    def answer(self, alert: Alert, now: datetime) -> dict[str, Any]:
        zone = self._config.zone_of(alert.source or self._source_of(alert))
        rests = [(hours, now + timedelta(hours=hours)) for hours in _REST_H]
        return self.frame(now) | {
            "title": "Alert",
            "alert": self._alert(alert, now) | {"answer": None},
            "is_open": alert.closed_at is None,
            "resting": None
            if alert.snoozed_until is None or alert.snoozed_until <= now
            else local(alert.snoozed_until, zone),
            "rests": [
                (hours, f"{_hours(hours)}, until {until.astimezone(zone):%a %H:%M}")
                for hours, until in rests
            ],
        }

    def message(self, title: str, text: str, now: datetime) -> dict[str, Any]:
        return self.frame(now) | {"title": title, "text": text, "back": None}

    def moment(self, at: datetime, dish: str) -> str:
        """By the clock of the dish's source."""
        return local(at, self._config.zone_of(self._store.dishes.source_of(dish)))

    # --- parts ---------------------------------------------------------------------------------

    def frame(self, now: datetime) -> dict[str, Any]:
        """What every page has at its top and its end."""
        mark = self._store.changes.mark()
        counts: dict[str, Any] = self._kept.get((mark, int(now.timestamp()) // 30), self._counts)
        return counts | {
            "now": local(now, self._config.zone_of()),
            "alive": any(one.alive for one in self._store.processes.living("daemon", now)),
            "mark": mark,
        }

    def _counts(self) -> dict[str, Any]:
        overviews = self._store.overviews
        unreadable, waiting = overviews.captures_in_trouble()
        return {
            "unreadable": unreadable,
            "waiting": waiting,
            "open_alerts": overviews.open_alerts(),
            "open_plans": overviews.plans_waiting(),
        }

    def _alert(self, alert: Alert, now: datetime) -> dict[str, Any]:
        zone = self._config.zone_of(alert.source or self._source_of(alert))
        is_open = alert.closed_at is None
        state = []
        if alert.acknowledged_by is not None and alert.acknowledged_at is not None:
            at = local(alert.acknowledged_at, zone)
            state.append(f"{clean(alert.acknowledged_by)} has known about it since {at}")
        if alert.snoozed_until is not None and alert.snoozed_until > now:
            state.append(f"no mails until {local(alert.snoozed_until, zone)}, unless critical")
        if alert.role == "replaced":
            state.append("taken back: scans that came late show otherwise")
        if alert.held_back:
            state.append(f"not mailed: {alert.held_back}")
        if alert.closed_at is not None and alert.kind is not AlertKind.CLEARED:
            state.append(f"ended {local(alert.closed_at, zone)}")
        return {
            "id": alert.id,
            "where": where_of(alert.dish) if alert.dish else shown_name(alert.about),
            "page": dish_page("", alert.dish) if alert.dish else None,
            "headline": headline(alert),
            "text": clean(alert.text or ""),
            "kind": _alert_kind(alert),
            "at": local(alert.at, zone),
            "ago": ago(now - alert.at),
            "note": clean(alert.note or ""),
            "state": state,
            "is_answered": alert.acknowledged_at is not None,
            "answer": f"/answer/{self._links.token_for(alert, now)}" if is_open else None,
        }

    def _source_of(self, alert: Alert) -> str | None:
        return self._store.dishes.source_of(alert.dish) if alert.dish else None

    def plan(self, plan: RemovalPlan, now: datetime) -> dict[str, Any]:
        zone = self._config.zone_of(self._store.dishes.source_of(plan.dish))
        waits = plan.status is PlanStatus.DRAFT
        return {
            "id": clean(plan.id),
            "picture": f"/plan.png?id={clean(plan.id)}",
            "decide": f"/plan?id={quote(plan.id, safe='')}",
            "where": where_of(plan.dish),
            "page": dish_page("", plan.dish),
            "waits": waits,
            "status": {
                PlanStatus.DRAFT: "waits for a person's approval",
                PlanStatus.APPROVED: f"approved by {clean(plan.approved_by or 'somebody')}",
                PlanStatus.EXPORTED: "handed to the picker",
                PlanStatus.REJECTED: "rejected",
                PlanStatus.EXPIRED: "its time is over",
                PlanStatus.SUPERSEDED: "superseded",
                PlanStatus.PICKED: "carried out",
                PlanStatus.VERIFIED: "carried out and looked at since",
            }.get(plan.status, str(plan.status)),
            "summary": f"{counted(len(plan.targets), 'region')}, {removal_area(plan)}",
            "ends": f"{local(plan.expires_at, zone)}, {ago(now - plan.expires_at)}",
            "left_out": [clean(sentence) for sentence in plan.left_out],
            "command": f"colonywatch removals approve {shlex.quote(clean(plan.id))}",
        }

    def _colonies(self, name: str, last: Reading) -> list[dict[str, Any]]:
        """The largest of the last scan."""
        found = [point.colony for point in self._store.colonies.series(name, since=last.at)]
        largest = sorted(found, key=lambda one: -one.area)[:_COLONIES]
        in_um2 = last.pixel_size_um is not None
        return [
            {
                "number": one.number,
                "area": square_mm(one.area) if in_um2 else f"{one.area:.0f} px",
                "fraction": percent(one.differentiated_fraction),
                "cut": one.is_cut,
            }
            for one in largest
            if isfinite(one.area)
        ]


def headline(alert: Alert) -> str:
    """What an alert is about, short."""
    is_over = alert.kind is AlertKind.CLEARED
    if (words := silence_words(alert.topic, is_over=is_over)) is not None:
        return words
    amount = "no cells" if alert.fraction is None else f"{percent(alert.fraction)} differentiated"
    if (words := notice_headline(alert.topic, alert.fraction, is_over=is_over)) is not None:
        return words
    if is_over:
        return f"back to {amount}"
    if alert.severity is Severity.CRITICAL:
        return f"critical, {amount}"
    return f"getting worse, {amount}" if alert.kind is AlertKind.WORSENED else amount


def _alert_kind(alert: Alert) -> str:
    if alert.closed_at is not None:
        return "ended"
    return "asked" if alert.severity is Severity.NOTICE else str(alert.severity)


def _seen_in(reading: Reading) -> str:
    fields = counted(reading.captures, "field")
    return f"{fields}, {counted(reading.colonies, 'colony', 'colonies')}"


def _field(last: Reading, field: FieldImage) -> dict[str, Any]:
    at = f"reading={last.id}&field={field.number}&of={stamp(field.overlay or '')}"
    return {
        "name": clean(field.name),
        "fraction": percent(field.differentiated_fraction)
        if field.differentiated_fraction is not None
        else "no cells",
        "interval": named_interval(field.doubt),
        "doubts": ", ".join(reason_words(field.doubt)),
        "picture": f"/picture?{at}&size=large" if field.number == 0 else
        f"/picture?{at}&size=small",
        "full": f"/picture?{at}&size=full",
        "is_there": field.overlay is not None,
        "width": field.shape[1],
        "height": field.shape[0],
    }  # fmt: skip


def _range_name(days: float) -> str:
    return "a year" if days == 365 else counted(round(days), "day")


def _hours(hours: int) -> str:
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"


def _facts_of(
    line: DishLine,
    last: Reading | None,
    zone: ZoneInfo,
    now: datetime,
    usual_from: datetime | None = None,
) -> list[tuple[str, str]]:
    """What stands beside a dish's picture, as (name, text)."""
    facts: list[tuple[str, str]] = []
    if last is not None:
        facts = [
            ("Last scan", f"{local(last.at, zone)}, {ago(now - last.at)}"),
            ("Confluence", "unknown" if last.confluence is None else percent(last.confluence)),
            ("Differentiated area", square_mm(last.differentiated_um2) or "unknown"),
            ("Seen in", _seen_in(last)),
            ("Pixel size", pixel_size_words(last) or "unknown"),
        ]
        if last.imaged_share is not None:
            facts.append(("Share of the vessel that was imaged", percent(last.imaged_share)))
    facts.append(("Source", clean(line.source)))
    if line.parent is not None:
        facts.append(("Passage", f"{line.passage}, from {shown_name(line.parent)}"))
    if (fresh := judged_from(usual_from, zone)) is not None:
        facts.append(("Share", fresh))
    if line.ended_at is not None:
        facts.append(("Ended", local(line.ended_at, zone)))
    return facts
