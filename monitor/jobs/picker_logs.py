"""What the picker says it did -> what is on record of its plans.

The folder is the picker's: nothing in it is moved, changed or deleted. A log may grow, and may come
again; its bytes tell what is known. The lines on one plan are used together or not at all.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from monitor.capture.settling import Settling
from monitor.config import PickLogsConfig
from monitor.config.outlets import QPixLogConfig
from monitor.culture import Hit, PickOutcome, RemovalPlan
from monitor.errors import PickLogError, UsageError
from monitor.outlets.picking.pick_log import LoggedPick, read_pick_log
from monitor.outlets.picking.qpix_log import PickedFeature, is_qpix_log, read_qpix_log
from monitor.record.pick_logs import PickLog, PickLogState
from monitor.record.plan_reports import PickReport
from monitor.record.store import Store

log = logging.getLogger(__name__)

LARGEST_BYTES = 16 * 2**20
# How far the picker's clock may be behind ours.
CLOCKS_APART = timedelta(minutes=5)
WHO = "picker"
# A feature is one region's where the next region's hit is farther by this.
_CLEARLY = 2.0
_WELL = re.compile(r"([A-Za-z]{1,2})0*([1-9][0-9]?)")


class PickLogFolder:
    """The folder of the logs. `look` is called again and again, by one thread.

    out_of_reach : files, or the folder, that could not be read at the last look, with why
    """

    def __init__(self, config: PickLogsConfig, store: Store) -> None:
        self._folder = config.folder
        self._qpix = config.qpix
        self._store = store
        self._settling = Settling(config.settle_s)
        self._known: dict[Path, tuple[int, int]] = {}
        self.out_of_reach: dict[str, str] = {}

    def look(self, clock: Callable[[], datetime], monotonic_s: float | None = None) -> None:
        """Read what has settled. Raises RecordError, and then reads it again the next time."""
        if self._folder is None:
            return
        now_s = time.monotonic() if monotonic_s is None else monotonic_s
        troubles: dict[str, str] = {}
        try:
            paths = sorted(path for path in self._folder.iterdir() if _is_log(path))
        except OSError as problem:
            paths = []
            troubles[str(self._folder)] = problem.strerror or str(problem)
        for path in paths:
            try:
                self._look_at(path, clock, now_s)
            except OSError as problem:
                troubles[str(path)] = problem.strerror or str(problem)
        for name, why in troubles.items():
            if name not in self.out_of_reach:
                log.error("pick log %r cannot be read (%s); it is tried again", name, why)
        self.out_of_reach = troubles

    def _look_at(self, path: Path, clock: Callable[[], datetime], now_s: float) -> None:
        seen = _size_and_time(path)
        if self._known.get(path) == seen:
            return
        if not self._settling.looked(path, *seen, now_s):
            return
        content = None if seen[0] > LARGEST_BYTES else path.read_bytes()
        if _size_and_time(path) != seen:
            return
        self._take_in(path, content, seen, clock())
        self._known[path] = seen

    def _take_in(
        self, path: Path, content: bytes | None, seen: tuple[int, int], now: datetime
    ) -> None:
        of = f"{path}: {seen}".encode("utf-8", "surrogateescape") if content is None else content
        sha256 = hashlib.sha256(of).hexdigest()
        if self._store.pick_logs.knows(sha256, path):
            return
        try:
            if content is None:
                raise PickLogError(
                    f"is larger than {LARGEST_BYTES // 2**20} MiB, far more than any pick log",
                    reason="too-large",
                )
            problems: list[PickLogError] = []
            if is_qpix_log(content):
                picks = self._of_qpix(content, problems)
            else:
                picks = read_pick_log(content)
        except PickLogError as problem:
            read = PickLog(sha256, path, PickLogState.REFUSED, problem.reason, str(problem))
        else:
            read = self._use(sha256, path, picks, problems, now)
        self._store.pick_logs.add(read, now)
        if read.state is PickLogState.READ:
            log.info("pick log %r: read; plans: %s", path.name, ", ".join(read.plans) or "none")
        else:
            log.warning("pick log %r: %s: %s", path.name, read.state, read.message)

    def _of_qpix(self, content: bytes, problems: list[PickLogError]) -> list[LoggedPick]:
        """The picks of a QPix log, each with its plan, region and hit.

        problems : gets what cannot be matched; then none of the lines on that dish is used
        """
        if self._qpix is None:
            raise PickLogError(
                "is a QPix log; set what its positions mean with outlets.removal.pick_logs.qpix, "
                "such as {unit: um, frame: stage}",
                reason="dialect",
            )
        logged = read_qpix_log(content, self._qpix)
        plans = [plan for plan in self._store.plans.all() if plan.handover is not None]
        picks: list[LoggedPick] = []
        by_place: dict[tuple[str, str], list[PickedFeature]] = {}
        for one in logged.features:
            by_place.setdefault((one.barcode, one.region), []).append(one)
        for (barcode, region), lines in by_place.items():
            try:
                plan = plan_picked(plans, barcode, region, logged.run_at)
                picks += matched(plan, lines, self._qpix)
            except PickLogError as problem:
                problems.append(problem)
        return picks

    def _use(
        self,
        sha256: str,
        path: Path,
        picks: Sequence[LoggedPick],
        problems: list[PickLogError],
        now: datetime,
    ) -> PickLog:
        used: list[str] = []
        for plan_id in dict.fromkeys(pick.plan_id for pick in picks):
            lines = [pick for pick in picks if pick.plan_id == plan_id]
            try:
                self._acknowledge(plan_id, lines, path, now, problems)
            except PickLogError as problem:
                problems.append(problem)
            else:
                used.append(plan_id)
        if not problems:
            return PickLog(sha256, path, PickLogState.READ, plans=tuple(used))
        return PickLog(
            sha256,
            path,
            PickLogState.PARTLY_READ if used else PickLogState.REFUSED,
            problems[0].reason,
            "; ".join(map(str, problems)),
            tuple(used),
        )

    def _acknowledge(
        self,
        plan_id: str,
        lines: Sequence[LoggedPick],
        path: Path,
        now: datetime,
        problems: list[PickLogError],
    ) -> None:
        try:
            plan = self._store.plans.plan(plan_id)
        except UsageError as problem:
            raise PickLogError(str(problem), reason="unknown-plan") from problem
        if plan.handover is None:
            raise PickLogError(
                f"{plan_id}: is {plan.status} and was never handed to a picker",
                reason="not-handed-out",
            )
        reports, unclear = reports_of(plan, lines)
        times = [one.at for one in lines if one.at is not None]
        early = why_too_early(plan, min(times)) if times else None
        if early is not None:
            raise PickLogError(early, reason="time")
        try:
            self._store.plans.acknowledge(
                plan_id,
                reports,
                who=WHO,
                now=now,
                picked_at=max(times) if len(times) == len(lines) else None,
                note=f"pick log {path.name}".encode("utf-8", "replace").decode(),
            )
        except UsageError as problem:
            raise PickLogError(str(problem), reason="contradictory") from problem
        problems += [PickLogError(one, reason="hits-missing") for one in unclear]


def plan_picked(
    plans: Sequence[RemovalPlan], barcode: str, region: str, run_at: datetime | None
) -> RemovalPlan:
    """The plan that a QPix run on a plate's region carried out: the last one that was handed out
    before.

    plans : those that were handed out
    run_at : when the run began; None = not known
    Raises PickLogError where there is none.
    """
    well = _WELL.fullmatch(region)
    names = {f"{barcode}/{region}"} if region else {barcode}
    if well is not None:
        names.add(f"{barcode}/{well[1].upper()}{int(well[2])}")
    found = [
        (plan.handover.at, plan)
        for plan in plans
        if plan.place in names
        and plan.handover is not None
        and (run_at is None or plan.handover.at <= run_at + CLOCKS_APART)
    ]
    if not found:
        when = "" if run_at is None else f" before {run_at:%Y-%m-%d %H:%M} UTC"
        raise PickLogError(
            f"{'/'.join(part for part in (barcode, region) if part)}: no plan of this dish was "
            f"handed out{when}",
            reason="unknown-plan",
        )
    sources = sorted({plan.source for _, plan in found})
    if len(sources) > 1:
        raise PickLogError(
            f"{sorted(names)[0]}: plans of {len(sources)} dishes of this name were handed out, of "
            f"sources {', '.join(sources)}, and the log does not say which one this was; say it "
            "with colonywatch removals done",
            reason="several-dishes",
        )
    return max(found, key=lambda one: one[0])[1]


def matched(
    plan: RemovalPlan, features: Sequence[PickedFeature], settings: QPixLogConfig
) -> list[LoggedPick]:
    """Picked features as hits of a plan, each the nearest one.

    Raises PickLogError where one is too far from every hit or between the hits of two regions.
    """
    hits = [
        (target.region_id, number, place)
        for target in plan.targets
        for number, hit in enumerate(target.hits, start=1)
        if (place := _place(hit, settings.frame)) is not None
    ]
    if len(hits) < len(plan.visits):
        raise PickLogError(
            f"{plan.id}: its hits have no positions in the frame {settings.frame!r}; set "
            "outlets.removal.pick_logs.qpix.frame",
            reason="frame",
        )
    picks = []
    for one in features:
        near = sorted(
            (math.dist((one.x_um, one.y_um), place), region_id, number)
            for region_id, number, place in hits
        )
        away, region_id, number = near[0]
        if away > settings.tolerance_um:
            raise PickLogError(
                f"{plan.id}: the feature of line {one.line} is {away:.0f} um from the nearest "
                f"hit{_other_unit(one, hits, settings)}",
                reason="unknown-target",
            )
        if any(
            other != region_id and off <= settings.tolerance_um and off < _CLEARLY * away
            for off, other, _ in near[1:]
        ):
            raise PickLogError(
                f"{plan.id}: the feature of line {one.line} is between the hits of two "
                f"regions; nothing is guessed: use removals done",
                reason="unknown-target",
            )
        picks.append(LoggedPick(one.line, plan.id, region_id, PickOutcome.PICKED, number))
    return picks


def _place(hit: Hit, frame: str) -> tuple[float, float] | None:
    x_um, y_um = {
        "stage": (hit.pick_x_um, hit.pick_y_um),
        "picker": (hit.picker_x_um, hit.picker_y_um),
        "well": (hit.well_x_um, hit.well_y_um),
    }[frame]
    return None if x_um is None or y_um is None else (x_um, y_um)


def _other_unit(
    one: PickedFeature,
    hits: Sequence[tuple[str, int, tuple[float, float]]],
    settings: QPixLogConfig,
) -> str:
    """A guess at what is wrong with the settings."""
    factor, unit = (1000.0, "mm") if settings.unit == "um" else (0.001, "um")
    place = one.x_um * factor, one.y_um * factor
    if min(math.dist(place, other) for _, _, other in hits) <= settings.tolerance_um:
        return f"; in {unit} it would fit: set outlets.removal.pick_logs.qpix.unit: {unit}"
    return "; check frame, unit and tolerance_um of outlets.removal.pick_logs.qpix"


def why_too_early(plan: RemovalPlan, picked_at: datetime) -> str | None:
    """Why a plan cannot have been carried out at a time; None where it can."""
    if plan.handover is None or picked_at >= plan.handover.at - CLOCKS_APART:
        return None
    return (
        f"{plan.id}: is reported as picked at {picked_at:%Y-%m-%d %H:%M:%S} UTC, and was handed "
        f"out "
        f"at {plan.handover.at:%Y-%m-%d %H:%M:%S} UTC; correct the picker's clock"
    )


def reports_of(
    plan: RemovalPlan, lines: Sequence[LoggedPick]
) -> tuple[list[PickReport], list[str]]:
    """What the lines on a plan say of its regions, and sentences on what they leave open.

    A region is picked when all of its hits are, partly picked when some are, failed when none is.
    Of a region whose only known hits failed, nothing is said until the others are known.

    Raises PickLogError where a region or a hit does not exist, or two lines contradict each other.
    """
    names = plan.region_names
    said: dict[str, dict[int, PickOutcome]] = {}
    for line in lines:
        region_id = names.get(line.target)
        if region_id is None:
            raise PickLogError(
                f"{plan.id}: has no region {line.target} (line {line.line})",
                reason="unknown-target",
            )
        count = max(1, len(next(t.hits for t in plan.targets if t.region_id == region_id)))
        if line.hit is not None and line.hit > count:
            raise PickLogError(
                f"{plan.id}: region {region_id} has {count} hits and no hit {line.hit} (line "
                f"{line.line})",
                reason="unknown-target",
            )
        hits = said.setdefault(region_id, {})
        for hit in range(1, count + 1) if line.hit is None else [line.hit]:
            if hits.setdefault(hit, line.outcome) is not line.outcome:
                raise PickLogError(
                    f"{plan.id}: region {region_id} is said to be {hits[hit]} and {line.outcome} "
                    f"(line {line.line})",
                    reason="contradictory",
                )
    reports, unclear = [], []
    for target in plan.targets:
        hits = said.get(target.region_id, {})
        outcomes = list(hits.values())
        picked = outcomes.count(PickOutcome.PICKED)
        if not outcomes:
            continue
        missing = len(target.hits) - len(outcomes)
        if picked == len(outcomes) and missing <= 0:
            reports.append(PickReport(target.region_id, PickOutcome.PICKED))
        elif picked:
            why = f"{picked} of {len(target.hits)} hits"
            done = sorted(hit for hit, what in hits.items() if what is PickOutcome.PICKED)
            reports.append(
                PickReport(target.region_id, PickOutcome.PARTLY_PICKED, why, tuple(done))
            )
        elif missing <= 0:
            reports.append(PickReport(target.region_id, PickOutcome.FAILED, "said by the picker"))
        else:
            unclear.append(
                f"{plan.id}: of region {target.region_id} {len(outcomes)} of {len(target.hits)} "
                "hits failed, and nothing is said about the others"
            )
    return reports, unclear


def _is_log(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and not path.name.startswith(".") and path.is_file()


def _size_and_time(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
