"""Captures go to the segmentation worker; its answers become measurements.

What becomes of those that it cannot measure: `unmeasured`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from monitor.capture.names.patterns import shown_name
from monitor.capture.quality.consistency import KEPT, ImageStats, unlike
from monitor.config import Config, SourceSettings, settings_sha256
from monitor.culture import UNLISTED, Capture, FieldMeasurement, NamedParts
from monitor.errors import CaptureError
from monitor.host.clock import Clock
from monitor.host.log_text import doubt_text, number_text
from monitor.jobs.settle_scales import settle_scales
from monitor.jobs.take_in import Intake
from monitor.jobs.unmeasured import Unmeasured
from monitor.jobs.watch_silence import tell_of_equal_pictures
from monitor.record.capture_states import is_again
from monitor.record.scan_places import NewMeasurement, ScanPlace
from monitor.record.store import Store
from monitor.segmentation.request import FieldRequest

log = logging.getLogger(__name__)


class Worker(Protocol):
    """Where captures are measured: a local process, or a cluster whose client has this form."""

    def submit(self, request: FieldRequest) -> Future[FieldMeasurement]: ...

    def died_with(self, future: Future[FieldMeasurement], request_sha256: str) -> bool: ...


@dataclass(frozen=True, eq=False)
class InWork:
    capture: Capture
    named: NamedParts
    future: Future[FieldMeasurement]


class Measuring:
    """owner : the name under which captures are claimed

    roots, reopened : as of `Pipeline`
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        worker: Worker,
        intake: Intake,
        clock: Clock,
        *,
        owner: str,
        roots: Sequence[Path] = (),
    ) -> None:
        self._config = config
        self._store = store
        self._worker = worker
        self._intake = intake
        self._clock = clock
        self._owner = owner
        self._roots = sorted(roots, key=lambda root: -len(root.parts))
        self._looks: dict[str, deque[ImageStats]] = {}
        self._claimed: deque[Capture] = deque()
        self.reopened: set[int] = set()
        self._unmeasured = Unmeasured(store, intake, clock, owner=owner)

    @property
    def forgotten(self) -> deque[Path]:
        """As of `Pipeline`."""
        return self._unmeasured.forgotten

    @property
    def left_out_late(self) -> deque[tuple[Path, str, str]]:
        """As of `Pipeline`."""
        return self._unmeasured.left_out_late

    def start_due(
        self, limit: int, *, only: Collection[int] | None = None, ahead: int = 0
    ) -> list[InWork]:
        """Claim up to `limit` captures and hand them to the worker.

        ahead : so many are claimed at once for later calls, each of which costs a transaction
        """
        if limit <= 0:
            return []
        if len(self._claimed) < limit and only != ():
            self._claimed += self._store.captures.claim_due(
                self._owner, self._clock(), limit=max(limit, ahead) - len(self._claimed), only=only
            )
        chosen: list[tuple[Capture, NamedParts, SourceSettings]] = []
        while self._claimed and len(chosen) < limit:
            capture = self._claimed.popleft()
            settings = self._config.settings_of(capture.source)
            if capture.sha256 is None:
                self._unmeasured.look_again(capture)
                continue
            try:
                choice = self._intake.chooser.choose(capture.path, settings)
            except CaptureError as problem:
                self._unmeasured.not_named(capture, problem)
                continue
            if choice.left_out is not None:
                # The settings have changed, or a better one of its field has come, since then.
                self._unmeasured.leave_out(capture, choice.left_out)
                continue
            chosen.append((capture, choice.named, settings))
        return self._hand_over(chosen)

    def _hand_over(
        self, chosen: Sequence[tuple[Capture, NamedParts, SourceSettings]]
    ) -> list[InWork]:
        if not chosen:
            return []
        with self._store.looking():
            scales = [self._store.scales.in_use(one, named.dish) for one, named, _ in chosen]
        started: list[InWork] = []
        for (capture, named, settings), of_its_source in zip(chosen, scales, strict=True):
            request = FieldRequest(
                path=capture.path,
                sha256=capture.sha256 or "",
                named=named,
                settings=settings,
                settings_sha256=settings_sha256(self._config, settings),
                state_folder=self._config.record.folder,
                removal=self._config.decisions.removal,
                scales=of_its_source,
            )
            started.append(InWork(capture, named, self._worker.submit(request)))
        return started

    def take_over(self, claimed: Collection[Capture]) -> None:
        """Captures that are claimed in our name already: the next to be started."""
        self._claimed += claimed

    def finish_all(self, works: Sequence[InWork]) -> list[int | None]:
        """Write down what the worker said of captures. Returns the scan of each, if it has one now.

        What was measured is one transaction.
        """
        answers = [self._answer_to(work) for work in works]
        answers = [
            None if measured is None else self._compared(measured, work.capture.source)
            for work, measured in zip(works, answers, strict=True)
        ]
        found = iter(
            self._store.captures.record_measurements(
                [
                    NewMeasurement(work.capture.id, self._place(work), measured)
                    for work, measured in zip(works, answers, strict=True)
                    if measured is not None
                ],
                self._owner,
                self._clock(),
            )
            if any(answers)
            else []
        )
        scans = [None if measured is None else next(found) for measured in answers]
        if any(
            scan is None and measured is not None
            for scan, measured in zip(scans, answers, strict=True)
        ):
            self.tell_of_equal_pictures()
        self.reopened.update(
            settle_scales(
                self._store,
                [
                    (work.capture.id, work.capture.source, measured)
                    for work, measured in zip(works, answers, strict=True)
                    if measured is not None
                ],
                self._clock(),
                reopens=not is_again(self._owner),
            )
        )
        for work, measured in zip(works, answers, strict=True):
            if measured is not None:
                log.info(
                    "capture=%s dish=%s fraction=%s confluence=%s took_s=%.2f%s",
                    shown_name(work.capture.path),
                    work.named.dish,
                    number_text(measured.areas.differentiated_fraction),
                    number_text(measured.areas.confluence),
                    measured.took_s,
                    doubt_text((*measured.doubts, *measured.doubt.reasons)),
                )
        return scans

    def tell_of_equal_pictures(self) -> None:
        """One picture that came for several dishes is a fault of the imager: somebody must hear."""
        tell_of_equal_pictures(self._config, self._store, self._clock())

    def _answer_to(self, work: InWork) -> FieldMeasurement | None:
        """What the worker measured; None where it did not, which is then on record."""
        try:
            return work.future.result()
        except (BrokenExecutor, CancelledError):
            in_hand = self._worker.died_with(work.future, work.capture.sha256 or "")
            self._unmeasured.worker_died(work.capture, in_hand=in_hand)
        except Exception as problem:
            self._unmeasured.refused(work.capture, problem)
        return None

    def _place(self, work: InWork) -> ScanPlace:
        return ScanPlace(
            named=work.named.identity(work.capture.source),
            key=work.named.scan,
            gap_s=self._config.settings_of(work.capture.source).scan_gap_s,
            ahead_s=60 * self._config.decisions.clock.ahead_min,
            root=next(
                (root for root in self._roots if work.capture.path.is_relative_to(root)), None
            ),
        )

    def _compared(self, measured: FieldMeasurement, source: str) -> FieldMeasurement:
        """With the doubts that a capture raises that is unlike its source's earlier ones."""
        if source == UNLISTED:
            return measured  # folders of anything, from anywhere
        earlier = self._looks.get(source)
        if earlier is None:
            found = self._store.captures.last_looks(source, limit=KEPT)
            earlier = self._looks[source] = deque((ImageStats(*one) for one in found), maxlen=KEPT)
        look = ImageStats(measured.shape, measured.quality)
        doubts = unlike(look, earlier)
        earlier.append(look)
        return replace(measured, doubts=(*measured.doubts, *doubts)) if doubts else measured
