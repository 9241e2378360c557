"""The line: capture -> segmentation -> record -> decisions -> outlets. The flow, no technique.

take_in       a settled file becomes a known capture
start_due     captures whose time has come go to the segmentation worker
finish        a worker's answer becomes a measurement, a wait, or a reason
read_scans    complete scans become readings, alerts, removal plans and messages, at once
(delivery)    messages leave the outbox: delivery.py
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from math import pi, prod
from pathlib import Path
from typing import Protocol

from monitor.capture.filesets import BundleTooLargeError, hash_file, look_at_file, look_at_open_file
from monitor.capture.names.choosing import FieldChooser
from monitor.capture.names.patterns import shown_name
from monitor.capture.quality.consistency import KEPT, Look, unlike
from monitor.config import (
    Config,
    DifferentiationConfig,
    SourceConfig,
    SourceSettings,
    settings_sha256,
)
from monitor.culture import (
    UNLISTED,
    AlertKind,
    AlertTopic,
    Calibration,
    CalibrationKind,
    Capture,
    ColonyScan,
    DishStatus,
    FieldIdentity,
    FieldMeasurement,
    Following,
    KeptAlert,
    NamedParts,
    NewAlert,
    NewReading,
    PickOutcome,
    PixelSizeSource,
    PlanStatus,
    Reading,
    RegionVerdict,
    RemovalCheck,
    RemovalPlan,
    ScanDecision,
    ScanFacts,
    ScanField,
    ScanOutcome,
    Severity,
    place_of,
)
from monitor.decisions.course import Change, Run, Settled, run, settle, stand_after
from monitor.decisions.mailing import OVERTAKEN, due_again, mailing, open_topics, told
from monitor.decisions.placing import MeasuredField
from monitor.decisions.recipients import channels_to, mail_to, not_before
from monitor.decisions.removal import Scan, plan_removal
from monitor.decisions.silence import SILENCES
from monitor.decisions.status import can_be_judged
from monitor.decisions.verification import give_up, verify_removal
from monitor.errors import (
    CalibrationError,
    CaptureError,
    LeftOutError,
    ModelRefusedError,
    MonitorError,
    RecordError,
)
from monitor.host.clock import Clock, utc_now
from monitor.jobs.watch_silence import tell_of_equal_pictures
from monitor.record.intake import TakenIn
from monitor.record.plan_moves import LIVE_PLANS
from monitor.record.scan_places import NewMeasurement, ScanPlace
from monitor.record.sightings import SeenFile
from monitor.record.store import Store
from monitor.scans.comparison import carry, compare
from monitor.scans.earlier_scans import LookingBack
from monitor.scans.mosaic import FieldPlace, Mosaic, lay_out
from monitor.scans.summary import sum_up
from monitor.scans.tracking import follow
from monitor.segmentation.colonies import MIN_COLONY_UM2
from monitor.segmentation.label_maps import read_label_map
from monitor.segmentation.request import FieldRequest
from monitor.stage.calibration import calibration_to_use, why_other_pixels
from monitor.stage.frames import Affine, field_to_stage
from monitor.stage.vessels import Vessel

log = logging.getLogger(__name__)

_NOTHING_TOLD = {RemovalCheck.CANNOT_TELL, RemovalCheck.NOT_CHECKED}
_STILL_TO_REMOVE = {RemovalCheck.STILL_THERE, RemovalCheck.PARTLY_GONE}
CRASHES_ALLOWED = 2
# Measurements, or scans, written in one transaction: others who want to write wait so long.
TOGETHER = 25
# Scans whose label maps are larger than that in all are read one by one.
READ_TOGETHER_PX = 4_000_000


class Worker(Protocol):
    """Where captures are measured: a local process, or a cluster whose client has this form."""

    def submit(self, request: FieldRequest) -> Future[FieldMeasurement]: ...

    def died_with(self, future: Future[FieldMeasurement], request_sha256: str) -> bool: ...


@dataclass(frozen=True, eq=False)
class InWork:
    capture: Capture
    named: NamedParts
    future: Future[FieldMeasurement]


class Pipeline:
    """owner : the name under which captures are claimed

    forgotten : files that were known, never held a byte and are gone; for who remembers them
    left_out_late : files that were taken in and turned out to be no captures, their source, and
        why; for who counts and remembers them
    patient : a capture that cannot be read and is still young may be half written, and waits;
        an impatient pipeline (one that ends) says so at once
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        worker: Worker,
        *,
        owner: str,
        clock: Clock = utc_now,
        patient: bool = True,
    ) -> None:
        self._config = config
        self._store = store
        self._worker = worker
        self._owner = owner
        self._clock = clock
        self._patient = patient
        self._sources = {source.name: source for source in config.sources}
        self._looking_back = LookingBack(config, store)
        self._faulty_scans: set[int] = set()
        self._looks: dict[str, deque[Look]] = {}
        self._claimed: deque[Capture] = deque()
        self._chooser = FieldChooser()
        self.forgotten: deque[Path] = deque(maxlen=10_000)
        self.left_out_late: deque[tuple[Path, str, str]] = deque()

    @property
    def owner(self) -> str:
        """The name under which captures are claimed."""
        return self._owner

    def settings(self, source: str) -> SourceSettings:
        return self._sources.get(source, self._config.unlisted)

    # --- capture -------------------------------------------------------------------------------

    def take_in(self, path: Path, source: str) -> tuple[TakenIn, Capture] | None:
        """Make a settled file known to the record; None where it went away."""
        return self.take_in_all([(path, source)])[0]

    def take_in_all(
        self, files: Sequence[tuple[Path, str]]
    ) -> list[tuple[TakenIn, Capture] | None]:
        """As `take_in`, for (file, source) pairs at once, in their order."""
        looks = [self._look(path, source) for path, source in files]
        taken = iter(self._store.captures.take_in_all([one for one in looks if one], self._clock()))
        return [None if seen is None else next(taken) for seen in looks]

    def left_out(self, path: Path, source: str) -> str | None:
        """Why a file of the source is none of ours, such as "channel C1"; None where it is ours.

        It then gets no row: it is no capture, and a change of the settings takes effect at once.
        """
        try:
            return self._chooser.choose(path, self.settings(source)).left_out
        except CaptureError:
            return None  # said when its turn comes

    def _look(self, path: Path, source: str) -> SeenFile | None:
        seen = look_at(path, source)
        if seen is None:
            return None
        empty = seen.problem is not None and seen.problem[0] == "empty"
        if empty and self._patient and self._is_young(path, source, None):
            seen = replace(seen, transient=True)
        return replace(seen, identity=self._identity(path, source))

    def _identity(self, path: Path, source: str) -> FieldIdentity | None:
        try:
            return self._chooser.name(path, self.settings(source)).identity(source)
        except CaptureError:
            return None  # said when its turn comes

    # --- segmentation --------------------------------------------------------------------------

    def start_due(
        self, limit: int, *, only: Collection[int] | None = None, ahead: int = 0
    ) -> list[InWork]:
        """Claim up to `limit` captures and hand them to the worker.

        ahead : so many are claimed at once for later calls, each of which costs a transaction
        """
        if limit <= 0:
            return []
        if len(self._claimed) < limit and only != ():
            self._claimed += self._store.captures.claim_due(
                self._owner, self._clock(), limit=max(limit, ahead) - len(self._claimed), only=only
            )
        started: list[InWork] = []
        while self._claimed and len(started) < limit:
            capture = self._claimed.popleft()
            settings = self.settings(capture.source)
            if capture.sha256 is None:
                self._look_again(capture)
                continue
            try:
                choice = self._chooser.choose(capture.path, settings)
            except CaptureError as problem:
                if problem.transient:
                    self._wait(capture, problem)
                else:
                    self._set_aside(capture, problem)
                continue
            if choice.left_out is not None:
                # The settings have changed, or a better one of its field has come, since then.
                self._leave_out(capture, choice.left_out)
                continue
            named = choice.named
            request = FieldRequest(
                path=capture.path,
                sha256=capture.sha256,
                named=named,
                settings=settings,
                settings_sha256=settings_sha256(self._config, settings),
                state_folder=self._config.record.folder,
                removal=self._config.decisions.removal,
            )
            future = self._worker.submit(request)
            started.append(InWork(capture, named, future))
        return started

    def take_over(self, claimed: Collection[Capture]) -> None:
        """Captures that are claimed in our name already: the next to be started."""
        self._claimed += claimed

    def finish(self, work: InWork) -> int | None:
        """Write down what the worker said of a capture. Returns its scan, if it has one now."""
        return self.finish_all([work])[0]

    def finish_all(self, works: Sequence[InWork]) -> list[int | None]:
        """As `finish`; what was measured is one transaction."""
        answers = [self._answer_to(work) for work in works]
        answers = [
            None if measured is None else self._compared(measured, work.capture.source)
            for work, measured in zip(works, answers, strict=True)
        ]
        found = iter(
            self._store.captures.record_measurements(
                [
                    NewMeasurement(work.capture.id, self._place(work), measured)
                    for work, measured in zip(works, answers, strict=True)
                    if measured is not None
                ],
                self._owner,
                self._clock(),
            )
            if any(answers)
            else []
        )
        scans = [None if measured is None else next(found) for measured in answers]
        if any(
            scan is None and measured is not None
            for scan, measured in zip(scans, answers, strict=True)
        ):
            self.tell_of_equal_pictures()
        for work, measured in zip(works, answers, strict=True):
            if measured is not None:
                log.info(
                    "capture=%s dish=%s fraction=%s confluence=%s took_s=%.2f",
                    shown_name(work.capture.path),
                    work.named.dish,
                    _number(measured.areas.differentiated_fraction),
                    _number(measured.areas.confluence),
                    measured.took_s,
                )
        return scans

    def tell_of_equal_pictures(self) -> None:
        """One picture that came for several dishes is a fault of the imager: somebody must hear."""
        tell_of_equal_pictures(self._config, self._store, self._clock())

    def _answer_to(self, work: InWork) -> FieldMeasurement | None:
        """What the worker measured; None where it did not, which is then on record."""
        capture = work.capture
        try:
            return work.future.result()
        except LeftOutError as problem:
            self._leave_out(capture, problem.what)
            return None
        except CaptureError as problem:
            self._not_measured(capture, problem)
            return None
        except (BrokenExecutor, CancelledError):
            self._worker_died(work)
            return None
        except ModelRefusedError as problem:
            # No fault of the capture: it waits until the model is put right.
            self._wait(capture, CaptureError(str(problem), reason="model-refused", transient=True))
            return None
        except Exception as problem:
            # A fault of ours stops no other capture, is no number, and is not the capture's:
            # it waits, until a newer version perhaps can read it.
            log.exception("capture=%s: unexpected fault", shown_name(capture.path))
            self._wait(
                capture,
                CaptureError(
                    f"{shown_name(capture.path)}: unexpected fault in colonywatch: {problem!r}; "
                    "see the log",
                    reason="internal-error",
                    transient=True,
                ),
            )
            return None

    def _place(self, work: InWork) -> ScanPlace:
        return ScanPlace(
            named=work.named.identity(work.capture.source),
            key=work.named.scan,
            gap_s=self.settings(work.capture.source).scan_gap_s,
            ahead_s=60 * self._config.decisions.clock.ahead_min,
        )

    def _compared(self, measured: FieldMeasurement, source: str) -> FieldMeasurement:
        """With the doubts that a capture raises that is unlike its source's earlier ones."""
        if source == UNLISTED:
            return measured  # folders of anything, from anywhere
        earlier = self._looks.get(source)
        if earlier is None:
            found = self._store.captures.last_looks(source, limit=KEPT)
            earlier = self._looks[source] = deque((Look(*one) for one in found), maxlen=KEPT)
        look = Look(measured.shape, measured.quality)
        doubts = unlike(look, earlier)
        earlier.append(look)
        return replace(measured, doubts=(*measured.doubts, *doubts)) if doubts else measured

    def _worker_died(self, work: InWork) -> None:
        capture, now = work.capture, self._clock()
        if not self._worker.died_with(work.future, capture.sha256 or ""):
            again = self._store.captures.record_waiting(
                capture.id,
                self._owner,
                "worker-died",
                f"{shown_name(capture.path)}: the segmentation process ended before its turn came",
                now,
            )
            log.warning(
                "capture=%s: worker died before its turn; next_try=%s",
                shown_name(capture.path),
                again,
            )
            return
        quarantined = self._store.captures.record_crash(
            capture.id, self._owner, now, limit=CRASHES_ALLOWED
        )
        log.error(
            "worker died with capture=%s; %s",
            shown_name(capture.path),
            "set aside as unreadable" if quarantined else "tried once more",
        )

    def _not_measured(self, capture: Capture, problem: CaptureError) -> None:
        if problem.reason in ("changed", "missing"):
            self._look_again(capture, problem)
        elif problem.transient or self._may_be_half_written(capture):
            self._wait(capture, problem)
        else:
            self._set_aside(capture, problem)

    def _may_be_half_written(self, capture: Capture) -> bool:
        return self._patient and self._is_young(capture.path, capture.source, capture.first_seen_at)

    def _is_young(self, path: Path, source: str, first_seen_at: datetime | None) -> bool:
        """May the file still be in the making? By its age on the disk.

        A time of the future comes from an imager whose clock runs ahead; the file is then as old
        as our first look at it.
        """
        settings = self._sources.get(source)
        if settings is None:
            return False
        now = self._clock()
        try:
            written = datetime.fromtimestamp(look_at_file(path).mtime_ns / 1e9, UTC)
        except OSError:
            return False
        if written > now:
            written = first_seen_at or now
        # Seen in a time to come, before our own clock was set back: then how old it is cannot be
        # told, and it is not to wait until that time comes again.
        return 0 <= (now - written).total_seconds() < settings.young_s

    def _look_again(self, capture: Capture, problem: CaptureError | None = None) -> None:
        """The file at the capture's path has to be hashed (again): take it in anew."""
        seen = self._look(capture.path, capture.source)
        if seen is None and self._was_nothing(capture):
            log.info("capture=%s: went away empty; forgotten", shown_name(capture.path))
            self._store.captures.forget(capture.id, self._owner)
            self.forgotten.append(capture.path)
            return
        if seen is None:
            gone = problem or CaptureError(
                f"{shown_name(capture.path)}: is not there any more",
                reason="missing",
                transient=True,
            )
            self._wait(capture, gone)
            return
        self._store.captures.look_again(capture.id, self._owner, seen, self._clock())

    def _was_nothing(self, capture: Capture) -> bool:
        """An empty file that is gone. With its folder gone too, its source may come back."""
        return capture.sha256 is None and capture.reason == "empty" and capture.path.parent.is_dir()

    def _wait(self, capture: Capture, problem: CaptureError) -> None:
        again = self._store.captures.record_waiting(
            capture.id, self._owner, problem.reason, str(problem), self._clock()
        )
        log.warning(
            "capture=%s waiting reason=%s next_try=%s: %s",
            shown_name(capture.path),
            problem.reason,
            again and again.isoformat(timespec="seconds"),
            problem,
        )

    def _set_aside(self, capture: Capture, problem: CaptureError) -> None:
        self._store.captures.record_unreadable(
            capture.id, self._owner, problem.reason, str(problem), self._clock()
        )
        log.warning(
            "capture=%s unreadable reason=%s: %s", shown_name(capture.path), problem.reason, problem
        )

    def _leave_out(self, capture: Capture, why: str) -> None:
        """It was taken in, and another picture of its field is looked at: it is no capture."""
        gone = self._store.captures.leave_out(capture.id, self._owner, why, self._clock())
        for path in gone:
            self.left_out_late.append((path, capture.source, why))
        log.info("capture=%s left out: %s", shown_name(capture.path), shown_name(why))

    # --- record and decisions ------------------------------------------------------------------

    def put_zones_right(self) -> list[str]:
        """Where a source's `timezone` was changed, what is on record goes by it from now on.

        Returns a sentence for each such source.
        """
        said = []
        zones = {name: one.timezone for name, one in self._sources.items()}
        for source, zone in (zones | {UNLISTED: self._config.unlisted.timezone}).items():
            scans = self._store.zones.put_right(
                source, zone, ahead_s=60 * self._config.decisions.clock.ahead_min, now=self._clock()
            )
            if scans:
                dishes = "1 dish is" if len(scans) == 1 else f"{len(scans)} dishes are"
                said.append(
                    f"source {source}: its time zone is {zone} now; {dishes} put right in times "
                    "that name no zone"
                )
                log.warning("%s", said[-1])
                self.read_scans(scans)
        return said

    def complete_scans(self) -> list[int]:
        """Scans that nothing more is expected of."""
        complete = self._store.dishes.scans_to_read(
            self._clock(),
            {name: source.scan_quiet_s for name, source in self._sources.items()}
            | {UNLISTED: self._config.unlisted.scan_quiet_s},
            {name: source.fields_per_scan for name, source in self._sources.items()},
        )
        return [scan for scan in complete if scan not in self._faulty_scans]

    def read_scan(self, scan_id: int) -> ScanOutcome | None:
        """One scan -> its reading and all that follows, in one transaction.

        A scan that trips over a fault of ours stays unread until the program begins anew; the
        others go on.
        """
        self._looking_back.forget()
        try:
            outcome = self._read(scan_id, self._put_together(scan_id))
        except MonitorError:
            raise
        except Exception:
            self._faulty_scans.add(scan_id)
            log.exception("scan=%d: unexpected fault; it is left until the next start", scan_id)
            return None
        _say(outcome)
        return outcome

    def read_scans(self, scan_ids: Sequence[int]) -> list[ScanOutcome]:
        """As `read_scan`, in this order, for scans of which many are read in one transaction.

        Where one of these fails, they are read one by one.
        """
        found: list[ScanOutcome | None] = []
        rest = deque(scan_ids)
        while rest:
            some: list[int] = []
            try:
                laid_out = self._put_some_together(rest, some)
                with self._store.at_once():
                    self._store.dishes.fetch(some)
                    outcomes = [self._read(*one) for one in zip(some, laid_out, strict=True)]
            except RecordError:
                raise
            except Exception:
                some += rest
                rest.clear()
                log.warning("%d scans cannot be read together; one by one", len(some))
                found += [self.read_scan(scan) for scan in some]
                continue
            for outcome in outcomes:
                _say(outcome)
            found += outcomes
        return [outcome for outcome in found if outcome is not None]

    def _put_some_together(self, rest: deque[int], some: list[int]) -> list[_LaidOut]:
        """Moves from `rest` to `some` what memory has room for."""
        self._looking_back.forget()
        found: list[_LaidOut] = []
        with self._store.looking():
            self._store.dishes.fetch(rest)
            while rest and sum(one.pixels for one in found) < READ_TOGETHER_PX:
                some.append(rest.popleft())
                found.append(self._put_together(some[-1]))
        return found

    def _put_together(self, scan_id: int) -> _LaidOut:
        """What can be worked out before the transaction, which is then a short one."""
        fields = self._store.dishes.fields_of_scan(scan_id)
        laid_out = _LaidOut(fields, self._lay_out)
        dish, label = self._store.dishes.dish_of_scan(scan_id)
        self._looking_back.prepare(fields, dish, label, camera=self._camera_or_none)
        return laid_out

    def _read(self, scan_id: int, laid_out: _LaidOut) -> ScanOutcome | None:
        return self._store.dishes.read_scan(
            scan_id,
            sum_up=lambda fields: self._new_reading(fields, laid_out.of(fields)),
            decide=self._decide,
            now=self._clock(),
            follow=laid_out.follow,
        )

    def _lay_out(self, fields: Sequence[ScanField]) -> Mosaic:
        """Put a scan's fields together, by their places on the stage where these are known."""
        source = fields[0].source
        settings = self.settings(source)
        camera = None
        if all(field.measurement.stage is not None for field in fields):
            try:
                camera = self._calibration(CalibrationKind.CAMERA, source, self._clock())
            except CalibrationError as problem:
                log.info("source=%s: places of fields are not known: %s", source, problem)
        return lay_out(
            [
                FieldPlace(
                    field.field or field.capture_name if len(fields) > 1 else "",
                    field.measurement,
                    None if camera is None else _to_stage(field.measurement, camera, settings),
                )
                for field in fields
            ],
            lambda measured: read_label_map(self._config.record.folder, measured),
            min_area_um2=MIN_COLONY_UM2,
        )

    def _new_reading(self, fields: Sequence[ScanField], mosaic: Mosaic) -> NewReading:
        measured = [field.measurement for field in fields]
        summary = sum_up(
            measured,
            areas=mosaic.areas,
            colonies=mosaic.colonies,
            joined=mosaic.joined,
            vessel_um2=_vessel_um2(self._sources.get(fields[0].source), measured),
        )
        return NewReading(
            **asdict(summary),
            model_sha256=measured[0].model_sha256,
            settings_sha256=_common_hash({field.settings_sha256 for field in measured}),
        )

    def _decide(self, facts: ScanFacts, reading: Reading) -> ScanDecision:
        """What a dish's course calls for, now that a scan has come; the plan is of its newest."""
        late = facts.latest
        is_late = late is not None
        if late is not None:
            facts, reading = late.facts, late.reading
        if facts.course is None or facts.has_ended:
            return ScanDecision(facts.status, severity=facts.severity)
        limits = self._config.decisions.limits_for(
            reading.dish, facts.fields[0].source, facts.label
        )
        found = run(facts.course, limits)
        settled = settle(found, facts.course.alerts)
        wanted = [_alert_of(change, found) for change in settled.new]
        wanted += _corrections(settled, found)
        verdicts: tuple[RegionVerdict, ...] = ()
        if not is_late:
            # Also where nothing is left: an empty dish is no fraction, but rid of its cells.
            verdicts = self._given_up(facts)
            if not reading.doubts:
                verdicts += self._verify(facts)
            wanted += _told_of_removal(facts, verdicts)
            wanted += _told_of_unchecked(facts, verdicts)
        left = any(one.check in _STILL_TO_REMOVE for one in verdicts)
        left = left or _partly(facts, verdicts)
        plan, replaces = self._planned(facts, found, limits, left=left, is_late=is_late)
        return ScanDecision(
            status=found.after.status,
            alerts=self._to_be_mailed(wanted, facts, reading, limits),
            plan=None if plan is None else plan[1],
            planned_by=None if plan is None else plan[0],
            replaces_plans=replaces,
            severity=found.after.severity,
            verdicts=verdicts,
            stand=found.after,
            stands=found.stands,
            kept=tuple(KeptAlert(alert.id, change.reading) for alert, change in settled.kept),
            replaced=tuple(alert.id for alert in settled.replaced),
        )

    def _planned(
        self,
        facts: ScanFacts,
        found: Run,
        limits: DifferentiationConfig,
        *,
        left: bool,
        is_late: bool,
    ) -> tuple[tuple[Reading, RemovalPlan | None] | None, bool]:
        """The scan to plan by and its plan; whether plans of before end.

        That is the newest scan that can be judged: plans of older ones aim at where the cells were.
        What comes late makes a new one only where it says something else.
        """
        assert facts.course is not None
        series = [*facts.course.settled, *facts.course.undecided]
        judged = [one for one in series if can_be_judged(one, limits)]
        if not judged or (not is_late and judged[-1] is not series[-1]):
            return None, False
        newest = judged[-1]
        wanted = self._config.decisions.removal.earlier_scans
        rests_on = judged[-1 - wanted :]
        if is_late and not any(one.scan_id in found.stands for one in rests_on):
            return None, False
        stand = stand_after(newest, facts.course, found)
        plan = None
        if (left or stand.status is DishStatus.DIFFERENTIATING) and (
            AlertTopic.PAST_SAVING not in stand.is_open
        ):
            if newest is not series[-1]:
                facts = replace(
                    facts,
                    fields=tuple(self._store.dishes.scan_fields(newest.id)),
                    history=tuple(series[: series.index(newest)]),
                )
            plan = self._plan(facts, newest, limits)
        if is_late and self._stands_already(newest, plan):
            return None, False
        return (newest, plan), True

    def _stands_already(self, reading: Reading, plan: RemovalPlan | None) -> bool:
        """Is that what the plan on record of this scan says, be it alive or ended by a person?"""
        on_record = self._store.plans.for_reading(reading.id)
        if on_record is None or on_record.status is PlanStatus.SUPERSEDED:
            return plan is None and on_record is None
        if plan is None:
            return on_record.status not in LIVE_PLANS
        return (on_record.targets, on_record.refused) == (plan.targets, plan.refused)

    def _to_be_mailed(
        self,
        wanted: list[NewAlert],
        facts: ScanFacts,
        reading: Reading,
        limits: DifferentiationConfig,
    ) -> tuple[NewAlert, ...]:
        """The alerts with whom to tell, or why nobody; and those whose snooze is over."""
        now = self._clock()
        source = facts.fields[0].source
        topics = {alert.topic for alert in wanted if alert.held_back is None}
        for held in due_again(facts.alerts, now):
            if held.topic not in topics | SILENCES:
                wanted.append(
                    NewAlert(held.kind, held.topic, held.severity, text=held.text, role="again")
                )
        found = []
        for alert in wanted:
            if alert.held_back is not None:
                found.append(alert)
                continue
            way = mailing(
                alert.kind,
                alert.severity,
                told(facts.alerts, alert.topic),
                at=(alert.reading or reading).at,
                now=now,
                cooldown=timedelta(hours=limits.cooldown_h),
                oldest=None
                if limits.mail_within_h is None
                else timedelta(hours=limits.mail_within_h),
                not_before=not_before(self._config, source, now),
            )
            what = alert.kind, alert.severity, source
            found.append(
                replace(
                    alert,
                    mail_to=mail_to(self._config, *what),
                    channels=channels_to(self._config, *what),
                    held_back=way.held_back,
                    wait=way.wait,
                )
            )
        return tuple(found)

    def _plan(
        self, facts: ScanFacts, reading: Reading, limits: DifferentiationConfig
    ) -> RemovalPlan | None:
        source = facts.fields[0].source
        settings = self.settings(source)
        now = self._clock()
        try:
            camera = self._calibration(CalibrationKind.CAMERA, source, now)
            earlier = self._looking_back.scans_before(facts, reading, limits)
            if self._was_moved(facts, earlier, camera):
                return None
            return plan_removal(
                _plan_id(reading, now),
                reading,
                [
                    MeasuredField(one.capture_sha256, one.measurement)
                    for one in self._looking_back.aimed_by(
                        sorted(facts.fields, key=place_of), earlier, camera
                    )
                ],
                camera,
                self._config.decisions.removal,
                now,
                settings=settings,
                picker=self._calibration(CalibrationKind.PICKER, source, now),
                earlier=earlier,
            )
        except CalibrationError as problem:
            log.warning("dish=%s: no removal plan: %s", reading.dish, problem)
            return None
        except Exception:
            # The reading and its alert matter more than the plan.
            log.exception("dish=%s: no removal plan: unexpected fault", reading.dish)
            return None

    def _was_moved(
        self, facts: ScanFacts, earlier: Sequence[Scan], camera: Calibration | None
    ) -> bool:
        """Was the dish put back elsewhere since a scan that its hits are laid by?"""
        if not earlier or not any(
            aim.points for one in facts.fields for aim in one.measurement.aims
        ):
            return False
        # In an order of their own: sums in another one may differ in the last digit.
        ordered = sorted(facts.fields, key=lambda one: one.capture_sha256)
        fields = self._looking_back.labels_of([one.measurement for one in ordered])
        moved_um = self._looking_back.moved_since(earlier, fields, camera)
        if moved_um is None:
            return False
        log.warning(
            "dish=%s: no removal plan: it lies %.0f um from where it lay in an earlier scan that "
            "hits are laid by; the next scans make one if it stays where it is",
            facts.dish, moved_um,
        )  # fmt: skip
        return True

    def _given_up(self, facts: ScanFacts) -> tuple[RegionVerdict, ...]:
        """Regions that were picked so long ago that no scan will tell any more."""
        at = min(one.measurement.acquired_at for one in facts.fields)
        limits = self._config.decisions.verification
        return tuple(one for plan in facts.picked for one in give_up(plan, at, limits))

    def _verify(self, facts: ScanFacts) -> tuple[RegionVerdict, ...]:
        """What this scan says of regions that were picked since the last one."""
        if not facts.picked:
            return ()
        source = facts.fields[0].source
        try:
            camera = self._calibration(CalibrationKind.CAMERA, source, self._clock())
            fields = self._looking_back.labels_of([one.measurement for one in facts.fields])
            found: list[RegionVerdict] = []
            for plan in facts.picked:
                made_from = self._looking_back.made_from(plan)
                shift_um = self._looking_back.shift_since(plan, made_from, fields, camera)
                found += verify_removal(
                    plan,
                    made_from,
                    fields,
                    camera,
                    self._config.decisions.verification,
                    shift_um=shift_um,
                )
            return tuple(found)
        except Exception:
            # The reading matters more; the next scan looks again.
            log.exception("dish=%s: what was picked is not checked: unexpected fault", facts.dish)
            return ()

    def _camera_or_none(self, source: str) -> Calibration | None:
        """Without a word: what is wrong with it is said when a plan is to be made."""
        on_record = self._store.calibrations.of(source, CalibrationKind.CAMERA)
        try:
            return calibration_to_use(
                CalibrationKind.CAMERA, source, self.settings(source), on_record, self._clock()
            )
        except CalibrationError:
            return None

    def _calibration(self, kind: CalibrationKind, source: str, now: datetime) -> Calibration | None:
        on_record = self._store.calibrations.of(source, kind)
        used = calibration_to_use(kind, source, self.settings(source), on_record, now)
        if used is not None:
            where = "the record" if used in on_record else "config.yaml"
            log.info("source=%s: %s calibration %s from %s", source, kind, used.id, where)
        return used


def _say(outcome: ScanOutcome | None) -> None:
    if outcome is None:
        return
    reading = outcome.reading
    for said in outcome.set_aside:
        log.warning("scan dish=%s: %s", reading.dish, said)
    log.info(
        "scan dish=%s at=%s fields=%d fraction=%s confluence=%s status=%s%s",
        reading.dish,
        reading.at.isoformat(timespec="minutes"),
        reading.captures,
        _number(reading.differentiated_fraction),
        _number(reading.confluence),
        outcome.decision.status,
        f" alert={outcome.decision.alert}" if outcome.decision.alert else "",
    )


def _told_of_removal(facts: ScanFacts, verdicts: Sequence[RegionVerdict]) -> list[NewAlert]:
    """An alert where something that was picked is still there; its end when the next is gone."""
    checks = [one.check for one in verdicts]
    if set(checks) <= _NOTHING_TOLD:
        return []
    counted = ", ".join(f"{checks.count(kind)} {kind}" for kind in RemovalCheck if kind in checks)
    plans = ", ".join(dict.fromkeys(one.plan_id for one in verdicts))
    text = f"Picked by plan {plans}, and looked at again: {counted}."
    log.info("dish=%s: %s", facts.dish, text)
    is_open = AlertTopic.NOT_REMOVED in open_topics(facts.alerts)
    if not set(checks) & _STILL_TO_REMOVE:
        kinds = [AlertKind.CLEARED] if is_open else []
    else:
        kinds = [AlertKind.WORSENED if is_open else AlertKind.RAISED]
    return [NewAlert(kind, AlertTopic.NOT_REMOVED, text=text) for kind in kinds]


def _partly(facts: ScanFacts, verdicts: Sequence[RegionVerdict]) -> bool:
    """Was a region looked at of which the picker left some hits out?"""
    some = {
        (plan.id, fate.region_id)
        for plan in facts.picked
        for fate in plan.fates
        if fate.outcome is PickOutcome.PARTLY_PICKED
    }
    return any((one.plan_id, one.region_id) in some for one in verdicts)


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
        text = "What was picked since then was looked at again."
        return [NewAlert(AlertKind.CLEARED, AlertTopic.NOT_CHECKED, text=text)]
    return []


def _alert_of(change: Change, found: Run) -> NewAlert:
    """What is overtaken by a later scan that came before it is on record, and mailed to nobody."""
    later = [one for one in found.changes if one.topic is change.topic]
    return NewAlert(
        change.kind,
        change.topic,
        change.severity,
        text=change.text,
        reading=change.reading,
        held_back=None if later[-1] is change else OVERTAKEN,
    )


def _corrections(settled: Settled, found: Run) -> list[NewAlert]:
    """Where people believe what scans that came late have shown to be otherwise, they are told."""
    told = []
    for topic in settled.unfounded:
        text = "Scans that came late show that this was not so: the alert before had no ground."
        told.append(NewAlert(AlertKind.CLEARED, topic, text=text, role="again"))
    for topic in settled.too_early:
        severity = Severity.WARNING
        if topic is AlertTopic.DIFFERENTIATION:
            severity = found.after.severity or severity
        text = "Scans that came late show that it was not over: the all-clear was too early."
        told.append(NewAlert(AlertKind.RAISED, topic, severity, text=text, role="again"))
    return told


class _LaidOut:
    """A scan's fields put together once: before the transaction, which is then a short one."""

    def __init__(
        self, fields: Sequence[ScanField], lay_out: Callable[[Sequence[ScanField]], Mosaic]
    ) -> None:
        self._lay_out = lay_out
        self._fields = _identity(fields)
        self.pixels = sum(prod(field.measurement.shape) for field in fields)
        self._mosaic = lay_out(fields) if fields else None

    def of(self, fields: Sequence[ScanField]) -> Mosaic:
        """Anew where a field has come in between."""
        if self._mosaic is None or _identity(fields) != self._fields:
            self._fields, self._mosaic = _identity(fields), self._lay_out(fields)
        return self._mosaic

    def follow(self, before: ColonyScan | None, next_number: int) -> ColonyScan | None:
        mosaic = self._mosaic
        if mosaic is None or mosaic.colonies is None:
            return None
        known = before or ColonyScan(Following(()))
        found = compare(known.maps, mosaic.maps)
        following = follow(
            known.following.colonies, mosaic.colonies, found.shared, found.sizes, next_number
        )
        maps = carry(known.maps, mosaic.maps, dict(following.kept), found.shifts)
        return ColonyScan(following, maps)


def _identity(fields: Sequence[ScanField]) -> list[tuple[str, str | None]]:
    return [(field.capture_sha256, field.measurement.label_map) for field in fields]


def _to_stage(
    measured: FieldMeasurement, camera: Calibration, settings: SourceSettings
) -> Affine | None:
    size, stage = measured.pixel_size_um, measured.stage
    if size is None or stage is None or why_other_pixels(camera, settings, size) is not None:
        return None
    try:
        return field_to_stage(
            shape=measured.shape,
            pixel_size_um=size,
            pixel_to_stage=camera.pixel_to_stage,
            centre=stage,
        )
    except CalibrationError:
        return None


def _vessel_um2(source: SourceConfig | None, fields: Sequence[FieldMeasurement]) -> float | None:
    """Area of the bottom of the vessel; None where nobody has said what the cells live in."""
    if source is not None and source.vessel is not None:
        return Vessel(source.vessel).area_um2
    if source is not None and source.well_diameter_mm is not None:
        return pi / 4 * (1000 * source.well_diameter_mm) ** 2
    if len(fields) == 1 and fields[0].pixel_size.source is PixelSizeSource.WELL:
        # The picture shows the well whole; its scale was taken from that.
        size = fields[0].pixel_size_um or 0.0
        return fields[0].areas.imaged_px * size**2
    return None


def _common_hash(hashes: Collection[str]) -> str:
    """The fields' settings; where they were changed between two fields, a hash of all of them."""
    if len(hashes) == 1:
        return next(iter(hashes))
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


_plans_made = count()


def _plan_id(reading: Reading, now: datetime) -> str:
    # Of a backlog several scans may change the plan of the newest one within one moment.
    text = f"{reading.dish}/{reading.id}/{now.isoformat()}/{next(_plans_made)}"
    return f"{now:%Y%m%d}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def look_at(path: Path, source: str) -> SeenFile | None:
    """Size, time and hash of a file; None where it is not there. Only regular files are opened."""
    try:
        before = look_at_open_file(path)
    except FileNotFoundError:
        return None
    except BundleTooLargeError as problem:
        return SeenFile(path, source, 0, 0, None, ("too-large", f"{shown_name(path)}: {problem}"))
    except OSError as problem:
        return SeenFile(path, source, 0, 0, None, _unreachable(path, problem), transient=True)
    size, mtime_ns = before.size, before.mtime_ns
    if not before.is_regular:
        # Opening a FIFO or a device could block for ever.
        problem_text = f"{shown_name(path)}: is no regular file"
        return SeenFile(path, source, size, mtime_ns, None, ("not-a-file", problem_text))
    if size == 0:
        text = (
            f"{shown_name(path)}: is empty; if the imager is still writing, it is read when it is "
            "done"
        )
        return SeenFile(path, source, 0, mtime_ns, None, ("empty", text))
    try:
        sha256 = hash_file(path)
    except FileNotFoundError:
        return None
    except OSError as problem:
        return SeenFile(
            path, source, size, mtime_ns, None, _unreachable(path, problem), transient=True
        )
    return SeenFile(path, source, size, mtime_ns, sha256)


def _unreachable(path: Path, problem: OSError) -> tuple[str, str]:
    reason = "no-permission" if isinstance(problem, PermissionError) else "io-error"
    return reason, f"{shown_name(path)}: cannot be read ({os.strerror(problem.errno or 0)})"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
