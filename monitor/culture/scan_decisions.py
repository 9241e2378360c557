"""What a decision on a scan rests on, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from monitor.culture.alerts import Alert, AlertKind, AlertTopic, NewAlert, Severity
from monitor.culture.course import Course, Stand
from monitor.culture.dishes import DishStatus
from monitor.culture.removal import RegionVerdict, RemovalPlan
from monitor.culture.scans import Reading, ScanField


@dataclass(frozen=True)
class ScanFacts:
    """All that a decision on a scan may rest on, as it stands inside the transaction.

    severity : of a dish that is differentiating
    history : readings of the dish's other scans, oldest first
    alerts : the dish's last alerts on any topic, oldest first
    is_newest : no later scan of this dish has a reading
    course : what is to be decided; None = nothing is
    latest : the dish's newest scan, where that is another one: the decision is on that one
    has_ended : the dish's line is over; late captures only fill in its series
    label : what the imager's names call the dish
    picked : plans of the dish with regions that were picked and not looked at since
    """

    scan_id: int
    dish: str
    status: DishStatus
    fields: tuple[ScanField, ...]
    history: tuple[Reading, ...]
    next_version: int
    is_newest: bool
    severity: Severity | None = None
    alerts: tuple[Alert, ...] = ()
    has_ended: bool = False
    label: str = ""
    picked: tuple[RemovalPlan, ...] = ()
    course: Course | None = None
    latest: LatestScan | None = None


@dataclass(frozen=True)
class LatestScan:
    """The newest scan of a dish and its reading, seen from a scan that came late."""

    facts: ScanFacts
    reading: Reading


@dataclass(frozen=True)
class KeptAlert:
    """An alert on record that goes on to hold; it may be about another scan by now."""

    alert_id: int
    reading: Reading


@dataclass(frozen=True)
class ScanDecision:
    """What follows from a reading. Written with it in one transaction, or not at all.

    severity : of a dish that is differentiating
    planned_by : the reading that the plan is made from; None = the one that the decision is on
    replaces_plans : plans of the dish that are still alive are superseded
    verdicts : what it says of regions that were picked
    stand : where the dish stands now; None = its course was not run
    stands : by number of the scan, after each that was decided
    kept, replaced : alerts of before that still hold, and those (their numbers) that do not
    judged_from : until then the dish counts as freshly passaged; None = it was not
    """

    status: DishStatus
    alerts: tuple[NewAlert, ...] = ()
    plan: RemovalPlan | None = None
    replaces_plans: bool = False
    severity: Severity | None = None
    verdicts: tuple[RegionVerdict, ...] = ()
    stand: Stand | None = None
    stands: Mapping[int, Stand] = field(default_factory=dict)
    kept: tuple[KeptAlert, ...] = ()
    replaced: tuple[int, ...] = ()
    planned_by: Reading | None = None
    judged_from: datetime | None = None

    @property
    def alert(self) -> AlertKind | None:
        """What happened to the dish's status."""
        for alert in self.alerts:
            if alert.topic is AlertTopic.DIFFERENTIATION:
                return alert.kind
        return None


@dataclass(frozen=True)
class ScanOutcome:
    """set_aside : captures that show a field for which another file counts, as sentences"""

    reading: Reading
    status_before: DishStatus
    decision: ScanDecision
    set_aside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What has to be seen for a decision.

    planned_by : the scan that a plan may be made from; None = none will be
    earlier : the scans that its hits are laid by, newest first
    picked : plans that were carried out, to be looked after by the scan that came
    plan_of : the scan whose plan on record is asked for
    """

    planned_by: Reading | None = None
    earlier: tuple[Reading, ...] = ()
    picked: tuple[RemovalPlan, ...] = ()
    plan_of: Reading | None = None

    def __bool__(self) -> bool:
        """Is a picture to be looked at?"""
        return self.planned_by is not None or bool(self.picked)


@dataclass(frozen=True)
class PickedPlan:
    """A plan that was carried out, and the captures that it was made from."""

    plan: RemovalPlan
    made_from: tuple[ScanField, ...]


@dataclass(frozen=True)
class Basis:
    """The captures that a decision has to look at; empty where there is nothing to look for.

    shown : of the scan that came, where `picked` has to be looked after
    planned : of the scan that a plan may be made from
    earlier : of the scans before that one, newest first
    on_record : the plan of that scan that is on record, where it was asked for
    """

    dish: str
    shown: tuple[ScanField, ...] = ()
    picked: tuple[PickedPlan, ...] = ()
    planned: tuple[ScanField, ...] = ()
    earlier: tuple[tuple[ScanField, ...], ...] = ()
    on_record: RemovalPlan | None = None
