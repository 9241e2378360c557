"""Deciding on pages: by a named person, once, and only on what the page showed."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from sqlalchemy import select

from monitor.culture import AlertKind, DishStatus, NewAlert, PlanStatus, Role, ScanDecision
from monitor.culture.measurements import Targeting, ToolKind
from monitor.outlets.answer_links import dish_page
from monitor.record.tables import OutboxRow
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
    sha256_of,
    target_at,
)
from tests.monitor.outlets.dashboard.visits import House, hidden, opened, send

PLAN = "20261103-00000001"
TOOL = Targeting("tip-200", ToolKind.TIP, 100.0, 140.0, 10.0, 5.0, 50.0)


@pytest.fixture
def house(fresh_database, tmp_path):
    with opened(fresh_database, tmp_path) as house:
        house.add("Olga")
        yield house


@pytest.fixture
def olga(house):
    return house.visitor("Olga")


def scan(house: House, dish: str = DISH, number: int = 1, **decision) -> None:
    """One more scan, with its overlay on the disk."""
    overlay = f"overlays/{number}.jpg"
    path = house.config.record.folder / overlay
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.full((430, 400, 3), 90, np.uint8))
    measured = measurement(
        acquired_at=NOW + hours(number - 1), overlay=overlay, label_map=None, shape=(400, 400)
    )
    where = place(dish, key=f"s{number}")
    name = f"{dish}-{number}.tif"
    scan_id = measure(house.store, name, where, measured, at=NOW + minutes(number))
    read(house.store, scan_id, ScanDecision(**({"status": DishStatus.DIFFERENTIATING} | decision)),
         at=NOW + minutes(number))  # fmt: skip


def with_alert(house: House) -> None:
    scan(house, alerts=(NewAlert(AlertKind.RAISED),))


def with_plan(house: House, regions: int = 3) -> None:
    sha256 = sha256_of(f"{DISH}-1.tif")
    targets = tuple(
        replace(
            target_at(number, pick_x_um=5000.0 + 300 * number, pick_px=(100.0, 80.0 * number)),
            capture_sha256=sha256, centroid_px=(100.0, 80.0 * number),
            polygon_px=((90.0, 80.0 * number - 10), (90.0, 80.0 * number + 10),
                        (110.0, 80.0 * number + 10), (110.0, 80.0 * number - 10)),
        )
        for number in range(1, regions + 1)
    )  # fmt: skip
    made = removal_plan(PLAN, targets=targets, targeting=TOOL, covered_um2=23_000.0)
    scan(house, plan=made)


# --- alerts --------------------------------------------------------------------------------------


def test_an_alert_is_answered_in_the_name_of_who_has_signed_in(house, olga):
    with_alert(house)
    assert "/alert?id=1" in olga.get("/alerts").text
    done = send(olga, "/alert?id=1", "/alert/answer", who="Eve", note="seen", rest_h="12")
    assert done.headers["location"] == "/alert?id=1"
    alert = house.store.alerts.alert(1)
    assert (alert.acknowledged_by, alert.note) == ("Olga", "seen")
    assert alert.snoozed_until == house.clock() + hours(12)
    assert "Olga has known about it" in olga.get("/alert?id=1").text


def test_who_only_looks_is_given_no_way_to_answer(house):
    with_alert(house)
    house.add("Vic", Role.VIEWER)
    vic = house.visitor("Vic")
    for page in ("/alerts", "/alert?id=1", dish_page("", DISH), "/"):
        text = vic.get(page).text
        assert "/answer/" not in text, page
        assert "/alert/answer" not in text, page
        assert "/decide" not in text, page


def test_an_answer_to_what_has_changed_is_not_taken(house, olga):
    with_alert(house)
    form = hidden(olga.get("/alert?id=1").text, "/alert/answer")
    send(olga, "/alert?id=1", "/alert/answer", note="first", rest_h="0")
    late = olga.post("/alert/answer", data=form | {"note": "second", "rest_h": "0"})
    assert late.status_code == 409
    assert 'href="/alert?id=1"' in late.text
    assert house.store.alerts.alert(1).note == "first"


@pytest.mark.parametrize("rest", ["-1", "nan", "soon", "1e9"])
def test_an_odd_snooze_is_said(house, olga, rest):
    with_alert(house)
    assert send(olga, "/alert?id=1", "/alert/answer", rest_h=rest).status_code == 422
    assert house.store.alerts.alert(1).acknowledged_at is None


# --- dishes --------------------------------------------------------------------------------------


def decide(olga, what: str, dish: str = DISH, **fields: str):
    return send(olga, f"/decide?name={dish}", f"/decide/{what}", **fields)


def test_a_note_stands_beside_the_series_with_its_writer(house, olga):
    scan(house)
    done = decide(olga, "note", note="medium <b>changed</b>", at="2026-11-03T09:45")
    assert done.headers["location"] == dish_page("", DISH)
    (note,) = house.store.lines.annotations(DISH)
    assert (note.who, note.text, note.at) == ("Olga", "medium <b>changed</b>", NOW + minutes(15))
    assert decide(olga, "note", note=" ").status_code == 422


def test_a_form_that_is_sent_twice_counts_once(house, olga):
    scan(house)
    form = hidden(olga.get(f"/decide?name={DISH}").text, "/decide/note") | {"note": "fed"}
    assert [olga.post("/decide/note", data=form).status_code for _ in range(3)] == [303] * 3
    assert len(house.store.lines.annotations(DISH)) == 1


def test_a_form_that_failed_can_be_sent_again(house, olga):
    scan(house)
    form = hidden(olga.get(f"/decide?name={DISH}").text, "/decide/note")
    assert (
        olga.post("/decide/note", data=form | {"note": "x" * 400, "at": "soon"}).status_code == 422
    )
    assert olga.post("/decide/note", data=form | {"note": "fed"}).status_code == 303


def test_a_dish_is_passaged_and_its_children_are_linked(house, olga):
    scan(house)
    assert decide(olga, "passage", to="P2/A1\n\n P2/A2 ", note="split 1:2").status_code == 303
    line = house.store.lines.line(DISH)
    assert line.ended_at == house.clock()
    assert line.children == ("P2/A1", "P2/A2")


def test_a_dish_is_ended_and_watched_again(house, olga):
    with_alert(house)
    assert decide(olga, "end", note="discarded").status_code == 303
    assert house.store.lines.line(DISH).ended_at == house.clock()
    assert "Watch it again" in olga.get(f"/decide?name={DISH}").text
    assert decide(olga, "resume").status_code == 303
    assert house.store.lines.line(DISH).ended_at is None


def test_a_page_of_before_somebody_else_decided_does_nothing(house, olga):
    scan(house)
    page = olga.get(f"/decide?name={DISH}").text
    # The dish was passaged into the same place: its name is another dish's now.
    house.store.lines.passage(
        DISH, [], at=NOW + minutes(50), who="Bob", note=None, now=house.clock()
    )
    for what in ("note", "passage", "end"):
        form = hidden(page, f"/decide/{what}") | {"note": "mine"}
        late = olga.post(f"/decide/{what}", data=form)
        assert late.status_code == 409, what
        assert "has changed since your page was loaded" in late.text
    assert house.store.lines.line(DISH).ended_at is None
    assert house.store.lines.annotations(DISH) == []


def test_a_dish_that_got_worse_meanwhile_is_looked_at_first(house, olga):
    scan(house, status=DishStatus.UNDIFFERENTIATED)
    form = hidden(olga.get(f"/decide?name={DISH}").text, "/decide/end")
    scan(house, number=2, status=DishStatus.DIFFERENTIATING)
    assert olga.post("/decide/end", data=form).status_code == 409
    assert house.store.lines.line(DISH).ended_at is None


@pytest.mark.parametrize(("at", "says"), [("2027-01-01T00:00", "future"), ("soon", "not a time")])
def test_an_odd_time_is_said(house, olga, at, says):
    scan(house)
    answer = decide(olga, "end", at=at)
    assert answer.status_code == 422
    assert says in answer.text
    assert "Nothing was done" in answer.text


# --- plans ---------------------------------------------------------------------------------------


def test_a_plan_is_drawn_on_its_image_with_every_region(house, olga):
    with_plan(house)
    page = olga.get(f"/plan?id={PLAN}").text
    assert re.findall(r'data-region="(\d)"', page) == ["1", "2", "3"]
    assert 'd="M70.5 90.5L90.5 90.5L90.5 110.5L70.5 110.5Z"' in page
    # Without a pixel size nobody knows how large a hit is; with 2 um a pixel, 100 um are 25.
    assert '<circle class="hit" cx="80.5" cy="100.5" r="25.0"/>' in page
    (picture,) = re.findall(r'<image href="([^"]*)"', page)
    assert olga.get(picture.replace("&amp;", "&")).status_code == 200


def test_an_approved_plan_names_who_and_is_due_for_the_picker(house, olga):
    with_plan(house)
    done = send(olga, f"/plan?id={PLAN}", "/plan/approve", keep=["1", "2", "3"], note="go on")
    assert done.headers["location"] == f"/plan?id={PLAN}"
    plan = house.store.plans.plan(PLAN)
    assert (plan.status, plan.approved_by) == (PlanStatus.APPROVED, "Olga")
    assert len(plan.targets) == 3
    assert [one.note for one in house.store.plans.events(PLAN)][-1] == "go on"
    with house.store.database.reading() as session:
        due = session.execute(select(OutboxRow.channel, OutboxRow.subject_id)).all()
    assert ("removal", PLAN) in due


def test_regions_that_are_switched_off_stay_in_the_dish(house, olga):
    with_plan(house)
    page = olga.get(f"/plan?id={PLAN}").text
    toggle = re.findall(r'<a href="([^"]*)" class="target" data-region="2"', page)[0]
    off = olga.get(toggle.replace("&amp;", "&").split("#")[0]).text
    assert re.findall(r'name="keep" value="(\d)" checked', off) == ["1", "3"]
    form = hidden(off, "/plan/approve") | {"keep": ["1", "3"]}
    assert olga.post("/plan/approve", data=form).status_code == 303
    plan = house.store.plans.plan(PLAN)
    assert [(one.region_id, one.order) for one in plan.targets] == [("r1", 1), ("r3", 2)]
    assert [(one.region_id, one.reason) for one in plan.refused] == [("r2", "switched off")]
    assert plan.left_out[-1] == "1 region is switched off by Olga."
    assert plan.covered_um2 == pytest.approx(2 * np.pi * 50**2, rel=0.01)
    assert "plan regions switched off" in [one.what for one in house.store.plans.events(PLAN)]


def test_with_every_region_off_a_plan_is_not_approved(house, olga):
    with_plan(house)
    for keep in ([], ["9"], ["x", "-1"]):
        refused = send(olga, f"/plan?id={PLAN}", "/plan/approve", keep=keep)
        assert refused.status_code == 422
        assert "reject the plan instead" in refused.text
    assert house.store.plans.plan(PLAN).status is PlanStatus.DRAFT


def test_a_plan_is_rejected_with_a_note_also_when_it_is_out(house, olga):
    with_plan(house)
    send(olga, f"/plan?id={PLAN}", "/plan/approve", keep=["1", "2", "3"])
    form = hidden(olga.get(f"/plan?id={PLAN}").text, "/plan/approve") | {"note": "dead cells"}
    assert olga.post("/plan/reject", data=form).status_code == 303
    assert house.store.plans.plan(PLAN).status is PlanStatus.REJECTED
    event = house.store.plans.events(PLAN)[-1]
    assert (event.who, event.note) == ("Olga", "dead cells")
    page = olga.get(f"/plan?id={PLAN}").text
    assert "/plan/reject" not in page
    assert "dead cells" in page


def test_a_plan_that_somebody_else_decided_on_is_not_decided_on_again(house, olga):
    with_plan(house)
    form = hidden(olga.get(f"/plan?id={PLAN}").text, "/plan/approve") | {"keep": ["1", "2", "3"]}
    house.store.plans.reject(PLAN, who="Bob", now=house.clock())
    late = olga.post("/plan/approve", data=form)
    assert late.status_code == 409
    assert "it is rejected now" in late.text
    assert house.store.plans.plan(PLAN).status is PlanStatus.REJECTED


def test_a_double_click_approves_once(house, olga):
    with_plan(house)
    form = hidden(olga.get(f"/plan?id={PLAN}").text, "/plan/approve") | {"keep": ["1", "2", "3"]}
    assert [olga.post("/plan/approve", data=form).status_code for _ in range(2)] == [303, 303]
    moves = [one.what for one in house.store.plans.events(PLAN)]
    assert moves.count("plan draft -> approved") == 1


def test_an_expired_plan_offers_nothing(house, olga):
    with_plan(house)
    form = hidden(olga.get(f"/plan?id={PLAN}").text, "/plan/approve") | {"keep": ["1", "2", "3"]}
    house.clock.now = NOW + hours(12)
    page = olga.get(f"/plan?id={PLAN}").text
    assert "/plan/reject" not in page
    assert "expired" in page
    assert olga.post("/plan/approve", data=form).status_code == 422
    assert house.store.plans.plan(PLAN).status is PlanStatus.DRAFT


def test_who_only_looks_sees_the_plan_and_no_button(house):
    with_plan(house)
    house.add("Vic", Role.VIEWER)
    page = house.visitor("Vic").get(f"/plan?id={PLAN}").text
    assert "<button" not in page.split("</form>")[0]
    assert "data-region" not in page


# --- whatever is sent ----------------------------------------------------------------------------

FIELDS = ("token", "key", "as_of", "dish", "id", "keep", "note", "at", "to", "rest_h", "back",
          "name", "role", "password", "session", "old", "new", "again", "next", "off")  # fmt: skip
ADDRESSES = ("/decide/note", "/decide/passage", "/decide/end", "/decide/resume", "/alert/answer",
             "/plan/approve", "/plan/reject", "/people/add", "/people/role", "/people/password",
             "/people/disable", "/me/end", "/sign-in")  # fmt: skip
ODD = some.one_of(
    some.text(max_size=40),
    some.sampled_from(["", DISH, PLAN, "1", "-1", "9" * 30, "\x00", "\ud800", "é", "2026-11-03",
                       "0001-01-01T00:00", "9999-12-31T23:59", "operator", "//x", "nan"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def fuzzed(fresh_database, tmp_path_factory):
    with opened(fresh_database, tmp_path_factory.mktemp("fuzz")) as house:
        house.add("Ada", Role.ADMIN)
        with_plan(house)
        ada = house.visitor("Ada")
        token = hidden(ada.get("/me").text, "/sign-out")["token"]
        yield house, ada, token


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    address=some.sampled_from(ADDRESSES),
    form=some.dictionaries(some.sampled_from(FIELDS), ODD, max_size=8),
    ours=some.booleans(),
)
def test_whatever_is_sent_there_is_no_server_error(fuzzed, address, form, ours):
    _, ada, token = fuzzed
    if ours:
        form = form | {
            "token": token,
            "key": "k" * 20 + str(random.Random(str(form)).random())[2:9],
        }
    sent = {name: value.encode("utf-8", "surrogatepass") for name, value in form.items()}
    assert ada.post(address, data=sent).status_code < 500


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    path=some.sampled_from(("/plan", "/alert", "/decide", "/sign-in", "/people", "/me")),
    query=some.dictionaries(some.sampled_from(("id", "name", "off", "next")), ODD, max_size=3),
)
def test_whatever_is_asked_for_there_is_no_server_error(fuzzed, path, query):
    _, ada, _ = fuzzed
    sent = {name: value.encode("utf-8", "surrogatepass") for name, value in query.items()}
    assert ada.get(path, params=sent).status_code < 500
