"""The live interface over the real wire, with the library's own client."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

pytest.importorskip("sila2", reason="the extra colonywatch[sila] is not installed")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sila2.client import SilaClient
from sila2.framework import DefinedExecutionError, SilaConnectionError, ValidationError

from monitor.config.sila import SilaConfig
from monitor.culture import PickOutcome, PlanStatus
from monitor.errors import MonitorError
from monitor.jobs.picker_queue import PickingDesk
from monitor.outlets.sila.certificate import identity
from monitor.outlets.sila.server import start
from monitor.record.store import Store
from tests.monitor.facts import NOW, minutes, removal_plan, target_at
from tests.monitor.jobs.test_picker_queue import OTHER, TOKEN, config, with_plan
from tests.monitor.outlets.sila.wires import Wire

AT = NOW + minutes(5)
PICKED_AT = NOW + minutes(30)


class Outcome(tuple):
    """One region of an acknowledgement, as the client wants it."""

    def __new__(cls, region, outcome, reason=""):
        made = super().__new__(cls, (region, outcome, reason))
        made.Region, made.Outcome, made.Reason = region, outcome, reason
        return made


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The server's id and certificate, made once as in a lab."""
    return identity(SilaConfig(), tmp_path_factory.mktemp("sila"), datetime.now(UTC))


@pytest.fixture
def serving(store, tmp_path, own):
    """A running server with one approved plan; calls give the port and the server."""
    with_plan(store)
    port = free_port()
    desk = PickingDesk(store, config(tmp_path), lambda: AT)
    server = start(desk, SilaConfig(port=port), own)
    yield port
    server.stop(1.0)


@contextmanager
def client(port, own, **more):
    with SilaClient("127.0.0.1", port, root_certs=own.certificate, **more) as connected:
        yield connected


def test_a_client_sees_dishes_and_plans_and_takes_one_to_its_end(serving, own, store):
    with client(serving, own) as picker:
        (dish,) = picker.DishStates.Dishes.get()
        assert (dish.Dish, dish.Status, dish.Scans) == ("3500003816/A1", "differentiating", 1)
        assert (dish.LastScan, dish.DifferentiatedFraction) == ([NOW], [0.25])
        (pending,) = picker.RemovalPlans.PendingPlans.get()
        assert (pending.Plan, pending.Regions, pending.Hits) == ("p1", 3, 3)
        taken = picker.RemovalPlans.TakePlan("p1", TOKEN)
        document = json.loads(taken.Document)
        assert [one["region_id"] for one in document["targets"]] == ["r1", "r2", "r3"]
        assert picker.RemovalPlans.PendingPlans.get() == []
        assert picker.RemovalPlans.CheckPlan("p1", TOKEN) == (True, "exported")
        told = picker.RemovalPlans.AcknowledgePlan(
            "p1",
            TOKEN,
            [Outcome("r1", "picked"), Outcome("2", "failed", "clogged")],
            PICKED_AT,
        )
        assert (told.State, told.Untold) == ("picked", ["r3"])
        assert picker.RemovalPlans.CheckPlan("p1", TOKEN) == (False, "picked")
    fates = {one.region_id: (one.outcome, one.reason) for one in store.plans.plan("p1").fates}
    assert fates == {"r1": (PickOutcome.PICKED, None), "r2": (PickOutcome.FAILED, "clogged")}


def test_refusals_are_the_errors_that_the_feature_defines(serving, own):
    with client(serving, own) as picker:
        plans = picker.RemovalPlans
        plans.TakePlan("p1", TOKEN)
        for call, expected in (
            (lambda: plans.TakePlan("none", TOKEN), "UnknownPlan"),
            (lambda: plans.TakePlan("p1", OTHER), "NotAvailable"),
            (lambda: plans.CheckPlan("p1", OTHER), "NotTakenByYou"),
            (
                lambda: plans.AcknowledgePlan("p1", TOKEN, [Outcome("r9", "picked")], PICKED_AT),
                "Refused",
            ),
        ):
            with pytest.raises(DefinedExecutionError) as refused:
                call()
            assert refused.value.identifier == expected


@pytest.mark.parametrize(
    ("plan", "token", "outcomes"),
    [
        ("p1", "short", [("r1", "picked")]),
        ("../p1", TOKEN, [("r1", "picked")]),
        ("p1", TOKEN, [("r1", "eaten")]),
    ],
)
def test_what_breaks_the_feature_s_own_rules_does_not_reach_the_record(
    serving, own, store, plan, token, outcomes
):
    with client(serving, own) as picker:
        picker.RemovalPlans.TakePlan("p1", TOKEN)
        with pytest.raises(ValidationError):
            picker.RemovalPlans.AcknowledgePlan(
                plan, token, [Outcome(*one) for one in outcomes], PICKED_AT
            )
    assert store.plans.plan("p1").fates == ()


def test_a_large_plan_comes_whole(serving, own, store):
    """Longer than what SiLA lets a text or one message be."""
    polygon = tuple((float(number % 900), number / 7) for number in range(200))
    targets = tuple(
        replace(target_at(number, pick_x_um=300.0 * number), polygon_px=polygon)
        for number in range(1, 501)
    )
    large = removal_plan("large", dish="dish-2", targets=targets)
    with_plan(store, "large", dish="dish-2", plan=large)
    with client(serving, own) as picker:
        content = picker.RemovalPlans.TakePlan("large", TOKEN).Document
    assert len(content) > 4 * 2**20
    assert len(json.loads(content)["targets"]) == 500


def test_without_the_server_s_certificate_there_is_no_connection(serving, own, tmp_path):
    stranger = identity(SilaConfig(), tmp_path / "other", datetime.now(UTC))
    with pytest.raises((SilaConnectionError, Exception), match=r"(?i)unavailable|handshake|cert"):
        SilaClient("127.0.0.1", serving, root_certs=stranger.certificate)
    with pytest.raises(SilaConnectionError):
        SilaClient("127.0.0.1", serving, insecure=True)


# --- a wire that breaks -------------------------------------------------------------------------


@pytest.fixture
def wire(serving):
    made = Wire(serving)
    yield made
    made.close()


def test_a_plan_is_not_lost_when_the_answer_is(wire, serving, own, store):
    """The server gave the plan away, and the client never heard: it asks again and gets it."""
    with client(wire.port, own) as picker:
        wire.cut_answers = True
        with pytest.raises(SilaConnectionError):
            picker.RemovalPlans.TakePlan("p1", TOKEN)
    wait_for(lambda: store.plans.plan("p1").status is PlanStatus.EXPORTED)
    with client(serving, own) as picker:
        with pytest.raises(DefinedExecutionError):
            picker.RemovalPlans.TakePlan("p1", OTHER)
        again = json.loads(picker.RemovalPlans.TakePlan("p1", TOKEN).Document)
        assert again["id"] == "p1"


def test_a_plan_stays_pending_when_the_question_is_lost(wire, serving, own, store):
    with client(wire.port, own) as picker:
        wire.cut_requests = True
        with pytest.raises(SilaConnectionError):
            picker.RemovalPlans.TakePlan("p1", TOKEN)
    assert store.plans.plan("p1").status is PlanStatus.APPROVED
    with client(serving, own) as picker:
        assert [one.Plan for one in picker.RemovalPlans.PendingPlans.get()] == ["p1"]


def test_what_was_done_is_written_down_once_when_the_answer_is_lost(wire, serving, own, store):
    told = "p1", TOKEN, [Outcome("r1", "picked")], PICKED_AT
    with client(wire.port, own) as picker:
        picker.RemovalPlans.TakePlan("p1", TOKEN)
        wire.cut_answers = True
        with pytest.raises(SilaConnectionError):
            picker.RemovalPlans.AcknowledgePlan(*told)
    wait_for(lambda: store.plans.plan("p1").status is PlanStatus.PICKED)
    events = store.plans.events("p1")
    with client(serving, own) as picker:
        again = picker.RemovalPlans.AcknowledgePlan(*told)
    assert (again.State, again.Untold) == ("picked", ["r2", "r3"])
    assert store.plans.events("p1") == events


def wait_for(is_so, limit_s=10.0):
    """The server goes on after its client is gone."""
    end = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


# --- who may come, and who is there -------------------------------------------------------------


def signed_client(tmp_path):
    """(a lab's own certificate, a client's key and the certificate that the lab gave it)"""
    lab, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab")])
    picker = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "picker")])
    now = datetime.now(UTC)

    def certificate(subject, key, is_authority):
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - minutes(5))
            .not_valid_after(now + minutes(60))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .sign(lab, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    file = tmp_path / "lab.crt"
    file.write_bytes(certificate(name, lab, True))
    key = own.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return file, key, certificate(picker, own, False)


def test_where_clients_need_a_certificate_nobody_else_gets_in(store, tmp_path):
    authority, key, certificate = signed_client(tmp_path)
    settings = SilaConfig(port=free_port(), clients_file=authority)
    own = identity(settings, tmp_path / "sila", datetime.now(UTC))
    server = start(PickingDesk(store, config(tmp_path), lambda: AT), settings, own)
    try:
        with client(settings.port, own, private_key=key, cert_chain=certificate) as picker:
            assert picker.RemovalPlans.PendingPlans.get() == []
        with pytest.raises(SilaConnectionError):
            SilaClient("127.0.0.1", settings.port, root_certs=own.certificate)
    finally:
        server.stop(1.0)


def test_a_port_that_is_taken_is_said(serving, own, store, tmp_path):
    desk = PickingDesk(store, config(tmp_path), lambda: AT)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MonitorError, match=f"port {port}"):
            start(desk, SilaConfig(port=port), own)


def test_another_process_s_record_is_seen_at_once(serving, own, store, database_url):
    """The daemon approves, the server gives out: two programs on one database."""
    with Store(database_url) as daemon, client(serving, own) as picker:
        with_plan(daemon, "p2", dish="dish-2")
        assert {one.Plan for one in picker.RemovalPlans.PendingPlans.get()} == {"p1", "p2"}
        daemon.plans.reject("p2", who="A. Person", now=AT)
        assert [one.Plan for one in picker.RemovalPlans.PendingPlans.get()] == ["p1"]
