"""What decisions on scans will ask to see, as far as that can be told before they are read."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.config import Config
from monitor.culture import Basis, PickedPlan, Reading, ScanField, place_of
from monitor.decisions.status import can_be_judged, is_in_doubt
from monitor.record.store import Store
from monitor.scans.assembly import AssembledScan

# Scans in a row that cannot be judged and are looked past.
_PASSED_OVER = 12


class Foresight:
    """Of scans that are read together, in their order: later ones see those before as read."""

    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self._store = store
        self._coming: dict[str, dict[int, tuple[Reading, Sequence[ScanField]]]] = {}

    def basis(self, scan_id: int, scan: AssembledScan) -> Basis | None:
        """What will be looked at; None where there is nothing."""
        dish, label = self._store.scans.dish_of_scan(scan_id)
        if dish is None or scan.reading is None:
            return None
        reading = Reading(id=0, dish=dish, scan_id=scan_id, version=0, **vars(scan.reading))
        self._coming.setdefault(dish, {})[scan_id] = (reading, scan.fields)
        picked = () if is_in_doubt(reading) else self._picked(dish)
        planned, earlier = self._planned(reading, scan.fields, label)
        if not picked and not planned:
            return None
        return Basis(dish, scan.fields, picked, planned, earlier)

    def _picked(self, dish: str) -> tuple[PickedPlan, ...]:
        return tuple(
            PickedPlan(plan, tuple(self._store.scans.scan_fields(plan.reading_id)))
            for plan in self._store.plans.to_check(dish)
        )

    def _planned(
        self, reading: Reading, fields: Sequence[ScanField], label: str
    ) -> tuple[tuple[ScanField, ...], tuple[tuple[ScanField, ...], ...]]:
        """The captures of the dish's newest scan that can be judged, and of those before it."""
        nothing: tuple[tuple[ScanField, ...], tuple[tuple[ScanField, ...], ...]] = ((), ())
        if not any(one.measurement.aims for one in fields):
            return nothing
        coming = self._coming[reading.dish]
        limits = self._config.decisions.limits_for(reading.dish, fields[0].source, label)
        wanted = self._config.decisions.removal.earlier_scans
        on_record = self._store.earlier.newest_readings(reading.dish, limit=wanted + _PASSED_OVER)
        series = [one for one in on_record if one.scan_id not in coming]
        series += [one for one, _ in coming.values()]
        series.sort(key=lambda one: one.at)
        judged = [one for one in series if can_be_judged(one, limits)]
        if not judged or (series[-1] is reading and judged[-1] is not reading):
            return nothing  # no plan is made by it, and those of before stay
        newest = judged[-1]
        before = [one for one in judged if one.at < newest.at]
        earlier = before[-wanted:][::-1] if wanted else []
        planned = sorted(self._fields_of(newest), key=place_of)
        if not any(one.measurement.aims for one in planned):
            return tuple(planned), ()
        return tuple(planned), tuple(
            tuple(sorted(self._fields_of(one), key=_as_on_record)) for one in earlier
        )

    def _fields_of(self, reading: Reading) -> Sequence[ScanField]:
        coming = self._coming[reading.dish].get(reading.scan_id)
        return self._store.scans.scan_fields(reading.id) if coming is None else coming[1]


def _as_on_record(field: ScanField) -> tuple[int, str]:
    """In the order in which a reading's fields are told: the most differentiated first."""
    return -field.measurement.areas.differentiated_px, field.capture_name
