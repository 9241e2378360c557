"""A dish's course: what each scan of its series makes of it, in the order in which they were taken.

The course is a fold: the stand after a scan follows from the stand before it and from the readings
up to it, and from nothing else. Scans that come late, in any order, are put where they belong, and
the course is run again from there: it ends as if every scan had come when it was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.config import DifferentiationConfig
from monitor.culture import (
    NOTHING_SAID,
    Alert,
    AlertKind,
    AlertTopic,
    DishStatus,
    Reading,
    Severity,
)
from monitor.culture.course import LOOK_BACK, Course, Stand, Standing
from monitor.culture.doubt_words import NOT_CALIBRATED, interval_words
from monitor.decisions.alert_rules import ALERT_RULES, judge_notices, severity_of
from monitor.decisions.looks import lasts, leaves_open, please_look
from monitor.decisions.notices import forecast_text, next_limit
from monitor.decisions.passages import fresh_until, passage_shown, passage_text, was_none
from monitor.decisions.status import RISE_SCANS, Judgement, can_be_judged, is_in_doubt, judge


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
    judged_from : until then it counts as freshly passaged; None = it does not
    """

    stands: dict[int, Stand]
    changes: tuple[Change, ...]
    after: Stand
    decided_from: Reading
    decided_to: Reading
    judged_from: datetime | None = None


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
        stand, found = step(stand, window, limits, course.passaged_at)
        changes += found
        stands[reading.scan_id] = stand
        judged += can_be_judged(reading, limits)
        is_settled = reading.at > horizon and judged > max(RISE_SCANS, limits.scans_considered)
        if is_settled and place > last_new and stand == course.known[place]:
            break
    after = stand if place == len(course.undecided) - 1 else course.known[-1]
    assert after is not None
    judged_from = None
    if after.status is DishStatus.FRESHLY_PASSAGED:
        last = _last_passage(after, course.passaged_at, course.undecided[-1])
        judged_from = fresh_until(last, limits)
    return Run(
        stands, tuple(changes), after, course.undecided[0], course.undecided[place], judged_from
    )


def stand_after(reading: Reading, course: Course, found: Run) -> Stand:
    """Where the dish stood after one of the readings that were decided on, now or before."""
    stand = found.stands.get(reading.scan_id)
    if stand is None and reading in course.undecided:
        stand = course.known[course.undecided.index(reading)]
    return stand or course.before


def step(
    before: Stand,
    readings: Sequence[Reading],
    limits: DifferentiationConfig,
    passaged_at: datetime | None = None,
) -> tuple[Stand, list[Change]]:
    """The stand after the newest reading, and what it calls for.

    readings : one a scan, oldest first, the newest last
    passaged_at : of the passage that the dish came from, where a person has told of it
    """
    newest = readings[-1]
    before, series, changes = _after_pause(before, readings, limits)
    before, seen = _after_passage(before, series, limits, passaged_at)
    changes += seen
    last = _last_passage(before, passaged_at, newest)
    usual_from = fresh_until(last, limits)
    if last is not None and usual_from is not None and newest.at < usual_from:
        since = [one for one in series if one.at >= last]
        after, found = _fresh(before, since, limits)
    else:
        if usual_from is not None:
            series = [one for one in series if one.at >= usual_from]
        after, found = _judged(before, series, limits)
    return after, [*changes, *found]


def _after_pause(
    before: Stand, readings: Sequence[Reading], limits: DifferentiationConfig
) -> tuple[Stand, Sequence[Reading], list[Change]]:
    """With the readings since the last long pause, and what that pause calls for."""
    newest = readings[-1]
    changes: list[Change] = []
    series, pause = _since_pause(readings, limits)
    if pause is not None and len(series) == 1:
        days = pause / timedelta(days=1)
        text = f"There was no scan for {days:.0f} days; what was open then is taken as over."
        changes += _all_over(before, newest, text)
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
        before = replace(before, is_open=before.is_open - {AlertTopic.OLD_SERIES})
    return before, series, changes


def _after_passage(
    before: Stand,
    series: Sequence[Reading],
    limits: DifferentiationConfig,
    told_at: datetime | None,
) -> tuple[Stand, list[Change]]:
    """The stand as passages change it: one that the series shows, the end of a fresh time."""
    newest = series[-1]
    last = _last_passage(before, told_at, newest)
    usual_from = fresh_until(last, limits)
    is_fresh = usual_from is not None and newest.at < usual_from
    asked = AlertTopic.PASSAGE_SEEN in before.is_open
    if is_fresh:
        seen_at = before.passaged_at
        if not asked or seen_at is None or not was_none(seen_at, series, limits):
            return before, []
        text = "The cells are back: it was no passage."
        return Stand(), _all_over(before, newest, text)
    seen = passage_shown(before, series, limits, last)
    if seen is not None:
        begins = fresh_until(seen, limits)
        assert begins is not None
        changes = _all_over(before, newest, "Its cells have become few: taken for a passage.")
        text = passage_text(series, seen, begins)
        changes.append(
            Change(newest, AlertTopic.PASSAGE_SEEN, AlertKind.RAISED, Severity.NOTICE, text)
        )
        topics = frozenset({AlertTopic.PASSAGE_SEEN})
        return Stand(is_open=topics, passaged_at=seen), changes
    if before.status is DishStatus.FRESHLY_PASSAGED:
        before = replace(before, status=DishStatus.UNKNOWN)
    if not asked:
        return before, []
    text = "From now on it is judged by the usual rules, by scans since now alone."
    change = Change(newest, AlertTopic.PASSAGE_SEEN, AlertKind.CLEARED, Severity.NOTICE, text)
    return replace(before, is_open=before.is_open - {AlertTopic.PASSAGE_SEEN}), [change]


def _fresh(
    before: Stand, series: Sequence[Reading], limits: DifferentiationConfig
) -> tuple[Stand, list[Change]]:
    """Of a dish that was passaged a short time ago no share is judged; the rest is. That the model
    doubts what is not judged is no news.
    """
    newest = series[-1]
    changes = [
        Change(newest, notice.topic, notice.kind, text=notice.text)
        for notice in judge_notices(before.is_open, series, limits, is_fresh=True)
        if newest.doubts or (notice.topic, notice.kind) != (AlertTopic.DOUBTFUL, AlertKind.RAISED)
    ]
    is_open = _open_after(before.is_open, changes)
    status = DishStatus.FRESHLY_PASSAGED
    return Stand(status, is_open=is_open, passaged_at=before.passaged_at), changes


def _judged(
    before: Stand, series: Sequence[Reading], limits: DifferentiationConfig
) -> tuple[Stand, list[Change]]:
    """By the usual rules."""
    newest = series[-1]
    changes: list[Change] = []
    judgement = judge(before, series, limits)
    reported, reported_at = _reported(before, judgement, newest)
    if judgement.alert is not None:
        severity = judgement.severity or Severity.WARNING
        text = None if judgement.alert is AlertKind.CLEARED else _said_of(series, limits)
        changes.append(Change(newest, AlertTopic.DIFFERENTIATION, judgement.alert, severity, text))
    at_word, looks_since, asked = _looked(before, series, limits, judgement)
    changes += asked
    for notice in judge_notices(before.is_open, series, limits):
        is_over = notice.topic is AlertTopic.DOUBTFUL and notice.kind is AlertKind.CLEARED
        if is_over and looks_since is not None:
            continue  # between two that are not sure, one that is
        changes.append(Change(newest, notice.topic, notice.kind, text=notice.text))
    is_open = _open_after(before.is_open, changes)
    if AlertTopic.DOUBTFUL not in is_open and leaves_open(newest, limits, judgement):
        text = lasts(looks_since, series, limits)
        if text is not None:
            changes.append(Change(newest, AlertTopic.DOUBTFUL, AlertKind.RAISED, text=text))
            is_open |= {AlertTopic.DOUBTFUL}
    return Stand(
        judgement.status,
        judgement.severity,
        reported,
        reported_at,
        is_open,
        at_word,
        looks_since,
        before.passaged_at,
    ), changes


def _looked(
    before: Stand, series: Sequence[Reading], limits: DifferentiationConfig, found: Judgement
) -> tuple[Standing | None, datetime | None, list[Change]]:
    """Are people asked to look? Where the dish would stand at its scans' word, since when they are
    asked, and what the newest scan changes in that.
    """
    newest = series[-1]
    is_open = AlertTopic.PLEASE_LOOK in before.is_open
    if not is_open and not any(is_in_doubt(one) or one.doubt.interval for one in series):
        return None, None, []  # nothing says otherwise
    standing: Standing = before.at_word or before
    at_word = judge(standing, series, limits, at_word=True)
    since = before.looks_since
    change = please_look(since, series, limits, found, at_word)
    changes = []
    if change is not None:
        kind, text = change
        changes.append(Change(newest, AlertTopic.PLEASE_LOOK, kind, Severity.NOTICE, text))
        is_open = kind is not AlertKind.CLEARED
        since = newest.at if kind is AlertKind.RAISED else since
    if not is_open:
        return None, None, changes
    after = Standing(at_word.status, at_word.severity, *_reported(standing, at_word, newest))
    return after, since, changes


def _reported(
    before: Standing, judgement: Judgement, newest: Reading
) -> tuple[float | None, datetime | None]:
    """What was last alerted for, and when, after a judgement."""
    if judgement.alert is None:
        return before.reported, before.reported_at
    if judgement.alert is AlertKind.CLEARED:
        return None, None
    return newest.differentiated_fraction, newest.at


def _said_of(series: Sequence[Reading], limits: DifferentiationConfig) -> str | None:
    """What is said with an alert on differentiation beside its numbers."""
    ahead = next_limit(series, limits)
    said = [] if ahead is None else [f"At the present rate it {forecast_text(ahead)}."]
    doubt = series[-1].doubt
    if doubt != NOTHING_SAID and not doubt.calibrated:
        ends = interval_words(doubt)
        said.append(
            f"The interval is {NOT_CALIBRATED}." if ends is None else
            f"The interval, {ends}, is {NOT_CALIBRATED}."
        )  # fmt: skip
    return " ".join(said) or None


def _open_after(is_open: frozenset[AlertTopic], changes: Sequence[Change]) -> frozenset[AlertTopic]:
    after = set(is_open)
    for change in changes:
        if change.kind is AlertKind.CLEARED:
            after.discard(change.topic)
        else:
            after.add(change.topic)
    return frozenset(after)


def _all_over(before: Stand, newest: Reading, text: str) -> list[Change]:
    return [
        Change(newest, topic, AlertKind.CLEARED, severity_of(topic), text)
        for topic in sorted(before.is_open)
    ]


def _last_passage(stand: Stand, told_at: datetime | None, newest: Reading) -> datetime | None:
    known = [at for at in (told_at, stand.passaged_at) if at is not None and at <= newest.at]
    return max(known, default=None)


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
    # A passage is seen against the scans before it, and what it holds back after it.
    passage = limits.votes_within_h + (limits.fresh_for_h or 0.0)
    spans = (limits.agree_h, passage, *(getattr(limits, key) for key in keys))
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
