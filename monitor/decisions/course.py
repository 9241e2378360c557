"""A dish's course: what each scan of its series makes of it, in the order in which they were taken.

The course is a fold: the stand after a scan follows from the stand before it and from the readings
up to it, and from nothing else. Scans that come late, in any order, are put where they belong, and
the course is run again from there: it ends as if every scan had come when it was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from monitor.config import DifferentiationConfig
from monitor.culture import Alert, AlertKind, AlertTopic, Reading, Severity
from monitor.culture.course import LOOK_BACK, Course, Stand
from monitor.decisions.alert_rules import ALERT_RULES, judge_notices
from monitor.decisions.notices import forecast_text, next_limit
from monitor.decisions.status import RISE_SCANS, can_be_judged, judge


@dataclass(frozen=True)
class Change:
    """A topic that begins, gets worse or ends with a scan."""

    reading: Reading
    topic: AlertTopic
    kind: AlertKind
    severity: Severity = Severity.WARNING
    text: str | None = None


@dataclass(frozen=True)
class Run:
    """stands : by number of the scan, of what was decided; changes : what these call for

    after : where the dish stands now
    """

    stands: dict[int, Stand]
    changes: tuple[Change, ...]
    after: Stand
    decided_from: Reading
    decided_to: Reading


def run(course: Course, limits: DifferentiationConfig) -> Run:
    """Decide what is undecided, scan by scan.

    It ends early where nothing that is new can matter any more: long after the first undecided
    scan, every scan after that decided before, and the stand as it is on record.
    """
    series = [*course.settled, *course.undecided]
    first = len(course.settled)
    horizon = course.undecided[0].at + _horizon(limits)
    last_new = max((place for place, known in enumerate(course.known) if known is None), default=-1)
    stand, changes, stands, place = course.before, list[Change](), dict[int, Stand](), 0
    judged = 0
    for place, reading in enumerate(course.undecided):
        window = series[max(0, first + place + 1 - LOOK_BACK) : first + place + 1]
        stand, found = step(stand, window, limits)
        changes += found
        stands[reading.scan_id] = stand
        judged += can_be_judged(reading, limits)
        is_settled = reading.at > horizon and judged > max(RISE_SCANS, limits.scans_considered)
        if is_settled and place > last_new and stand == course.known[place]:
            break
    after = stand if place == len(course.undecided) - 1 else course.known[-1]
    assert after is not None
    return Run(stands, tuple(changes), after, course.undecided[0], course.undecided[place])


def stand_after(reading: Reading, course: Course, found: Run) -> Stand:
    """Where the dish stood after one of the readings that were decided on, now or before."""
    stand = found.stands.get(reading.scan_id)
    if stand is None and reading in course.undecided:
        stand = course.known[course.undecided.index(reading)]
    return stand or course.before


def step(
    before: Stand, readings: Sequence[Reading], limits: DifferentiationConfig
) -> tuple[Stand, list[Change]]:
    """The stand after the newest reading, and what it calls for.

    readings : one a scan, oldest first, the newest last
    """
    newest = readings[-1]
    changes: list[Change] = []
    series, pause = _since_pause(readings, limits)
    if pause is not None and len(series) == 1:
        days = pause / timedelta(days=1)
        for topic in sorted(before.is_open):
            text = f"There was no scan for {days:.0f} days; what was open then is taken as over."
            changes.append(Change(newest, topic, AlertKind.CLEARED, text=text))
        text = (
            f"First scan for {days:.0f} days. Earlier scans no longer count. If "
            "there are other cells now, say so: colonywatch dishes end, or dishes passage, with "
            "--at."
        )
        changes.append(Change(newest, AlertTopic.OLD_SERIES, AlertKind.RAISED, text=text))
        before = Stand(is_open=frozenset({AlertTopic.OLD_SERIES}))
    elif AlertTopic.OLD_SERIES in before.is_open and (
        newest.at - series[0].at >= timedelta(hours=limits.votes_within_h)
    ):
        text = "Nobody has ended it: it goes on as the same dish."
        changes.append(Change(newest, AlertTopic.OLD_SERIES, AlertKind.CLEARED, text=text))
    judgement = judge(before, series, limits)
    reported, reported_at = before.reported, before.reported_at
    if judgement.alert is not None:
        severity = judgement.severity or Severity.WARNING
        ahead = next_limit(series, limits)
        forecast = None if ahead is None else f"At the present rate it {forecast_text(ahead)}."
        if judgement.alert is AlertKind.CLEARED:
            forecast = None
        changes.append(
            Change(newest, AlertTopic.DIFFERENTIATION, judgement.alert, severity, forecast)
        )
        is_over = judgement.alert is AlertKind.CLEARED
        reported = None if is_over else newest.differentiated_fraction
        reported_at = None if is_over else newest.at
    for notice in judge_notices(before.is_open, series, limits):
        changes.append(Change(newest, notice.topic, notice.kind, text=notice.text))
    is_open = set(before.is_open)
    for change in changes:
        if change.kind is AlertKind.CLEARED:
            is_open.discard(change.topic)
        else:
            is_open.add(change.topic)
    after = Stand(judgement.status, judgement.severity, reported, reported_at, frozenset(is_open))
    return after, changes


def _since_pause(
    readings: Sequence[Reading], limits: DifferentiationConfig
) -> tuple[Sequence[Reading], timedelta | None]:
    """The readings since the last long pause, and how long that was."""
    if limits.new_series_after_days is None:
        return readings, None
    longest = timedelta(days=limits.new_series_after_days)
    for place in range(len(readings) - 1, 0, -1):
        pause = readings[place].at - readings[place - 1].at
        if pause > longest:
            return readings[place:], pause
    return readings, None


def _horizon(limits: DifferentiationConfig) -> timedelta:
    """So far back a rule may look, by the clock."""
    keys = {rule.looks_back for rule in ALERT_RULES.values() if rule.judge is not None}
    spans = (limits.agree_h, limits.votes_within_h, *(getattr(limits, key) for key in keys))
    return timedelta(hours=max(span or 0.0 for span in spans))


# --- what is on record against what the course calls for ------------------------------------------


@dataclass(frozen=True)
class Settled:
    """new : changes that are not on record; kept : (alert, change) where one is the other

    replaced : alerts that the course does not call for as it stands now
    unfounded : topics of which people may believe that they are raised, and they are not
    too_early : topics of which people may believe that they are cleared, and they are not
    """

    new: tuple[Change, ...]
    kept: tuple[tuple[Alert, Change], ...] = ()
    replaced: tuple[Alert, ...] = ()
    unfounded: tuple[AlertTopic, ...] = ()
    too_early: tuple[AlertTopic, ...] = ()


def settle(found: Run, alerts: Sequence[Alert]) -> Settled:
    """Which alerts on record are those that the course calls for.

    alerts : that the course wrote before on the part that was decided, oldest first

    What a late scan moves by a scan or two is the same alert, and is not told twice.
    """
    new: list[Change] = []
    kept: list[tuple[Alert, Change]] = []
    replaced: list[Alert] = []
    unfounded, too_early = [], []
    recorded = [one for one in alerts if found.decided_from.at <= one.at <= found.decided_to.at]
    topics = dict.fromkeys([one.topic for one in found.changes] + [one.topic for one in recorded])
    for topic in topics:
        wanted = [one for one in found.changes if one.topic is topic]
        before = [one for one in recorded if one.topic is topic]
        pairs = _aligned(before, wanted)
        kept += pairs
        fresh = [one for one in wanted if all(one is not other for _, other in pairs)]
        lost = [one for one in before if all(one is not other for other, _ in pairs)]
        new += fresh
        replaced += lost
        is_told = bool(fresh) and fresh[-1] is wanted[-1]
        if lost and not is_told and before[-1] in lost:
            believed_open = lost[-1].kind is not AlertKind.CLEARED
            is_open = topic in found.after.is_open
            if believed_open and not is_open:
                unfounded.append(topic)
            if is_open and not believed_open:
                too_early.append(topic)
    order = {id(change): place for place, change in enumerate(found.changes)}
    new.sort(key=lambda change: order[id(change)])
    return Settled(tuple(new), tuple(kept), tuple(replaced), tuple(unfounded), tuple(too_early))


def _aligned(before: Sequence[Alert], wanted: Sequence[Change]) -> list[tuple[Alert, Change]]:
    """The most pairs of one kind and severity in the same order; of the same scan before others."""
    rows, columns = len(before), len(wanted)
    best = [[0] * (columns + 1) for _ in range(rows + 1)]
    for row in range(rows - 1, -1, -1):
        for column in range(columns - 1, -1, -1):
            worth = _worth(before[row], wanted[column])
            best[row][column] = max(
                best[row + 1][column],
                best[row][column + 1],
                best[row + 1][column + 1] + worth if worth else 0,
            )
    pairs, row, column = [], 0, 0
    while row < rows and column < columns:
        worth = _worth(before[row], wanted[column])
        if worth and best[row][column] == best[row + 1][column + 1] + worth:
            pairs.append((before[row], wanted[column]))
            row, column = row + 1, column + 1
        elif best[row][column] == best[row + 1][column]:
            row += 1
        else:
            column += 1
    return pairs


def _worth(alert: Alert, change: Change) -> int:
    if (alert.kind, alert.severity) != (change.kind, change.severity):
        return 0
    return 3 if alert.at == change.reading.at else 2
