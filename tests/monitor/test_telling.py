"""From an alert to the mails that people get: who, when, together with what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default

import pytest

from monitor.config import (
    Config,
    EmailConfig,
    OutletsConfig,
    QuietHoursConfig,
    RecipientConfig,
    RecordConfig,
    SourceConfig,
)
from monitor.culture import AlertKind, AlertTopic, DishStatus, NewAlert, ScanDecision, Severity
from monitor.decisions.recipients import mail_to, not_before
from monitor.jobs.deliver import deliver_due
from tests.monitor.facts import NOW, hours, measure, measurement, minutes, place, read

RAISED, WORSENED, CLEARED = AlertKind
_, WARNING, CRITICAL = Severity
GATHER = timedelta(minutes=1)


@dataclass
class Lab:
    """A record with a clock; alerts go the way they go in the daemon."""

    config: Config
    store: object
    now: datetime = NOW
    scans: int = 0

    def alert(self, kind=RAISED, dish="P1/A1", severity=WARNING, **changes):
        self.scans += 1
        new = NewAlert(
            kind,
            severity=severity,
            mail_to=mail_to(self.config, kind, severity, "incubator"),
            wait=timedelta()
            if severity is CRITICAL
            else not_before(self.config, "incubator", self.now) - self.now,
            **changes,
        )
        measured = measurement(acquired_at=self.now)
        where = place(dish, key=str(self.scans))
        scan = measure(self.store, f"/{self.scans}.tif", where, measured, at=self.now)
        read(self.store, scan, ScanDecision(DishStatus.DIFFERENTIATING, (new,)), at=self.now)

    def passes(self, span):
        self.now += span
        deliver_due(self.store, self.config, lambda: self.now, stopping=lambda: False)

    def mails(self):
        """(to, subject) of what came since the last look."""
        found = []
        for path in sorted(self.config.mailbox.glob("*.eml")):
            mail = message_from_bytes(path.read_bytes(), policy=default)
            found.append((mail["To"], mail["Subject"]))
            path.unlink()
        return found

    def held_back(self):
        return [one.held_back for one in reversed(self.store.alerts.alerts())]


@pytest.fixture
def make_lab(store, tmp_path):
    def make(**email) -> Lab:
        config = Config(
            sources=(SourceConfig(name="incubator", path=tmp_path, timezone="Europe/Berlin"),),
            record=RecordConfig(folder=tmp_path / "state"),
            outlets=OutletsConfig(
                email=EmailConfig(**({"recipients": ("a@lab.org",)} | email)),
            ),
        )
        return Lab(config, store)

    return make


# --- together -----------------------------------------------------------------------------------


def test_dishes_of_one_round_share_a_mail_with_the_worst_first(make_lab):
    lab = make_lab()
    lab.alert(dish="P1/A1")
    lab.passes(timedelta(seconds=30))
    lab.alert(dish="P1/B2")
    assert lab.mails() == []
    lab.alert(dish="P1/C3", severity=CRITICAL)
    lab.passes(timedelta())
    ((to, subject),) = lab.mails()
    assert to == "a@lab.org"
    assert subject == (
        "3 dishes of P1: C3 critical, 25 % differentiated, A1 25 % differentiated, B2 25 % "
        "differentiated"
    )
    lab.passes(hours(9))
    assert lab.mails() == []


def test_a_mail_that_was_tried_takes_no_others_in(make_lab, tmp_path):
    """It may have arrived: with other content it could not be told from a second one."""
    lab = make_lab()
    lab.config.mailbox.parent.mkdir(parents=True, exist_ok=True)
    lab.config.mailbox.write_text("in the way")
    lab.alert(dish="P1/A1")
    lab.alert(dish="P1/A2")
    lab.passes(GATHER)
    lab.alert(dish="P1/B1")
    lab.config.mailbox.unlink()
    lab.passes(GATHER)
    subjects = [subject for _, subject in lab.mails()]
    assert subjects == ["2 dishes of P1: 25 % differentiated", "B1 of P1: 25 % differentiated"]


def test_two_matters_of_one_dish_are_one_mail(make_lab):
    lab = make_lab()
    lab.alert()
    lab.alert(topic=AlertTopic.CONFLUENT, text="Time to passage.")
    lab.passes(GATHER)
    ((_, subject),) = lab.mails()
    assert subject == "A1 of P1: 25 % differentiated, confluent, 25 % differentiated"


def test_many_dishes_are_one_mail_that_draws_only_the_worst(make_lab):
    lab = make_lab()
    for number in range(9):
        lab.alert(dish=f"P1/well-{number}")
    lab.passes(GATHER)
    (path,) = lab.config.mailbox.glob("*.eml")
    mail = message_from_bytes(path.read_bytes(), policy=default)
    assert sum(part.get_content_maintype() == "image" for part in mail.walk()) == 6
    html = mail.get_body(("html",)).get_content()
    assert all(f"well-{number} of P1" in html for number in range(9))
    ((_, subject),) = lab.mails()
    assert subject == "9 dishes of P1: 25 % differentiated"


def test_one_of_several_that_cannot_be_told_goes_alone_and_stops_none(make_lab, store):
    lab = make_lab()
    lab.alert(dish="P1/A1")
    lab.alert(dish="P1/A2")
    with store.database.writing() as session:
        session.connection().exec_driver_sql(
            "UPDATE outbox SET subject_id = 'nonsense' WHERE id = 1"
        )
    lab.passes(GATHER)
    assert [subject for _, subject in lab.mails()] == ["A2 of P1: 25 % differentiated"]
    (left,) = store.outbox.undelivered()
    assert left.subject_id == "nonsense"


# --- to whom ------------------------------------------------------------------------------------


def test_people_get_what_they_asked_for_and_the_all_clear_of_it(make_lab):
    lab = make_lab(
        recipients=(
            RecipientConfig(address="all@lab.org"),
            RecipientConfig(address="on-call@lab.org", from_severity="critical"),
            RecipientConfig(address="other@lab.org", sources=("unlisted",)),
        )
    )
    lab.alert()
    lab.passes(GATHER)
    assert [to for to, _ in lab.mails()] == ["all@lab.org"]
    lab.alert(WORSENED, severity=CRITICAL)
    lab.passes(timedelta())
    assert [to for to, _ in lab.mails()] == ["all@lab.org", "on-call@lab.org"]
    lab.alert(CLEARED)
    lab.passes(GATHER)
    assert [to for to, _ in lab.mails()] == ["all@lab.org", "on-call@lab.org"]


def test_nobody_is_told_the_end_of_what_nobody_was_told_the_begin_of(make_lab):
    lab = make_lab()
    lab.alert(held_back="old scan")
    lab.alert(CLEARED)
    lab.passes(hours(1))
    assert lab.mails() == []
    assert lab.held_back() == ["old scan", "nobody was told"]


# --- when ---------------------------------------------------------------------------------------

NIGHT = datetime(2026, 11, 3, 22, 30, tzinfo=UTC)  # 23:30 in Berlin
MORNING = datetime(2026, 11, 4, 6, 0, tzinfo=UTC)  # 07:00 there


@pytest.fixture
def at_night(make_lab):
    lab = make_lab(quiet_hours=QuietHoursConfig())
    lab.now = NIGHT
    return lab


def test_at_night_only_what_is_critical_is_mailed_and_the_rest_in_the_morning(at_night):
    at_night.alert(dish="P1/A1")
    at_night.passes(hours(1))
    at_night.alert(dish="P1/B1")
    assert at_night.mails() == []
    at_night.alert(dish="P1/C1", severity=CRITICAL)
    at_night.passes(timedelta())
    assert [subject for _, subject in at_night.mails()] == [
        "C1 of P1: critical, 25 % differentiated"
    ]
    at_night.passes(MORNING - minutes(1) - at_night.now)
    assert at_night.mails() == []
    at_night.passes(minutes(1))
    assert [subject for _, subject in at_night.mails()] == ["2 dishes of P1: 25 % differentiated"]


def test_what_came_and_went_at_night_is_no_mail_but_on_record(at_night):
    at_night.alert()
    at_night.passes(hours(2))
    at_night.alert(CLEARED)
    at_night.passes(hours(12))
    assert at_night.mails() == []
    assert at_night.held_back() == ["overtaken", "overtaken"]


def test_what_got_worse_at_night_is_told_once(at_night):
    at_night.alert()
    at_night.passes(hours(2))
    at_night.alert(WORSENED)
    at_night.passes(hours(12))
    ((_, subject),) = at_night.mails()
    assert subject == "A1 of P1: getting worse, 25 % differentiated, unchanged in 2 h"


def test_a_zone_of_the_lab_wins_over_that_of_the_imager(at_night):
    outlets = at_night.config.outlets.model_copy(update={"timezone": "America/Los_Angeles"})
    at_night.config = at_night.config.model_copy(update={"outlets": outlets})
    at_night.alert()  # 14:30 there
    at_night.passes(GATHER)
    assert len(at_night.mails()) == 1
