"""Plain values that the tests of the record and the pipeline share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from monitor.culture import (
    Capture,
    Colony,
    FieldAreas,
    FieldIdentity,
    FieldMeasurement,
    Hit,
    NamedParts,
    NewReading,
    PixelSize,
    PixelSizeSource,
    PlanStatus,
    Region,
    RemovalPlan,
    ScanDecision,
    ScanFacts,
    ScanField,
    ScanOutcome,
    StagePosition,
    Target,
)
from monitor.record.scan_places import ScanPlace
from monitor.record.sightings import SeenFile
from monitor.record.store import Store
from monitor.record.tables import OutboxRow
from monitor.scans.summary import sum_up

NOW = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
MODEL, OTHER_MODEL = "a" * 64, "b" * 64
SETTINGS = "5" * 64
DISH = "3500003816/A1"

COLONY = Colony(
    label=1, area_px=300, differentiated_px=100, centroid=(40.5, 60.2), bounds=(30, 50, 52, 71)
)
REGION = Region(
    label=1,
    area_px=100,
    polygon=((30.0, 50.0), (30.0, 60.0), (40.0, 60.0), (40.0, 50.0)),
    pick_point=(35.0, 55.0),
    inscribed_radius_px=5.0,
    mean_probability=0.9,
    colony=1,
)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def sha256_of(content: str | bytes) -> str:
    return hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()


def seen(
    path: Path | str,
    content: str | None = None,
    *,
    source: str = "incubator",
    dish: str | None = None,
    scan: str | None = None,
    field: str | None = None,
    **changes,
):
    """A file that was looked at; its bytes are `content`, else its own path.

    dish, scan, field : what its name says
    """
    path = Path(path)
    text = str(path) if content is None else content
    values = {
        "path": path,
        "source": source,
        "size": len(text),
        "mtime_ns": 1_000,
        "sha256": sha256_of(text.encode("utf-8", "surrogateescape")),
        "identity": None if dish is None else FieldIdentity(source, dish, scan, field),
    }
    return SeenFile(**(values | changes))


def with_pixel_size(values: dict[str, Any]) -> dict[str, Any]:
    """The words of the record's columns put together to the one value."""
    known, source, assumed = (
        values.pop(name, None)
        for name in ("pixel_size_um", "pixel_size_from", "assumed_pixel_size_um")
    )
    size = PixelSize().or_assumed(assumed)
    if known is not None:
        size = PixelSize(known, None if source is None else PixelSizeSource(source))
    return {"pixel_size": size} | values


def measurement(
    background: int = 600, undifferentiated: int = 300, differentiated: int = 100, **changes
) -> FieldMeasurement:
    values = {
        "shape": (25, 40),
        "areas": FieldAreas(background, undifferentiated, differentiated),
        "colonies": (COLONY,),
        "regions": (REGION,),
        "uncertainty": 0.1,
        "model_name": "pmf-cnn",
        "model_sha256": MODEL,
        "settings_sha256": SETTINGS,
        "acquired_at": NOW,
        "acquired_at_from": "name",
        "pixel_size_um": 2.0,
        "pixel_size_from": "name",
        "stage": StagePosition(100.0, -250.5, 12.0),
        "overlay": "overlays/a.jpg",
        "label_map": "labels/a.png",
        "quality": {"sharpness": 0.5},
        "took_s": 1.25,
    }
    return FieldMeasurement(**with_pixel_size(values | changes))


def place(
    dish: str = DISH,
    key: str | None = None,
    field: str | None = None,
    gap_s: float = 900.0,
    source: str = "incubator",
    **changes,
):
    return ScanPlace(FieldIdentity(source, dish, key, field, **changes), key, gap_s)


def named(dish: str = DISH, **changes) -> NamedParts:
    return NamedParts(**({"dish": dish, "pattern": "test"} | changes))


def take(store: Store, path: str, content: str | None = None, *, at: datetime = NOW) -> Capture:
    return store.captures.take_in(seen(path, content), at)[1]


def measure(
    store: Store,
    path: str,
    where: ScanPlace,
    measured: FieldMeasurement | None = None,
    *,
    content: str | None = None,
    at: datetime = NOW,
) -> int:
    """Take a file in, claim it and store what was measured. Returns its scan."""
    file = seen(path, content, source=where.named.source, identity=where.named)
    _, capture = store.captures.take_in(file, at)
    (claimed,) = store.captures.claim_due("me", at, limit=1, only=[capture.id])
    scan = store.captures.record_measurement(claimed.id, "me", where, measured or measurement(), at)
    assert scan is not None
    return scan


def new_reading(fields: Sequence[ScanField]) -> NewReading:
    summary = sum_up([field.measurement for field in fields])
    return NewReading(
        **{name: getattr(summary, name) for name in summary.__dataclass_fields__},
        model_sha256=fields[0].measurement.model_sha256,
        settings_sha256=fields[0].measurement.settings_sha256,
        runner=fields[0].measurement.runner,
    )


def read(
    store: Store, scan_id: int, decision: ScanDecision | None = None, *, at: datetime = NOW
) -> ScanOutcome | None:
    """Read a scan with a decision made up by the test; without one the status stays."""
    with store.scans.open(scan_id, at) as scan:
        if scan is None:
            return None
        scan.add_reading(new_reading(scan.fields))
        return scan.carry_out(decision or ScanDecision(scan.facts.status))


def facts_on(store: Store, scan_id: int, *, at: datetime = NOW) -> ScanFacts:
    """What a decision on a scan rests on; it is read, and the status stays."""
    with store.scans.open(scan_id, at) as scan:
        assert scan is not None
        scan.add_reading(new_reading(scan.fields))
        scan.carry_out(ScanDecision(scan.facts.status))
        return scan.facts


def add_message(
    store: Store, channel: str, subject_id: str, recipient: str, at: datetime = NOW
) -> int:
    """A message that waits to be delivered, of whatever kind. Returns its number."""
    with store.database.writing() as session:
        row = OutboxRow(
            channel=channel,
            subject_id=subject_id,
            recipient=recipient,
            created_at=at,
            next_try_at=at,
            attempts=0,
        )
        session.add(row)
        session.flush()
        return row.id


def reopen(
    store: Store, model_sha256: str, *, dish: str | None = None, at: datetime = NOW
) -> list[int]:
    """Let recorded captures that this model has not measured wait for it. Returns which."""
    scans = store.again.outdated(model_sha256, lambda _: SETTINGS, dish=dish)
    ids = [id_ for scan in scans for id_ in scan]
    store.beside.reopen(ids, at)
    return ids


HIT = Hit(
    order=1,
    pick_px=(150.0, 300.0),
    pick_x_um=5200.0,
    pick_y_um=-1100.5,
    pick_z_um=None,
    clearance_um=60.0,
)


TARGET = Target(
    region_id="aaaaaaaaaaaa-1",
    capture_sha256="a" * 64,
    acquired_at=NOW,
    area_um2=14_400.0,
    mean_probability=0.9,
    inscribed_radius_um=60.0,
    centroid_px=(151.25, 300.5),
    polygon_px=((120.0, 270.0), (120.0, 330.0), (180.0, 330.0), (180.0, 270.0)),
    hits=(HIT,),
)


def target_at(number: int = 1, **changes) -> Target:
    """A target with one hit; `changes` are of the hit."""
    hit = replace(HIT, **({"order": number} | changes))
    return replace(TARGET, region_id=f"r{number}", hits=(hit,))


def removal_plan(id_: str = "20261103-00000001", **changes) -> RemovalPlan:
    """`reading_id` and `dish` are those of the reading that it is stored with."""
    values = {
        "id": id_,
        "dish": DISH,
        "reading_id": 1,
        "status": PlanStatus.DRAFT,
        "created_at": NOW,
        "expires_at": NOW + hours(12),
        "model_sha256": MODEL,
        "settings_sha256": SETTINGS,
        "calibration_id": "scope-1",
        "targets": (TARGET,),
        "left_out": ("1 region is too small.",),
    }
    return RemovalPlan(**(values | changes))
