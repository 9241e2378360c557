"""Watches what does not come: dishes, sources, room, model, clock -> alerts and their mails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from monitor.config import Config
from monitor.culture import (
    Alert,
    AlertKind,
    AlertTopic,
    AssumedScale,
    EqualImage,
    HeldBack,
    NewAlert,
)
from monitor.decisions.clock import KEPT, Arrival, clock_off
from monitor.decisions.mailing import due_again, mailing, told
from monitor.decisions.recipients import channels_to, mail_to, not_before
from monitor.decisions.silence import (
    SILENCES,
    DishLife,
    MachineLife,
    SilenceAlert,
    SourceLife,
    changes,
    equal_picture_alerts,
    key_of,
    what_is_wrong,
)
from monitor.jobs.free_space import free_bytes
from monitor.record.store import Store

log = logging.getLogger(__name__)


def steady_now() -> float:
    """Seconds on a clock that nobody sets; it goes on while the machine sleeps, where it can."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(frozen=True)
class _Worker:
    stuck: str | None = None
    answered: bool = False


class SilenceWatch:
    """One look at a time; remembers between looks what only time can tell.

    clock, steady : the wall clock and one that nobody sets, so that a jump is seen
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        clock: Callable[[], datetime],
        steady: Callable[[], float] = steady_now,
        room: Callable[[Path], int | None] = free_bytes,
    ) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._steady = steady
        self._room = room
        self._began = clock()
        self._gone_since: dict[str, datetime] = {}
        self._last = clock(), steady()
        self._jump: tuple[datetime, float] | None = None
        self._arrivals: dict[str, tuple[Arrival, ...]] = {}
        self._worker = _Worker()
        self._worker_lock = threading.Lock()

    def worker_stuck(self, what: str) -> None:
        """The segmentation process did not answer and was ended. From any thread.

        what : a sentence: with which capture, for how long
        """
        with self._worker_lock:
            self._worker = _Worker(stuck=what)

    def worker_answered(self) -> None:
        """The segmentation process gave an answer on a capture. From any thread."""
        with self._worker_lock:
            self._worker = replace(self._worker, answered=True)

    def arrived(self, source: str, arrival: Arrival) -> None:
        """A capture was measured: when it says it was taken, when it came. From any thread."""
        with self._worker_lock:
            kept = self._arrivals.get(source, ())
            # Of the fields of one scan one is enough.
            if not kept or abs(arrival.dated - kept[-1].dated) >= timedelta(minutes=5):
                self._arrivals[source] = (*kept, arrival)[-KEPT:]

    def look(self, present: Mapping[str, bool]) -> list[Alert]:
        """Raise what is wrong, clear what is over. Returns what was written.

        present : name of a source -> can its folder be seen?
        """
        now = self._clock()
        self._compare_clocks(now)
        in_hand = self._store.unfinished.in_hand(now)
        dishes = [
            DishLife(
                sign.dish,
                sign.source,
                sign.last_new_at,
                sign.repeats,
                in_hand=any(
                    source == sign.source and label in (sign.label, None)
                    for source, label in in_hand
                ),
            )
            for sign in self._store.dishes.signs()
        ]
        open_now = self._store.alerts.open(SILENCES)
        worker = self._worker
        wrong = what_is_wrong(
            now,
            dishes,
            self._sources(
                present,
                now,
                in_hand={source for source, _ in in_hand},
                has_ended=self._store.dishes.sources() - {dish.source for dish in dishes},
            ),
            self._machine(worker),
            self._config.decisions.silence,
            {key_of(alert) for alert in open_now},
            _equal_pictures(self._config, self._store, now),
            self._scales(),
        )
        begun, over = changes(open_now, wrong)
        written = [
            *self._write(begun, AlertKind.RAISED, now),
            *self._write(over, AlertKind.CLEARED, now),
            *self._tell_again(open_now, wrong, now),
        ]
        if worker.answered and any(silence.topic is AlertTopic.WORKER_STUCK for silence in over):
            with self._worker_lock:
                # Not where it got stuck once more meanwhile.
                if self._worker == worker:
                    self._worker = _Worker(answered=True)
        return written

    def _scales(self) -> list[AssumedScale]:
        configured = {source.name for source in self._config.sources}
        return [one for one in self._store.scales.all() if one.source in configured]

    def _compare_clocks(self, now: datetime) -> None:
        limit = self._config.decisions.silence.clock_jump_s
        wall, steady = self._last
        self._last = now, self._steady()
        jump = (now - wall).total_seconds() - (self._last[1] - steady)
        if limit is not None and abs(jump) > limit:
            self._jump = now, jump

    def _sources(
        self,
        present: Mapping[str, bool],
        now: datetime,
        *,
        in_hand: Collection[str],
        has_ended: Collection[str],
    ) -> list[SourceLife]:
        for name, there in present.items():
            if there:
                self._gone_since.pop(name, None)
            else:
                self._gone_since.setdefault(name, now)
        return [
            SourceLife(
                source.name,
                source.expected_interval_h,
                self._began,
                self._gone_since.get(source.name),
                in_hand=source.name in in_hand,
                has_ended=source.name in has_ended,
                clock_off=clock_off(
                    self._arrivals.get(source.name, ()), self._config.decisions.clock
                ),
                clock_seen=source.name in self._arrivals,
            )
            for source in self._config.sources
        ]

    def _machine(self, worker: _Worker) -> MachineLife:
        waiting = self._store.unfinished.first_waiting_for("model-refused")
        jumped_at, jump_s = self._jump or (None, 0.0)
        return MachineLife(
            free_bytes=self._room(self._config.record.folder),
            stops_below_gib=self._config.record.stop_below_gib,
            refusal=None if waiting is None else waiting.message or "see the log",
            clock_jumped_at=jumped_at,
            clock_jump_s=jump_s,
            stuck=worker.stuck,
            answered=worker.answered,
        )

    def _write(
        self, silences: Sequence[SilenceAlert], kind: AlertKind, now: datetime
    ) -> list[Alert]:
        written = []
        for silence in silences:

            def way(alerts: Sequence[Alert], silence: SilenceAlert = silence) -> NewAlert:
                return self._told_how(silence, kind, alerts, now)

            alert = self._store.alerts.write(
                kind, silence.topic, way, dish=silence.dish, source=silence.source, now=now
            )
            if alert is not None:
                written.append(alert)
                log.warning("%s %s: %s: %s", silence.topic, kind, alert.about, silence.text)
        return written

    def _tell_again(
        self, open_now: Sequence[Alert], wrong: Sequence[SilenceAlert], now: datetime
    ) -> list[Alert]:
        """What a snooze held back and is still wrong when the snooze is over."""
        newest = {key_of(alert): alert for alert in open_now}
        written = []
        for silence in wrong:
            held = newest.get(silence.key)
            if held is None or held.held_back is not HeldBack.SNOOZED:
                continue

            def way(alerts: Sequence[Alert], silence: SilenceAlert = silence) -> NewAlert | None:
                if not any(one.topic is silence.topic for one in due_again(alerts, now)):
                    return None
                return self._told_how(silence, AlertKind.RAISED, alerts, now)

            alert = self._store.alerts.write(
                AlertKind.RAISED,
                silence.topic,
                way,
                dish=silence.dish,
                source=silence.source,
                now=now,
                again=True,
            )
            if alert is not None:
                written.append(alert)
        return written

    def _told_how(
        self, silence: SilenceAlert, kind: AlertKind, alerts: Sequence[Alert], now: datetime
    ) -> NewAlert:
        return told_how(self._config, silence, kind, alerts, now)


def _equal_pictures(config: Config, store: Store, now: datetime) -> list[EqualImage]:
    forgotten = timedelta(days=config.decisions.silence.forget_after_days)
    return store.unfinished.equal_pictures(now - forgotten)


def tell_of_equal_pictures(config: Config, store: Store, now: datetime) -> None:
    """Raise and clear the alerts on pictures that came for several dishes; an open one names all
    dishes that are known by now. At once, and also where no daemon looks.
    """
    wrong = equal_picture_alerts(_equal_pictures(config, store, now))
    begun, over = changes(store.alerts.open([AlertTopic.EQUAL_PICTURES]), wrong)
    for kind, silences in ((AlertKind.RAISED, begun), (AlertKind.CLEARED, over)):
        for silence in silences:

            def way(
                alerts: Sequence[Alert], silence: SilenceAlert = silence, kind: AlertKind = kind
            ) -> NewAlert:
                return told_how(config, silence, kind, alerts, now)

            store.alerts.write(kind, silence.topic, way, dish=None, source=silence.source, now=now)
            log.warning("%s %s: %s", silence.topic, kind, silence.text)
    for silence in wrong:
        if silence not in begun and silence.source is not None:
            store.alerts.reword(silence.topic, silence.source, silence.text)


def told_how(
    config: Config, silence: SilenceAlert, kind: AlertKind, alerts: Sequence[Alert], now: datetime
) -> NewAlert:
    """The alert with whom to tell of it, or why nobody.

    alerts : on the same dish, source or machine, oldest first
    """
    way = mailing(
        kind,
        silence.severity,
        told(alerts, silence.topic),
        at=now,
        now=now,
        cooldown=timedelta(hours=config.decisions.silence.cooldown_h),
        not_before=not_before(config, silence.source, now),
    )
    return NewAlert(
        kind,
        silence.topic,
        silence.severity,
        text=silence.text,
        mail_to=mail_to(config, kind, silence.severity, silence.source),
        channels=channels_to(config, kind, silence.severity, silence.source),
        held_back=way.held_back,
        wait=way.wait,
    )
