from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from monitor.config import Config, EmailConfig, OutletsConfig, RecordConfig, SourceConfig
from monitor.culture import AlertKind, AlertTopic
from monitor.jobs.deliver import deliver_due
from monitor.jobs.watch_silence import SilenceWatch
from tests.monitor.facts import NOW, hours, measure, measurement, place, read, seen, sha256_of, take

GIB = 2**30
HERE, GONE = {"incubator": True}, {"incubator": False}


@dataclass
class World:
    """A vigil with a clock, a steady clock and a disk that the test moves."""

    config: Config
    store: object
    now: datetime = NOW
    steady_s: float = 1000.0
    free: int | None = 50 * GIB

    def __post_init__(self):
        self.silence_watch = SilenceWatch(
            self.config,
            self.store,
            clock=lambda: self.now,
            steady=lambda: self.steady_s,
            room=lambda folder: self.free,
        )

    def passes(self, span: timedelta, *, asleep: bool = False) -> None:
        self.now += span
        self.steady_s += 0 if asleep else span.total_seconds()

    def look(self, present=HERE):
        return [
            (str(one.topic), str(one.kind), one.about) for one in self.silence_watch.look(present)
        ]

    def scan(self, key: str, fingerprint: str, *, dish: str = "dish-1") -> None:
        measured = replace(measurement(), acquired_at=self.now, fingerprint=sha256_of(fingerprint))
        where = place(dish=dish, key=key)
        scan = measure(self.store, f"{dish}-{key}.tif", where, measured, at=self.now)
        assert read(self.store, scan, at=self.now) is not None

    def mails(self):
        deliver_due(self.store, self.config, lambda: self.now, stopping=lambda: False)
        found = []
        for path in sorted(self.config.mailbox.glob("*.eml")):
            mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            found.append(mail["Subject"])
            path.unlink()
        return found


@pytest.fixture
def world(store, tmp_path) -> World:
    (tmp_path / "captures").mkdir()
    source = SourceConfig(name="incubator", path=tmp_path / "captures", expected_interval_h=6.0)
    at_once = OutletsConfig(email=EmailConfig(gather_s=0))
    record = RecordConfig(folder=tmp_path / "state")
    return World(Config(sources=(source,), record=record, outlets=at_once), store)


def test_a_dish_that_is_missing_is_told_once_and_its_return_too(world):
    world.scan("1", "a", dish="dish-1")
    for number in range(1, 4):
        world.scan(str(number), f"b{number}", dish="dish-2")
        world.passes(hours(6))
        assert world.look() == ([] if number < 3 else [("no-new-capture", "raised", "dish-1")])
    assert world.look() == []
    assert world.mails() == ["dish-1: no new captures"]
    world.passes(hours(5))
    world.scan("2", "a2", dish="dish-1")
    world.scan("4", "b4", dish="dish-2")
    assert world.look() == [("no-new-capture", "cleared", "dish-1")]
    world.passes(hours(7))
    assert world.mails() == ["dish-1: new captures again"]
    assert world.store.alerts.alerts(open_only=True) == []


def test_a_camera_that_writes_the_same_picture_again_is_stuck(world):
    for number in range(3):
        world.scan(str(number), "same")
        world.passes(hours(1))
        assert world.look() == ([] if number < 2 else [("same-picture", "raised", "dish-1")])
    (mail,) = world.mails()
    assert mail == "dish-1: the same image again and again"
    world.scan("4", "other")
    assert world.look() == [("same-picture", "cleared", "dish-1")]


def test_new_captures_of_an_old_time_are_silence(world):
    """A backlog that is copied today says nothing about today."""
    old = world.now - hours(20)
    measured = replace(measurement(), acquired_at=old, fingerprint=sha256_of("a"))
    read(world.store, measure(world.store, "a.tif", place(key="1"), measured, at=NOW))
    assert world.look() == [("source-silent", "raised", "source incubator")]


def test_a_clock_that_runs_ahead_in_the_imager_does_not_hide_its_silence(world):
    measured = replace(measurement(), acquired_at=NOW + hours(1000), fingerprint=sha256_of("a"))
    read(world.store, measure(world.store, "a.tif", place(key="1"), measured, at=NOW))
    world.passes(hours(16))
    assert world.look() == [("source-silent", "raised", "source incubator")]


def test_a_folder_that_is_gone_is_told_after_a_while_and_when_it_is_back(world):
    assert world.look(GONE) == []
    world.passes(timedelta(seconds=300))
    assert world.look(GONE) == [("source-gone", "raised", "source incubator")]
    assert world.look(GONE) == []
    assert world.mails() == ["source incubator: folder gone"]
    assert world.look(HERE) == [("source-gone", "cleared", "source incubator")]


def test_a_share_that_comes_and_goes_makes_one_mail(world):
    world.look(GONE)
    for _ in range(5):
        world.passes(timedelta(seconds=300))
        world.look(GONE)
        world.passes(timedelta(seconds=30))
        world.look(HERE)
        world.look(GONE)
    assert world.mails() == ["source incubator: folder gone"]


def test_a_disk_that_fills_up_is_told_in_time(world):
    world.free = GIB
    assert world.look() == [("disk-nearly-full", "raised", "this machine")]
    (alert,) = world.store.alerts.alerts()
    assert "1.0 GiB" in alert.text
    world.free = 50 * GIB
    assert world.look() == [("disk-nearly-full", "cleared", "this machine")]


def test_a_jump_of_the_clock_is_told_and_an_even_one_is_not(world):
    world.passes(hours(3))
    assert world.look() == []
    world.passes(hours(-1), asleep=True)
    assert world.look() == [("clock-jumped", "raised", "this machine")]
    (alert,) = world.store.alerts.alerts()
    assert "-3600 s" in alert.text
    world.passes(hours(1))
    assert world.look() == [("clock-jumped", "cleared", "this machine")]


def test_captures_that_wait_for_a_refused_model_are_an_alert(world):
    store = world.store
    capture = take(store, "a.tif")
    store.captures.claim_due("me", NOW, limit=1)
    store.captures.record_waiting(capture.id, "me", "model-refused", "weights changed", NOW)
    assert world.look() == [("model-refused", "raised", "this machine")]
    assert "weights changed" in (store.alerts.alerts()[0].text or "")


def test_a_stuck_worker_is_told_until_it_has_measured_again(world):
    assert world.look() == []
    world.silence_watch.worker_stuck("no answer on a.tif for 1800 s.")
    assert world.look() == [("worker-stuck", "raised", "this machine")]
    assert "a.tif for 1800 s" in (world.store.alerts.alerts()[0].text or "")
    assert world.mails() == ["this machine: segmentation is stuck"]
    assert world.look() == []
    world.silence_watch.worker_answered()
    assert world.look() == [("worker-stuck", "cleared", "this machine")]
    assert world.look() == []
    world.passes(hours(13))  # past the wait that keeps a flapping alert from being mailed twice
    assert world.mails() == ["this machine: segmentation answers again"]


def test_a_worker_that_recovers_between_two_looks_is_told_of_too(world):
    world.silence_watch.worker_stuck("no answer on a.tif for 1800 s.")
    world.silence_watch.worker_answered()
    assert world.look() == [("worker-stuck", "raised", "this machine")]
    assert world.look() == [("worker-stuck", "cleared", "this machine")]
    assert world.look() == []


def test_a_fresh_daemon_does_not_take_a_stuck_worker_for_well_before_it_has_measured(world):
    world.silence_watch.worker_stuck("no answer on a.tif for 1800 s.")
    world.look()
    after = World(world.config, world.store)
    assert after.look() == []
    after.silence_watch.worker_answered()
    assert after.look() == [("worker-stuck", "cleared", "this machine")]


def test_two_programs_on_one_record_raise_an_alert_once(world):
    other = World(world.config, world.store, free=GIB)
    world.free = GIB
    looks = [world.look(), other.look()]
    assert looks == [[("disk-nearly-full", "raised", "this machine")], []]


def test_an_alert_can_be_snoozed_and_what_is_held_back_is_recorded(world):
    world.look(GONE)
    world.passes(timedelta(seconds=300))
    world.look(GONE)
    (alert,) = world.store.alerts.alerts()
    until = world.now + hours(48)
    world.store.alerts.snooze(alert.id, until=until, who="a", now=world.now)
    world.look(HERE)
    cleared, _ = world.store.alerts.alerts()
    assert (cleared.kind, cleared.held_back) == (AlertKind.CLEARED, "snoozed")
    assert world.mails() == ["source incubator: folder gone"]


def test_a_rest_holds_back_what_waits_to_be_sent_and_tells_it_afterwards(world):
    """Somebody who says at night that he knows is not woken for it by the mail of the morning."""
    email = EmailConfig(gather_s=600)
    outlets = world.config.outlets.model_copy(update={"email": email})
    world = World(world.config.model_copy(update={"outlets": outlets}), world.store)
    world.look(GONE)
    world.passes(timedelta(seconds=300))
    world.look(GONE)
    (alert,) = world.store.alerts.alerts()
    until = world.now + hours(8)
    world.store.alerts.snooze(alert.id, until=until, who="a", now=world.now)
    assert world.store.alerts.alert(alert.id).held_back == "snoozed"
    world.passes(hours(7))
    assert (world.look(GONE), world.mails()) == ([], [])
    world.passes(hours(1))
    assert world.look(GONE) == [("source-gone", "raised", "source incubator")]
    world.passes(hours(1))
    assert world.mails() == ["source incubator: folder gone"]


def test_a_dish_that_rests_silences_neither_its_source_nor_the_machine(world):
    world.scan("1", "a", dish="dish-1")
    for number in range(1, 4):
        world.scan(str(number), f"b{number}", dish="dish-2")
        world.passes(hours(6))
        world.look()
    (alert,) = world.store.alerts.alerts()
    assert alert.about == "dish-1"
    world.store.alerts.snooze(alert.id, until=world.now + hours(500), who="a", now=world.now)
    world.mails()
    world.passes(hours(100))
    world.now += hours(2)
    assert world.look() == [
        ("source-silent", "raised", "source incubator"),
        ("clock-jumped", "raised", "this machine"),
    ]
    assert sorted(world.mails()) == [
        "source incubator: no new captures",
        "this machine: the clock jumped",
    ]


def test_a_source_whose_dishes_have_all_ended_is_not_missed(world):
    world.passes(hours(10))
    world.scan("1", "a")
    world.passes(hours(10))
    world.store.lines.end("dish-1", at=world.now, who="a", note=None, now=world.now)
    assert world.look() == []
    world.scan("2", "b")
    assert world.look() == []
    world.passes(hours(16))
    assert world.look() == [("source-silent", "raised", "source incubator")]


def test_a_dish_is_missed_while_captures_of_others_always_wait(world):
    """An imager that never rests: something is to be judged at any moment."""
    world.scan("1", "a", dish="dish-1")
    world.passes(hours(15))
    world.scan("2", "b", dish="dish-2")
    world.passes(hours(1))
    world.store.captures.take_in(seen("/in/b.tif", dish="dish-2"), world.now)
    assert world.store.unfinished.in_hand(world.now) == {("incubator", "dish-2")}
    assert world.look() == [("no-new-capture", "raised", "dish-1")]


@pytest.mark.parametrize("dish", ["dish-1", None])
def test_a_dish_is_not_missed_while_captures_wait_that_may_be_of_it(world, dish):
    world.scan("1", "a", dish="dish-1")
    world.passes(hours(15))
    world.scan("2", "b", dish="dish-2")
    world.passes(hours(1))
    world.store.captures.take_in(seen("/in/a.tif", dish=dish), world.now)
    assert world.look() == []


def test_what_is_still_wrong_when_the_snooze_is_over_is_told(world):
    world.look(GONE)
    world.passes(timedelta(seconds=300))
    world.look(GONE)
    (alert,) = world.store.alerts.alerts()
    until = world.now + hours(24)
    world.store.alerts.snooze(alert.id, until=until, who="a", now=world.now)
    world.look(HERE)
    world.look(GONE)
    world.passes(timedelta(hours=1))
    assert world.look(GONE) == [("source-gone", "raised", "source incubator")]
    world.mails()
    assert world.store.alerts.alerts()[0].held_back == "snoozed"
    world.passes(hours(22))
    assert world.look(GONE) == []
    world.passes(hours(1))
    assert world.look(GONE) == [("source-gone", "raised", "source incubator")]
    assert world.mails() == ["source incubator: folder gone"]
    assert world.look(GONE) == []


def test_a_mail_about_silence_says_what_to_do_and_escapes_names(world):
    world.scan("1", "a", dish="<b>dish</b>")
    world.scan("1", "b", dish="dish-2")
    world.passes(hours(15))
    world.scan("2", "b2", dish="dish-2")
    world.passes(hours(1))
    assert world.look() == [("no-new-capture", "raised", "<b>dish</b>")]
    deliver_due(world.store, world.config, lambda: world.now, stopping=lambda: False)
    (path,) = world.config.mailbox.glob("*.eml")
    mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    plain = mail.get_body(("plain",)).get_content()
    html = mail.get_body(("html",)).get_content()
    (alert,) = world.store.alerts.alerts()
    assert alert.topic is AlertTopic.NO_CAPTURE
    for text in (plain, html):
        assert "expected every 6 h" in text
        assert f"colonywatch alerts ack {alert.id}" in text
    assert "<b>dish" not in html
    assert mail["Importance"] == "high"
