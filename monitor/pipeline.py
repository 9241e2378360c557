"""The line: capture -> segmentation -> record -> decisions -> outlets.

take in       a settled file becomes a known capture             jobs/take_in
start due     captures whose time has come go to the worker      jobs/measure
finish        its answers become measurements, waits, reasons    jobs/measure
read scans    complete scans become readings, and more           jobs/read_scans
    before the transaction  the fields are put together          scans/assembly
                            what will be asked is foreseen       jobs/foresight
                            earlier scans are looked at          scans/earlier_scans
    in it                   it is opened and asked               record/scans
                            the rules say what it means          decisions/decide
                            that is carried out                  record/carrying_out
deliver       messages leave the outbox                          jobs/deliver
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from pathlib import Path

from monitor.config import Config
from monitor.culture import Capture, ScanOutcome
from monitor.host.clock import Clock, utc_now
from monitor.jobs.free_space import RoomGuard
from monitor.jobs.measure import InWork, Measuring, Worker
from monitor.jobs.read_scans import ScanReader
from monitor.jobs.take_in import Intake
from monitor.record.intake import TakenIn
from monitor.record.store import Store

# Measurements, or scans, written in one transaction: others who want to write wait so long.
TOGETHER = 25


class Pipeline:
    """owner : the name under which captures are claimed

    patient : a capture that cannot be read and is still young may be half written, and waits;
        an impatient pipeline (one that ends) says so at once
    roots : folders that were given to a command; captures below one that belong to no source have
        one scale, where nothing says their pixel size
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        worker: Worker,
        *,
        owner: str,
        clock: Clock = utc_now,
        patient: bool = True,
        roots: Sequence[Path] = (),
    ) -> None:
        self.owner = owner
        self._intake = Intake(config, store, clock, patient=patient)
        self._measuring = Measuring(
            config, store, worker, self._intake, clock, owner=owner, roots=roots
        )
        self._reader = ScanReader(config, store, clock)
        self.room = RoomGuard(config, store.database.file)
        """Asked before captures are started: is there room for what is written of them?"""

    # --- capture -------------------------------------------------------------------------------

    def left_out(self, path: Path, source: str) -> str | None:
        """Why a file of the source is none of ours, such as "channel C1"; None where it is ours."""
        return self._intake.left_out(path, source)

    def take_in(self, path: Path, source: str) -> tuple[TakenIn, Capture] | None:
        """Make a settled file known to the record; None where it went away."""
        return self._intake.take_in(path, source)

    def take_in_all(
        self, files: Sequence[tuple[Path, str]]
    ) -> list[tuple[TakenIn, Capture] | None]:
        """As `take_in`, for (file, source) pairs at once, in their order."""
        return self._intake.take_in_all(files)

    # --- segmentation --------------------------------------------------------------------------

    def take_over(self, claimed: Collection[Capture]) -> None:
        """Captures that are claimed in our name already: the next to be started."""
        self._measuring.take_over(claimed)

    def start_due(
        self, limit: int, *, only: Collection[int] | None = None, ahead: int = 0
    ) -> list[InWork]:
        """Claim up to `limit` captures and hand them to the worker.

        ahead : so many are claimed at once for later calls, each of which costs a transaction
        """
        return self._measuring.start_due(limit, only=only, ahead=ahead)

    def finish(self, work: InWork) -> int | None:
        """Write down what the worker said of a capture. Returns its scan, if it has one now."""
        return self._measuring.finish_all([work])[0]

    def finish_all(self, works: Sequence[InWork]) -> list[int | None]:
        """As `finish`; what was measured is one transaction."""
        return self._measuring.finish_all(works)

    def tell_of_equal_pictures(self) -> None:
        """One picture that came for several dishes is a fault of the imager: somebody must hear."""
        self._measuring.tell_of_equal_pictures()

    @property
    def forgotten(self) -> deque[Path]:
        """Files that were known, never held a byte and are gone; for who remembers them."""
        return self._measuring.forgotten

    @property
    def reopened(self) -> set[int]:
        """Recorded captures that wait to be measured again, since their scale has changed; for who
        ends before their turn comes by itself.
        """
        return self._measuring.reopened

    @property
    def left_out_late(self) -> deque[tuple[Path, str, str]]:
        """Files that were taken in and turned out to be no captures, their source, and why; for
        who counts and remembers them.
        """
        return self._measuring.left_out_late

    # --- record and decisions ------------------------------------------------------------------

    def put_zones_right(self) -> list[str]:
        """Where a source's `timezone` was changed, what is on record goes by it from now on."""
        return self._reader.put_zones_right()

    def complete_scans(self) -> list[int]:
        """Scans that nothing more is expected of."""
        return self._reader.complete_scans()

    def read_scan(self, scan_id: int) -> ScanOutcome | None:
        """One scan -> its reading and all that follows, in one transaction."""
        return self._reader.read_scan(scan_id)

    def read_scans(self, scan_ids: Sequence[int]) -> list[ScanOutcome]:
        """As `read_scan`, in this order, for scans of which many are read in one transaction."""
        return self._reader.read_scans(scan_ids)
