from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from monitor.errors import RecordError
from monitor.outlets.dashboard.health import Health
from monitor.outlets.metrics import Metrics
from tests.monitor.facts import NOW, hours, measure, measurement, place, read, take

MONITORING = Path(__file__).parents[3] / "deploy" / "monitoring"
GIB = 2**30


@pytest.fixture
def told(store):
    """A record of one dish with a reading, and a daemon that says how it is."""
    scan = measure(store, "a.tif", place(dish="dish-1"), replace(measurement(), acquired_at=NOW))
    assert read(store, scan) is not None
    take(store, "waits.tif")
    owner = store.processes.begin("daemon", NOW + hours(1))
    detail = {
        "in_work": 2,
        "stages": {"measure": [12.5, 40], "deliver": [0.25, 1]},
        "memory": {"daemon": 250 * 2**20, "worker": None},
        "sources": [{"name": "incubator", "present": True}],
    }
    store.processes.beat(owner, NOW + hours(1), detail)
    return store, owner, detail


def metrics(store, **changes) -> Metrics:
    known = {
        "clock": lambda: NOW + hours(1),
        "free_bytes": lambda: 7 * GIB,
        "newest_backup": lambda: NOW - hours(2),
        "version": "1.2.3",
    }
    return Metrics(store, **{**known, **changes})


def values(text: bytes) -> dict[tuple[str, ...], float]:
    """(name, its labels' values) -> value, as Prometheus' own reader has them."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_the_record_and_the_daemon_are_told_in_figures(told):
    store, _, _ = told
    found = values(metrics(store).text())
    (dish,) = store.dishes.dishes()
    expected = {
        ("colonywatch_build_info", "1.2.3"): 1,
        ("colonywatch_captures", "recorded"): 1,
        ("colonywatch_captures", "waiting"): 1,
        ("colonywatch_captures", "unreadable"): 0,
        ("colonywatch_captures_in_work",): 2,
        ("colonywatch_daemon_up",): 1,
        ("colonywatch_daemon_out_of_room",): 0,
        ("colonywatch_daemon_last_beat_age_seconds",): 0,
        ("colonywatch_dish_last_capture_age_seconds", "dish-1", dish.source): 3600,
        ("colonywatch_dish_differentiated_ratio", "dish-1", dish.source): (
            dish.last.differentiated_fraction
        ),
        ("colonywatch_dish_in_doubt", "dish-1", dish.source): float(bool(dish.last.in_doubt)),
        ("colonywatch_outbox_messages", "pending"): store.outbox.counts().pending,
        ("colonywatch_disk_free_bytes",): 7 * GIB,
        ("colonywatch_backup_age_seconds",): 3 * 3600,
    }
    assert {key: found[key] for key in expected} == expected
    stages = {key[0]: value for key, value in found.items() if "measure" in key}
    assert stages["colonywatch_stage_seconds_total"] == 12.5
    assert stages["colonywatch_stage_runs_total"] == 40
    memory = [key for key in found if key[0] == "colonywatch_memory_bytes"]
    assert len(memory) == 1 and "daemon" in memory[0], "what cannot be said is left out"


def test_a_dish_that_has_ended_is_not_told_of(told):
    store, _, _ = told
    store.lines.end("dish-1", at=NOW + hours(1), who="Ada", note=None, now=NOW + hours(1))
    found = values(metrics(store).text())
    assert not [key for key in found if "dish-1" in key]


def names_told(store) -> set[str]:
    return {key[0] for key in values(metrics(store).text())}


def test_every_figure_that_rules_dashboard_and_manual_name_exists(told):
    store, _, _ = told
    exported = names_told(store) | {"colonywatch_captures_troubled"}
    for file in (*MONITORING.iterdir(), MONITORING.parents[1] / "docs" / "monitoring.md"):
        text = file.read_text(encoding="utf-8")
        named = set(re.findall(r"\bcolonywatch_[a-z_]+\b", text))
        assert named <= exported, (file.name, named - exported)
    manual = (MONITORING.parents[1] / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert {name for name in exported if name not in manual} == set()


def test_the_alert_rules_have_the_form_that_prometheus_reads():
    document = yaml.safe_load((MONITORING / "alert-rules.yaml").read_text(encoding="utf-8"))
    (group,) = document["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names) > 8
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "1m"))
        expression = re.sub(r'"[^"]*"', '""', rule["expr"])
        for opening, closing in ("()", "[]", "{}"):
            assert expression.count(opening) == expression.count(closing), rule["alert"]
        assert re.search(r"[<>=]=?|absent", expression), f"{rule['alert']}: is true of everything"


def test_the_dashboard_has_the_form_that_grafana_imports():
    board = json.loads((MONITORING / "grafana-dashboard.json").read_text(encoding="utf-8"))
    assert board["title"] and board["uid"] and board["schemaVersion"] >= 36
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
        assert panel["targets"] and all(one["expr"] for one in panel["targets"])
        assert panel["datasource"]["uid"] == "${datasource}"


# --- who is answered ------------------------------------------------------------------------------


def got(health: Health, path: str, *, client: str = "127.0.0.1", **headers: str):
    """(status, body), asked for without a server."""
    said = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        said.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "client": (client, 5), "server": ("localhost", 80),
        "headers": [(name.replace("_", "-").encode(), text.encode())
                    for name, text in headers.items()],
    }  # fmt: skip
    asyncio.run(Starlette(routes=health.routes())(scope, receive, send))
    return said[0]["status"], b"".join(one.get("body", b"") for one in said[1:])


ASKED = {
    # name: (client, headers, is it answered without and with a token file?)
    "this machine": ("127.0.0.1", {}, True, True),
    "this machine, by IPv6": ("::1", {}, True, True),
    "another machine": ("192.0.2.7", {}, False, False),
    "another machine with the token": (
        "192.0.2.7", {"authorization": "Bearer s3cret"}, False, True,
    ),
    "a wrong token": ("192.0.2.7", {"authorization": "Bearer guess"}, False, False),
    "a wrong token, from here": ("127.0.0.1", {"authorization": "Bearer guess"}, True, False),
    "no token but its scheme": ("192.0.2.7", {"authorization": "Bearer"}, False, False),
    "somebody behind a proxy of this machine": (
        "127.0.0.1", {"x_forwarded_for": "192.0.2.7"}, False, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ASKED)
def test_figures_go_to_this_machine_or_to_who_holds_the_token(told, tmp_path, case):
    store, _, _ = told
    client, headers, alone, with_token = ASKED[case]
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    for token_file, answered in ((None, alone), (token, with_token)):
        health = Health(
            store, metrics(store), clock=lambda: NOW + hours(1), token_file=token_file
        )  # fmt: skip
        status, body = got(health, "/metrics", client=client, **headers)
        assert status == (200 if answered else 403)
        assert (b"dish-1" in body) is answered


def test_ready_is_where_a_daemon_watches_and_it_is_said_why_not(told):
    store, owner, detail = told
    now = [NOW + hours(1)]
    health = Health(store, metrics(store), clock=lambda: now[0])

    def ready() -> tuple[int, list[str]]:
        status, body = got(health, "/readyz", client="192.0.2.7")
        assert b"dish-1" not in body and b"incubator" not in body
        return status, json.loads(body)["wrong"]

    assert ready() == (200, [])
    store.processes.beat(owner, now[0], {**detail, "stopped": "no room"})
    assert ready() == (503, ["the disk is nearly full: nothing is measured"])
    store.processes.beat(owner, now[0], {"sources": [{"name": "incubator", "present": False}]})
    assert ready() == (503, ["the folder of a source is out of reach"])
    now[0] += hours(1)
    assert ready() == (503, ["no daemon is at work"])
    assert got(health, "/healthz", client="192.0.2.7") == (200, b"ok\n")


def test_without_a_record_the_server_lives_and_is_not_ready(store):
    class Gone:
        def living(self, kind, now):
            raise RecordError("the record is gone")

    class NoRecord:
        processes = Gone()

    class NoMetrics:
        def text(self):
            raise RecordError("the record is gone")

    health = Health(NoRecord(), NoMetrics(), clock=lambda: NOW)  # type: ignore[arg-type]
    assert got(health, "/healthz")[0] == 200
    status, body = got(health, "/readyz")
    assert (status, json.loads(body)["wrong"]) == (503, ["the record cannot be read"])
    assert got(health, "/metrics")[0] == 503
