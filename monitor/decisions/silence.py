"""What does not come, and what would keep it from coming. Pure rules: silence must be noticed.

A capture counts by when it was taken and by what it shows: a camera that writes the same frame over
and over, or an old backlog, is silence too. One cause makes one alert: a source that is silent as a
whole is one alert, not one for each dish.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.config import SilenceConfig
from monitor.culture import Alert, AlertFamily, AlertTopic, AssumedScale, EqualImage, Severity
from monitor.decisions.alert_rules import ALERT_RULES
from monitor.decisions.clock import off_text

GIB = 2**30
SILENCES = frozenset(topic for topic in AlertTopic if topic.family is AlertFamily.SILENCE)
# A source that gave another dish's capture within so many intervals is alive.
_ALIVE_INTERVALS = 1.5
# Room that must be free again, as a multiple of the limit, before the disk counts as freed.
_FREED = 1.25
# Dishes that an alert names.
_NAMED = 12

OVER = {topic: rule.all_clear for topic, rule in ALERT_RULES.items() if rule.all_clear}


@dataclass(frozen=True)
class DishLife:
    """last_new_at : when the last scan was taken that showed something else than the one before

    repeats : scans since that showed the very same picture
    in_hand : captures of it wait to be judged; what they show is not known yet
    """

    dish: str
    source: str
    last_new_at: datetime
    repeats: int = 0
    in_hand: bool = False


@dataclass(frozen=True)
class SourceLife:
    """interval_h : how often each of its dishes is expected; None = not known

    watched_since : since when somebody looks; a source that never gave anything is silent since
    gone_since : when its folder was found missing
    in_hand : captures of any of its dishes wait to be judged
    has_ended : it had dishes, and people have said of all that they are gone
    clock_off : how far its clock is ahead (above 0) or behind; None = not known to be
    clock_seen : a capture has come since anybody looks
    """

    name: str
    interval_h: float | None
    watched_since: datetime
    gone_since: datetime | None = None
    in_hand: bool = False
    has_ended: bool = False
    clock_off: timedelta | None = None
    clock_seen: bool = False


@dataclass(frozen=True)
class MachineLife:
    """free_bytes : room for the record; None = cannot be said

    refusal : why captures wait for the model
    clock_jumped_at, clock_jump_s : the last jump of the wall clock against a steady one
    stuck : how the segmentation process was found stuck, and not told of yet or not answered since
    answered : it has measured a capture since then, or since anybody looks
    stops_below_gib : with less room no capture is measured; None = whatever is left
    """

    free_bytes: int | None = None
    refusal: str | None = None
    clock_jumped_at: datetime | None = None
    clock_jump_s: float = 0.0
    stuck: str | None = None
    answered: bool = False
    stops_below_gib: float | None = None


@dataclass(frozen=True)
class SilenceAlert:
    """Something is wrong with a dish, else with a source, else with the machine."""

    topic: AlertTopic
    text: str
    dish: str | None = None
    source: str | None = None
    severity: Severity = Severity.WARNING

    @property
    def key(self) -> AlertKey:
        return self.topic, self.dish or "", self.source or ""


AlertKey = tuple[AlertTopic, str, str]


def key_of(alert: Alert) -> AlertKey:
    return alert.topic, alert.dish, alert.source or ""


def what_is_wrong(
    now: datetime,
    dishes: Sequence[DishLife],
    sources: Sequence[SourceLife],
    machine: MachineLife,
    limits: SilenceConfig,
    open_now: Collection[AlertKey],
    equal: Sequence[EqualImage] = (),
    scales: Sequence[AssumedScale] = (),
) -> tuple[SilenceAlert, ...]:
    """Everything that is wrong at this moment.

    open_now : what was wrong when last looked; some of it ends later than it begins
    equal : captures that show what captures of other dishes show
    scales : what is taken for pixel sizes that nothing says
    """
    found: list[SilenceAlert] = [*equal_picture_alerts(equal), *scale_alerts(scales)]
    for source in sources:
        found += _clock_alerts(source, open_now)
        own = [dish for dish in dishes if dish.source == source.name]
        alerts = _source_alerts(now, source, own, limits, open_now)
        # While nothing can be judged, nobody can say that none are new.
        unsure = machine.refusal is not None
        found += [
            alert
            for alert in alerts
            if alert.topic is AlertTopic.SOURCE_GONE or not unsure or alert.key in open_now
        ]
    for dish in dishes:
        if _is_stuck(dish, limits):
            found.append(
                SilenceAlert(
                    AlertTopic.SAME_PICTURE,
                    f"The last {dish.repeats + 1} scans show the very same image, so "
                    f"they say nothing new. The last new one is from {_at(dish.last_new_at)}. Is "
                    f"the camera "
                    "stuck?",
                    dish=dish.dish,
                    source=dish.source,
                )
            )
    return (*found, *_machine_alerts(now, machine, limits, open_now))


def _clock_alerts(source: SourceLife, open_now: Collection[AlertKey]) -> list[SilenceAlert]:
    if source.clock_off is None:
        alert = SilenceAlert(
            AlertTopic.IMAGER_CLOCK, OVER[AlertTopic.IMAGER_CLOCK], source=source.name
        )
        # A daemon that starts anew has seen nothing that says otherwise.
        return [alert] if alert.key in open_now and not source.clock_seen else []
    is_ahead = source.clock_off > timedelta()
    return [
        SilenceAlert(
            AlertTopic.IMAGER_CLOCK,
            off_text(source.name, source.clock_off),
            source=source.name,
            # While it lasts, nothing is decided.
            severity=Severity.CRITICAL if is_ahead else Severity.WARNING,
        )
    ]


def equal_picture_alerts(equal: Sequence[EqualImage]) -> tuple[SilenceAlert, ...]:
    """One alert for each source that gave one picture for several dishes."""
    found = []
    for source in sorted({one.source for one in equal}):
        own = [one for one in equal if one.source == source]
        names = list(dict.fromkeys(one.dish for one in own))
        listed = ", ".join(names[:_NAMED]) + (
            f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        )
        begun = min(one.at for one in own)
        found.append(
            SilenceAlert(
                AlertTopic.EQUAL_PICTURES,
                f"Equal images: since {_at(begun)} source {source} wrote the very same "
                f"image for several dishes: {listed}. It cannot show them all, so none of them "
                f"has a "
                "reading from it. Is the camera or the stage stuck, or was a file copied?"
                if len(names) > 1
                else f"Equal images: at {_at(begun)} source {source} wrote for {listed} the very "
                "same image that came for another dish. It cannot show both, so neither has a "
                "reading from it. Is the camera or the stage stuck, or was a file copied?",
                source=source,
            )
        )
    return tuple(found)


def scale_alerts(scales: Sequence[AssumedScale]) -> tuple[SilenceAlert, ...]:
    """One alert for each source whose images contradict the scale that they are read at."""
    found = []
    for source in sorted({one.source for one in scales if one.looks_like_um is not None}):
        own = [one for one in scales if one.source == source and one.looks_like_um is not None]
        listed = "; ".join(
            f"images of {one.setup} are read at {one.um:.2g} um/px and look like "
            f"{one.looks_like_um:.2g}"
            for one in own
        )
        found.append(
            SilenceAlert(
                AlertTopic.SCALE_OFF,
                f"No pixel size is known for source {source}, and the one that is assumed may be "
                f"wrong: {listed}. Fractions at a wrong scale are wrong. Nothing is changed until "
                "somebody says what is right.",
                source=source,
            )
        )
    return tuple(found)


def changes(
    open_now: Sequence[Alert], wrong: Sequence[SilenceAlert]
) -> tuple[tuple[SilenceAlert, ...], tuple[SilenceAlert, ...]]:
    """(what has begun, what is over), against the open alerts."""
    known = {key_of(alert): alert for alert in open_now}
    present = {alert.key for alert in wrong}
    begun = tuple(alert for alert in wrong if alert.key not in known)
    over = tuple(
        SilenceAlert(
            alert.topic, OVER[alert.topic], alert.dish or None, alert.source, alert.severity
        )
        for key, alert in known.items()
        if key not in present
    )
    return begun, over


def _is_stuck(dish: DishLife, limits: SilenceConfig) -> bool:
    return limits.same_pictures is not None and dish.repeats + 1 >= limits.same_pictures


def _gone(name: str, since: datetime) -> SilenceAlert:
    return SilenceAlert(
        AlertTopic.SOURCE_GONE,
        f"The folder of source {name} has been out of reach since {_at(since)}. "
        "Nothing is treated as deleted; watching resumes when it is back.",
        source=name,
    )


def _source_alerts(
    now: datetime,
    source: SourceLife,
    dishes: Sequence[DishLife],
    limits: SilenceConfig,
    open_now: Collection[AlertKey],
) -> list[SilenceAlert]:
    found = []
    # What is told already lasts until something new comes, even where a larger cause joins it.
    told_only = False
    if source.gone_since is not None:
        # Whatever is missing is missing for that reason.
        gone = _gone(source.name, source.gone_since)
        lasting = now - source.gone_since >= timedelta(seconds=limits.source_gone_s)
        found += [gone] if lasting or gone.key in open_now else []
        told_only = True
    if source.interval_h is None or source.has_ended:
        return found
    interval = timedelta(hours=source.interval_h)
    allowed = interval * limits.intervals
    newest = max((dish.last_new_at for dish in dishes), default=source.watched_since)
    expected = f"expected every {source.interval_h:g} h"
    silent = SilenceAlert(
        AlertTopic.SOURCE_SILENT,
        f"No new capture of any dish of source {source.name} since {_at(newest)}; {expected}.",
        source=source.name,
    )
    # A daemon that starts anew has heard of nothing new.
    is_silent_still = not dishes and silent.key in open_now
    if now - newest > allowed or is_silent_still:
        if silent.key in open_now or not (source.in_hand or told_only):
            found.append(silent)
        told_only = True
    for dish in dishes:
        alert = SilenceAlert(
            AlertTopic.NO_CAPTURE,
            f"No new capture of the dish since {_at(dish.last_new_at)}, while other dishes of "
            f"source {source.name} go on; {expected}. "
            + ("What came shows the very same image. " if dish.repeats else "")
            + "Was it taken out?",
            dish=dish.dish,
            source=source.name,
        )
        age = now - dish.last_new_at
        # The dish whose turn comes first is late first, when the whole source fell silent.
        is_alive = now - newest <= interval * _ALIVE_INTERVALS
        is_recent = age <= timedelta(days=limits.forget_after_days)
        if age <= allowed:
            continue
        # A stuck camera has its own alert.
        is_told_otherwise = told_only or _is_stuck(dish, limits)
        begins = is_alive and is_recent and not dish.in_hand and not is_told_otherwise
        if alert.key in open_now or begins:
            found.append(alert)
    return found


def _machine_alerts(
    now: datetime,
    machine: MachineLife,
    limits: SilenceConfig,
    open_now: Collection[AlertKey],
) -> list[SilenceAlert]:
    found = []
    found += _room_alerts(machine, limits, open_now)
    if machine.refusal is not None:
        found.append(
            SilenceAlert(
                AlertTopic.MODEL_REFUSED,
                f"Captures are waiting, since the model is refused: {machine.refusal}",
                severity=Severity.CRITICAL,
            )
        )
    found += _stuck_alerts(machine, open_now)
    jumped = machine.clock_jumped_at
    if jumped is not None and now - jumped < timedelta(hours=1):
        found.append(
            SilenceAlert(
                AlertTopic.CLOCK_JUMPED,
                f"The machine's clock jumped by {machine.clock_jump_s:+.0f} s. Times of captures "
                "without a time of their own, and what is due when, may be wrong.",
            )
        )
    return found


def _room_alerts(
    machine: MachineLife, limits: SilenceConfig, open_now: Collection[AlertKey]
) -> list[SilenceAlert]:
    told_below = [one for one in (limits.disk_free_gib, machine.stops_below_gib) if one is not None]
    if machine.free_bytes is None or not told_below:
        return []
    stop = machine.stops_below_gib
    alert = SilenceAlert(
        AlertTopic.DISK_FULL,
        f"{machine.free_bytes / GIB:.1f} GiB are left for the record. "
        + (
            "When nothing is left, captures wait and nothing is judged."
            if stop is None
            else f"With less than {stop:g} GiB captures wait and nothing is judged; once there is "
            "room again, work goes on by itself."
        ),
        severity=Severity.CRITICAL,
    )
    needed = max(told_below) * (_FREED if alert.key in open_now else 1.0)
    return [alert] if machine.free_bytes < needed * GIB else []


def _stuck_alerts(machine: MachineLife, open_now: Collection[AlertKey]) -> list[SilenceAlert]:
    alert = SilenceAlert(
        AlertTopic.WORKER_STUCK,
        f"The segmentation process was stuck and was stopped: {machine.stuck or 'see the log'} "
        "It is restarted and goes on with what is waiting; until it answers, nothing is judged.",
        severity=Severity.CRITICAL,
    )
    is_open = alert.key in open_now
    # One that recovers between two looks is told of all the same; a fresh process that has
    # measured nothing yet, perhaps of a fresh daemon, has not shown that it works.
    if (machine.stuck is not None and not is_open) or (is_open and not machine.answered):
        return [alert]
    return []


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
