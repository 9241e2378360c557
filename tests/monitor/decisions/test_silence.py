from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.config import SilenceConfig
from monitor.culture import Alert, AlertKind, AlertTopic, DishStatus, Severity
from monitor.decisions.silence import (
    GIB,
    OVER,
    SILENCES,
    DishLife,
    MachineLife,
    SilenceAlert,
    SourceLife,
    changes,
    what_is_wrong,
)

NOW = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
LIMITS = SilenceConfig()  # 2.5 intervals, 14 days, 3 same pictures, 300 s, 2 GiB
WELL = MachineLife(free_bytes=50 * GIB)
NO_CAPTURE, SAME_PICTURE = AlertTopic.NO_CAPTURE, AlertTopic.SAME_PICTURE
SOURCE_SILENT, SOURCE_GONE = AlertTopic.SOURCE_SILENT, AlertTopic.SOURCE_GONE
DISK_FULL, MODEL_REFUSED = AlertTopic.DISK_FULL, AlertTopic.MODEL_REFUSED
CLOCK_JUMPED, WORKER_STUCK = AlertTopic.CLOCK_JUMPED, AlertTopic.WORKER_STUCK
STUCK = (WORKER_STUCK, "", "")


def ago(hours):
    return NOW - timedelta(hours=hours)


def dish(name, hours, repeats=0, in_hand=False):
    return DishLife(name, "incubator", ago(hours), repeats, in_hand)


def source(interval_h=6.0, watched_h=1000.0, gone_s=None, in_hand=False):
    gone = None if gone_s is None else NOW - timedelta(seconds=gone_s)
    return SourceLife("incubator", interval_h, ago(watched_h), gone, in_hand)


CASES = {
    # name: (dishes, source, machine, open before, what is wrong)
    "all is well": ([dish("A", 3), dish("B", 4)], source(), WELL, [], []),
    "late, within what is allowed": ([dish("A", 15), dish("B", 1)], source(), WELL, [], []),
    "a dish is missing": (
        [dish("A", 16), dish("B", 1)], source(), WELL, [], [(NO_CAPTURE, "A", "incubator")],
    ),
    "no interval is known": ([dish("A", 500)], source(None), WELL, [], []),
    "a dish of long ago": ([dish("A", 24 * 15), dish("B", 1)], source(), WELL, [], []),
    "a dish of long ago that is missed already": (
        [dish("A", 24 * 15), dish("B", 1)], source(), WELL, [(NO_CAPTURE, "A", "incubator")],
        [(NO_CAPTURE, "A", "incubator")],
    ),
    "the source falls silent: its first dish does not alert before": (
        [dish("A", 16), dish("B", 14)], source(), WELL, [], [],
    ),
    "all dishes are silent: one alert": (
        [dish("A", 18), dish("B", 16)], source(), WELL, [], [(SOURCE_SILENT, "", "incubator")],
    ),
    "the only dish is silent": (
        [dish("A", 16)], source(), WELL, [], [(SOURCE_SILENT, "", "incubator")],
    ),
    "nothing ever came": ([], source(watched_h=16), WELL, [], [(SOURCE_SILENT, "", "incubator")]),
    "nothing ever came, and the daemon starts anew": (
        [], source(watched_h=0), WELL, [(SOURCE_SILENT, "", "incubator")],
        [(SOURCE_SILENT, "", "incubator")],
    ),
    "all its dishes have ended": ([], replace(source(), has_ended=True), WELL, [], []),
    "nothing came yet": ([], source(watched_h=14), WELL, [], []),
    "two the same": ([dish("A", 3, 1)], source(), WELL, [], []),
    "three the same": ([dish("A", 3, 2)], source(), WELL, [], [(SAME_PICTURE, "A", "incubator")]),
    "a stuck camera is one alert": (
        [dish("A", 30, 5), dish("B", 1)], source(), WELL, [], [(SAME_PICTURE, "A", "incubator")],
    ),
    "the same picture once, then nothing": (
        [dish("A", 30, 1), dish("B", 1)], source(), WELL, [], [(NO_CAPTURE, "A", "incubator")],
    ),
    "what is missed does not come back with the same picture": (
        [dish("A", 30, 2), dish("B", 1)], source(), WELL, [(NO_CAPTURE, "A", "incubator")],
        [(NO_CAPTURE, "A", "incubator"), (SAME_PICTURE, "A", "incubator")],
    ),
    "captures wait to be judged: nobody can say that none come": (
        [dish("A", 16, in_hand=True)], source(in_hand=True), WELL, [], [],
    ),
    "a dish is missing while captures of others wait, as they always do": (
        [dish("A", 16), dish("B", 1, in_hand=True)], source(in_hand=True), WELL, [],
        [(NO_CAPTURE, "A", "incubator")],
    ),
    "captures of a missing dish wait to be judged": (
        [dish("A", 16, in_hand=True), dish("B", 1)], source(in_hand=True), WELL, [], [],
    ),
    "silent already, whatever waits by now": (
        [dish("A", 16, in_hand=True)], source(in_hand=True), WELL,
        [(SOURCE_SILENT, "", "incubator")], [(SOURCE_SILENT, "", "incubator")],
    ),
    "without a model nothing is new: one alert": (
        [dish("A", 16)], source(), MachineLife(refusal="wrong hash"), [], [(MODEL_REFUSED, "", "")],
    ),
    "the folder is gone": ([], source(gone_s=300), WELL, [], [(SOURCE_GONE, "", "incubator")]),
    "the folder is gone for a moment": ([], source(gone_s=299), WELL, [], []),
    "what is gone is not silent too": (
        [dish("A", 99)], source(gone_s=9999), WELL, [], [(SOURCE_GONE, "", "incubator")],
    ),
    "what is silent is not heard again because its folder is gone": (
        [dish("A", 99)], source(gone_s=9999), WELL,
        [(SOURCE_SILENT, "", "incubator"), (NO_CAPTURE, "A", "incubator")],
        [
            (SOURCE_GONE, "", "incubator"), (SOURCE_SILENT, "", "incubator"),
            (NO_CAPTURE, "A", "incubator"),
        ],
    ),
    "a dish is not heard again because all others fall silent": (
        [dish("A", 99), dish("B", 16)], source(), WELL, [(NO_CAPTURE, "A", "incubator")],
        [(SOURCE_SILENT, "", "incubator"), (NO_CAPTURE, "A", "incubator")],
    ),
    "the disk is nearly full": ([], source(None), MachineLife(GIB), [], [(DISK_FULL, "", "")]),
    "a little room is not enough": (
        [], source(None), MachineLife(int(2.1 * GIB)), [(DISK_FULL, "", "")], [(DISK_FULL, "", "")],
    ),
    "the same little room, never alerted": ([], source(None), MachineLife(int(2.1 * GIB)), [], []),
    "room again": ([], source(None), MachineLife(int(2.6 * GIB)), [(DISK_FULL, "", "")], []),
    "so little that work has stopped, where it is not watched otherwise": (
        [], source(None), MachineLife(5 * GIB, stops_below_gib=6), [], [(DISK_FULL, "", "")],
    ),
    "room that cannot be told": ([], source(None), MachineLife(None), [], []),
    "the model is refused": (
        [], source(None), MachineLife(50 * GIB, "wrong hash"), [], [(MODEL_REFUSED, "", "")],
    ),
    "the worker is stuck": ([], source(None), MachineLife(stuck="a.tif"), [], [STUCK]),
    "it recovered before anybody looked": (
        [], source(None), MachineLife(stuck="a.tif", answered=True), [], [STUCK],
    ),
    "it has not answered yet": ([], source(None), MachineLife(stuck="a.tif"), [STUCK], [STUCK]),
    "a fresh daemon has not seen it answer": ([], source(None), MachineLife(), [STUCK], [STUCK]),
    "it answers": ([], source(None), MachineLife(stuck="a.tif", answered=True), [STUCK], []),
    "the clock jumped": (
        [], source(None), MachineLife(None, None, ago(0.5), -3600), [], [(CLOCK_JUMPED, "", "")],
    ),
    "the clock jumped long ago": (
        [], source(None), MachineLife(50 * GIB, None, ago(1), -3600), [], [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_silence_is_noticed_and_one_cause_is_one_alert(case):
    dishes, of, machine, before, expected = CASES[case]
    # A source of dishes that are scanned again and again has something new.
    found = what_is_wrong(NOW, dishes, [of], machine, LIMITS, before)
    assert [alert.key for alert in found] == expected
    assert all(alert.text for alert in found)


def test_what_the_lab_does_not_watch_does_not_alert():
    limits = SilenceConfig(same_pictures=None, disk_free_gib=None, clock_jump_s=None)
    machine = MachineLife(free_bytes=0)
    assert what_is_wrong(NOW, [dish("A", 3, 9)], [source()], machine, limits, []) == ()


def test_without_a_limit_on_same_pictures_a_stuck_camera_is_silence_all_the_same():
    limits = SilenceConfig(same_pictures=None)
    dishes = [dish("A", 30, 5), dish("B", 1)]
    (alert,) = what_is_wrong(NOW, dishes, [source()], WELL, limits, [])
    assert alert.key == (NO_CAPTURE, "A", "incubator")
    assert "the very same image" in alert.text


def alert(topic, dish="", source=None, **changes):
    values = {
        "id": 1, "dish": dish, "kind": AlertKind.RAISED, "status": DishStatus.UNKNOWN,
        "reading_id": None, "at": NOW, "fraction": None, "created_at": NOW, "topic": topic,
        "source": source,
    }  # fmt: skip
    return Alert(**(values | changes))


def test_an_alert_begins_once_and_ends_once():
    gone = SilenceAlert(SOURCE_GONE, "gone", source="incubator")
    full = SilenceAlert(DISK_FULL, "full", severity=Severity.CRITICAL)
    assert changes([], [gone, full]) == ((gone, full), ())
    known = [alert(SOURCE_GONE, source="incubator"), alert(DISK_FULL, severity=Severity.CRITICAL)]
    assert changes(known, [gone, full]) == ((), ())
    begun, (over,) = changes(known, [gone])
    assert begun == ()
    assert (over.key, over.text, over.severity) == (full.key, OVER[DISK_FULL], Severity.CRITICAL)


def test_every_silence_has_words_for_its_end():
    assert set(OVER) == SILENCES
