"""Doubt and passages through the whole line: what is recorded, planned and mailed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.policy import default

import cv2
import numpy as np
import pytest
import yaml

from monitor.config import DifferentiationConfig
from monitor.culture import DishStatus, Doubt, DoubtReason, FieldAreas, PlanStatus
from monitor.jobs.deliver import deliver_due
from tests.monitor.commands.calls import DONE, call
from tests.monitor.facts import COLONY
from tests.monitor.test_orders import FIRST, STRANGE, WIDE, arrive, field, new_line

DAY = timedelta(hours=24)


@pytest.fixture
def line(make_record):
    with new_line(make_record(), FIRST, DifferentiationConfig()) as made:
        yield made


def scans(line, *given, first_h=0.0, every_h=6, **changes):
    """given : (share, its doubt) of scans in turn; read as each comes"""
    for number, (share, doubt) in enumerate(given):
        name, shown = field((first_h + every_h * number, share, doubt), 0)
        overlay = line.config.record.folder / "overlays" / f"{name}.jpg"
        overlay.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(overlay), np.full((200, 200, 3), 90, np.uint8))
        shown = replace(shown, overlay=f"overlays/{name}.jpg", **changes)
        line.clock.now = max(line.clock.now, shown.acquired_at + timedelta(seconds=10))
        arrive(line, [(name, shown)])


def written(line):
    """A configuration file for commands on the line's record."""
    record = {"folder": str(line.config.record.folder), "database": line.config.record.database}
    path = line.config.record.folder / "commands.yaml"
    path.write_text(yaml.safe_dump({"record": record}))
    return path


def mails(line):
    """All that was mailed, in the order of time, as people get it."""
    line.clock.passes(timedelta(minutes=10))
    deliver_due(line.store, line.config, line.clock, stopping=lambda: False)
    files = sorted(line.config.mailbox.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
    return [message_from_bytes(path.read_bytes(), policy=default) for path in files]


def text_of(mail):
    return mail.get_body(("plain",)).get_content()


def topics(line):
    return [
        (str(one.topic), str(one.kind), str(one.severity)) for one in line.store.alerts.alerts()
    ]


def test_four_images_in_doubt_make_one_calm_mail_with_the_picture_and_nothing_else(line):
    scans(line, *[(0.9, STRANGE)] * 4)
    assert topics(line) == [("please-look", "raised", "notice")]
    assert line.store.plans.all() == []
    (mail,) = mails(line)
    assert mail["Subject"] == "dish-07: please look, reads 90 % differentiated, unchanged in 12 h"
    assert mail["X-Priority"] is None and mail["Importance"] is None
    said = text_of(mail)
    assert "unlike the images the model has learnt from" in said
    assert "not sure enough for an alert or a removal plan" in said
    assert "alert of" not in said
    assert [one.get_filename() for one in mail.walk() if (one.get_filename() or "").endswith(
        "_overlay.jpg")]  # fmt: skip
    scans(line, *[(0.01, False)] * 3, first_h=24)
    assert topics(line)[0] == ("please-look", "cleared", "notice")
    assert len(mails(line)) == 2


def test_an_interval_that_does_not_clear_the_limit_makes_a_request_and_no_plan(line):
    scans(line, *[(0.4, WIDE)] * 4)
    assert topics(line) == [("please-look", "raised", "notice")]
    assert line.store.plans.all() == []
    assert "(90 % interval 2 to 80 %)" in text_of(mails(line)[0])


def test_a_new_lab_gets_its_alert_and_plan_and_is_told_what_its_interval_is_worth(line):
    doubt = Doubt((), (0.02, 0.8), None, calibrated=False)
    scans(line, *[(0.2, False)] * 4, doubt=doubt)
    assert topics(line) == [("differentiation", "raised", "warning")]
    assert next(one.status for one in line.store.plans.all()) is PlanStatus.DRAFT
    assert "is not calibrated for this kind of image" in text_of(mails(line)[0])


def test_doubt_that_lasts_is_mailed_again_as_a_warning(line):
    scans(line, *[(0.9, STRANGE)] * 4)
    assert len(mails(line)) == 1
    scans(line, *[(0.9, STRANGE)] * 2, first_h=24)
    assert [mail["Subject"].split(",")[0] for mail in mails(line)] == [
        "dish-07: please look",
        "dish-07: cannot be judged",
    ]
    assert topics(line)[0] == ("doubtful", "raised", "warning")


def test_a_dish_whose_passage_was_told_is_judged_two_days_later(line):
    scans(line, *[(0.2, False)] * 4)
    at = FIRST + timedelta(hours=20)
    line.clock.now = at
    line.store.lines.passage("dish-07", [], at=at, who="a", note=None, now=line.clock.now)
    scans(line, *[(0.9, False)] * 7, first_h=24)
    (dish,) = [one for one in line.store.dishes.dishes() if one.ended_at is None]
    assert dish.status is DishStatus.FRESHLY_PASSAGED
    assert dish.judged_from == at + 2 * DAY
    assert not list(line.store.alerts.alerts(dish=dish.name))
    assert {one.status for one in line.store.plans.all()} == {PlanStatus.SUPERSEDED}
    scans(line, *[(0.9, False)] * 4, first_h=24 + 7 * 6)
    (dish,) = [one for one in line.store.dishes.dishes() if one.ended_at is None]
    assert (dish.status, dish.judged_from) == (DishStatus.DIFFERENTIATING, None)


def test_a_passage_that_is_told_late_takes_back_what_single_cells_raised(line):
    """Somebody tells of yesterday's passage after its cells have made an alert."""
    scans(line, *[(0.01, False)] * 3, *[(0.9, False)] * 4)
    assert ("differentiation", "raised", "critical") in topics(line)
    at = FIRST + timedelta(hours=16)
    line.store.lines.passage("dish-07", [], at=at, who="a", note=None, now=line.clock.now)
    line.clock.passes(timedelta(minutes=1))
    line.pipeline.read_scans(line.pipeline.complete_scans())
    (dish,) = [one for one in line.store.dishes.dishes() if one.ended_at is None]
    assert dish.status is DishStatus.FRESHLY_PASSAGED
    open_now = list(line.store.alerts.alerts(open_only=True))
    assert not [one for one in open_now if str(one.topic) == "differentiation"]


def thin(share):
    cells = 4_000
    return {
        "areas": FieldAreas(40_000 - cells, cells - round(cells * share), round(cells * share)),
        "colonies": tuple(replace(COLONY, label=one, area_px=100) for one in range(1, 41)),
    }


def test_a_passage_that_was_seen_is_asked_about_and_holds_the_critical_alert_back(line):
    scans(line, *[(0.01, False)] * 4)
    scans(line, *[(0.9, False)] * 5, first_h=24, **thin(0.9))
    assert topics(line) == [("passage-seen", "raised", "notice")]
    (mail,) = mails(line)
    assert mail["Subject"].startswith("dish-07: was it passaged?")
    said = text_of(mail)
    assert "The cells cover 10 % after 50 %, in smaller pieces: taken for a passage." in said
    assert "freshly passaged: judged from Wed 4 Nov 2026, 09:30 (UTC) on" in said
    (command,) = [one.strip() for one in said.splitlines() if "dishes passage" in one]
    assert command == "colonywatch dishes passage dish-07 --at 2026-11-02T09:30:00+00:00"
    answer = call(*command.split()[1:], "--config", written(line))
    assert answer.code == DONE
    said = " ".join(answer.err.split())
    assert "dish-07 counts as freshly passaged: its differentiated share is judged from" in said
    assert topics(line)[0] == ("passage-seen", "raised", "notice")
    assert line.store.alerts.alerts(open_only=True) == []


def test_commands_say_which_dishes_are_freshly_passaged_and_till_when(line):
    scans(line, *[(0.01, False)] * 4)
    scans(line, *[(0.9, False)] * 5, first_h=24, **thin(0.9))
    config = written(line)
    (dish,) = call("dishes", "--json", "--config", config).document
    assert (dish["status"], dish["judged_from"]) == (
        "freshly-passaged",
        "2026-11-04T09:30:00+00:00",
    )
    assert "freshly passaged, judged from 2026-11-04 09:30" in " ".join(
        call("dishes", "--config", config).out.split()
    )
    document = call("status", "--json", "--config", config).document
    assert document["freshly_passaged"] == {"dish-07": "2026-11-04T09:30:00+00:00"}
    (listed,) = call("alerts", "list", "--json", "--config", config).document
    assert (listed["topic"], listed["severity"]) == ("passage-seen", "notice")


@pytest.mark.parametrize("reason", DoubtReason)
def test_what_was_picked_is_not_planned_again_by_a_scan_in_doubt(line, reason):
    scans(line, *[(0.2, False)] * 3)
    (plan,) = [one for one in line.store.plans.all() if one.status is PlanStatus.DRAFT]
    scans(line, (0.2, False), first_h=18, doubt=Doubt((reason,)))
    (still,) = line.store.plans.all()
    assert (still.id, still.status) == (plan.id, PlanStatus.DRAFT)
