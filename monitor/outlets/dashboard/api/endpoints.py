"""What the API offers: a row an address; routes and description are both made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from monitor.config import Config
from monitor.culture import LIVE_PLANS
from monitor.outlets.dashboard.api import answers as a
from monitor.outlets.dashboard.api import questions as q
from monitor.outlets.dashboard.api.exports import FILES
from monitor.outlets.dashboard.boards import Boards
from monitor.outlets.dashboard.choosing import Choice
from monitor.outlets.dashboard.facts import Facts
from monitor.record.store import Store

_FIELDS, _OF_DISH = 200, 30
_COLONY_DAYS = 14


@dataclass(frozen=True)
class Sources:
    """What answers are made of."""

    config: Config
    store: Store
    boards: Boards
    facts: Facts
    clock: Callable[[], datetime]


@dataclass(frozen=True)
class Endpoint:
    path: str
    summary: str
    question: type[BaseModel]
    answer: type[BaseModel]
    work: Callable[[Sources, Any], BaseModel]
    may_be_missing: bool = False


def _status(on: Sources, _: q.Nothing) -> a.Status:
    now = on.clock()
    frame, counts = on.facts.frame(now), on.store.overviews.counts()
    return a.Status(
        daemon_is_running=frame["alive"], dishes=counts.all, critical=counts.critical,
        differentiating=counts.differentiating, above_limit=counts.above_limit,
        undifferentiated=counts.undifferentiated, freshly_passaged=counts.freshly_passaged,
        open_alerts=frame["open_alerts"], plans_waiting=frame["open_plans"],
        unreadable=frame["unreadable"], waiting=frame["waiting"], mark=frame["mark"],
    )  # fmt: skip


def _changes(on: Sources, _: q.Nothing) -> a.Changes:
    return a.Changes(mark=on.store.changes.mark())


def _dishes(on: Sources, ask: q.AskDishes) -> a.Dishes:
    choice = Choice(
        q=ask.q, status=ask.status or "", plate=ask.plate,
        source=ask.source, sort=ask.sort,
    )  # fmt: skip
    found = choice(on.boards.dishes(on.clock(), ended=ask.ended))
    shown = found[ask.offset : ask.offset + ask.limit]
    return a.Dishes(
        total=len(found), offset=ask.offset, dishes=[a.DishAnswer.of(one) for one in shown]
    )


def _dish(on: Sources, ask: q.AskDish) -> a.DishDetail:
    overviews, now = on.store.overviews, on.clock()
    one = overviews.dish(ask.dish, since=now, points=1)
    line = on.store.lines.line(ask.dish)
    fields = [] if one.last is None else overviews.pictures(one.last.id, limit=_FIELDS)
    plan = None if one.last is None else on.store.plans.for_reading(one.last.id)
    return a.DishDetail(
        dish=a.DishAnswer.of(one),
        began_at=line.began_at,
        parent=line.parent,
        children=list(line.children),
        readings=[a.ReadingAnswer.of(r) for r in overviews.readings(ask.dish, limit=_OF_DISH)],
        fields=[] if one.last is None else [a.FieldAnswer.of(f, one.last.id) for f in fields],
        alerts=[a.AlertAnswer.of(x) for x in overviews.alerts(limit=_OF_DISH, dish=ask.dish)],
        notes=[a.NoteAnswer.of(n) for n in on.store.lines.annotations(ask.dish)[-_OF_DISH:]],
        plan=a.PlanAnswer.of(plan) if plan is not None and plan.status in LIVE_PLANS else None,
    )


def _readings(on: Sources, ask: q.AskReadings) -> a.Readings:
    found = on.store.listings.readings(
        after=ask.after, limit=ask.limit, dish=ask.dish, since=ask.since, until=ask.until
    )
    following = found[-1][0].id if len(found) == ask.limit else None
    return a.Readings(readings=[a.ReadingAnswer.of(one) for one, _ in found], next=following)


def _colonies(on: Sources, ask: q.AskColonies) -> a.Colonies:
    since = ask.since
    if since is None:
        newest = on.store.dishes.newest_at(ask.dish) or on.clock()
        since = newest - timedelta(days=_COLONY_DAYS)
    found = on.store.colonies.series(ask.dish, since=since)
    return a.Colonies(dish=ask.dish, colonies=[a.ColonyAnswer.of(one) for one in found])


def _alerts(on: Sources, ask: q.AskAlerts) -> a.Alerts:
    found = on.store.listings.alerts(
        after=ask.after, limit=ask.limit, dish=ask.dish, is_open=ask.is_open
    )
    following = found[-1].id if len(found) == ask.limit else None
    return a.Alerts(alerts=[a.AlertAnswer.of(one) for one in found], next=following)


def _plans(on: Sources, ask: q.AskPlans) -> a.Plans:
    ids = on.store.listings.plan_ids(status=None if ask.status is None else str(ask.status))
    return a.Plans(plans=[a.PlanAnswer.of(on.store.plans.plan(one)) for one in ids[: ask.limit]])


def _plates(on: Sources, ask: q.AskPlates) -> a.Plates:
    choice = Choice(plate=ask.plate, source=ask.source)
    plates = []
    for plate in on.boards.plate_maps(choice, ask.by, on.clock()):
        cells = plate.get("cells") or [
            cell for _, row in plate["rows"] for cell in row if cell is not None
        ]
        plates.append(
            a.PlateAnswer(
                name=plate["name"] or None,
                kind=plate["kind"],
                wells=[
                    a.WellAnswer(
                        well=cell["well"], dish=cell["name"], step=cell["step"],
                        text=cell["text"], words=cell["words"], has_alert=cell["has_alert"],
                    )
                    for cell in cells
                ],
            )
        )  # fmt: skip
    return a.Plates(by=ask.by, plates=plates)


def _dictionary(on: Sources, _: q.Nothing) -> a.Dictionary:
    return a.Dictionary(
        files=[
            a.FileAnswer(
                name=name,
                words=file.words,
                columns=[
                    a.ColumnAnswer(name=one.name, kind=one.kind, unit=one.unit, words=one.words)
                    for one in file.columns
                ],
            )
            for name, file in FILES.items()
        ]
    )


ENDPOINTS = (
    Endpoint("/status", "Is the daemon at work, and what is open?", q.Nothing, a.Status, _status),
    Endpoint("/changes", "Has anything changed?", q.Nothing, a.Changes, _changes),
    Endpoint("/dishes", "Dishes with their last scan", q.AskDishes, a.Dishes, _dishes),
    Endpoint("/dish", "All about one dish", q.AskDish, a.DishDetail, _dish, True),
    Endpoint("/readings", "Scans, by their numbers", q.AskReadings, a.Readings, _readings, True),
    Endpoint("/colonies", "Colonies of a dish", q.AskColonies, a.Colonies, _colonies, True),
    Endpoint("/alerts", "Alerts, by their numbers", q.AskAlerts, a.Alerts, _alerts, True),
    Endpoint("/plans", "Removal plans, newest first", q.AskPlans, a.Plans, _plans),
    Endpoint("/plates", "Plates well by well", q.AskPlates, a.Plates, _plates),
    Endpoint("/exports", "What exported columns mean", q.Nothing, a.Dictionary, _dictionary),
)
