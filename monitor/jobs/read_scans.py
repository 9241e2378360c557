"""Complete scans become readings, alerts, removal plans and messages."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime
from itertools import count

from monitor.config import Config
from monitor.culture import (
    UNLISTED,
    Basis,
    Calibration,
    Reading,
    ScanFacts,
    ScanField,
    ScanOutcome,
)
from monitor.decisions.decide import Assessment, Rules, assess, decide
from monitor.decisions.evidence import Calibrations, Evidence
from monitor.decisions.recipients import not_before
from monitor.errors import MonitorError, RecordError
from monitor.host.clock import Clock
from monitor.host.log_text import doubt_text, number_text
from monitor.jobs.calibration_in_use import CalibrationsNow
from monitor.jobs.foresight import Foresight
from monitor.record.scans import OpenScan
from monitor.record.store import Store
from monitor.scans.assembly import AssembledScan, assemble
from monitor.scans.earlier_scans import EarlierScans

log = logging.getLogger(__name__)

# Scans whose label maps are larger than that in all are read one by one.
READ_TOGETHER_PX = 4_000_000
# So often a transaction is begun anew in which the facts were not as they had been before it.
TRIES = 5
_plans_made = count()


class _FactsChangedError(Exception):
    """Inside the transaction the facts were others than those that pictures were looked at for.

    place : of the scan among those that are read together
    basis, calibrations : what has to be looked at; None = the scan has other fields
    """

    def __init__(
        self, place: int, basis: Basis | None = None, calibrations: Calibrations | None = None
    ) -> None:
        super().__init__("the facts of a scan changed while it was read")
        self.place, self.basis, self.calibrations = place, basis, calibrations


class ScanReader:
    """Facts and evidence are collected, `decide` says what they mean, the record carries it out."""

    def __init__(self, config: Config, store: Store, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._earlier = EarlierScans(config)
        self._faulty_scans: set[int] = set()

    def put_zones_right(self) -> list[str]:
        """Where a source's `timezone` was changed, what is on record goes by it from now on.

        Returns a sentence for each such source.
        """
        said = []
        zones = {one.name: one.timezone for one in self._config.sources}
        for source, zone in (zones | {UNLISTED: self._config.unlisted.timezone}).items():
            scans = self._store.zones.put_right(
                source, zone, ahead_s=60 * self._config.decisions.clock.ahead_min, now=self._clock()
            )
            if scans:
                dishes = "1 dish is" if len(scans) == 1 else f"{len(scans)} dishes are"
                said.append(
                    f"source {source}: its time zone is now {zone}; {dishes} "
                    f"corrected in times without a zone"
                )
                log.warning("%s", said[-1])
                self.read_scans(scans)
        return said

    def complete_scans(self) -> list[int]:
        """Scans that nothing more is expected of."""
        sources, unlisted = self._config.sources, self._config.unlisted
        complete = self._store.scans.scans_to_read(
            self._clock(),
            {one.name: one.scan_quiet_s for one in sources} | {UNLISTED: unlisted.scan_quiet_s},
            {one.name: one.fields_per_scan for one in sources},
        )
        return [scan for scan in complete if scan not in self._faulty_scans]

    def read_scan(self, scan_id: int) -> ScanOutcome | None:
        """One scan -> its reading and all that follows, in one transaction.

        A scan that trips over a fault of ours stays unread until the program begins anew; the
        others go on.
        """
        try:
            (outcome,) = self._read_together([scan_id], self._assembled(deque([scan_id]), []))
        except MonitorError:
            raise
        except _FactsChangedError:
            log.warning("scan=%d: changes all the time; it is read later", scan_id)
            return None
        except Exception:
            self._faulty_scans.add(scan_id)
            log.exception("scan=%d: unexpected error; left until the next start", scan_id)
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
                outcomes = self._read_together(some, self._assembled(rest, some))
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

    # --- before the transaction ----------------------------------------------------------------

    def _assembled(self, rest: deque[int], some: list[int]) -> list[AssembledScan]:
        """Moves from `rest` to `some` what memory has room for, puts these scans together, and
        looks at what their decisions will ask for as far as that can be foreseen.
        """
        self._earlier.forget()
        found: list[AssembledScan] = []
        with self._store.looking():
            if len(rest) > 1:
                self._store.scans.fetch(rest)
            foresight = Foresight(self._config, self._store)
            calibrations = CalibrationsNow(self._config, self._store, self._clock())
            while rest and sum(one.pixels for one in found) < READ_TOGETHER_PX:
                some.append(rest.popleft())
                found.append(self._assemble(some[-1], calibrations))
                basis = foresight.basis(some[-1], found[-1])
                if basis is not None:
                    self._earlier.look(basis, calibrations.of(found[-1].fields[0].source))
        return found

    def _assemble(self, scan_id: int, calibrations: CalibrationsNow) -> AssembledScan:
        fields = self._store.scans.fields_of_scan(scan_id)
        if not fields:
            return AssembledScan(())
        settings = self._config.settings_of(fields[0].source)
        camera = self._camera_of(fields, calibrations)
        return assemble(fields, settings, camera, self._config.record.folder)

    def _camera_of(
        self, fields: Sequence[ScanField], calibrations: CalibrationsNow
    ) -> Calibration | None:
        """The camera's calibration, where the stage's places of all fields are known."""
        if any(field.measurement.stage is None for field in fields):
            return None
        source = fields[0].source
        used = calibrations.of(source)
        if used.camera_problem is not None:
            log.info(
                "source=%s: positions of fields are not known: %s", source, used.camera_problem
            )
        return used.camera

    # --- the transaction -----------------------------------------------------------------------

    def _read_together(
        self, scan_ids: Sequence[int], assembled: list[AssembledScan]
    ) -> list[ScanOutcome | None]:
        """In one transaction, which is given up and begun anew where the facts have changed."""
        for _ in range(TRIES):
            try:
                with self._store.at_once() if len(scan_ids) > 1 else nullcontext():
                    if len(scan_ids) > 1:
                        self._store.scans.fetch(scan_ids)
                    return [
                        self._read(place, scan_id, assembled[place])
                        for place, scan_id in enumerate(scan_ids)
                    ]
            except _FactsChangedError as changed:
                last = changed
                if changed.basis is None or changed.calibrations is None:
                    now = CalibrationsNow(self._config, self._store, self._clock())
                    assembled[changed.place] = self._assemble(scan_ids[changed.place], now)
                else:
                    self._earlier.look(changed.basis, changed.calibrations)
        raise last

    def _read(self, place: int, scan_id: int, assembled: AssembledScan) -> ScanOutcome | None:
        now = self._clock()
        with self._store.scans.open(scan_id, now) as scan:
            if scan is None:
                return None
            if assembled.reading is None or not assembled.is_of(scan.fields):
                raise _FactsChangedError(place)
            colonies = assembled.follow(*scan.colonies_before(assembled.reading.at))
            reading = scan.add_reading(assembled.reading, colonies)
            rules = self._rules(scan.facts, reading, now)
            assessed = assess(
                scan.facts, reading, rules.limits, earlier_scans=rules.removal.earlier_scans
            )
            evidence = self._evidence(place, scan, assessed, now)
            return scan.carry_out(decide(assessed, evidence, rules))

    def _rules(self, facts: ScanFacts, reading: Reading, now: datetime) -> Rules:
        decisions, outlets = self._config.decisions, self._config.outlets
        newest = facts if facts.latest is None else facts.latest.facts
        source = newest.fields[0].source
        return Rules(
            limits=decisions.limits_for(reading.dish, source, facts.label),
            removal=decisions.removal,
            verification=decisions.verification,
            settings=self._config.settings_of(source),
            recipients=outlets.email.recipients,
            channels=outlets.channels,
            now=now,
            not_before=not_before(self._config, source, now),
            plan_id=_plan_id(reading, now),
        )

    def _evidence(
        self, place: int, scan: OpenScan, assessed: Assessment, now: datetime
    ) -> Evidence:
        """What was seen before the transaction of what the decision asks for now."""
        if not assessed.asked:
            return Evidence(on_record=scan.basis(assessed.asked).on_record)
        basis = scan.basis(assessed.asked)
        source = assessed.facts.fields[0].source
        used = CalibrationsNow(self._config, self._store, now).of(source)
        if basis.picked and used.camera_problem is not None:
            log.warning(
                "dish=%s: what was picked is not checked: %s", basis.dish, used.camera_problem
            )
        evidence = self._earlier.evidence(basis, used)
        if evidence is None:
            raise _FactsChangedError(place, basis, used)
        return evidence


def _plan_id(reading: Reading, now: datetime) -> str:
    # Of a backlog several scans may change the plan of the newest one within one moment.
    text = f"{reading.dish}/{reading.id}/{now.isoformat()}/{next(_plans_made)}"
    return f"{now:%Y%m%d}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _say(outcome: ScanOutcome | None) -> None:
    if outcome is None:
        return
    reading = outcome.reading
    for said in outcome.set_aside:
        log.warning("scan dish=%s: %s", reading.dish, said)
    log.info(
        "scan dish=%s at=%s fields=%d fraction=%s confluence=%s status=%s%s%s",
        reading.dish,
        reading.at.isoformat(timespec="minutes"),
        reading.captures,
        number_text(reading.differentiated_fraction),
        number_text(reading.confluence),
        outcome.decision.status,
        doubt_text((*reading.doubts, *reading.doubt.reasons)),
        f" alert={outcome.decision.alert}" if outcome.decision.alert else "",
    )
