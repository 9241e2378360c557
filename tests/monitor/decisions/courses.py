"""A dish's series as few numbers, folded scan by scan as the record does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from monitor.config import DifferentiationConfig
from monitor.culture import AlertTopic, Doubt, DoubtReason, Reading, Stand
from monitor.decisions.course import step

START = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
DEFAULT = DifferentiationConfig()
UNFAMILIAR = Doubt((DoubtReason.UNFAMILIAR,))


def at(number, every_h=6.0):
    return START + timedelta(hours=every_h * number)


def scan(number, fraction=0.01, *, every_h=6.0, **changes):
    values = {
        "id": number + 1, "dish": "A1", "scan_id": number + 1, "version": 1,
        "at": at(number, every_h), "captures": 4, "background_um2": None,
        "undifferentiated_um2": None, "differentiated_um2": None,
        "differentiated_fraction": fraction, "confluence": 0.4, "uncertainty": 0.1,
        "pixel_size_um": None, "model_sha256": "m" * 64, "settings_sha256": "s" * 64,
        "colonies": 12,
    }  # fmt: skip
    return Reading(**(values | changes))


def unsure(number, fraction=0.01, **changes):
    return scan(number, fraction, doubt=UNFAMILIAR, **changes)


def between(number, fraction, low, high, *, calibrated=True, **changes):
    doubt = Doubt(interval=(low, high), kind="ips 4x", calibrated=calibrated)
    return scan(number, fraction, doubt=doubt, **changes)


def follow(readings, limits=DEFAULT, *, passaged_at=None):
    """(stand after the last scan, [(scan's place, topic, kind)], the changes themselves)"""
    stand, told, changes = Stand(), [], []
    for end in range(1, len(readings) + 1):
        stand, found = step(stand, readings[:end], limits, passaged_at)
        told += [(end - 1, one.topic, one.kind) for one in found]
        changes += found
    return stand, told, changes


def of_topic(told, topic: AlertTopic):
    return [(place, kind) for place, one, kind in told if one is topic]
