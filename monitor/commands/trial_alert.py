"""A test alert that takes the real way: rule, transaction, outbox, template, mail server.

Only the dish is made up. It lives in a record of its own, so that yours is never touched.
"""

from __future__ import annotations

import math
from concurrent.futures import Future
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np

from model.classes import CellClass
from monitor.config import Config, RecordConfig
from monitor.culture import (
    UNLISTED,
    AlertTopic,
    FieldIdentity,
    FieldMeasurement,
    PixelSize,
    PixelSizeSource,
)
from monitor.errors import MonitorError
from monitor.host.atomic_files import write_whole
from monitor.host.clock import utc_now
from monitor.jobs.deliver import deliver_due
from monitor.pipeline import Pipeline
from monitor.record.scan_places import ScanPlace
from monitor.record.sightings import SeenFile
from monitor.record.store import Store
from monitor.segmentation.colonies import find_colonies, find_regions, measure_areas
from monitor.segmentation.overlay import draw_overlay, encode_jpeg
from monitor.segmentation.request import FieldRequest

DISH = "TEST/A1"
HOURS_BETWEEN = 12
SIDE_PX = 600
PIXEL_SIZE_UM = 2.0


def send_trial_alert(config: Config, folder: Path) -> tuple[str, str | None]:
    """Let a made-up dish differentiate until the configured rule alerts, and deliver the alert.

    folder : empty; takes the trial's record
    Returns (where it went, None) or ("", why it was not delivered). Raises MonitorError where the
    configured rule does not alert for a dish that is all differentiated.
    """
    if not config.outlets.email.recipients and not config.outlets.channels:
        return "", "no recipient; set outlets.email.recipients"
    # With the configured outlets, but this folder's record; the mailbox stays the real one.
    everything = {"from_severity": "warning", "sources": ()}
    email = config.outlets.email.model_copy(
        update={
            "mailbox": config.mailbox,
            "gather_s": 0.0,
            "quiet_hours": None,
            # Who hears of some alerts only wants to know as well that these arrive.
            "recipients": tuple(
                one.model_copy(update=everything) for one in config.outlets.email.recipients
            ),
        }
    )
    channels = tuple(one.model_copy(update=everything) for one in config.outlets.channels)
    outlets = config.outlets.model_copy(update={"email": email, "channels": channels})
    trial = config.model_copy(
        update={"record": RecordConfig(folder=folder), "outlets": outlets, "sources": ()}
    )
    with Store(trial.record.database_url) as store:
        pipeline = Pipeline(trial, store, _NoWorker(), owner="trial-alert")
        rule = config.decisions.limits_for(DISH, UNLISTED)
        recent = math.ceil(rule.agree_h / HOURS_BETWEEN) + 1
        scans = 3 + max(rule.scans_considered, recent)
        # Well above the limit at the end, whatever the limit is.
        worst = min(0.95, (1 + rule.raise_above) / 2)
        for scan in range(scans):
            share = 0.0 if scan < 2 else worst
            measured = _measurement(trial, share, scan, scans)
            scan_id = _record(store, measured, scan)
            pipeline.read_scan(scan_id)
        if AlertTopic.DIFFERENTIATION not in {one.topic for one in store.alerts.alerts()}:
            raise MonitorError(
                "the configured rule did not alert for a dish that differentiates; check "
                "decisions.differentiation"
            )
        deliver_due(store, trial, utc_now, stopping=lambda: False, is_trial=True)
        missing = store.outbox.undelivered()
        if missing:
            reasons = dict.fromkeys(f"{one.recipient}: {one.last_error}" for one in missing)
            return "", "; ".join(reasons)
        return " and ".join(
            dict.fromkeys(one.delivered_to or "" for one in reversed(store.outbox.log()))
        ), None


class _NoWorker:
    """The trial brings its own measurements."""

    def submit(self, request: FieldRequest) -> Future[FieldMeasurement]:
        raise RuntimeError("a test alert measures no captures")

    def died_with(self, future: Future[FieldMeasurement], request_sha256: str) -> bool:
        return False


def _measurement(config: Config, share: float, scan: int, scans: int) -> FieldMeasurement:
    """A drawn colony of which `share` is differentiated, measured by the real code."""
    labels = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    centre, radius = SIDE_PX // 2, SIDE_PX // 3
    cv2.circle(labels, (centre, centre), radius, int(CellClass.UNDIFFERENTIATED), -1)
    if share > 0:
        cv2.circle(
            labels,
            (centre, centre),
            round(radius * math.sqrt(share)),
            int(CellClass.DIFFERENTIATED),
            -1,
        )
    noise = np.random.default_rng(scan).normal(0, 6, labels.shape)
    pixels = np.clip(150 - 25.0 * labels + noise, 0, 255).astype(np.uint8)
    probability = np.where(labels == CellClass.DIFFERENTIATED, 0.95, 0.05).astype(np.float32)
    colonies = find_colonies(labels, min_area_px=1)
    at = utc_now() - timedelta(hours=HOURS_BETWEEN * (scans - 1 - scan))
    overlay = f"overlays/test-{scan}.jpg"
    picture = draw_overlay(pixels, labels, pixel_size_um=PIXEL_SIZE_UM, title="TEST, not a dish")
    write_whole(config.record.folder / overlay, encode_jpeg(picture))
    return FieldMeasurement(
        shape=(SIDE_PX, SIDE_PX),
        areas=measure_areas(labels),
        colonies=colonies,
        regions=find_regions(labels, probability, min_area_px=1, colonies=colonies),
        uncertainty=0.0,
        model_name="trial",
        model_sha256="0" * 64,
        settings_sha256="0" * 64,
        acquired_at=at,
        acquired_at_from="metadata",
        pixel_size=PixelSize(PIXEL_SIZE_UM, PixelSizeSource.METADATA),
        overlay=overlay,
    )


def _record(store: Store, measured: FieldMeasurement, scan: int) -> int:
    now = utc_now()
    name = Path(f"test-{scan}.tif")
    _, capture = store.captures.take_in(
        SeenFile(name, UNLISTED, scan + 1, scan, sha256(name.name.encode()).hexdigest()), now
    )
    store.captures.claim_due("trial-alert", now, limit=1, only=[capture.id])
    scan_id = store.captures.record_measurement(
        capture.id,
        "trial-alert",
        ScanPlace(FieldIdentity(UNLISTED, DISH, f"scan-{scan}"), f"scan-{scan}", 1.0),
        measured,
        now,
    )
    if scan_id is None:
        raise MonitorError("the test alert's own record refused a measurement")
    return scan_id
