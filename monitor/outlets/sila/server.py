"""The SiLA 2 server, by sila2 (MIT): the only user of that library.

What it offers stands in the ``*.sila.xml`` files beside this one; the library makes the protocol's
code from them when the server starts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import grpc
from sila2.framework import DefinedExecutionError, Feature
from sila2.server import FeatureImplementationBase, SilaServer

from monitor.config.sila import SilaConfig
from monitor.culture import PickOutcome, PlanStatus, RemovalPlan
from monitor.errors import MonitorError, PickingError
from monitor.outlets.sila.certificate import Identity
from monitor.record.dishes import DishSummary
from monitor.record.plan_reports import PickReport

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
_ERRORS = {
    "unknown-plan": "UnknownPlan",
    "not-available": "NotAvailable",
    "not-taken-by-you": "NotTakenByYou",
    "refused": "Refused",
}
# Calls are short; more at once would only wait for the database.
_WORKERS = 8


class Desk(Protocol):
    """What the server asks and tells: `monitor.jobs.picker_queue`."""

    def dishes(self) -> list[DishSummary]: ...

    def pending(self) -> list[RemovalPlan]: ...

    def take(self, plan_id: str, token: str) -> bytes: ...

    def check(self, plan_id: str, token: str) -> tuple[bool, PlanStatus]: ...

    def acknowledge(
        self, plan_id: str, token: str, reports: list[PickReport], picked_at: datetime
    ) -> RemovalPlan: ...


class Dish(NamedTuple):
    Dish: str
    Status: str
    Scans: int
    LastScan: list[datetime]
    DifferentiatedFraction: list[float]
    Confluence: list[float]


class PendingPlan(NamedTuple):
    Plan: str
    Dish: str
    Regions: int
    Hits: int
    Expires: datetime


class _DishStates(FeatureImplementationBase):  # type: ignore[misc, unused-ignore]
    def __init__(self, server: SilaServer, desk: Desk) -> None:
        super().__init__(server)
        self._desk = desk

    def get_Dishes(self, *, metadata: Any) -> list[Dish]:
        return [_dish(one) for one in self._desk.dishes()]


class _RemovalPlans(FeatureImplementationBase):  # type: ignore[misc, unused-ignore]
    def __init__(self, server: SilaServer, desk: Desk, feature: Feature) -> None:
        super().__init__(server)
        self._desk = desk
        self._feature = feature

    def get_PendingPlans(self, *, metadata: Any) -> list[PendingPlan]:
        return [
            PendingPlan(plan.id, plan.dish, len(plan.targets), len(plan.visits), plan.expires_at)
            for plan in self._desk.pending()
        ]

    def TakePlan(self, Plan: str, Token: str, *, metadata: Any) -> bytes:
        with self._told():
            return self._desk.take(Plan, Token)

    def CheckPlan(
        self,
        Plan: str,
        Token: str,
        *,
        metadata: Any,
    ) -> tuple[bool, str]:
        with self._told():
            may, status = self._desk.check(Plan, Token)
        return may, str(status)

    def AcknowledgePlan(
        self,
        Plan: str,
        Token: str,
        Outcomes: list[Any],
        PickedAt: datetime,
        *,
        metadata: Any,
    ) -> tuple[str, list[str]]:
        reports = [
            PickReport(one.Region, PickOutcome(one.Outcome), one.Reason or None) for one in Outcomes
        ]
        with self._told():
            plan = self._desk.acknowledge(Plan, Token, reports, PickedAt)
        told = {fate.region_id for fate in plan.fates}
        return str(plan.status), [
            one.region_id for one in plan.targets if one.region_id not in told
        ]

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Refusals become the errors that the feature defines."""
        try:
            yield
        except PickingError as problem:
            log.info("a SiLA client is refused: %s", problem)
            node = self._feature.defined_execution_errors[_ERRORS[problem.reason]]
            raise DefinedExecutionError(node, str(problem)) from problem


class _Server(SilaServer):  # type: ignore[misc, unused-ignore]
    """With client certificates, which the library does not offer."""

    clients: bytes | None = None

    # The library's own name for the one place where credentials are made.
    def _SilaServer__create_server_credentials(
        self,
        address: str,
        ca_for_discovery: bytes | None,
        cert_chain: bytes | None,
        enable_discovery: bool,
        private_key: bytes | None,
        server_uuid: object,
    ) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials(
            [(private_key, cert_chain)],
            root_certificates=self.clients,
            require_client_auth=self.clients is not None,
        )


def start(desk: Desk, settings: SilaConfig, own: Identity) -> SilaServer:
    """A running server. Raises MonitorError where the port cannot be had."""
    for name in ("DishStates", "RemovalPlans", "SiLAService"):
        # The library writes whole plans into the log, and a traceback for each refusal.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("sila2").setLevel(logging.WARNING)
    server = _Server(
        server_name="colonywatch",
        server_type="CellCultureMonitor",
        server_description="Watches cell cultures and says which cells to remove.",
        server_version=_version(),
        # The library wants one, and colonywatch has no page of its own: the standard's.
        server_vendor_url="https://sila-standard.com",
        server_uuid=own.server_id,
        max_grpc_workers=_WORKERS,
        max_child_task_workers=_WORKERS,
    )
    server.clients = own.clients
    states, plans = (
        Feature(str(HERE / f"{name}.sila.xml")) for name in ("DishStates", "RemovalPlans")
    )
    server.set_feature_implementation(states, _DishStates(server, desk))
    server.set_feature_implementation(plans, _RemovalPlans(server, desk, plans))
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        if own.certificate is None:
            server.start_insecure(host, settings.port, enable_discovery=settings.discovery)
        else:
            server.start(
                host,
                settings.port,
                private_key=own.key,
                cert_chain=own.certificate,
                ca_for_discovery=own.certificate if settings.discovery else None,
                enable_discovery=settings.discovery,
            )
    except RuntimeError as problem:
        raise MonitorError(
            f"outlets.sila: cannot listen on {settings.host}, port {settings.port} ({problem}); is "
            "another server running there?"
        ) from problem
    return server


def _dish(one: DishSummary) -> Dish:
    last = one.last
    return Dish(
        Dish=one.name,
        Status=str(one.status),
        Scans=one.scans,
        LastScan=[] if last is None else [last.at],
        DifferentiatedFraction=_known(None if last is None else last.differentiated_fraction),
        Confluence=_known(None if last is None else last.confluence),
    )


def _known(value: float | None) -> list[float]:
    """SiLA has no word for a number that is not known: an empty list stands for it."""
    return [] if value is None else [value]


def _version() -> str:
    """SiLA wants two or three numbers."""
    try:
        parts = version("colonywatch").split(".")[:3]
    except PackageNotFoundError:
        return "0.0"
    return ".".join(part for part in parts if part.isdigit()) or "0.0"
