"""What a scan means for its dish: a pure function of the facts, what was seen, and the rules."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.config import DifferentiationConfig, RemovalConfig, SourceSettings
from monitor.config.confirmation import VerificationConfig
from monitor.config.mail import RecipientConfig
from monitor.config.outlets import ChannelConfig
from monitor.culture import (
    LIVE_PLANS,
    AlertKind,
    AlertTopic,
    Asked,
    DishStatus,
    HeldBack,
    KeptAlert,
    NewAlert,
    PickOutcome,
    PlanStatus,
    Reading,
    RegionVerdict,
    RemovalCheck,
    RemovalPlan,
    ScanDecision,
    ScanFacts,
    Stand,
)
from monitor.decisions.alert_rules import severity_of
from monitor.decisions.course import Change, Run, Settled, run, settle, stand_after
from monitor.decisions.evidence import Evidence
from monitor.decisions.mailing import due_again, mailing, open_topics, told
from monitor.decisions.recipients import reached
from monitor.decisions.removal import plan_removal
from monitor.decisions.silence import SILENCES
from monitor.decisions.status import can_be_judged, is_in_doubt, least_fraction
from monitor.decisions.verification import give_up, verify_removal
from monitor.errors import CalibrationError

log = logging.getLogger(__name__)

_NOTHING_ASKED = Asked()
_NOTHING_TOLD = {RemovalCheck.CANNOT_TELL, RemovalCheck.NOT_CHECKED}
_STILL_TO_REMOVE = {RemovalCheck.STILL_THERE, RemovalCheck.PARTLY_GONE}


@dataclass(frozen=True)
class Rules:
    """The settings that a scan is decided by, and the time of the decision.

    settings : of the dish's source
    not_before : mails on what is not critical wait till then
    plan_id : of the plan, should one be made
    """

    limits: DifferentiationConfig
    removal: RemovalConfig
    verification: VerificationConfig
    settings: SourceSettings
    recipients: Sequence[RecipientConfig]
    channels: Sequence[ChannelConfig]
    now: datetime
    not_before: datetime
    plan_id: str


@dataclass(frozen=True)
class Assessment:
    """What a dish's series says, now that a scan has come, before any picture is looked at.

    facts, reading : of the dish's newest scan, which the decision is on
    is_late : a later scan than the one that came was on record already
    found : the course; None = nothing is to be decided
    planned_by : the newest scan that can be judged, where plans are to be thought over
    asked : what has to be seen for the decision
    """

    facts: ScanFacts
    reading: Reading
    is_late: bool = False
    found: Run | None = None
    planned_by: Reading | None = None
    asked: Asked = _NOTHING_ASKED


def assess(
    facts: ScanFacts, reading: Reading, limits: DifferentiationConfig, *, earlier_scans: int
) -> Assessment:
    """Run the dish's course, and say what has to be seen. earlier_scans : that hits are laid by"""
    latest = facts.latest
    is_late = latest is not None
    if latest is not None:
        facts, reading = latest.facts, latest.reading
    if facts.course is None or facts.has_ended:
        return Assessment(facts, reading, is_late)
    found = run(facts.course, limits)
    picked = facts.picked if not is_late and not is_in_doubt(reading) else ()
    by = _planned_by(facts, found, limits, earlier_scans, is_late=is_late)
    asked = Asked(picked=picked)
    if by is not None and _may_be_planned(facts, found, by, limits, is_late=is_late):
        series = [*facts.course.settled, *facts.course.undecided]
        history = facts.history if by is series[-1] else series[: series.index(by)]
        before = [one for one in history if one.at < by.at and can_be_judged(one, limits)]
        earlier = before[-earlier_scans:][::-1] if earlier_scans else []
        asked = Asked(by, tuple(earlier), picked)
    if by is not None and is_late:
        asked = replace(asked, plan_of=by)
    return Assessment(facts, reading, is_late, found, by, asked)


def _planned_by(
    facts: ScanFacts,
    found: Run,
    limits: DifferentiationConfig,
    earlier_scans: int,
    *,
    is_late: bool,
) -> Reading | None:
    """The newest scan that can be judged: plans of older ones aim at where the cells were.

    None where plans of before stay as they are: the newest scan cannot be judged, or what came late
    says nothing of it.
    """
    assert facts.course is not None
    series = [*facts.course.settled, *facts.course.undecided]
    judged = [one for one in series if can_be_judged(one, limits)]
    if not judged or (not is_late and judged[-1] is not series[-1]):
        return None
    rests_on = judged[-1 - earlier_scans :]
    if is_late and not any(one.scan_id in found.stands for one in rests_on):
        return None
    return judged[-1]


def _may_be_planned(
    facts: ScanFacts, found: Run, by: Reading, limits: DifferentiationConfig, *, is_late: bool
) -> bool:
    assert facts.course is not None
    stand = stand_after(by, facts.course, found)
    wanted = stand.status is DishStatus.DIFFERENTIATING or (not is_late and bool(facts.picked))
    return wanted and _is_plannable(stand, by, limits)


def _is_plannable(stand: Stand, by: Reading, limits: DifferentiationConfig) -> bool:
    """Nothing is removed from a dish past saving, nor from one of single cells, nor by a scan whose
    interval reaches down to the limit.
    """
    if stand.status is DishStatus.FRESHLY_PASSAGED or AlertTopic.PAST_SAVING in stand.is_open:
        return False
    is_bounded = by.doubt.interval is not None and by.doubt.calibrated
    return not is_bounded or least_fraction(by) > limits.raise_above


def decide(assessed: Assessment, evidence: Evidence, rules: Rules) -> ScanDecision:
    """What a dish's course calls for; the plan is of its newest scan."""
    facts, found = assessed.facts, assessed.found
    if found is None or facts.course is None:
        return ScanDecision(facts.status, severity=facts.severity)
    settled = settle(found, facts.course.alerts)
    wanted = [_alert_of(change, found) for change in settled.new]
    wanted += _corrections(settled, found)
    verdicts: tuple[RegionVerdict, ...] = ()
    if not assessed.is_late:
        # Also where nothing is left: an empty dish is no fraction, but rid of its cells.
        verdicts = (*_given_up(facts, rules), *_verified(evidence, rules))
        wanted += _told_of_removal(facts, verdicts)
        wanted += _told_of_unchecked(facts, verdicts)
    plan, replaces = _planned(assessed, found, verdicts, evidence, rules)
    return ScanDecision(
        status=found.after.status,
        alerts=_to_be_mailed(wanted, assessed, rules),
        plan=plan,
        planned_by=assessed.planned_by if replaces else None,
        replaces_plans=replaces,
        severity=found.after.severity,
        verdicts=verdicts,
        stand=found.after,
        stands=found.stands,
        kept=tuple(KeptAlert(alert.id, change.reading) for alert, change in settled.kept),
        replaced=tuple(alert.id for alert in settled.replaced),
        judged_from=found.judged_from,
    )


# --- what was picked ------------------------------------------------------------------------------


def _given_up(facts: ScanFacts, rules: Rules) -> tuple[RegionVerdict, ...]:
    """Regions that were picked so long ago that no scan will tell any more."""
    at = min(one.measurement.acquired_at for one in facts.fields)
    return tuple(one for plan in facts.picked for one in give_up(plan, at, rules.verification))


def _verified(evidence: Evidence, rules: Rules) -> tuple[RegionVerdict, ...]:
    """What this scan says of regions that were picked since the last one."""
    found: list[RegionVerdict] = []
    for check in evidence.checks:
        try:
            found += verify_removal(
                check.plan,
                check.made_from,
                check.fields,
                evidence.calibrations.camera,
                rules.verification,
                shift_um=check.shift_um,
            )
        except Exception:
            # The reading matters more; the next scan looks again.
            log.exception(
                "plan=%s: what was picked is not checked: unexpected error", check.plan.id
            )
    return tuple(found)


def _told_of_removal(facts: ScanFacts, verdicts: Sequence[RegionVerdict]) -> list[NewAlert]:
    """An alert where something that was picked is still there; its end when the next is gone."""
    checks = [one.check for one in verdicts]
    if set(checks) <= _NOTHING_TOLD:
        return []
    counted = ", ".join(f"{checks.count(kind)} {kind}" for kind in RemovalCheck if kind in checks)
    plans = ", ".join(dict.fromkeys(one.plan_id for one in verdicts))
    text = f"Picked by plan {plans}, and checked: {counted}."
    log.info("dish=%s: %s", facts.dish, text)
    is_open = AlertTopic.NOT_REMOVED in open_topics(facts.alerts)
    if not set(checks) & _STILL_TO_REMOVE:
        kinds = [AlertKind.CLEARED] if is_open else []
    else:
        kinds = [AlertKind.WORSENED if is_open else AlertKind.RAISED]
    return [NewAlert(kind, AlertTopic.NOT_REMOVED, text=text) for kind in kinds]


def _told_of_unchecked(facts: ScanFacts, verdicts: Sequence[RegionVerdict]) -> list[NewAlert]:
    """An alert where no scan could tell in time; its end when something picked later was seen."""
    is_open = AlertTopic.NOT_CHECKED in open_topics(facts.alerts)
    never = [one for one in verdicts if one.check is RemovalCheck.NOT_CHECKED]
    if never:
        plans = ", ".join(dict.fromkeys(one.plan_id for one in never))
        what = "1 region is" if len(never) == 1 else f"{len(never)} regions are"
        text = f"Picked by plan {plans}: no scan in time could tell whether {what} gone."
        log.warning("dish=%s: %s", facts.dish, text)
        kind = AlertKind.WORSENED if is_open else AlertKind.RAISED
        return [NewAlert(kind, AlertTopic.NOT_CHECKED, text=text)]
    if is_open and {one.check for one in verdicts} - _NOTHING_TOLD:
        text = "What was picked since then has been checked."
        return [NewAlert(AlertKind.CLEARED, AlertTopic.NOT_CHECKED, text=text)]
    return []


# --- the plan -------------------------------------------------------------------------------------


def _planned(
    assessed: Assessment,
    found: Run,
    verdicts: Sequence[RegionVerdict],
    evidence: Evidence,
    rules: Rules,
) -> tuple[RemovalPlan | None, bool]:
    """The plan; whether plans of before end. What comes late makes a new one only where it says
    something else.
    """
    facts, by = assessed.facts, assessed.planned_by
    if by is None:
        return None, False
    assert facts.course is not None
    left = any(one.check in _STILL_TO_REMOVE for one in verdicts) or _partly(facts, verdicts)
    stand = stand_after(by, facts.course, found)
    plan = None
    if (left or stand.status is DishStatus.DIFFERENTIATING) and _is_plannable(
        stand, by, rules.limits
    ):
        plan = _plan(by, evidence, rules)
    if assessed.is_late and _stands_already(evidence.on_record, plan):
        return None, False
    return plan, True


def _partly(facts: ScanFacts, verdicts: Sequence[RegionVerdict]) -> bool:
    """Was a region looked at of which the picker left some hits out?"""
    some = {
        (plan.id, fate.region_id)
        for plan in facts.picked
        for fate in plan.fates
        if fate.outcome is PickOutcome.PARTLY_PICKED
    }
    return any((one.plan_id, one.region_id) in some for one in verdicts)


def _plan(by: Reading, evidence: Evidence, rules: Rules) -> RemovalPlan | None:
    calibrations, seen = evidence.calibrations, evidence.plan
    try:
        if calibrations.problem is not None:
            raise CalibrationError(calibrations.problem)
        if seen is None:
            return None  # a fault in looking, which was said
        if seen.moved_um is not None:
            log.warning(
                "dish=%s: no removal plan: it is %.0f um from where it was in an earlier "
                "scan that hits are placed by; the next scans make one if it stays where it is",
                by.dish, seen.moved_um,
            )  # fmt: skip
            return None
        return plan_removal(
            rules.plan_id,
            by,
            seen.fields,
            calibrations.camera,
            rules.removal,
            rules.now,
            settings=rules.settings,
            picker=calibrations.picker,
            earlier=seen.earlier,
        )
    except CalibrationError as problem:
        log.warning("dish=%s: no removal plan: %s", by.dish, problem)
        return None
    except Exception:
        # The reading and its alert matter more than the plan.
        log.exception("dish=%s: no removal plan: unexpected error", by.dish)
        return None


def _stands_already(on_record: RemovalPlan | None, plan: RemovalPlan | None) -> bool:
    """Is that what the plan on record of this scan says, be it alive or ended by a person?"""
    if on_record is None or on_record.status is PlanStatus.SUPERSEDED:
        return plan is None and on_record is None
    if plan is None:
        return on_record.status not in LIVE_PLANS
    return (on_record.targets, on_record.refused) == (plan.targets, plan.refused)


# --- who is told ----------------------------------------------------------------------------------


def _alert_of(change: Change, found: Run) -> NewAlert:
    """What is overtaken by a later scan that came before it is on record, and mailed to nobody."""
    later = [one for one in found.changes if one.topic is change.topic]
    return NewAlert(
        change.kind,
        change.topic,
        change.severity,
        text=change.text,
        reading=change.reading,
        held_back=None if later[-1] is change else HeldBack.OVERTAKEN,
    )


def _corrections(settled: Settled, found: Run) -> list[NewAlert]:
    """Where people believe what scans that came late have shown to be otherwise, they are told."""
    told = []
    for topic in settled.unfounded:
        text = "Scans that came late show that this was not so: the earlier alert was unfounded."
        told.append(NewAlert(AlertKind.CLEARED, topic, text=text, role="again"))
    for topic in settled.too_early:
        severity = severity_of(topic)
        if topic is AlertTopic.DIFFERENTIATION:
            severity = found.after.severity or severity
        text = "Scans that came late show that it was not over: the all-clear was too early."
        told.append(NewAlert(AlertKind.RAISED, topic, severity, text=text, role="again"))
    return told


def _to_be_mailed(
    wanted: Sequence[NewAlert], assessed: Assessment, rules: Rules
) -> tuple[NewAlert, ...]:
    """The alerts with whom to tell, or why nobody; and those whose snooze is over."""
    facts, limits = assessed.facts, rules.limits
    source = facts.fields[0].source
    topics = {alert.topic for alert in wanted if alert.held_back is None}
    again = [
        NewAlert(held.kind, held.topic, held.severity, text=held.text, role="again")
        for held in due_again(facts.alerts, rules.now)
        if held.topic not in topics | SILENCES
    ]
    found = []
    for alert in (*wanted, *again):
        if alert.held_back is not None:
            found.append(alert)
            continue
        way = mailing(
            alert.kind,
            alert.severity,
            told(facts.alerts, alert.topic),
            at=(alert.reading or assessed.reading).at,
            now=rules.now,
            cooldown=timedelta(hours=limits.cooldown_h),
            oldest=None if limits.mail_within_h is None else timedelta(hours=limits.mail_within_h),
            not_before=rules.not_before,
        )
        what = alert.kind, alert.severity, source
        found.append(
            replace(
                alert,
                mail_to=tuple(one.address for one in reached(rules.recipients, *what)),
                channels=tuple(one.name for one in reached(rules.channels, *what)),
                held_back=way.held_back,
                wait=way.wait,
            )
        )
    return tuple(found)
