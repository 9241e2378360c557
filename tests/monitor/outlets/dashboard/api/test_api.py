"""The API through the real server: as its description says, whatever is asked."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from monitor.culture import Doubt
from monitor.outlets.dashboard.api.endpoints import ENDPOINTS
from monitor.outlets.dashboard.api.exports import FILES, PORTION
from monitor.outlets.dashboard.api.limits import Allowance
from monitor.record.alerts import standing
from tests.monitor.facts import DISH, NOW, hours, removal_plan
from tests.monitor.outlets.dashboard.test_dashboard import HOSTILE, RAISED, Site, scan, site

__all__ = ["site"]

SURE = Doubt((), (0.2, 0.35), "ips 4x", calibrated=True)


@pytest.fixture
def filled(site) -> Iterator[Site]:
    for number in (1, 2):
        scan(site, number=number, doubt=SURE)
    scan(site, HOSTILE, alert=RAISED, plan=removal_plan())
    site.store.lines.annotate(DISH, "=1+1", at=NOW, who="Ada", now=NOW + hours(5))
    return site


def ask(site: Site, path: str, **query: object) -> Any:
    answer = site.look(f"/api/v1{path}?{urlencode(query)}" if query else f"/api/v1{path}")
    assert answer.status == 200, (path, answer.text)
    assert answer.headers["Content-Type"] == "application/json"
    return json.loads(answer.body)


def refused(site: Site, path: str, method: str = "GET") -> tuple[int, dict[str, Any]]:
    answer = site.ask(method, f"/api/v1{path}")
    assert answer.headers["Content-Type"] == "application/problem+json", (path, answer.text)
    told = json.loads(answer.body)
    assert told["status"] == answer.status
    return answer.status, told


# --- its description ---------------------------------------------------------------------------


QUESTIONS = {"/dish": {"dish": DISH}, "/colonies": {"dish": DISH}}


def test_every_answer_is_as_described(filled):
    document = ask(filled, "/openapi.json")
    assert document["openapi"].startswith("3.1")
    for one in ENDPOINTS:
        answer = ask(filled, one.path, **QUESTIONS.get(one.path, {}))
        described = document["paths"][one.path]["get"]["responses"]["200"]
        schema = described["content"]["application/json"]["schema"]
        jsonschema.validate(answer, {**schema, "components": document["components"]})


def test_the_description_names_all_that_can_be_asked_and_nothing_else(filled):
    paths = ask(filled, "/openapi.json")["paths"]
    assert set(paths) == {one.path for one in ENDPOINTS} | {"/exports/{what}"}
    for path, one in paths.items():
        assert "422" in one["get"]["responses"], path


@pytest.mark.parametrize("path", [one.path for one in ENDPOINTS] + ["/exports/{what}"])
def test_a_fuzz_of_the_description_finds_no_fault(filled, path):
    """Status, form and content of each answer as described; nothing invalid is taken for valid."""
    schema = schemathesis.openapi.from_dict(ask(filled, "/openapi.json"))
    operation = schema[path]["GET"]

    @given(case=operation.as_strategy())
    @settings(
        max_examples=int(os.environ.get("API_FUZZ", "8")),
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def fuzz(case):
        case.call_and_validate(base_url=f"http://127.0.0.1:{filled.port}/api/v1", timeout=20)

    fuzz()


# --- what it tells -----------------------------------------------------------------------------


def test_dishes_come_as_on_the_overview(filled):
    found = ask(filled, "/dishes")
    assert [one["name"] for one in found["dishes"]] == [HOSTILE, DISH]
    assert found["total"] == 2
    last = found["dishes"][1]["last"]
    assert (last["differentiated_low"], last["differentiated_high"]) == (0.2, 0.35)
    assert last["differentiated_fraction"] == pytest.approx(120 / 420)
    assert ask(filled, "/dishes", q="3500003816", limit=1)["dishes"][0]["name"] == DISH
    assert ask(filled, "/dishes", offset=1)["dishes"][0]["name"] == DISH


def test_a_dish_has_all_that_its_page_has(filled):
    told = ask(filled, "/dish", dish=HOSTILE)
    assert told["plan"]["targets"]
    assert told["alerts"][0]["kind"] == "raised"
    assert filled.look(told["fields"][0]["picture"]).status == 200
    assert ask(filled, "/dish", dish=DISH)["notes"] == [
        {"at": "2026-11-03T09:30:00Z", "text": "=1+1", "who": "Ada"}
    ]


def test_readings_come_page_by_page_each_once(filled):
    seen, after = [], 0
    while True:
        found = ask(filled, "/readings", after=after, limit=1)
        seen += [one["id"] for one in found["readings"]]
        if found["next"] is None:
            break
        after = found["next"]
    assert seen == sorted(set(seen))
    assert len(seen) == 3
    since = ask(filled, "/readings", dish=DISH, since="2026-11-03T10:00:00Z")
    assert len(since["readings"]) == 1


def test_status_and_plates_say_what_the_pages_say(filled):
    status = ask(filled, "/status")
    assert (status["dishes"], status["open_alerts"], status["plans_waiting"]) == (2, 1, 1)
    assert not status["daemon_is_running"]
    assert status["mark"] == ask(filled, "/changes")["mark"]
    plates = ask(filled, "/plates", by="alert")["plates"]
    assert {well["text"] for plate in plates for well in plate["wells"]} == {"✓", "▲"}


WRONG = {
    "/dish": 422,
    "/dish?dish=unknown": 404,
    "/dish?dish=a&dish=b": 422,
    "/dishes?limit=0": 422,
    "/dishes?limit=100000": 422,
    "/dishes?limit=x": 422,
    "/dishes?colour=red": 422,
    "/dishes?sort=best": 422,
    "/readings?since=yesterday": 422,
    "/readings?since=2026-11-03T10:00:00": 422,
    "/readings?after=-1": 422,
    "/readings?dish=no": 404,
    "/colonies?dish=no": 404,
    "/alerts?is_open=perhaps": 422,
    "/exports/secrets": 422,
    "/exports/readings?form=xlsx": 422,
    "/exports/readings?dish=no": 404,
    "/nowhere": 404,
    "/": 404,
    "/../../etc/passwd": 404,
    f"/dishes?q={'x' * 5000}": 414,
}


def test_what_cannot_be_answered_is_said_in_one_form(filled):
    found = {path: refused(filled, path)[0] for path in WRONG}
    assert found == WRONG


def test_a_problem_names_each_parameter_that_is_wrong(filled):
    _, told = refused(filled, "/dishes?limit=0&colour=red")
    assert {one["name"] for one in told["errors"]} == {"limit", "colour"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE"])
def test_nothing_is_changed_by_it(filled, method):
    for path in ("/alerts", "/exports/readings", "/openapi.json"):
        assert refused(filled, path, method)[0] == 405


def test_who_asks_too_often_waits_and_others_do_not():
    now = 0.0
    allowance = Allowance(2.0, 3, clock=lambda: now)
    assert [allowance.wait_s("a") for _ in range(3)] == [0.0] * 3
    assert allowance.wait_s("a") == 0.5
    assert allowance.wait_s("b") == 0.0
    now = 0.5
    assert allowance.wait_s("a") == 0.0
    assert allowance.wait_s("a") > 0


# --- exports -----------------------------------------------------------------------------------


def export(site: Site, what: str, **query: str) -> bytes:
    answer = site.look(f"/api/v1/exports/{what}?{urlencode(query)}")
    assert answer.status == 200
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    return answer.body


@pytest.mark.parametrize("what", list(FILES))
def test_every_table_comes_as_csv_and_parquet_with_the_columns_of_the_dictionary(filled, what):
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = [one.name for one in FILES[what].columns]
    rows = list(csv.reader(io.StringIO(export(filled, what).decode())))
    assert rows[0] == columns
    table = parquet.read_table(io.BytesIO(export(filled, what, form="parquet")))
    assert table.column_names == columns
    assert table.num_rows == len(rows) - 1
    if what != "colonies":
        assert table.num_rows > 0
    assert {one["name"] for one in ask(filled, "/exports")["files"]} == set(FILES)


def test_numbers_and_times_of_a_parquet_file_are_numbers_and_times(filled):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(export(filled, "readings", form="parquet", dish=DISH)))
    rows = table.to_pylist()
    assert rows[0]["at_utc"] == NOW
    assert rows[0]["zone"] == "UTC"
    assert rows[1]["differentiated_fraction"] == pytest.approx(120 / 420)
    assert table.schema.field("differentiated_fraction").metadata[b"unit"] == b"0..1"


def test_the_file_for_german_excel_has_its_marks(filled):
    content = export(filled, "readings", form="csv-de", dish=DISH)
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig")), delimiter=";"))
    assert rows[0]["differentiated_low"] == "0,2"
    assert rows[0]["at_utc"] == "2026-11-03 09:30:00"
    assert rows[0]["interval_calibrated"] == "WAHR"
    assert float(rows[1]["differentiated_fraction"].replace(",", ".")) == pytest.approx(120 / 420)


def test_no_cell_of_an_export_is_a_formula(filled):
    filled.store.alerts.answer(
        1, who="=cmd|' /C calc'!A0", note="@SUM(1)", snooze_until=None, keep_snooze=False,
        as_of=standing(filled.store.alerts.alert(1)), now=NOW,
    )  # fmt: skip
    for form in ("csv", "csv-de"):
        delimiter = ";" if form == "csv-de" else ","
        text = export(filled, "alerts", form=form).decode("utf-8-sig")
        assert "'=cmd" in text
        for row in csv.reader(io.StringIO(text), delimiter=delimiter):
            assert not [cell for cell in row if cell.startswith(("=", "@", "+"))]


def test_more_than_a_portion_is_exported_whole(site, monkeypatch):
    assert PORTION > 2
    monkeypatch.setattr("monitor.outlets.dashboard.api.exports.PORTION", 2)
    for number in range(1, 6):
        scan(site, number=number)
    rows = list(csv.DictReader(io.StringIO(export(site, "readings").decode())))
    assert len({row["reading"] for row in rows}) == 5


def test_an_export_of_one_dish_holds_no_other(filled):
    text = export(filled, "readings", dish=HOSTILE).decode()
    assert quote(HOSTILE) != HOSTILE
    assert DISH not in text
    assert len(text.splitlines()) == 2
