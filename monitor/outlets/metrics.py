"""The record as figures for Prometheus. The only user of prometheus-client.

All of it is read from the record when it is asked for, so that any program on it may tell, and none
of it is counted twice where several do. What the daemon alone knows (seconds by stage, memory) it
puts beside its sign of life.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from monitor.culture import DishStatus
from monitor.record.dishes import DishSummary
from monitor.record.processes import ProcessLife
from monitor.record.store import Store

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# Of thousands of dishes each look costs; scrapers that come together share one.
HELD_S = 5.0
_ALIVE, _BEAT = "colonywatch_daemon_up", "colonywatch_daemon_last_beat_age_seconds"


class Metrics:
    """free_bytes, newest_backup : of the record's disk; when the last backup was made. None = not
    known
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], datetime],
        free_bytes: Callable[[], int | None],
        newest_backup: Callable[[], datetime | None],
        version: str,
    ) -> None:
        self._store = store
        self._clock = clock
        self._free_bytes = free_bytes
        self._newest_backup = newest_backup
        self._version = version
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._lock = threading.Lock()
        self._held: tuple[float, bytes] | None = None

    def text(self) -> bytes:
        """In Prometheus' text format. Raises RecordError where the record cannot be read."""
        with self._lock:
            if self._held is None or time.monotonic() - self._held[0] > HELD_S:
                self._held = time.monotonic(), generate_latest(self._registry)
            return self._held[1]

    def collect(self) -> Iterator[Metric]:
        """As prometheus-client asks for it."""
        now = self._clock()
        build = {self._version: 1}
        yield _gauge("colonywatch_build_info", "Version of the program.", build, "version")
        yield from self._captures()
        yield from _of_dishes(self._store.dishes.dishes(), now)
        outbox = self._store.outbox.counts()
        yield _gauge(
            "colonywatch_outbox_messages",
            "Messages that wait to be delivered, or were given up.",
            {"pending": outbox.pending, "failed": outbox.failed},
            "state",
        )
        yield _gauge(
            "colonywatch_alerts_open",
            "Alerts that are neither over nor answered.",
            {"": len(self._store.alerts.alerts(open_only=True))},
        )
        yield from _of_daemon(self._store.processes.living("daemon", now), now)
        free, backup = self._free_bytes(), self._newest_backup()
        if free is not None:
            yield _gauge("colonywatch_disk_free_bytes", "Room for the record.", {"": free})
        if backup is not None:
            yield _gauge(
                "colonywatch_backup_age_seconds",
                "Since the newest backup was made.",
                {"": (now - backup).total_seconds()},
            )

    def _captures(self) -> Iterator[Metric]:
        counts = self._store.captures.counts()
        yield _gauge(
            "colonywatch_captures",
            "Captures on record by what became of them; those that wait are the queue.",
            dict(counts),
            "outcome",
        )
        troubled = GaugeMetricFamily(
            "colonywatch_captures_troubled",
            "Captures that wait or cannot be read, by reason.",
            labels=("state", "reason"),
        )
        for (state, reason), count in self._store.unfinished.troubled_by_reason().items():
            troubled.add_metric((str(state), reason), count)
        yield troubled


def _gauge(
    name: str, what: str, values: dict[str, float] | dict[str, int], label: str | None = None
) -> GaugeMetricFamily:
    """values : by the label's value; without a label one value under an empty name"""
    family = GaugeMetricFamily(name, what, labels=() if label is None else (label,))
    for key, value in values.items():
        family.add_metric(() if label is None else (key,), value)
    return family


def _of_dishes(dishes: list[DishSummary], now: datetime) -> Iterator[Metric]:
    """Of those that are not ended."""
    labels = ("dish", "source")
    age = GaugeMetricFamily(
        "colonywatch_dish_last_capture_age_seconds",
        "Since the last capture of a dish was taken.",
        labels=labels,
    )
    fraction = GaugeMetricFamily(
        "colonywatch_dish_differentiated_ratio",
        "Differentiated share of the cell area in a dish's last scan; none without cells.",
        labels=labels,
    )
    doubt = GaugeMetricFamily(
        "colonywatch_dish_in_doubt",
        "1 where a dish's last scan is in doubt.",
        labels=labels,
    )
    by_status = dict.fromkeys(map(str, DishStatus), 0)
    for dish in dishes:
        if dish.ended_at is not None:
            continue
        by_status[str(dish.status)] += 1
        key = (dish.name, dish.source)
        if dish.last_capture_at is not None:
            age.add_metric(key, (now - dish.last_capture_at).total_seconds())
        if dish.last is not None:
            doubt.add_metric(key, float(bool(dish.last.in_doubt)))
            if dish.last.differentiated_fraction is not None:
                fraction.add_metric(key, dish.last.differentiated_fraction)
    yield _gauge("colonywatch_dishes", "Dishes that live, by status.", by_status, "status")
    yield from (age, fraction, doubt)


def _of_daemon(daemons: list[ProcessLife], now: datetime) -> Iterator[Metric]:
    alive = [one for one in daemons if one.alive]
    yield _gauge(_ALIVE, "Daemons at work on the record.", {"": len(alive)})
    if daemons:
        beat = max(one.beat_at for one in daemons)
        yield _gauge(_BEAT, "Since the last sign of life.", {"": (now - beat).total_seconds()})
    in_work = sum(one.detail.get("in_work", 0) for one in alive)
    stopped = sum(bool(one.detail.get("stopped")) for one in alive)
    yield _gauge("colonywatch_captures_in_work", "Captures that are being measured.", {"": in_work})
    yield _gauge(
        "colonywatch_daemon_out_of_room",
        "1 where nothing is measured, since the disk is nearly full.",
        {"": min(stopped, 1)},
    )
    seconds = CounterMetricFamily(
        "colonywatch_stage_seconds",
        "Seconds of each stage since the daemon began.",
        labels=("stage", "host"),
    )
    runs = CounterMetricFamily(
        "colonywatch_stage_runs",
        "How often each stage had something to do since the daemon began.",
        labels=("stage", "host"),
    )
    memory = GaugeMetricFamily(
        "colonywatch_memory_bytes", "Memory that is held.", labels=("process", "host")
    )
    for one in alive:
        for stage, (took_s, count) in sorted(one.detail.get("stages", {}).items()):
            seconds.add_metric((stage, one.host), took_s)
            runs.add_metric((stage, one.host), count)
        for process, held in sorted(one.detail.get("memory", {}).items()):
            if held is not None:
                memory.add_metric((process, one.host), held)
    yield from (seconds, runs, memory)
