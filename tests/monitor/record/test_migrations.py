"""A record of an earlier version, with plans in every state, is brought up to date and goes on."""

from __future__ import annotations

import json

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, inspect, text

from monitor.culture import PickOutcome, PlanStatus
from monitor.errors import RecordError
from monitor.record.database import MIGRATIONS
from monitor.record.plan_documents import detail_of
from monitor.record.plans import PickReport
from monitor.record.store import Store
from tests.monitor.facts import NOW, TARGET, hours, minutes, removal_plan

AT = "2026-11-03 09:30:00.000000"
LATE = "2026-11-03 21:30:00.000000"
STATUSES = ("draft", "approved", "exported", "done", "rejected", "expired", "superseded")


def old_target():
    """As plans of the first version held it: one hit, its numbers beside those of the region."""
    (target,) = detail_of(removal_plan(targets=(TARGET,)))["targets"]
    (hit,) = target.pop("hits")
    hit.pop("clearance_um")
    for name in ("uncertainty", "removable_um2", "covered_um2", "whole_colony"):
        target.pop(name)
    return {**target, **hit}


@pytest.fixture(params=["0001", "0005"])
def old_url(request, tmp_path):
    """A database as the version with that revision left it; one dish a plan."""
    url = f"sqlite:///{tmp_path / 'old.sqlite'}"
    script = Config()
    script.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(url)
    with engine.begin() as connection:
        script.attributes["connection"] = connection
        command.upgrade(script, request.param)
    named = {column["name"] for column in inspect(engine).get_columns("dish")}
    with engine.begin() as connection:

        def add(table, **values):
            names = ", ".join(values)
            connection.execute(
                text(f"INSERT INTO {table} ({names}) VALUES (:{', :'.join(values)})"), values
            )

        for number, status in enumerate(STATUSES, start=1):
            label = {"label": f"d{number}"} if "label" in named else {}
            add(
                "dish", id=number, name=f"d{number}", source="incubator",
                status="differentiating", created_at=AT, **label,
            )  # fmt: skip
            add(
                "scan", id=number, dish_id=number, key="1", first_at=AT, last_at=AT,
                last_taken_at=AT, dirty=False,
            )  # fmt: skip
            add(
                "reading", id=number, dish_id=number, scan_id=number, version=1, at=AT,
                captures=1, uncertainty=0.1, model_sha256="d" * 64, settings_sha256="5" * 64,
                colonies=1, doubts="[]", created_at=AT,
            )  # fmt: skip
            connection.execute(text(f"UPDATE scan SET reading_id = {number} WHERE id = {number}"))
            approved = status in ("approved", "exported", "done")
            add(
                "removal_plan", id=f"p-{status}", dish_id=number, reading_id=number,
                status=status, created_at=AT, expires_at=LATE,
                approved_by="Ada" if approved else None, approved_at=AT if approved else None,
                detail=json.dumps(
                    {
                        "model_sha256": "d" * 64,
                        "settings_sha256": "5" * 64,
                        "calibration_id": "scope-1",
                        "left_out": [],
                        "targets": [old_target()],
                    }
                ),
            )  # fmt: skip
    engine.dispose()
    return url


@pytest.fixture
def old_record(old_url):
    with Store(old_url) as store:
        yield store


def test_every_plan_is_still_there_with_its_region_and_its_hit(old_record):
    plans = {plan.id: plan for plan in old_record.plans.all()}
    expected = {f"p-{status}": status for status in STATUSES} | {"p-done": "picked"}
    assert {id_: str(plan.status) for id_, plan in plans.items()} == expected
    for plan in plans.values():
        ((target, hit),) = plan.visits
        assert (target.region_id, hit.pick_x_um) == (TARGET.region_id, 5200.0)
        assert (plan.aiming, plan.fates, plan.refused) == (None, (), ())


def test_what_was_out_counts_as_handed_to_the_folder(old_record):
    for status in STATUSES:
        handover = old_record.plans.plan(f"p-{status}").handover
        if status in ("exported", "done"):
            assert (handover.to, handover.at) == ("folder", NOW)
        else:
            assert handover is None


def test_its_plans_go_on(old_record):
    """A draft is approved and handed out; what was out is told; what was done stays so."""
    now = NOW + minutes(10)
    plans = old_record.plans
    plans.approve("p-draft", who="Ada", now=now)
    plans.hand_out("p-draft", to="sila", token="t" * 16, now=now)
    told = [PickReport(TARGET.region_id, PickOutcome.PICKED)]
    assert plans.acknowledge("p-exported", told, who="Ada", now=now).status is PlanStatus.PICKED
    assert plans.expire(NOW + hours(13)) == ["p-approved", "p-draft"]
    assert plans.plan("p-done").status is PlanStatus.PICKED


def test_references_are_looked_after_again_when_it_is_up_to_date(old_record):
    with (
        pytest.raises(RecordError, match="FOREIGN KEY"),
        old_record.database.writing() as session,
    ):
        session.execute(text("INSERT INTO reading_measurement VALUES (99, 99)"))


def test_a_record_with_loose_ends_is_left_at_its_version(old_url):
    """What points nowhere cannot be told from what was lost on the way."""
    engine = create_engine(old_url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO reading_measurement VALUES (99, 99)"))
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    with pytest.raises(RecordError, match=r"a row of reading_measurement points at a row"):
        Store(old_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT * FROM alembic_version")).scalar() == version
        assert len(connection.execute(text("SELECT * FROM removal_plan")).all()) == len(STATUSES)
    engine.dispose()
