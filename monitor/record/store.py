"""The record as one thing: opened once, used by every stage."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from monitor.record.acts import ActRecord
from monitor.record.alerts import AlertRecord
from monitor.record.api_tokens import ApiTokens
from monitor.record.audit_record import AuditRecord
from monitor.record.beside import BesideRecord
from monitor.record.calibrations import CalibrationRecord
from monitor.record.captures import CaptureRecord
from monitor.record.changes import Changes
from monitor.record.colonies import ColonyRecord
from monitor.record.database import Database
from monitor.record.digests import DigestRecord
from monitor.record.dishes import DishRecord
from monitor.record.earlier import EarlierRecord
from monitor.record.glances import Glances
from monitor.record.lineage import LineRecord
from monitor.record.listings import Listings
from monitor.record.outbox import Outbox
from monitor.record.overviews import Overviews
from monitor.record.people import PeopleRecord
from monitor.record.pick_logs import PickLogRecord
from monitor.record.picture_files import PictureFileRecord
from monitor.record.plan_moves import TakeBack
from monitor.record.plans import PlanRecord
from monitor.record.processes import Processes
from monitor.record.remeasuring import AgainRecord
from monitor.record.scales import ScaleRecord
from monitor.record.scans import ScanRecord
from monitor.record.sources import SourceRecord
from monitor.record.timelines import TimelineRecord
from monitor.record.unfinished import UnfinishedRecord
from monitor.record.views import ViewRecord
from monitor.record.workload import WorkloadRecord
from monitor.record.zones import ZoneRecord


class Store:
    """The database at `url`, with its schema brought up to date.

    take_back : called with each plan that ends (superseded, expired, rejected, picked), before that
        is on record, so that the picker's folder never holds a plan that has ended

    follows, begins_anew : as of `Database`

    Raises RecordError where it cannot be opened or was written by a newer version.
    """

    def __init__(
        self,
        url: str,
        *,
        take_back: TakeBack | None = None,
        follows: bool = False,
        begins_anew: bool = False,
    ) -> None:
        self.database = Database(url, follows=follows, begins_anew=begins_anew)
        self.captures = CaptureRecord(self.database, take_back=take_back)
        self.unfinished = UnfinishedRecord(self.database)
        self.again = AgainRecord(self.database)
        self.beside = BesideRecord(self.database)
        self.dishes = DishRecord(self.database)
        self.scans = ScanRecord(self.database, take_back=take_back)
        self.earlier = EarlierRecord(self.database)
        self.colonies = ColonyRecord(self.database)
        self.zones = ZoneRecord(self.database, take_back=take_back)
        self.lines = LineRecord(self.database, take_back=take_back)
        self.sources = SourceRecord(self.database)
        self.scales = ScaleRecord(self.database)
        self.timelines = TimelineRecord(self.database)
        self.plans = PlanRecord(self.database, take_back=take_back)
        self.pick_logs = PickLogRecord(self.database)
        self.picture_files = PictureFileRecord(self.database)
        self.workload = WorkloadRecord(self.database)
        self.calibrations = CalibrationRecord(self.database, take_back=take_back)
        self.alerts = AlertRecord(self.database)
        self.overviews = Overviews(self.database)
        self.glances = Glances(self.database)
        self.listings = Listings(self.database)
        self.changes = Changes(self.database)
        self.views = ViewRecord(self.database)
        self.digests = DigestRecord(self.database)
        self.outbox = Outbox(self.database)
        self.audit = AuditRecord(self.database)
        self.processes = Processes(self.database)
        self.people = PeopleRecord(self.database)
        self.api_tokens = ApiTokens(self.database)
        self.acts = ActRecord(self.database)

    def looking(self) -> AbstractContextManager[object]:
        """What this thread reads inside is one look at the record, not many small ones."""
        return self.database.reading()

    def at_once(self) -> AbstractContextManager[object]:
        """What this thread writes inside is one transaction. It is not durable by itself, so only
        for what can be found out again from the captures.
        """
        return self.database.writing(durable=False)

    def close(self) -> None:
        self.changes.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
