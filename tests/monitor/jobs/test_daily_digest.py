"""The digest of the day: when, what, to whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from monitor.config import Config, parse_config
from monitor.culture import (
    AlertKind,
    AlertTopic,
    DishStatus,
    Doubt,
    DoubtReason,
    NewAlert,
    ScanDecision,
    Severity,
)
from monitor.errors import ConfigError
from monitor.jobs.daily_digest import digest_for, write_due_digest
from monitor.jobs.deliver import deliver_due
from tests.monitor.facts import (
    DISH,
    NOW,
    hours,
    measure,
    measurement,
    minutes,
    place,
    read,
    removal_plan,
    take,
)

DAY, TEN_MINUTES = timedelta(days=1), minutes(10)
BEFORE, AFTER = NOW - hours(1), NOW + DAY


def configured(folder: Path, email: str = "", zone: str = "UTC") -> Config:
    text = (
        f"record: {{folder: {folder}}}\n"
        f"outlets: {{timezone: {zone}, email: {{recipients: [a@lab.org], gather_s: 0, {email}}}}}"
    )
    return parse_config(text, where=folder / "config.yaml")


@pytest.fixture
def config(tmp_path) -> Config:
    return configured(tmp_path / "state")


def scan(store, number, *, dish=DISH, alerts=(), status=DishStatus.UNDIFFERENTIATED, **changes):
    """A scan so many hours after NOW."""
    at = NOW + hours(number)
    severity = changes.pop("severity", None)
    plan = changes.pop("plan", None)
    measured = measurement(acquired_at=at, **changes)
    scan_id = measure(store, f"{dish}-{number}.tif", place(dish, f"s{number}"), measured, at=at)
    return read(store, scan_id, ScanDecision(status, alerts, plan, severity=severity), at=at)


def mails(config: Config):
    return [
        message_from_bytes(path.read_bytes(), policy=default)
        for path in sorted(config.mailbox.glob("*.eml"))
    ]


def delivered(store, config, now):
    deliver_due(store, config, lambda: now, stopping=lambda: False)
    (mail,) = mails(config)
    return mail


def text_of(mail, kind="plain") -> str:
    return mail.get_body((kind,)).get_content()


def writes_between(config, store, begin, end, step=TEN_MINUTES):
    """The moments at which a daemon that looks so often writes a digest."""
    found, now = [], begin
    while now < end:
        if write_due_digest(config, store, now):
            found.append(now)
        now += step
    return found


# --- when ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "first", "at", "utc_hours"),
    [
        # The clock goes forward on 29 March 2026, and back on 25 October.
        ("Europe/Berlin", datetime(2026, 3, 27, 20, tzinfo=UTC), "08:00", [7, 6, 6, 6]),
        ("Europe/Berlin", datetime(2026, 10, 23, 20, tzinfo=UTC), "08:00", [6, 7, 7, 7]),
        # An hour that is skipped, and one that comes twice.
        ("Europe/Berlin", datetime(2026, 3, 27, 20, tzinfo=UTC), "02:30", [1, 1, 0, 0]),
        ("Europe/Berlin", datetime(2026, 10, 23, 20, tzinfo=UTC), "02:30", [0, 0, 1, 1]),
        ("America/New_York", datetime(2026, 3, 6, 20, tzinfo=UTC), "08:00", [13, 12, 12, 12]),
        ("Asia/Tokyo", datetime(2026, 3, 6, 12, tzinfo=UTC), "08:00", [23, 23, 23, 23]),
    ],
)
def test_it_comes_once_a_day_by_the_labs_clock_also_when_that_changes(
    store, tmp_path, zone, first, at, utc_hours
):
    config = configured(tmp_path, f'digest: {{at: "{at}"}}', zone)
    found = writes_between(config, store, first, first + 4 * DAY)
    assert [moment.hour for moment in found] == utc_hours
    assert len({moment.date() for moment in found}) == 4


def test_a_new_record_is_told_of_from_its_beginning_on(store, config):
    """Not a digest of a time when nobody watched."""
    evening = datetime(2026, 11, 3, 20, tzinfo=UTC)
    assert not write_due_digest(config, store, evening)
    morning = datetime(2026, 11, 4, 8, 1, tzinfo=UTC)
    assert write_due_digest(config, store, morning)
    (message,) = store.outbox.undelivered()
    assert store.digests.span(message.subject_id) == (evening, morning - minutes(1))


def test_after_days_without_a_daemon_there_is_one_on_all_of_them(store, config):
    start = datetime(2026, 11, 3, 7, tzinfo=UTC)
    assert len(writes_between(config, store, start, start + hours(3))) == 1
    late = start + 5 * DAY
    assert len(writes_between(config, store, late, late + hours(3))) == 2  # one at once, one at 8
    assert len(store.outbox.undelivered()) == 3


def test_two_programs_write_one(store, config, database_url):
    from monitor.record.store import Store

    start = datetime(2026, 11, 3, 7, tzinfo=UTC)
    with Store(database_url) as other:
        write_due_digest(config, store, start)
        found = [write_due_digest(config, one, start + hours(2)) for one in (store, other)]
    assert found == [True, False]
    assert len(store.outbox.undelivered()) == 1


def test_a_clock_that_was_ahead_and_is_set_back_costs_no_digest(store, config):
    start = datetime(2026, 11, 3, 7, tzinfo=UTC)
    write_due_digest(config, store, start)
    write_due_digest(config, store, start + 300 * DAY)
    found = writes_between(config, store, start + hours(1), start + 3 * DAY)
    assert [moment.hour for moment in found] == [8, 8, 8]


def test_none_is_written_where_none_is_wanted(store, tmp_path):
    start = datetime(2026, 11, 3, 7, tzinfo=UTC)
    off = configured(tmp_path, "digest: {at: null}")
    critical = configured(tmp_path).model_copy()
    for config in (off, _critical_only(critical)):
        assert writes_between(config, store, start, start + 2 * DAY, hours(1)) == []


def _critical_only(config: Config) -> Config:
    email = config.outlets.email
    one = email.recipients[0].model_copy(update={"from_severity": "critical"})
    email = email.model_copy(update={"recipients": (one,)})
    return config.model_copy(update={"outlets": config.outlets.model_copy(update={"email": email})})


def test_a_quiet_day_has_a_digest_unless_told_otherwise(store, tmp_path):
    """A mail that does not come then says that something is wrong."""
    loud = configured(tmp_path / "loud")
    only_news = configured(tmp_path / "news", "digest: {when_quiet: false}")
    scan(store, -3)
    start = datetime(2026, 11, 3, 7, tzinfo=UTC)
    write_due_digest(only_news, store, start)
    assert write_due_digest(only_news, store, start + hours(1))
    assert store.outbox.undelivered() == []
    assert write_due_digest(loud, store, start + DAY + hours(1))
    mail = delivered(store, loud, start + DAY + hours(2))
    assert mail["Subject"] == "Digest of Wed 4 Nov: all quiet, 1 dish"
    assert "It comes every day" in text_of(mail)


def test_with_news_it_comes_also_where_quiet_days_have_none(store, tmp_path):
    config = configured(tmp_path, "digest: {when_quiet: false}")
    start = datetime(2026, 11, 3, 7, tzinfo=UTC)
    write_due_digest(config, store, start)
    take(store, "x.tif")
    store.captures.record_unreadable(
        store.captures.claim_due("me", start, limit=1)[0].id, "me", "truncated", "cut off",
        start + minutes(5),
    )  # fmt: skip
    assert write_due_digest(config, store, start + hours(1))
    mail = delivered(store, config, start + hours(1))
    assert "1 capture unreadable (1 truncated)" in text_of(mail)


# --- what ----------------------------------------------------------------------------------------


def flapping(store):
    """Rises and falls four times; only the first rise was mailed."""
    raised = NewAlert(AlertKind.RAISED, mail_to=("a@lab.org",))
    held = NewAlert(AlertKind.RAISED, held_back="cooldown")
    cleared = NewAlert(AlertKind.CLEARED, held_back="cooldown")
    for number in range(4):
        up = raised if number == 0 else held
        scan(store, 2 * number, alerts=(up,), status=DishStatus.DIFFERENTIATING)
        scan(store, 2 * number + 1, alerts=(cleared,))


def story(store, config, since=BEFORE, until=AFTER):
    reader = config.outlets.email.recipients[0]
    return digest_for(reader, config, store, since, until, plots=6)


def told(store, config, since=BEFORE, until=AFTER) -> str:
    from monitor.outlets.mail.digest_mail import compose_digest

    mail = compose_digest(
        story(store, config, since, until), sender="s@lab.org", recipient="a@lab.org",
        message_id="digest-1",
    )  # fmt: skip
    return f"{mail['Subject']}\n{text_of(mail)}"


def test_a_dish_that_comes_and_goes_stands_there_once_with_what_was_held_back(store, config):
    flapping(store)
    text = told(store, config)
    assert text.count("- A1 of 3500003816") == 1
    assert "Was above its limit 4 times and no longer since 3 Nov, 16:30." in text
    assert "Not mailed: 7 within the cooldown." in text


def test_what_still_holds_is_told_with_who_knows_of_it(store, config):
    scan(
        store, 1, alerts=(NewAlert(AlertKind.RAISED, severity=Severity.CRITICAL),),
        status=DishStatus.DIFFERENTIATING, severity=Severity.CRITICAL,
    )  # fmt: skip
    store.alerts.acknowledge(1, who="Ada", note="removed by hand", now=NOW + hours(2))
    store.alerts.snooze(1, until=NOW + hours(30), who="Ada", now=NOW + hours(2))
    store.lines.annotate(DISH, "medium changed", at=NOW + hours(1), who="Bob", now=NOW + hours(2))
    text = told(store, config)
    assert "1 of 1 dish differentiates (1 critical)" in text
    for sentence in (
        "Critical since 3 Nov, 10:30.",
        "Ada knows about it: removed by hand.",
        "No mails until 4 Nov, 15:30, unless critical.",
        "Note: medium changed (Bob)",
    ):
        assert sentence in text


def test_silence_plans_and_doubt_stand_there_too(store, config):
    scan(store, 1, doubts=("too few cells",), plan=removal_plan())
    for topic, dish, source in (
        (AlertTopic.DISK_FULL, None, None),
        (AlertTopic.SOURCE_SILENT, None, "incubator"),
    ):
        store.alerts.write(
            AlertKind.RAISED, topic,
            lambda _, topic=topic: NewAlert(AlertKind.RAISED, topic=topic, text="It is so."),
            dish=dish, source=source, now=NOW + hours(3),
        )  # fmt: skip
    text = told(store, config)
    assert "2 silence alerts, 1 plan to approve" in text
    assert "- this machine: disk nearly full, since 3 Nov, 12:30" in text
    assert "- source incubator: no new captures, since 3 Nov, 12:30" in text
    assert "colonywatch removals approve 20261103-00000001" in text
    assert "1 of 1 scan in doubt." in text


def test_only_the_time_since_the_last_one_is_told_of(store, config):
    flapping(store)
    assert "Was above" not in told(store, config, since=NOW + hours(8), until=NOW + hours(30))


def test_a_reader_is_told_of_the_sources_that_he_follows(store, tmp_path):
    config = configured(tmp_path)
    scan(store, 1)
    reader = config.outlets.email.recipients[0].model_copy(update={"sources": ("other",)})
    told_of = digest_for(reader, config, store, NOW, NOW + DAY, plots=0)
    assert told_of.dishes == ()
    assert told_of.sources == ()


def test_text_of_others_is_escaped_and_stays_on_its_line(store, config):
    hostile = "<img src=x>\nSubject: x/A1"
    scan(store, 1, dish=hostile, alerts=(NewAlert(AlertKind.RAISED),),
         status=DishStatus.DIFFERENTIATING)  # fmt: skip
    store.alerts.acknowledge(1, who="<b>Eve", note="</div>", now=NOW + hours(2))
    write_due_digest(config, store, NOW)
    write_due_digest(config, store, NOW + DAY)
    mail = delivered(store, config, NOW + DAY)
    html = text_of(mail, "html")
    assert "<img src=x>" not in html
    assert "<b>Eve" not in html
    assert mail.get_all("Subject") == [mail["Subject"]]


def test_dishes_that_need_a_look_come_with_their_series_the_worst_few(store, config):
    for number in range(9):
        scan(store, 1, dish=f"P/A{number + 1}", alerts=(NewAlert(AlertKind.RAISED),),
             status=DishStatus.DIFFERENTIATING)  # fmt: skip
    write_due_digest(config, store, NOW)
    write_due_digest(config, store, NOW + DAY)
    mail = delivered(store, config, NOW + DAY)
    pictures = [part for part in mail.walk() if part.get_content_maintype() == "image"]
    assert len(pictures) == 6
    assert all(part.get_content().startswith(b"\x89PNG") for part in pictures)
    assert text_of(mail).count("P, 25 % differentiated") == 9


# --- its way -------------------------------------------------------------------------------------


def test_it_goes_once_and_is_on_record(store, config):
    write_due_digest(config, store, NOW)
    write_due_digest(config, store, NOW + DAY)
    for _ in range(3):
        deliver_due(store, config, lambda: NOW + DAY, stopping=lambda: False)
    assert len(mails(config)) == 1
    (message,) = store.outbox.log()
    assert message.delivered_at == NOW + DAY


def test_who_reads_none_any_more_gets_none_and_holds_up_nobody(store, config, tmp_path):
    write_due_digest(config, store, NOW)
    write_due_digest(config, store, NOW + DAY)
    deliver_due(store, _critical_only(config), lambda: NOW + DAY, stopping=lambda: False)
    assert store.outbox.counts().failed == 1
    assert not config.mailbox.exists()


def test_a_time_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="time of day"):
        configured(tmp_path, "digest: {at: noon}")


def test_it_says_how_far_the_last_number_of_a_dish_may_be_trusted(store, config):
    write_due_digest(config, store, BEFORE)
    sure = Doubt((), (0.2, 0.31), "ips 4x", calibrated=True)
    strange = Doubt((DoubtReason.UNFAMILIAR,), (0.04, 0.62))
    scan(store, 1, dish="P1/A1", doubt=sure)
    scan(store, 1, dish="P1/A2", doubt=sure)
    scan(store, 2, dish="P1/A2", doubt=strange)
    scan(store, 1, dish="P1/A3")
    assert write_due_digest(config, store, AFTER)
    mail = delivered(store, config, AFTER)
    for kind in ("plain", "html"):
        text = text_of(mail, kind)
        why = "The last scan is in doubt: unlike the images the model has learnt from."
        assert text.count(why) == 1
        assert text.count("Its interval is not calibrated for this kind of image.") == 1
        assert text.count("1 of 2 scans in doubt.") == 1
        assert text.count("25 % differentiated (90 % interval 4 to 62 %)") == 1
    rows = text_of(mail).split("All dishes")[1].splitlines()
    told = {row.split("  ")[0]: row.split("  ")[1:] for row in rows if row[:1] == "A"}
    amounts = {where: next(one.strip() for one in cells if one) for where, cells in told.items()}
    assert amounts == {
        "A1 of P1": "25 % (20 to 31 %)",
        "A2 of P1": "25 % (4 to 62 %), in doubt",
        "A3 of P1": "25 %",
    }
