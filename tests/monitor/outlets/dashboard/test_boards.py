"""All dishes at once: chosen, in order, as plates; and what is kept between two readers."""

from __future__ import annotations

import re
import threading
from dataclasses import replace

import pytest

from monitor.culture import Alert, AlertKind, DishStatus, NewAlert, Severity
from monitor.culture.plates import KINDS
from monitor.outlets.dashboard.choosing import Choice
from monitor.outlets.dashboard.kept import Kept
from monitor.outlets.dashboard.plate_maps import SCALES, maps_of, smallest_kind
from monitor.record.overviews import DishOverview
from tests.monitor.facts import NOW, hours
from tests.monitor.outlets.dashboard.test_dashboard import RAISED, STRANGE, read_page, scan, site

__all__ = ["site"]

CRITICAL = NewAlert(AlertKind.RAISED, severity=Severity.CRITICAL)


def dish(name: str, number: int = 1, **changes) -> DishOverview:
    one = DishOverview(
        name=name, label=name, source="incubator", passage=0, status=DishStatus.UNDIFFERENTIATED,
        severity=None, ended_at=None, last=None, series=(), overlay=None, id=number,
    )  # fmt: skip
    return replace(one, **changes)


def names(page: str) -> list[str]:
    return re.findall(r"<b>([A-Z]\d+)</b>", page)


@pytest.fixture
def filled(site):
    """Three dishes of two plates: A1 and B2 calm, C3 critical."""
    scan(site, "P1/A1")
    scan(site, "P2/B2", number=3, doubt=STRANGE)
    scan(site, "P1/C3", number=2, alert=CRITICAL)
    return site


CHOSEN = {
    "": ["C3", "A1", "B2"],
    "sort=name": ["A1", "C3", "B2"],
    "sort=fraction": ["B2", "C3", "A1"],
    "sort=newest": ["B2", "C3", "A1"],
    "sort=oldest": ["A1", "C3", "B2"],
    "sort=doubt": ["B2", "C3", "A1"],
    "status=critical": ["C3"],
    "plate=P1": ["C3", "A1"],
    "q=p2+b": ["B2"],
    "q=INCUBATOR+c3": ["C3"],
    "q=nothing": [],
    # What is not known counts as not given.
    "status=x&sort=y": ["C3", "A1", "B2"],
}


def test_dishes_are_found_filtered_and_put_in_order(filled):
    assert {query: names(filled.look(f"/?{query}").text) for query in CHOSEN} == CHOSEN
    assert "1 of 3 dishes" in read_page(filled.look("/?status=critical"))


def test_a_choice_stays_on_the_next_page(site, monkeypatch):
    monkeypatch.setattr("monitor.outlets.dashboard.boards.CARDS", 2)
    for well in ("A1", "A2", "A3"):
        scan(site, f"P1/{well}")
    first = site.look("/?sort=name&q=p1").text
    assert names(first) == ["A1", "A2"]
    assert 'href="/?page=1&q=p1&sort=name"' in first.replace("&amp;", "&")
    assert names(site.look("/?page=1&q=p1&sort=name").text) == ["A3"]


def test_what_was_kept_goes_with_the_next_scan_alert_or_answer(filled):
    """Pages are kept between readers: each change of the record must end that."""
    assert "1 critical" in read_page(filled.look("/"))
    before = filled.look("/changes").text
    assert filled.look("/changes").text == before
    scan(filled, "P3/D4", alert=RAISED)
    assert "D4" in names(filled.look("/").text)
    after = filled.look("/changes").text
    assert after != before
    filled.send(filled.answer_page(1), who="Ada")
    assert filled.look("/changes").text != after


def test_a_plate_is_drawn_well_by_well(filled):
    page = filled.look("/plates")
    text = read_page(page)
    assert "P1 6-well plate" not in text  # C3 is none of six wells
    assert "P1 12-well plate" in text
    assert "P2 6-well plate" in text
    assert "C3: 29 % differentiated; critical" in text
    assert page.text.count("<td>") + page.text.count("<td></td>") >= 12 + 6


@pytest.mark.parametrize("by", list(SCALES))
def test_a_plate_can_be_coloured_by_each_of_its_measures(filled, by):
    page = filled.look(f"/plates?by={by}")
    assert page.status == 200
    assert SCALES[by].title in read_page(page)
    shown = set(re.findall(r'<a class="well (\w+)', page.text))
    assert shown <= {step for step, _ in SCALES[by].legend} | {"none"}
    filled.clock.now += hours(30)
    assert filled.look(f"/wall?by={by}").status == 200


def test_an_odd_map_is_the_usual_one(filled):
    assert filled.look("/plates?by=<script>").status == 200
    assert "<script>" not in filled.look("/plates?by=<script>&q=<script>&plate=<script>").text


def test_a_screen_on_the_wall_names_what_calls_for_a_look(filled):
    text = read_page(filled.look("/wall"))
    assert "C3 of P1 critical" in text
    assert "A1 of P1" not in text


@pytest.mark.parametrize("kind", [name for name in KINDS if name != "dish"])
def test_every_kind_of_plate_has_a_map_of_all_its_wells(kind):
    rows, columns = KINDS[kind].rows, KINDS[kind].columns
    letter = chr(ord("A") + rows - 1)
    (found,) = maps_of([dish("P/A1"), dish(f"P/{letter}{columns}", 2)], {}, "fraction", NOW)
    assert found["kind"] == kind
    assert len(found["rows"]) == rows
    assert all(len(cells) == columns for _, cells in found["rows"])
    assert found["rows"][-1][1][-1]["well"] == f"{letter}{columns}"


def test_what_is_no_well_is_shown_all_the_same():
    found = maps_of([dish("dish-07"), dish("P/A1"), dish("P/ZZ99"), dish("a/b")], {}, "age", NOW)
    assert [one["kind"] for one in found] == ["6-well", "dishes"]
    assert sorted(cell["name"] for cell in found[1]["cells"]) == ["P/ZZ99", "a/b", "dish-07"]
    assert smallest_kind(["A1", "ZZ99"]) is None


def test_a_cell_says_its_alert_whatever_it_is_coloured_by():
    alert = Alert(1, "P/A1", AlertKind.RAISED, DishStatus.DIFFERENTIATING, None, NOW, None, NOW)
    (found,) = maps_of([dish("P/A1")], {"P/A1": [alert]}, "confluence", NOW)
    cell = found["rows"][0][1][0]
    assert cell["has_alert"]
    assert cell["step"] == "none"
    (found,) = maps_of([dish("P/A1")], {"P/A1": [alert]}, "alert", NOW)
    assert found["rows"][0][1][0]["text"] == "▲"


def test_dishes_without_a_scan_come_last_in_every_order():
    bare, other = dish("P/A1", 1), dish("P/B1", 2)
    for sort in ("fraction", "confluence", "oldest", "newest", "worst", "name", "doubt"):
        assert [one.id for one in Choice(sort=sort)([other, bare])] == [1, 2]


def test_of_several_readers_one_works_it_out():
    kept, count, gate = Kept(2), 0, threading.Event()

    def make() -> int:
        nonlocal count
        gate.wait(5)
        count += 1
        return count

    found: list[int] = []
    readers = [threading.Thread(target=lambda: found.append(kept.get("a", make))) for _ in range(5)]
    for one in readers:
        one.start()
    gate.set()
    for one in readers:
        one.join()
    assert found == [1] * 5
    assert kept.get("b", make) == 2
    assert kept.get("c", make) == 3
    assert kept.get("a", make) == 4  # there was room for two


def test_what_fails_is_tried_anew():
    kept = Kept(2)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.get("a", lambda: 1) == 1
